package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	helpers["reaper"] = func() { runReaper(os.Stdin) }
	helpers["doomed-keeper"] = doomedKeeper
	testOnlyEnv = []string{"KEEPMUM_TEST_HELPER=reaper"}
}

// doomedKeeper mounts ten FIFOs of the folder in its environment, says which run
// folder it has, and waits to be killed.
func doomedKeeper() {
	base := os.Getenv("KEEPMUM_TEST_FOLDER")
	dir, _, err := makeRunDir(base + "/run")
	check(err)
	r, err := startReaper(dir, unheard)
	check(err)
	for i := range 10 {
		fifo := fmt.Sprintf("%s/%d/env", dir, i)
		if i < 5 {
			fifo = fmt.Sprintf("%s/env%d", dir, i)
		} else {
			check(os.Mkdir(filepath.Dir(fifo), 0o700))
		}
		link := fmt.Sprintf("%s/app/.env%d", base, i)
		check(unix.Mkfifo(fifo, 0o600))
		check(os.Symlink(fifo, link))
		check(r.add(link, fifo))
	}
	r.remove(base + "/app/.env9")
	fmt.Println(dir)
	select {}
}

// unheard is a reaper's word that nobody listens to.
func unheard(string, ...any) {}

// check ends a helper at an error.
func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
}

// runFolder returns a folder with a run root and a project in it.
func runFolder(t *testing.T) string {
	t.Helper()
	base := testFolder(t)
	must(t, os.Mkdir(base+"/run", 0o700))
	must(t, os.Mkdir(base+"/app", 0o755))
	return base
}

// exists reports whether something stands at path itself.
func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

// TestReaperAfterKill: the child removes what a killed keeper left, and nothing
// else. [KPR-23] [KPR-27]
func TestReaperAfterKill(t *testing.T) {
	base := runFolder(t)
	keeper := exec.Command(os.Args[0])
	keeper.Env = []string{"KEEPMUM_TEST_HELPER=doomed-keeper", "KEEPMUM_TEST_FOLDER=" + base}
	out, err := keeper.StdoutPipe()
	must(t, err)
	must(t, keeper.Start())
	t.Cleanup(func() { keeper.Process.Kill(); keeper.Wait() })
	var dir string
	if _, err := fmt.Fscanln(out, &dir); err != nil || !strings.HasPrefix(dir, base) {
		t.Fatalf("the keeper said %q, %v", dir, err)
	}
	if found := sweep(base+"/run", []string{base + "/app/.env0"}); found != nil {
		t.Errorf("sweep took %q from a living keeper", found)
	}
	// What is foreign: in the project, beside the run folder, and a link of which
	// the name is known but which leads to another place by now.
	put(t, base+"/app/.env-foreign", "keep")
	must(t, os.Symlink("/etc/hosts", base+"/app/.env-link"))
	must(t, unix.Mkfifo(base+"/run/foreign", 0o600))
	must(t, os.Remove(base+"/app/.env0"))
	must(t, os.Symlink("/etc/hosts", base+"/app/.env0"))
	must(t, os.Remove(base+"/app/.env1"))
	put(t, base+"/app/.env1", "keep")

	must(t, keeper.Process.Kill())
	keeper.Wait()
	for i := 2; i < 9; i++ {
		link := fmt.Sprintf("%s/app/.env%d", base, i)
		waitFor(t, "the end of "+link, func() bool { return !exists(link) })
	}
	waitFor(t, "the end of the run folder", func() bool { return !exists(dir) })
	for _, name := range []string{"/app/.env-foreign", "/app/.env-link", "/run/foreign",
		"/app/.env0", "/app/.env1",
		"/app/.env9"} {
		if !exists(base + name) {
			t.Errorf("the reaper removed %s", name)
		}
	}
}

// TestReaperLeavesForeignFiles: not even in the run folder is everything ours.
// [KPR-27]
func TestReaperLeavesForeignFiles(t *testing.T) {
	base := runFolder(t)
	dir, unlock, err := makeRunDir(base + "/run")
	must(t, err)
	defer unlock()
	put(t, dir+"/note", "keep")
	put(t, dir+"/sub/lock", "keep")
	must(t, os.Symlink(base+"/app", dir+"/way-out"))
	must(t, unix.Mkfifo(base+"/app/fifo", 0o600))
	must(t, unix.Mkfifo(dir+"/env", 0o600))
	// A link that is in the list, but leads out of the run folder.
	must(t, os.Symlink("/etc/hosts", base+"/app/.env"))
	r, err := startReaper(dir, unheard)
	must(t, err)
	must(t, r.add(base+"/app/.env", "/etc/hosts"))
	listens(t, r)
	r.stop()
	for path, want := range map[string]bool{dir + "/note": true, dir + "/sub/lock": true,
		dir + "/way-out":   true,
		base + "/app/fifo": true, base + "/app/.env": true, dir + "/env": false} {
		if exists(path) != want {
			t.Errorf("%s is there: %v, want %v", path, !want, want)
		}
	}
}

