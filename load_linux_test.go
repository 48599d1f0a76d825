package main

// What keeper and bridge take while much is asked of them, and what is left of it
// when all has gone: no answer lost or doubled, no goroutine, descriptor or FIFO.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	// keepmum, which on SIGUSR1 says what it has open and which goroutines it
	// has: a keeper does not let others look.
	helpers["counted"] = func() {
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, unix.SIGUSR1)
		go func() {
			for range asked {
				tellCount(filepath.Join(os.Getenv("KEEPMUM_TEST_COUNT"), fmt.Sprint("count-", os.Getpid())))
			}
		}()
		helpers["main"]()
	}
}

// tellCount writes how many goroutines and descriptors this process has, and
// where they come from.
func tellCount(file string) {
	var text bytes.Buffer
	open, _ := os.ReadDir("/proc/self/fd")
	fmt.Fprintf(&text, "%d %d\n", runtime.NumGoroutine(), len(open))
	for _, fd := range open {
		target, _ := os.Readlink("/proc/self/fd/" + fd.Name())
		fmt.Fprintf(&text, "%s %s\n", fd.Name(), target)
	}
	pprof.Lookup("goroutine").WriteTo(&text, 1)
	check(os.WriteFile(file+".new", text.Bytes(), 0o600))
	check(os.Rename(file+".new", file))
}

// countedWorld makes the processes of a world countable, and lets rules say yes to
// everything, which is no sign of the person and so would not put off a lock.
func countedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	for i, v := range w.env {
		if v == "KEEPMUM_TEST_HELPER=main" {
			w.env[i] = "KEEPMUM_TEST_HELPER=counted"
		}
	}
	w.env = append(w.env, "KEEPMUM_TEST_COUNT="+w.dir)
	w.policy(`{"idleLock":"24h","maxMounts":2000,"rules":[{"agent":true,"decision":"allow"},{"agent":false,"decision":"allow"}]}`)
	return w
}

// usage is what a process takes.
type usage struct {
	kib, threads, fds, goroutines int
	fifos                         int // in the home
	text                          string
}

func (u usage) String() string {
	return fmt.Sprintf("%5.1f MiB, %d threads, %d descriptors, %d goroutines, %d FIFOs",
		float64(u.kib)/1024, u.threads, u.fds, u.goroutines, u.fifos)
}

// usage asks a process of ours what it takes.
func (w *world) usage(pid int) (u usage) {
	w.t.Helper()
	file := filepath.Join(w.dir, fmt.Sprint("count-", pid))
	os.Remove(file)
	must(w.t, unix.Kill(pid, unix.SIGUSR1))
	var text []byte
	waitFor(w.t, "a process to count itself", func() bool {
		var err error
		text, err = os.ReadFile(file)
		return err == nil
	})
	u.text = string(text)
	fmt.Sscan(u.text, &u.goroutines, &u.fds)
	var size int
	fmt.Sscan(procText(w.t, pid, "statm"), &size, &u.kib)
	u.kib *= os.Getpagesize() / 1024
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	must(w.t, err)
	u.threads = len(threads)
	filepath.WalkDir(w.home, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type() == fs.ModeNamedPipe {
			u.fifos++
		}
		return nil
	})
	return u
}

// goesBack waits until a process has no more goroutines, descriptors and FIFOs
// than before.
func (w *world) goesBack(what string, pid int, before usage) {
	w.t.Helper()
	var now usage
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		now = w.usage(pid)
		if now.goroutines <= before.goroutines && now.fds <= before.fds && now.fifos <= before.fifos {
			w.t.Logf("%s: before %v; after %v", what, before, now)
			return
		}
	}
	w.t.Errorf("%s kept something: before %v; after %v\n%s", what, before, now, now.text)
}

// mayThreads: each request under way may wait for the system, in a thread that
// the runtime then keeps.
const mayThreads = maxUnderWay + 64

// within fails if a process takes more memory or threads than it may.
func (w *world) within(what string, pid, mib int) {
	w.t.Helper()
	u := w.usage(pid)
	if raceBuild {
		mib *= 4
	}
	if u.kib > mib<<10 || u.threads > mayThreads {
		w.t.Errorf("%s takes %v, and may take %d MiB and %d threads", what, u, mib, mayThreads)
	}
	w.t.Logf("%s under load: %v", what, u)
}

