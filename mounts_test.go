package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRunFolder: where a mount's link leads to. [MNT-1] [MNT-2]
func TestRunFolder(t *testing.T) {
	_, _, path := mounted(t, "")
	target, err := os.Readlink(path)
	must(t, err)
	m := regexp.MustCompile(`^(/.*/run/keepmum-[A-Z2-7]{26})/[^/]+/\.env$`).FindStringSubmatch(target)
	if m == nil {
		t.Fatalf("the mount leads to %q", target)
	}
	if info, err := os.Lstat(target); err != nil || info.Mode() != os.ModeNamedPipe|0o600 {
		t.Errorf("there is %v, %v", info, err)
	}
	if info, err := os.Lstat(m[1]); err != nil || info.Mode() != os.ModeDir|0o700 {
		t.Errorf("the run folder is %v, %v", info, err)
	}
	lock, err := os.Open(m[1] + "/lock")
	must(t, err)
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Errorf("the lock is free: %v", err)
	}
}

// TestMountRefused: what has to do with other mounts and with names. [MNT-4]
// [REQ-4]
func TestMountRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy(allowed(`"maxMounts":1,`, "append", "create", "connect", "list"))
	p := w.unlock()
	w.stored("acme", "A")
	w.stored("other", "B")
	path := w.mount(p, "acme")
	for env, c := range map[string][2]string{
		"other": {path, "mounted already"},
		"acme":  {filepath.Join(w.project, "b.env"), "maxMounts"},
	} {
		if _, errOut, code := w.done(w.command("mount", env, c[0])); code != 1 || !strings.Contains(errOut, c[1]) {
			t.Errorf("mount %s %s: %d %q, want %q", env, c[0], code, errOut, c[1])
		}
	}
	if os.Getuid() != 0 { // who may write everywhere
		closed := filepath.Join(w.project, "closed")
		must(t, os.Mkdir(closed, 0o500))
		_, errOut, code := w.done(w.command("mount", "acme", filepath.Join(closed, ".env")))
		if code != 1 || !strings.Contains(errOut, "cannot be written") {
			t.Errorf("mount in a closed folder: %d %q", code, errOut)
		}
	}
	c := w.client()
	r, text := c.result(c.call("authenticate", map[string]any{}))
	if text != "" {
		t.Fatal(text)
	}
	c.account = r["account_id"].(string)
	list, _ := c.result(c.call("list_environments", map[string]any{}))
	id := list["environments"].([]any)[0].(map[string]any)["environmentId"]
	_, text = c.result(c.call("create_local_env_file", map[string]any{"environmentId": id,
		"environmentName": "other", "mountPath": path}))
	if !strings.Contains(text, `named "acme"`) {
		t.Errorf("with another Environment's name: %q", text)
	}
	p.nothingAsked()
}

// mountStates asks status for the state of each mount, and why.
func (w *world) mountStates() string {
	w.t.Helper()
	out, _, _ := w.done(w.command("status", "--json"))
	var s statusReport
	must(w.t, json.Unmarshal([]byte(out), &s))
	var states []string
	for _, m := range s.Mounts {
		states = append(states, strings.TrimSpace(m.State+" "+m.Why))
	}
	return strings.Join(states, ", ")
}

// TestMountStates: a mount is remembered, whatever became of its place.
// [MNT-12]
func TestMountStates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "A", "v")
	folder := filepath.Join(w.project, "app")
	must(t, os.Mkdir(folder, 0o700))
	path := w.mount(p, "acme", "app")
	again := func() {
		w.done(w.command("lock"))
		p.ends()
		p = w.unlock()
	}
	if got := w.mountStates(); got != mountServed {
		t.Errorf("at first: %s", got)
	}
	must(t, os.Remove(path))
	put(t, path, "A=1\n")
	if got := w.mountStates(); !strings.HasPrefix(got, mountBlocked+" ") || !strings.Contains(got, "mount it again") {
		t.Errorf("with a file in its place: %s", got)
	}
	again()
	if got := w.mountStates(); !strings.HasPrefix(got, mountBlocked+" ") || !strings.Contains(got, "regular file") {
		t.Errorf("with a file in its place, after an unlock: %s", got)
	}
	if out, _, _ := w.done(w.command("status")); !strings.Contains(out, "move it away") {
		t.Errorf("the text does not say why:\n%s", out)
	}
	must(t, os.Rename(folder, folder+"2"))
	if got := w.mountStates(); !strings.HasPrefix(got, mountOrphaned) {
		t.Errorf("without its folder: %s", got)
	}
	must(t, os.Rename(folder+"2", folder))
	must(t, os.Remove(path))
	again()
	if got := w.mountStates(); got != mountServed {
		t.Errorf("with its place free again: %s", got)
	}
}