// TestReaperOtherFolder: it has the name of the one that the child was told of.
// [KPR-23]
func TestReaperOtherFolder(t *testing.T) {
	base := runFolder(t)
	dir, unlock, err := makeRunDir(base + "/run")
	must(t, err)
	defer unlock()
	r, err := startReaper(dir, unheard)
	must(t, err)
	must(t, os.Rename(dir, dir+"-moved"))
	must(t, os.Mkdir(dir, 0o700))
	must(t, unix.Mkfifo(dir+"/env", 0o600))
	listens(t, r)
	r.stop()
	if !exists(dir + "/env") {
		t.Error("the reaper emptied another folder of the same name")
	}
}

// listens waits until the child has begun, which the keeper's end does only shortly.
func listens(t *testing.T, r *reaper) {
	t.Helper()
	status := fmt.Sprintf("/proc/%d/status", r.pid())
	waitFor(t, "the reaper to ignore signals", func() bool {
		var mask uint64
		text, err := os.ReadFile(status)
		_, rest, _ := strings.Cut(string(text), "SigIgn:")
		fmt.Sscanf(rest, "%x", &mask)
		return mask&0x4003 == 0x4003 || err != nil // hangup, interrupt, terminate; or no /proc
	})
}

// pid returns the child's process number.
func (r *reaper) pid() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cmd.Process.Pid
}

// TestReaperKilled: another takes its place and knows what it knew. [KPR-25]
func TestReaperKilled(t *testing.T) {
	base := runFolder(t)
	dir, unlock, err := makeRunDir(base + "/run")
	must(t, err)
	defer unlock()
	r, err := startReaper(dir, unheard)
	must(t, err)
	link, fifo := base+"/app/.env", dir+"/env"
	must(t, unix.Mkfifo(fifo, 0o600))
	must(t, os.Symlink(fifo, link))
	must(t, r.add(link, fifo))
	first := r.pid()
	must(t, syscall.Kill(first, syscall.SIGKILL))
	waitFor(t, "another reaper", func() bool { return r.pid() != first })
	if !exists(link) || !exists(fifo) {
		t.Error("a living keeper's files were removed")
	}
	listens(t, r)
	r.stop()
	if exists(link) || exists(dir) {
		t.Error("the second reaper did not know what the first one knew")
	}
}

// TestReaperBroken: where none can be started it is said, once and at each
// mount, and tried again. [KPR-25]
func TestReaperBroken(t *testing.T) {
	t.Parallel()
	base := runFolder(t)
	dir, unlock, err := makeRunDir(base + "/run")
	must(t, err)
	defer unlock()
	said := make(chan string, 100)
	r, err := startReaper(dir, func(format string, args ...any) { said <- fmt.Sprintf(format, args...) })
	must(t, err)
	first, asked := r.pid(), 0
	program := func(f func() (string, error)) { r.mu.Lock(); r.program = f; r.mu.Unlock() }
	program(func() (string, error) { asked++; return base + "/gone", nil })
	must(t, syscall.Kill(first, syscall.SIGKILL))
	waitFor(t, "a second try", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return asked > 1 })
	if text := <-said; !strings.Contains(text, "no child") || !strings.Contains(text, "gone") || len(said) > 0 {
		t.Errorf("said %q and %d more", text, len(said))
	}
	if r.add(base+"/app/.env", dir+"/env") == nil || len(said) != 1 {
		t.Errorf("at a mount, %d warnings", len(said))
	}
	program(ownProgram)
	waitFor(t, "another reaper", func() bool { return r.pid() != first })
	must(t, r.add(base+"/app/.env", dir+"/env"))
	listens(t, r)
	r.stop()
	if exists(dir) || len(said) != 1 {
		t.Errorf("the next reaper did nothing, or %d warnings", len(said))
	}
}