// environments makes n Environments e0, e1, … with a variable V0, V1, …, and
// returns their ids.
func (w *world) environments(c *session, n int) (ids []string) {
	w.t.Helper()
	for i := range n {
		name := fmt.Sprint(i)
		cmd := w.command("set", "e"+name, "V"+name)
		cmd.Stdin = strings.NewReader("value" + name)
		if _, errOut, code := w.done(cmd); code != 0 {
			w.t.Fatal(errOut)
		}
	}
	r, text := c.result(c.call("list_environments", map[string]any{}))
	list, _ := r["environments"].([]any)
	if len(list) != n {
		w.t.Fatalf("%v %s", r, text)
	}
	for i := range list {
		ids = append(ids, list[i].(map[string]any)["environmentId"].(string))
	}
	return ids
}

// authenticates connects a client that a rule lets in.
func (c *session) authenticates() {
	c.w.t.Helper()
	r, text := c.result(c.call("authenticate", map[string]any{}))
	if text != "" {
		c.w.t.Fatal(text)
	}
	c.account = r["account_id"].(string)
}

// lists asks for the variables of Environment i of ids and returns how to see
// that this very question was answered: yes, or that there was no room.
func (c *session) lists(ids []string, i int) (answered func() bool) {
	i %= len(ids)
	id := c.call("list_variables", map[string]any{"environmentId": ids[i]})
	return func() bool {
		c.w.t.Helper()
		r, text := c.result(id)
		if strings.HasSuffix(text, "try again") { // another had its place, of which it hears only now
			r, text = c.result(c.call("list_variables", map[string]any{"environmentId": ids[i]}))
		}
		if text != "" {
			// By the bridge or, where that had room, by the keeper.
			if !strings.Contains(text, "under way") {
				c.w.t.Errorf("call %d: %s", id, text)
			}
			return false
		}
		if raw, _ := json.Marshal(r); !strings.Contains(string(raw), fmt.Sprintf(`"V%d"`, i)) {
			c.w.t.Errorf("call %d, for Environment %d, was answered: %s", id, i, raw)
		}
		return true
	}
}

// TestPipelinedCalls sends many calls over one bridge, first as many at a time
// as there is room for, then all at once: each is answered once, with what it
// asked for or, all at once, with the word that there is no room. With -long,
// ten thousand of each. [SOC-8] [SOC-11] [MCP-28]
func TestPipelinedCalls(t *testing.T) {
	n := 1000
	if *long {
		n = 10000
	}
	w := countedWorld(t)
	p, c := w.unlock(), w.client()
	c.authenticates()
	ids := w.environments(c, 10)
	keeper, bridge := w.usage(p.cmd.Process.Pid), w.usage(c.cmd.Process.Pid)
	for _, window := range []int{maxUnderWay / 2, n} {
		done := 0
		for first := 0; first < n; first += window {
			var calls []func() bool
			for i := range min(window, n-first) {
				calls = append(calls, c.lists(ids, first+i))
			}
			for _, answered := range calls {
				if answered() {
					done++
				}
			}
		}
		if window < n && done != n || done < maxUnderWay/2 {
			t.Errorf("%d at a time: %d of %d calls were done", window, done, n)
		}
		t.Logf("%d at a time: %d calls done, %d told that there is no room", window, done, n-done)
		w.within("the keeper", p.cmd.Process.Pid, 160)
		w.within("the bridge", c.cmd.Process.Pid, 160)
	}
	w.goesBack("the keeper", p.cmd.Process.Pid, keeper)
	w.goesBack("the bridge", c.cmd.Process.Pid, bridge)
	p.nothingAsked()
}