// TestUnmount: the link goes, who waits has an end, and no grant is left.
// [MNT-13] [GRT-16]
func TestUnmount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy(allowed("", "append", "mount", "unmount"))
	p := w.unlock()
	w.stored("acme", "A")
	path := filepath.Join(w.project, ".env")
	mount := func() {
		if _, errOut, code := w.done(w.command("mount", "acme", path)); code != 0 {
			t.Fatal(errOut)
		}
	}
	mount()
	read, got := w.loop(path), make(chan string, 1)
	go func() { got <- read() }()
	p.answers("read", "p")
	<-got
	cmd, out := w.reads(path)
	p.sees(`read\r\n[\s\S]*> $`)
	if _, errOut, code := w.done(w.command("unmount", path)); code != 0 {
		t.Fatal(errOut)
	}
	if cmd.Wait(); out.String() != lineRefused {
		t.Errorf("the reader that waited got %q", out)
	}
	p.sees("withdrawn")
	if _, err := os.Lstat(path); !os.IsNotExist(err) || w.mountStates() != "" {
		t.Errorf("the mount is still there: %v, %q", err, w.mountStates())
	}
	mount()
	go func() { got <- read() }()
	p.answers("read", "n")
	if x := <-got; x != "got # keepmum: not approved|" {
		t.Errorf("a grant outlives its mount: %q", x)
	}
}

// TestReadsAreTold: no outcome but a plain delivery is quiet. [DLV-19]
func TestReadsAreTold(t *testing.T) {
	t.Parallel()
	w, p, path := mounted(t, "")
	latest := func() string {
		out, _, _ := w.done(w.command("status", "--json"))
		var s statusReport
		must(t, json.Unmarshal([]byte(out), &s))
		if s.Mounts[0].LastRead == nil {
			return ""
		}
		return s.Mounts[0].LastRead.Outcome
	}
	for key, want := range map[string][2]string{"o": {"read by cat", endDelivered},
		"n": {`NO VALUES \(refused, person: no\) for cat`, endRefused}} {
		cmd, _ := w.reads(path)
		p.answers("read", key)
		p.sees(want[0])
		cmd.Wait()
		if got := latest(); !strings.HasPrefix(got, want[1]) {
			t.Errorf("status: the latest read was %q, want %s", got, want[1])
		}
	}
	r := exampleRead()
	for word, want := range map[string]string{endTainted: "WARNING", endContested: "NO VALUES",
		endUnseen: "NO VALUES", endAbandoned: "not taken", endNotReader: "NO VALUES", endBroken: "NO VALUES"} {
		if text := renderRead(r, word, "why", "/home/you"); !strings.Contains(text, want) {
			t.Errorf("%s is told as %q", word, text)
		}
	}
}

// partKeeper is a keeper without a terminal, whose words are kept.
func partKeeper(t *testing.T) (k *keeper, said *strings.Builder) {
	t.Helper()
	v := newVault(t)
	k, err := newKeeper(filepath.Dir(v.path), "/home/you", v, mergePolicy(nil, nil))
	must(t, err)
	t.Cleanup(func() { k.audit.close() })
	k.asker = &prompts{}
	said = new(strings.Builder)
	k.say = func(format string, args ...any) { fmt.Fprintf(said, format, args...) }
	return k, said
}

// TestMountWithoutAPipe: status tells a mount whose pipe could not be put back from
// one that is served, and it is served again once it can be. [MNT-12]
func TestMountWithoutAPipe(t *testing.T) {
	t.Parallel()
	w, p, path := mounted(t, `{"rules":[{"action":["read"],"decision":"deny"}]}`)
	target, err := os.Readlink(path)
	must(t, err)
	folder := filepath.Dir(target)
	must(t, os.Rename(folder, folder+"-aside"))
	put(t, folder, "in the way")
	cmd, _ := w.reads(filepath.Join(folder+"-aside", filepath.Base(target)))
	p.sees("broken")
	if got := w.mountStates(); !strings.HasPrefix(got, mountBlocked+" its pipe could not be put back") {
		t.Errorf("without a pipe: %s", got)
	}
	cmd.Wait()
	must(t, os.Remove(folder))
	waitFor(t, "the mount to be served", func() bool { return w.mountStates() == mountServed })
}