// TestReaperStopped: one that takes no line is replaced. [KPR-25]
func TestReaperStopped(t *testing.T) {
	t.Parallel()
	base := runFolder(t)
	dir, unlock, err := makeRunDir(base + "/run")
	must(t, err)
	defer unlock()
	r, err := startReaper(dir, unheard)
	must(t, err)
	first := r.pid()
	stopped := r.cmd.Process // which knows, unlike a number, whether it has ended
	t.Cleanup(func() { stopped.Kill() })
	must(t, syscall.Kill(first, syscall.SIGSTOP))
	for i := 0; err == nil && i < 10000; i++ { // until the pipe is full
		err = r.add(fmt.Sprintf("%s/app/.env%d", base, i), dir+"/env")
	}
	if err == nil {
		t.Error("a stopped reaper takes lines for ever")
	}
	waitFor(t, "another reaper", func() bool { return r.pid() != first })
	if !exists(dir) {
		t.Error("a living keeper's folder was removed")
	}
	listens(t, r)
	r.stop()
	if exists(dir) {
		t.Error("the second reaper did nothing")
	}
}

// TestReaperIgnoresSignals: the end of the terminal is not its end. [KPR-24]
func TestReaperIgnoresSignals(t *testing.T) {
	base := runFolder(t)
	dir, unlock, err := makeRunDir(base + "/run")
	must(t, err)
	defer unlock()
	r, err := startReaper(dir, unheard)
	must(t, err)
	pid := r.pid()
	if !exists(fmt.Sprintf("/proc/%d/status", pid)) {
		t.Skip("no /proc")
	}
	listens(t, r)
	if sid, _ := unix.Getsid(pid); sid != pid {
		t.Errorf("the reaper is in session %d", sid)
	}
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err == nil &&
		strings.Contains(string(env), "PATH=") {
		t.Errorf("the reaper inherited an environment: %q", env)
	}
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		must(t, syscall.Kill(pid, sig))
	}
	r.stop()
	if state := r.cmd.ProcessState; r.pid() != pid || !state.Success() {
		t.Errorf("the reaper ended with %v", state)
	}
}

// TestSweep: what nobody holds is taken over, and nothing else. [KPR-26] [KPR-27]
func TestSweep(t *testing.T) {
	base := runFolder(t)
	root := base + "/run"
	living, unlock, err := makeRunDir(root)
	must(t, err)
	defer unlock()
	dead, die, err := makeRunDir(root)
	must(t, err)
	die()
	unlocked := root + "/keepmum-" + strings.Repeat("A", 26) // died before it had a lock
	must(t, os.Mkdir(unlocked, 0o700))
	guarded, die, err := makeRunDir(root)
	must(t, err)
	die()
	put(t, guarded+"/note", "keep")
	gone := root + "/keepmum-" + strings.Repeat("B", 26)
	must(t, os.Mkdir(root+"/other", 0o700))
	for _, dir := range []string{living, dead, guarded, root + "/other"} {
		must(t, unix.Mkfifo(dir+"/env", 0o600))
	}
	target := map[string]string{"living": living, "dead": dead, "gone": gone, "guarded": guarded,
		"other": root + "/other", "outside": base + "/elsewhere", "tricky": gone + "/../other"}
	var paths []string
	for name, dir := range target {
		must(t, os.Symlink(dir+"/env", base+"/app/"+name))
		paths = append(paths, base+"/app/"+name)
	}
	put(t, base+"/app/file", "keep")
	paths = append(paths, base+"/app/file", base+"/app/missing")
	want := []string{dead, unlocked, base + "/app/dead", base + "/app/gone"}
	got := sweep(root, paths)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("sweep = %q, want %q", got, want)
	}
	for _, path := range want {
		if exists(path) {
			t.Errorf("%s is still there", path)
		}
	}
	for _, path := range []string{living + "/env", living + "/lock", guarded + "/note",
		root + "/other/env",
		base + "/app/living", base + "/app/guarded", base + "/app/other", base + "/app/outside",
		base + "/app/tricky", base + "/app/file"} {
		if !exists(path) {
			t.Errorf("sweep removed %s", path)
		}
	}
	if again := sweep(root, paths); again != nil {
		t.Errorf("a second sweep took %q", again)
	}
}