// TestManyBridges has as many bridges as there are connections, all at work, and
// one more, which takes the place of one that then comes again. [SOC-13]
func TestManyBridges(t *testing.T) {
	rounds := 5
	if *long {
		rounds = 200
	}
	w := countedWorld(t)
	p, first := w.unlock(), w.client()
	first.authenticates()
	ids := w.environments(first, 4)
	first.leaves()
	before := w.usage(p.cmd.Process.Pid)
	var bridges []*session
	for range maxConns {
		bridges = append(bridges, w.client())
		bridges[len(bridges)-1].authenticates()
	}
	work := func() {
		var wait sync.WaitGroup
		for b, c := range bridges {
			wait.Go(func() {
				for i := range rounds {
					if !c.lists(ids, b+i)() {
						t.Errorf("bridge %d had no room", b)
					}
				}
			})
		}
		wait.Wait()
	}
	work()
	w.within("the keeper", p.cmd.Process.Pid, 160)
	bridges = append(bridges, w.client())
	bridges[maxConns].authenticates()
	for b, c := range bridges { // one after the other: each is idle when its place is taken
		if !c.lists(ids, b)() {
			t.Errorf("bridge %d has no place any more", b)
		}
	}
	for _, c := range bridges {
		c.leaves()
	}
	w.goesBack("the keeper", p.cmd.Process.Pid, before)
	p.nothingAsked()
}

// leaves ends a session as a client does.
func (c *session) leaves() {
	c.w.t.Helper()
	c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		c.w.t.Errorf("the bridge: %v", err)
	}
}

// mounts makes n mounts of ten Environments.
func (w *world) mounts(n int) (paths []string) {
	w.t.Helper()
	for i := range n {
		dir := filepath.Join(w.project, fmt.Sprint(i))
		must(w.t, os.Mkdir(dir, 0o700))
		paths = append(paths, filepath.Join(dir, ".env"))
		set := w.command("set", fmt.Sprint("m", i%10), "A")
		set.Stdin = strings.NewReader(fmt.Sprint("v", i%10))
		for _, cmd := range []*exec.Cmd{set, w.command("mount", fmt.Sprint("m", i%10), paths[i])} {
			if _, errOut, code := w.done(cmd); code != 0 {
				w.t.Fatal(errOut)
			}
		}
	}
	return paths
}

// textOf is what a reader of mount i gets.
func textOf(i int) string { return fmt.Sprintf("# keepmum: m%d\nA=v%[1]d\n", i%10) }

// TestManyReaders has many mounts and as many readers at work as there is time
// for. With -long, a thousand mounts and fifty readers for ten minutes. [DLV-2]
func TestManyReaders(t *testing.T) {
	mounts, readers, during := 20, 10, time.Second
	if *long {
		mounts, readers, during = 1000, 50, 10*time.Minute
	}
	w := countedWorld(t)
	p := w.unlock()
	paths := w.mounts(mounts)
	before := w.usage(p.cmd.Process.Pid)
	end := time.Now().Add(during)
	var whole, contested atomic.Int64
	var wait sync.WaitGroup
	for range readers {
		wait.Go(func() {
			for (time.Now().Before(end) || whole.Load() < int64(readers)) && !t.Failed() {
				i := rand.IntN(mounts)
				out, err := exec.Command("cat", paths[i]).Output()
				switch text := string(out); {
				case text == textOf(i):
					whole.Add(1)
				case err == nil && strings.ReplaceAll(text, lineContested, "") == "":
					contested.Add(1) // two at one pipe [DLV-6]
				default:
					t.Errorf("%s: %v %q", paths[i], err, text)
				}
			}
		})
	}
	for time.Now().Before(end) {
		time.Sleep(during / 4) // the readers' work is what is waited for
		w.within("the keeper", p.cmd.Process.Pid, 256)
	}
	wait.Wait()
	t.Logf("%d reads of %d mounts by %d readers, and %d contested", whole.Load(), mounts, readers, contested.Load())
	w.goesBack("the keeper", p.cmd.Process.Pid, before)
	w.done(w.command("lock"))
	p.ends()
	w.nothingLeft(paths)
	log, err := os.ReadFile(auditPath(w.home))
	must(t, err)
	for outcome, n := range map[string]int64{endDelivered: whole.Load(), endContested: contested.Load()} {
		if logged := bytes.Count(log, []byte(`"outcome":"`+outcome)); int64(logged) != n {
			t.Errorf("%d reads were %s, and the log has %d", n, outcome, logged)
		}
	}
	if whole.Load() < int64(readers) {
		t.Error("too few to show anything")
	}
}

