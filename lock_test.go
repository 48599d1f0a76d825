package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLockRefuses what listens and is no keeper, and a place that nobody can
// listen at: with an error, not a fall. [SOC-2] [CLI-9] [CLI-10]
func TestLockRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		make func(t *testing.T, w *world)
		want string
	}{
		"a home too long for a socket": {func(t *testing.T, w *world) {
			w.home = filepath.Join(w.dir, strings.Repeat("x", 120))
			w.env = append(w.env, "KEEPMUM_HOME="+w.home)
		}, "set KEEPMUM_HOME to a shorter one"},
		"no keeper.lock": {func(t *testing.T, w *world) { listenFake(t, w.home) }, "is no keeper"},
		"an empty keeper.lock that is held": {func(t *testing.T, w *world) {
			listenFake(t, w.home)
			holdLock(t, w.home, "")
		}, `keeper.lock is held by ""`},
		"a keeper.lock that nobody holds": {func(t *testing.T, w *world) {
			listenFake(t, w.home)
			holdLock(t, w.home, fmt.Sprintf("pid %d\n", os.Getpid())).Close()
		}, "nobody holds keeper.lock"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			must(t, os.Mkdir(w.home, 0o700))
			test.make(t, w)
			out, errOut, code := w.done(w.command("lock"))
			if code != 1 || out != "" || !strings.HasPrefix(errOut, "keepmum: error: ") ||
				!strings.Contains(errOut, test.want) {
				t.Errorf("lock: %d %q %q, want %q", code, out, errOut, test.want)
			}
		})
	}
}
