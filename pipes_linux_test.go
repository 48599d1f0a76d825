package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	file := os.Getenv("KEEPMUM_TEST_FILE")
	cat := func(fd int) {
		buf := make([]byte, 1<<16)
		for {
			n, err := unix.Read(fd, buf)
			if n <= 0 && err != unix.EINTR {
				return
			}
			os.Stdout.Write(buf[:max(n, 0)])
		}
	}
	// opath holds the inode without opening it and opens it at a byte from stdin.
	helpers["opath"] = func() {
		fd, _ := unix.Open(file, unix.O_PATH, 0)
		fmt.Println("held")
		os.Stdin.Read(make([]byte, 1))
		again, err := unix.Open(fdPath(fd), unix.O_RDONLY, 0)
		if err != nil {
			fmt.Print(err)
			return
		}
		cat(again)
	}
	// exec opens and lets another program read, at once, after some work, or at a
	// byte from stdin.
	helpers["exec"] = func() {
		runtime.LockOSThread() // in init it is the main thread, whose state is seen
		fd, _ := unix.Open(file, unix.O_RDONLY, 0)
		switch strings.Join(os.Args[1:], "") {
		case "busy":
			for end := time.Now().Add(60 * time.Millisecond); time.Now().Before(end); {
			}
		case "later":
			os.Stdin.Read(make([]byte, 1))
		}
		unix.Dup2(fd, 0)
		unix.Close(fd)
		syscall.Exec("/bin/cat", []string{"cat"}, nil)
	}
	helpers["chmod"] = func() { fmt.Print(os.Chmod(file, 0o644)) }
	// thief opens another's pipe and takes what it gets.
	helpers["thief"] = func() {
		os.Chmod(file, 0o600)
		fd, _ := unix.Open(file, unix.O_RDONLY|unix.O_NONBLOCK, 0)
		cat(fd)
	}
	// another reads as one whom the keeper cannot see.
	helpers["another"] = func() {
		runtimeHide()
		fd, _ := unix.Open(file, unix.O_RDONLY, 0)
		if os.Getuid() == 0 {
			syscall.Setuid(65534)
		}
		cat(fd)
	}
	helpers["hardened"] = func() {
		if err := harden(); err != nil {
			fmt.Print(err)
			return
		}
		fmt.Println("ready")
		io.Copy(io.Discard, os.Stdin)
	}
	helpers["hardened nobody"] = func() {
		check(syscall.Setuid(65534))
		check(unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0))
		fmt.Println("open")
		os.Stdin.Read(make([]byte, 1))
		helpers["hardened"]()
	}
	// keeper is the engine in a hardened process that serves one mount.
	helpers["hardened keeper"] = func() {
		k := &keeperStub{text: testText(2000)}
		err := harden()
		s, err2 := newPipes(file, k, false)
		if err != nil || err2 != nil {
			fmt.Println(err, err2)
			return
		}
		name, _ := s.add("m", ".env", changedTime)
		fmt.Println(name)
		io.Copy(io.Discard, os.Stdin)
		s.close()
	}
}

// runtimeHide makes the process invisible to others of its user.
func runtimeHide() { unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// untilCancelled asks a person who never answers.
func untilCancelled(ctx context.Context, _ *process) error { <-ctx.Done(); return ctx.Err() }

// firstLine waits for what a helper prints first.
func (r *reader) firstLine() string {
	waitFor(r.t, "a helper", func() bool { return strings.Contains(r.out.String(), "\n") })
	line, _, _ := strings.Cut(r.out.String(), "\n")
	return line
}

// [DLV-6] [DLV-9]
func TestPipesOneMoreOpen(t *testing.T) {
	for _, c := range []struct {
		name, helper string
		flags        int
	}{
		{"reader", "read", unix.O_RDONLY},
		{"writer", "writeonly", unix.O_WRONLY},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothCounters(t, func(t *testing.T, e *engine) {
				e.keeper.decide = untilCancelled
				first := startHelper(t, "read", e.file)
				waitFor(t, "the question", func() bool { return e.keeper.questions() != "" })
				second := startHelper(t, c.helper, heldFile(t, first.cmd.Process.Pid))
				waitFor(t, "both records", func() bool { return e.keeper.count(endContested) == 2 })
				second.in.Close()
				got := first.wait() + second.wait()
				if lines := strings.Count(got, lineContested); lines == 0 ||
					strings.ReplaceAll(got, lineContested, "") != "" {
					t.Errorf("the two got %q", got)
				}
				e.keeper.decide = nil
				e.mustRead(t)
			})
		})
	}
}