// nothingLeft wants no mount, no FIFO and no run folder.
func (w *world) nothingLeft(paths []string) {
	w.t.Helper()
	for _, path := range paths {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			w.t.Errorf("%s outlives the lock", path)
		}
	}
	left, err := os.ReadDir(filepath.Join(w.home, "run"))
	if err != nil || len(left) > 0 {
		w.t.Errorf("left in the run folder: %v %v", left, err)
	}
}

// flood is many readers that have been started.
type flood struct {
	w     *world
	cmds  []*exec.Cmd
	mu    sync.Mutex
	texts map[string]int // of those that have ended
}

// flood starts n readers, each in a folder of its own and so an actor of its
// own, at the mounts in turn. Before it comes to the first mount again it waits
// until all are heard, as two at one pipe would be told to come again.
func (w *world) flood(paths []string, n int) *flood {
	w.t.Helper()
	f := &flood{w: w, texts: map[string]int{}}
	w.t.Cleanup(f.kill)
	for i := range n {
		cmd, out := exec.Command("cat", paths[i%len(paths)]), new(bytes.Buffer)
		cmd.Dir, cmd.Stdout = filepath.Join(w.dir, fmt.Sprint("at", i)), out
		os.Mkdir(cmd.Dir, 0o700)
		must(w.t, cmd.Start())
		f.cmds = append(f.cmds, cmd)
		go func() {
			cmd.Wait()
			f.mu.Lock()
			defer f.mu.Unlock()
			f.texts[out.String()]++
		}()
		if (i+1)%len(paths) == 0 || i+1 == n {
			waitFor(w.t, "readers to be heard", func() bool { return w.waiting() == f.waiting() })
		}
	}
	return f
}

// waiting is how many readers have not ended.
func (f *flood) waiting() int {
	values, none := f.ended()
	return len(f.cmds) - values - none
}

func (f *flood) kill() {
	for _, cmd := range f.cmds {
		cmd.Process.Kill()
	}
}

// ended is how many readers have ended with a value, and how many without one.
func (f *flood) ended() (values, none int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for text, n := range f.texts {
		if strings.Contains(text, "A=") {
			values += n
		} else {
			none += n
		}
	}
	return values, none
}

// waiting is how many questions wait, as the keeper says.
func (w *world) waiting() int {
	w.t.Helper()
	out, errOut, code := w.done(w.command("status", "--json"))
	var status struct{ Waiting int }
	if err := json.Unmarshal([]byte(out), &status); err != nil || code != 0 {
		w.t.Fatal(err, errOut)
	}
	return status.Waiting
}

// TestManyQuestions has many readers, each an actor of its own, ask at once. As
// many wait as may, the others are told no; who leaves makes room; at the lock
// each has its end of file. With -long, five hundred. [REQ-12] [ASK-15] [KPR-20]
func TestManyQuestions(t *testing.T) {
	n := 300
	if *long {
		n = 500
	}
	w := countedWorld(t)
	w.policy(`{"maxMounts":2000,"promptTimeout":"10m","rules":[{"action":["read"],"decision":"ask"},
		{"agent":true,"decision":"allow"},{"agent":false,"decision":"allow"}]}`)
	p := w.unlock()
	paths := w.mounts(35) // each has room for sixteen readers [DLV-3]
	before := w.usage(p.cmd.Process.Pid)
	began := time.Now()
	first := w.flood(paths, n)
	waiting := first.waiting()
	t.Logf("%d readers within %v: %d wait", n, time.Since(began).Round(100*time.Millisecond), waiting)
	if waiting > maxQuestions+1 || waiting < maxQuestions { // one is on the screen
		t.Errorf("%d questions wait", waiting)
	}
	w.within("the keeper", p.cmd.Process.Pid, 256)
	for range 3 {
		p.answers("read", "o")
	}
	waitFor(t, "three yeses", func() bool { values, _ := first.ended(); return values == 3 })
	first.kill()
	w.goesBack("the keeper", p.cmd.Process.Pid, before)
	second := w.flood(paths, 40)
	if n := second.waiting(); n != 40 {
		t.Errorf("%d of 40 wait", n)
	}
	w.done(w.command("lock"))
	p.ends()
	waitFor(t, "their end of file", func() bool { _, none := second.ended(); return none == 40 })
	w.nothingLeft(paths)
}