// TestReadsOfOneProcess: two opens of one process are two reads, each with its
// own request and dialect in the log. [DLV-17] [TXT-33]
func TestReadsOfOneProcess(t *testing.T) {
	k, _ := partKeeper(t)
	self, err := lookup(os.Getpid())
	must(t, err)
	defer self.close()
	k.asker = ownYes{}
	must(t, k.vault.update(func(d *vaultData) error {
		e := d.environmentByName("acme-dev")
		e.mounts = append(e.mounts, &mount{path: "/p/.env", dialect: string(dialectJS)})
		return nil
	}))
	one, two := *self, *self
	for _, who := range []*process{&one, &two} {
		_, err := k.approve(t.Context(), "/p/.env", who)
		must(t, err)
	}
	for _, who := range []*process{&two, &one, nil} {
		k.ended("/p/.env", who, endDelivered, "")
	}
	text, err := os.ReadFile(auditPath(k.home))
	must(t, err)
	var got []string
	for line := range strings.Lines(string(text)) {
		var e auditEntry
		must(t, json.Unmarshal([]byte(line), &e))
		if e.Outcome != "" {
			got = append(got, fmt.Sprint(e.Request, " ", e.Outcome))
		}
	}
	if want := []string{"2 delivered: js", "1 delivered: js", "0 delivered"}; !slices.Equal(got, want) || len(k.reading) > 0 {
		t.Errorf("the log has %q, want %q; %d are under way", got, want, len(k.reading))
	}
}

// TestTaintDropsGrants: who may have been robbed is asked again. [GRT-16]
func TestTaintDropsGrants(t *testing.T) {
	for _, word := range []string{endDelivered, endTainted} {
		k, _ := partKeeper(t)
		r := shownRead(t)
		k.grants.add(r, answerTimed, time.Hour, -1, time.Now())
		k.ended(r.object.path, nil, word, "")
		if n := len(k.grants.inForce(time.Now())); (n == 0) != (word == endTainted) {
			t.Errorf("after %q there are %d grants", word, n)
		}
		k.grants.revoke(func(*grant) bool { return true })
	}
}

// nobody is a handler of pipes that nobody opens.
type nobody struct{}

func (nobody) approve(context.Context, string, *process) ([]byte, error) { return nil, os.ErrInvalid }
func (nobody) ended(string, *process, string, string)                    {}
func (nobody) agentKnown(int, uint64) bool                               { return false }

// TestInexactIsSaid: where opens are not counted exactly, the person knows.
// [DLV-20]
func TestInexactIsSaid(t *testing.T) {
	k, said := partKeeper(t)
	var err error
	k.pipes, err = newPipes(t.TempDir(), nobody{}, true)
	must(t, err)
	defer k.pipes.close()
	k.greet(func(string) string { return "" })
	if s := k.status(); *s.Exact || s.Note == "" || !strings.Contains(said.String(), "not counted exactly") {
		t.Errorf("status %v, %q; at start:\n%s", *s.Exact, s.Note, said)
	}
}

// TestMountTimes: no read looks like an edit, neither at the link nor at what
// it leads to, and a change looks like one at both. [WCH-1] [WCH-2]
func TestMountTimes(t *testing.T) {
	t.Parallel()
	w, p, path := mounted(t, "")
	look := func() (target string, link, fifo time.Time) {
		target, err := os.Readlink(path)
		must(t, err)
		l, err := os.Lstat(path)
		must(t, err)
		f, err := os.Stat(path)
		must(t, err)
		return target, l.ModTime(), f.ModTime()
	}
	target, link, fifo := look()
	cmd, _ := w.reads(path)
	p.answers("read", "o")
	must(t, cmd.Wait())
	if tg, l, f := look(); tg != target || !l.Equal(link) || !f.Equal(fifo) {
		t.Errorf("a read changed %q %v %v to %q %v %v", target, link, fifo, tg, l, f)
	}
	w.set(p, "acme", "ANOTHER", "value")
	if tg, l, f := look(); tg != target || !f.After(fifo) || !l.Equal(f) {
		t.Errorf("after a change the link has %q %v, the FIFO %v, before %q %v", tg, l, f, target, fifo)
	}
}