// heldFile finds the descriptor by which a process holds a FIFO named .env.
func heldFile(t *testing.T, pid int) string {
	dir := procPath(pid, "fd")
	names, err := os.ReadDir(dir)
	for _, n := range names {
		if to, _ := os.Readlink(filepath.Join(dir, n.Name())); strings.Contains(to, "/.env") {
			return filepath.Join(dir, n.Name())
		}
	}
	t.Fatalf("the reader holds no pipe: %v", err)
	return ""
}

// [DLV-6] [DLV-16]
func TestPipesHeldByPath(t *testing.T) {
	bothCounters(t, func(t *testing.T, e *engine) {
		late, joins := startHelper(t, "opath", e.file), startHelper(t, "opath", e.file)
		late.firstLine()
		joins.firstLine()
		e.keeper.decide = untilCancelled
		first := startHelper(t, "read", e.file)
		waitFor(t, "the question", func() bool { return e.keeper.questions() != "" })
		joins.in.Write([]byte("x"))
		waitFor(t, "both records", func() bool { return e.keeper.count(endContested) == 2 })
		// The pipe has had its end; who finds it now would wait for ever.
		late.in.Write([]byte("x"))
		for _, r := range []*reader{first, joins} {
			if got := strings.TrimPrefix(r.wait(), "held\n"); strings.Contains(got, "KEY") {
				t.Errorf("a reader of a shared pipe got %q", got)
			}
		}
		if got := late.wait(); got != "held\n"+lineRefused {
			t.Errorf("the late one got %q", got)
		}
		if exact, _ := e.exact(); exact {
			waitFor(t, "the record of the late one", func() bool { return e.keeper.count(endRefused) == 1 })
		}
		e.keeper.decide = nil
		e.mustRead(t)
	})
}

func TestPipesHardLink(t *testing.T) {
	e := newEngine(t, false)
	link := filepath.Join(t.TempDir(), "link")
	before, _ := os.Stat(e.file)
	if got := startHelper(t, "link", e.file, link).wait(); got != "<nil>" {
		t.Fatalf("link: %s", got)
	}
	waitFor(t, "another pipe to take the name", func() bool {
		now, err := os.Stat(e.file)
		return err == nil && !os.SameFile(before, now)
	})
	// A small program: a large one may come only when the pipe has been given up.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if got, err := exec.CommandContext(ctx, "cat", link).Output(); strings.Contains(string(got), "KEY") || ctx.Err() != nil {
		t.Errorf("the link gave %.40q, %v", got, err)
	}
	e.mustRead(t)
}

// [DLV-11]
func TestPipesChangedByAnother(t *testing.T) {
	e := newEngine(t, false)
	e.keeper.decide = untilCancelled
	r := startHelper(t, "read", e.file)
	waitFor(t, "the question", func() bool { return e.keeper.questions() != "" })
	startHelper(t, "chmod", heldFile(t, r.cmd.Process.Pid)).wait()
	if got := r.wait(); got != lineRefused {
		t.Errorf("the reader got %q", got)
	}
}

// [DLV-4] [DLV-10]
func TestPipesExec(t *testing.T) {
	bothCounters(t, func(t *testing.T, e *engine) {
		cat, _ := filepath.EvalSymlinks("/bin/cat")
		// On a busy machine it may exec later than the engine waits for: then
		// another program is asked about, and nothing is delivered to cat.
		for tries, how := 1, []string{"", "busy"}; len(how) > 0; tries++ {
			before := e.keeper.questions()
			got := startHelper(t, "exec", e.file, how[0]).wait()
			asked := strings.TrimSpace(strings.TrimPrefix(e.keeper.questions(), before))
			if got == e.keeper.text && asked == filepath.Base(cat) {
				how = how[1:]
				continue
			}
			if got != lineRefused || asked == filepath.Base(cat) || tries == 10 {
				t.Fatalf("cat got %.40q, asked about %q; %s", got, asked, e.keeper.story())
			}
		}
		asked := make(chan struct{})
		e.keeper.decide = func(_ context.Context, who *process) error {
			close(asked) // it execs after it was shown
			for end := time.Now().Add(5 * time.Second); who.same() == nil && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			return nil
		}
		r := startHelper(t, "exec", e.file, "later")
		<-asked
		r.in.Write([]byte("x"))
		if got := r.wait(); got != lineRefused {
			t.Errorf("who was not approved got %.40q", got)
		}
	})
}