// TestSweepLeft: links say where else to look. Nothing is taken there that
// lives, is not of our form, or lies where others can exchange it. [KPR-26]
// [KPR-27]
func TestSweepLeft(t *testing.T) {
	base := runFolder(t)
	run := func(root string, mode os.FileMode, alive bool) string {
		must(t, os.MkdirAll(root, 0o700))
		dir, unlock, err := makeRunDir(root)
		must(t, err)
		must(t, os.Mkdir(dir+"/m1", 0o700))
		must(t, unix.Mkfifo(dir+"/m1/.env", 0o600))
		must(t, os.Chmod(filepath.Dir(root), mode))
		if t.Cleanup(unlock); !alive {
			unlock()
		}
		return dir
	}
	must(t, os.Symlink(base+"/a", base+"/l"))
	dead, alive := run(base+"/a/keepmum", 0o755, false), run(base+"/b/keepmum", 0o700, true)
	gone := base + "/none/keepmum/keepmum-" + strings.Repeat("B", 26)
	open := run(base+"/c/keepmum", 0o777, false)
	linked := run(base+"/a/other", 0o755, false)
	odd := run(base+"/d/keepmum", 0o755, false)
	var paths []string
	for name, target := range map[string]string{"dead": dead + "/m1/.env", "gone": gone + "/m1/.env",
		"alive": alive + "/m1/.env", "open": open + "/m1/.env", "odd": odd + "/m1/env",
		"linked": strings.Replace(linked, base+"/a", base+"/l", 1) + "/m1/.env",
		"deep":   gone + "/m1/x/.env", "unclean": base + "/none/../none/" + filepath.Base(gone) + "/m1/.env",
		"foreign": base + "/none/.env"} {
		must(t, os.Mkdir(base+"/app/"+name, 0o755))
		must(t, os.Symlink(target, base+"/app/"+name+"/.env"))
		paths = append(paths, base+"/app/"+name+"/.env")
	}
	want := []string{dead, base + "/app/dead/.env", base + "/app/gone/.env"}
	got := sweepLeft(paths)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("sweepLeft = %q, want %q", got, want)
	}
	for _, path := range []string{alive, open, linked, odd} {
		if !exists(path + "/m1/.env") {
			t.Errorf("the FIFO in %s was removed", path)
		}
	}
}

func TestRunDirOf(t *testing.T) {
	name := "keepmum-" + strings.Repeat("A", 26)
	for target, want := range map[string]string{
		"/r/" + name + "/env":          "/r/" + name,
		"/r/" + name + "/3/env":        "/r/" + name,
		"/r/" + name:                   "",
		"/r/" + name + "/":             "",
		"/r/" + name + "/../x":         "",
		"/r/x/" + name + "/env":        "",
		"/rr/" + name + "/env":         "",
		"r/" + name + "/env":           "",
		"/r/" + name + "A/env":         "",
		"/r/" + name[:33] + "/env":     "",
		"/r/keepmum-" + "x" + "/env":   "",
		"/r//" + name + "/env":         "",
		"/r/" + name + "/env\n/r/evil": "/r/" + name,
		"":                             "",
	} {
		if got := runDirOf("/r", target); got != want {
			t.Errorf("runDirOf(%q) = %q, want %q", target, got, want)
		}
	}
}

func TestRunRoot(t *testing.T) {
	for _, c := range []struct {
		name    string
		spoil   func(home, xdg string) string // returns XDG_RUNTIME_DIR
		inXDG   bool
		refused string
	}{
		{"runtime folder", func(home, xdg string) string { return xdg }, true, ""},
		{"unset", func(home, xdg string) string { return "" }, false, ""},
		{"relative", func(home, xdg string) string { return "xdg" }, false, ""},
		{"missing", func(home, xdg string) string { return xdg + "/no" }, false, ""},
		{"open to others", func(home, xdg string) string { os.Chmod(xdg, 0o755); return xdg }, false, ""},
		{"a link", func(home, xdg string) string { os.Symlink(xdg, home+"/l"); return home + "/l" },
			false, ""},
		{"a file", func(home, xdg string) string {
			os.WriteFile(home+"/f", nil,
				0o700)
			return home + "/f"
		}, false, ""},
		{"ours is there", func(home, xdg string) string {
			os.Mkdir(xdg+"/keepmum",
				0o700)
			return xdg
		}, true, ""},
		{"ours is a link", func(home, xdg string) string {
			os.Symlink(home,
				xdg+"/keepmum")
			return xdg
		}, false, "not a folder"},
		{"ours is open", func(home, xdg string) string {
			os.Mkdir(xdg+"/keepmum", 0o755)
			os.Chmod(xdg+"/keepmum", 0o755)
			return xdg
		}, false, "chmod 700"},
		{"run is a link", func(home, xdg string) string { os.Symlink(xdg, home+"/run"); return "" },
			false, "not a folder"},
	} {
		t.Run(c.name, func(t *testing.T) {
			home, xdg := testFolder(t), testFolder(t)
			must(t, os.Chmod(xdg, 0o700))
			t.Setenv("XDG_RUNTIME_DIR", c.spoil(home, xdg))
			t.Chdir(filepath.Dir(xdg))
			want := home + "/run"
			if c.inXDG {
				want = xdg + "/keepmum"
			}
			got, err := runRoot(home)
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("runRoot = %q, %v, want %q", got, err, c.refused)
				}
			} else if err != nil || got != want || checkFolderPrivate(got) != nil {
				t.Errorf("runRoot = %q, %v, want %q", got, err, want)
			}
		})
	}
}