// [DLV-7] [WHO-4]
func TestPipesUnseen(t *testing.T) {
	bothCounters(t, func(t *testing.T, e *engine) {
		if got := startHelper(t, "another", e.file).wait(); got != lineUnseen {
			t.Errorf("an invisible reader got %.40q", got)
		}
		waitFor(t, "the record", func() bool { return e.keeper.all() == endUnseen })
		if e.keeper.questions() != "" {
			t.Error("somebody was asked")
		}
	})
}

// [DLV-11]
func TestPipesLostEvents(t *testing.T) {
	e := newEngine(t, false)
	e.keeper.decide = untilCancelled
	r := startHelper(t, "read", e.file)
	waitFor(t, "the question", func() bool { return e.keeper.questions() != "" })
	overflow := make([]byte, 24)
	binary.NativeEndian.PutUint32(overflow, 24)
	binary.NativeEndian.PutUint64(overflow[8:], unix.FAN_Q_OVERFLOW)
	before, _ := os.Stat(e.file)
	f := e.count.(*fanotify)
	f.mu.Lock()
	f.parseEvents(overflow)
	f.mu.Unlock()
	if got := r.wait(); got != lineContested {
		t.Errorf("the reader got %q", got)
	}
	waitFor(t, "another pipe to take the name", func() bool {
		now, err := os.Stat(e.file)
		return err == nil && !os.SameFile(before, now)
	})
	e.keeper.decide = nil
	e.mustRead(t)
}

// TestPipesTainted lets a second process open while values are in the pipe.
// [DLV-15]
func TestPipesTainted(t *testing.T) {
	bothCounters(t, func(t *testing.T, e *engine) {
		e.keeper.text = testText(200000)
		r := startHelper(t, "part", e.file, "100000") // and takes no more
		waitFor(t, "the question", func() bool { return e.keeper.questions() != "" })
		held := heldFile(t, r.cmd.Process.Pid)
		r.firstLine() // it has its part
		thief := startHelper(t, "thief", held)
		got := thief.wait()
		waitFor(t, "the record", func() bool { return e.keeper.all() != "" })
		// The thief changes the mode and opens: that may come after the end. [DLV-16]
		if word := e.keeper.all(); word != endTainted && word != endTainted+" "+endRefused {
			t.Errorf("it ended %s; the thief got %.40q", e.keeper.story(), got)
		}
		r.in.Close()
		e.keeper.text = testText(2000)
		e.mustRead(t)
	})
}

// [DLV-1]
func TestPipesHostileSpares(t *testing.T) {
	s := &pipes{spareDir: t.TempDir()}
	var err error
	for _, c := range []struct {
		name  string
		flags int
	}{
		{"reader", unix.O_RDONLY | unix.O_NONBLOCK},
		{"reader and writer", unix.O_RDWR},
	} {
		for _, fallback := range []bool{false, true} {
			s.made.Store(0)
			if s.count, err = newCounter(fallback, func(counter) error { return nil }); err != nil {
				t.Fatal(err)
			}
			// The first one is opened between its making and its watching.
			s.count = early{s.count, c.flags, t}
			if _, err := s.tryInstance(); err != errDisturbed {
				t.Errorf("%s, fallback %v: %v, want %v", c.name, fallback, err, errDisturbed)
			}
			s.count.stop()
			s.count.next()
		}
	}
}

// early opens each FIFO before it is counted.
type early struct {
	counter
	flags int
	t     *testing.T
}

func (a early) watch(i *instance, r int) error {
	fd, err := unix.Open(i.file, a.flags|unix.O_CLOEXEC, 0)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { unix.Close(fd) })
	return a.counter.watch(i, r)
}

// TestHardenedProcessIsClosed: to others of its user. [KPR-10]
func TestHardenedProcessIsClosed(t *testing.T) {
	if os.Getuid() == 0 { // who may look into every process, and sees whose its files are
		r := startHelper(t, "hardened nobody", "")
		r.firstLine()
		owner := func() uint32 {
			var st unix.Stat_t
			must(t, unix.Stat(procPath(r.cmd.Process.Pid, "environ"), &st))
			return st.Uid
		}
		if owner() != 65534 {
			t.Fatal("its files are closed already, so this shows nothing")
		}
		r.in.Write([]byte("x"))
		waitFor(t, "its files to be root's", func() bool { return owner() == 0 })
		return
	}
	r := startHelper(t, "hardened", "")
	if line := r.firstLine(); line != "ready" {
		t.Fatal(line)
	}
	for _, name := range []string{"fd", "mem", "environ", "maps"} {
		path := procPath(r.cmd.Process.Pid, name)
		f, err := os.Open(path)
		if err == nil {
			_, err = f.Read(make([]byte, 1))
			f.Close()
		}
		if !os.IsPermission(err) {
			t.Errorf("%s: %v, want permission denied", name, err)
		}
	}
}

func TestHardenedKeeperServes(t *testing.T) {
	k := startHelper(t, "hardened keeper", t.TempDir())
	file := k.firstLine()
	if got := startHelper(t, "read", file).wait(); got != testText(2000) {
		t.Errorf("read %.40q from %q", got, file)
	}
	k.in.Close()
	k.wait()
}

// Two threads that open at the same moment are counted as one open: their
// descriptors must tell. [DLV-6]
func TestHoldsTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	must(t, unix.Mkfifo(path, 0o600))
	open := func() int {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		must(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	i := &instance{w: -1, dev: st.Dev, ino: st.Ino}
	if _, ok := holds(os.Getpid(), i); ok {
		t.Error("held before it was opened")
	}
	first := open()
	copied, err := unix.FcntlInt(uintptr(first), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(copied)
	if h, ok := holds(os.Getpid(), i); !ok || h.twice {
		t.Errorf("one open and its copy: %+v, %v", h, ok)
	}
	open()
	h, _ := holds(os.Getpid(), i)
	if !h.twice {
		t.Errorf("two opens: %+v", h)
	}
	if bad := (&visit{}).onlyReads([]holder{h}); bad == nil || bad.word != endContested {
		t.Errorf("two opens came out as %v", bad)
	}
}

// merging is a counter that has taken all opens for one, as inotify may.
type merging struct{ counter }

func (merging) tally(*instance) tally { return tally{opens: 1} }
func (merging) exact() (bool, string) { return false, "" }

// TestContendersSeen: two that hold one pipe are two, also where their opens came in
// one moment and were counted as one. [DLV-6]
func TestContendersSeen(t *testing.T) {
	i := ownInstance(t)
	for range 2 {
		r, err := os.OpenFile(i.path, os.O_RDONLY, 0)
		must(t, err)
		cmd := exec.Command("sleep", "60")
		cmd.ExtraFiles = []*os.File{r}
		must(t, cmd.Start())
		r.Close()
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	}
	v := &visit{pipes: &pipes{count: merging{}, handler: &keeperStub{}}, i: i.instance}
	// The look at the processes has an end, on a busy machine before the second.
	waitFor(t, "two contenders", func() bool { return v.contenders() == 2 })
	waitFor(t, "two records", func() bool {
		v.who = nil
		others := v.bystanders(&verdict{word: endContested})
		return v.who != nil && len(others) == 1 && others[0] != nil
	})
}

// TestPipesClosedByAChild: a child that has just been started may be the last to
// close an end of ours. Nobody was left behind then. [DLV-16]
func TestPipesClosedByAChild(t *testing.T) {
	s := &pipes{spareDir: t.TempDir()}
	var err error
	s.count, err = newCounter(false, func(counter) error { return nil })
	must(t, err)
	defer func() { s.count.stop(); s.count.next() }()
	i, err := s.tryInstance()
	if err != nil {
		t.Skip("no exact counter here: ", err)
	}
	r := startHelper(t, "part", i.file, "0")
	waitFor(t, "the reader", func() bool { return s.count.tally(i).opens == 1 })
	fd, err := unix.FcntlInt(uintptr(i.w), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	child, copied := exec.Command("sleep", "60"), os.NewFile(uintptr(fd), "")
	child.ExtraFiles = []*os.File{copied}
	must(t, child.Start())
	copied.Close()
	(&visit{pipes: s, i: i}).retire()
	defer unix.Close(i.late)
	child.Process.Kill()
	child.Wait()
	if s.leftBehind(i) {
		t.Errorf("our own end was taken for the reader's: %+v", s.count.tally(i))
	}
	r.in.Close()
	waitFor(t, "the reader's close", func() bool { return s.leftBehind(i) })
}
