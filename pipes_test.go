package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// keeperStub answers for the keeper: yes with text, unless decide says else.
type keeperStub struct {
	mu     sync.Mutex
	text   string
	decide func(ctx context.Context, who *process) error
	asked  []string // executables' base names
	ends   []string // words
	why    []string // details
}

func (k *keeperStub) approve(ctx context.Context, mount string, who *process) ([]byte, error) {
	k.mu.Lock()
	k.asked = append(k.asked, filepath.Base(who.exe))
	decide, text := k.decide, k.text
	k.mu.Unlock()
	if decide != nil {
		if err := decide(ctx, who); err != nil {
			return nil, err
		}
	}
	return []byte(text), nil
}

func (k *keeperStub) ended(mount string, who *process, word, detail string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ends = append(k.ends, word)
	k.why = append(k.why, detail)
}

func (k *keeperStub) agentKnown(int, uint64) bool { return false }

func (k *keeperStub) count(word string) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.ends {
		if w == word {
			n++
		}
	}
	return n
}

func (k *keeperStub) all() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.ends, " ")
}

// story is all that the keeper was told, for a failure's message.
func (k *keeperStub) story() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fmt.Sprint(k.ends, k.why)
}

func (k *keeperStub) questions() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.asked, " ")
}

// testText is a text of n bytes whose every line differs.
func testText(n int) string {
	var b strings.Builder
	b.WriteString("# test\n")
	for k := 0; b.Len() < n; k++ {
		fmt.Fprintf(&b, "KEY_%07d=value%07d\n", k, k*7)
	}
	return b.String()[:n-1] + "\n"
}

var changedTime = time.Unix(1700000000, 0)

// bothCounters runs a test with the exact counter and with the fallback.
func bothCounters(t *testing.T, test func(t *testing.T, e *engine)) {
	for _, fallback := range []bool{false, true} {
		t.Run(fmt.Sprintf("fallback=%v", fallback), func(t *testing.T) {
			t.Parallel()
			test(t, newEngine(t, fallback))
		})
	}
}

// engine is one engine under test with one mount.
type engine struct {
	*pipes
	keeper *keeperStub
	file   string
}

func newEngine(t testing.TB, fallback bool) *engine {
	t.Helper()
	e := &engine{keeper: &keeperStub{text: testText(2000)}}
	var err error
	if e.pipes, err = newPipes(t.TempDir(), e.keeper, fallback); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	if exact, why := e.exact(); exact == fallback {
		t.Skipf("no such counter here: %s", why)
	}
	if e.file, err = e.add("/project/.env", ".env", changedTime); err != nil {
		t.Fatal(err)
	}
	return e
}

// reader is another process that reads.
type reader struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out output
}

// output collects what a helper prints while a test looks at it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// startHelper runs this binary as a helper.
func startHelper(t testing.TB, helper, file string, args ...string) *reader {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, cmd: exec.Command(self, args...)}
	r.cmd.Env = append(os.Environ(), "KEEPMUM_TEST_HELPER="+helper, "KEEPMUM_TEST_FILE="+file,
		"GORACE=atexit_sleep_ms=0") // or each helper of a race build sleeps a second
	r.cmd.Stdout, r.cmd.Stderr = &r.out, os.Stderr
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.cmd.Process.Kill(); r.cmd.Wait() })
	return r
}

// wait returns what the helper printed; a helper that hangs fails the test.
func (r *reader) wait() string {
	r.t.Helper()
	ended := make(chan struct{})
	go func() { r.cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		r.cmd.Process.Kill()
		<-ended
		r.t.Fatal("the reader hangs")
	}
	return r.out.String()
}

func (r *reader) kill() {
	r.cmd.Process.Kill()
	r.cmd.Wait()
}

// mustRead reads once and expects exactly the text.
func (e *engine) mustRead(t testing.TB) {
	t.Helper()
	if got := startHelper(t, "read", e.file).wait(); got != e.keeper.text {
		t.Fatalf("read %d bytes %.80q, want the text of %d; ends: %s",
			len(got), got, len(e.keeper.text), e.keeper.story())
	}
}

func init() {
	file := os.Getenv("KEEPMUM_TEST_FILE")
	open := func(name string, flags int) int {
		fd, err := unix.Open(name, flags, 0)
		if err != nil {
			fmt.Print("open: ", err)
			os.Exit(0)
		}
		return fd
	}
	slurp := func(fd int) (all []byte) {
		buf := make([]byte, 1<<16)
		for {
			n, err := unix.Read(fd, buf)
			if n <= 0 && err != unix.EINTR {
				return all
			}
			all = append(all, buf[:max(n, 0)]...)
		}
	}
	helpers["read"] = func() { os.Stdout.Write(slurp(open(file, unix.O_RDONLY))) }
	helpers["gated"] = func() { // opens at the first byte from stdin
		os.Stdin.Read(make([]byte, 1))
		os.Stdout.Write(slurp(open(file, unix.O_RDONLY)))
	}
	helpers["loop"] = func() { // N reads, each compared with the file WANT
		n, _ := strconv.Atoi(os.Args[1])
		want, _ := os.ReadFile(os.Args[2])
		exact := 0
		for range n {
			fd := open(file, unix.O_RDONLY)
			if bytes.Equal(slurp(fd), want) {
				exact++
			}
			unix.Close(fd)
		}
		fmt.Print(exact)
	}
	helpers["part"] = func() { // reads some bytes and sleeps
		n, _ := strconv.Atoi(os.Args[1])
		fd := open(file, unix.O_RDONLY)
		for buf := make([]byte, 1000); n > 0; {
			k, err := unix.Read(fd, buf[:min(n, len(buf))])
			if k <= 0 && err != unix.EINTR {
				break
			}
			n -= max(k, 0)
		}
		io.Copy(io.Discard, os.Stdin)
	}
	helpers["slow"] = func() { // one byte at a time
		fd := open(file, unix.O_RDONLY)
		for b := make([]byte, 1); ; {
			if n, err := unix.Read(fd, b); n == 1 {
				os.Stdout.Write(b)
			} else if err != unix.EINTR {
				return
			}
		}
	}
	helpers["touch"] = func() { unix.Close(open(file, unix.O_RDONLY)) }
	helpers["nonblock"] = func() {
		fd := open(file, unix.O_RDONLY|unix.O_NONBLOCK)
		_, err := unix.Read(fd, make([]byte, 10))
		fmt.Print(err)
	}
	helpers["writeonly"] = func() {
		open(file, unix.O_WRONLY|unix.O_NONBLOCK)
		io.Copy(io.Discard, os.Stdin)
	}
	helpers["readwrite"] = func() {
		fd := open(file, unix.O_RDWR|unix.O_NONBLOCK)
		io.Copy(io.Discard, os.Stdin)
		b := make([]byte, 100)
		n, _ := unix.Read(fd, b)
		os.Stdout.Write(b[:max(n, 0)])
	}
	helpers["link"] = func() { fmt.Print(unix.Link(file, os.Args[1])) }
}

func TestPipesExactText(t *testing.T) {
	for _, n := range []int{7, 1024, 65537, 1 << 20, 1<<20 + 5000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			bothCounters(t, func(t *testing.T, e *engine) {
				e.keeper.text = testText(max(n, 8))
				e.mustRead(t)
				waitFor(t, "the record", func() bool { return e.keeper.all() == endDelivered })
			})
		})
	}
}

func TestPipesTextIsWiped(t *testing.T) {
	e := newEngine(t, false)
	text := []byte(testText(3000))
	v := make(chan []byte, 1)
	e.pipes.handler = wiped{e.keeper, text}
	got := startHelper(t, "read", e.file).wait()
	waitFor(t, "the record", func() bool { return e.keeper.count(endDelivered) == 1 })
	if got != testText(3000) || !bytes.Equal(text, make([]byte, len(text))) {
		t.Errorf("the text was not wiped or not delivered: %.20q, %.20q", got, text)
	}
	close(v)
}

type wiped struct {
	*keeperStub
	text []byte
}

func (w wiped) approve(context.Context, string, *process) ([]byte, error) { return w.text, nil }

func TestPipesManyInARow(t *testing.T) {
	n := 300
	if *long {
		n = 10000
	}
	bothCounters(t, func(t *testing.T, e *engine) {
		want := filepath.Join(t.TempDir(), "want")
		os.WriteFile(want, []byte(e.keeper.text), 0o600)
		r := startHelper(t, "loop", e.file, strconv.Itoa(n), want)
		stop, missing := make(chan struct{}), 0
		var watching sync.WaitGroup
		watching.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if st, err := os.Stat(e.file); err != nil || !st.ModTime().Equal(changedTime) {
					missing++
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
		ended := make(chan error, 1)
		go func() { ended <- r.cmd.Wait() }()
		select {
		case <-ended:
		case <-time.After(time.Duration(n) * 200 * time.Millisecond):
			t.Fatal("the reader hangs")
		}
		close(stop)
		watching.Wait()
		if r.out.String() != strconv.Itoa(n) {
			t.Errorf("%s of %d reads were exact", r.out.String(), n)
		}
		if missing > 0 {
			t.Errorf("the name was missing or had another time %d times", missing)
		}
	})
}

func TestPipesReadersTogether(t *testing.T) {
	for _, n := range []int{2, 5} {
		for _, gap := range []time.Duration{0, 1, 5, 20} {
			t.Run(fmt.Sprintf("%d readers %d ms apart", n, gap), func(t *testing.T) {
				bothCounters(t, func(t *testing.T, e *engine) {
					together(t, e, n, gap*time.Millisecond)
				})
			})
		}
	}
}

// together lets n readers open at nearly the same time: each gets the text,
// and for each one that does not there is a line; never both, never a part.
func together(t *testing.T, e *engine, n int, gap time.Duration) {
	var readers []*reader
	for range n {
		readers = append(readers, startHelper(t, "gated", e.file))
	}
	for _, r := range readers {
		r.in.Write([]byte("x"))
		time.Sleep(gap)
	}
	refused, lines := 0, 0
	for _, r := range readers {
		got := r.wait()
		if got == e.keeper.text {
			continue
		}
		refused++
		lines += strings.Count(got, lineContested)
		if strings.ReplaceAll(got, lineContested, "") != "" {
			t.Errorf("a reader got %d bytes: %.60q; %s", len(got), got, e.keeper.story())
		}
	}
	// Which of two processes on one pipe takes a line is up to the system.
	if lines != refused {
		t.Errorf("%d lines for %d readers; %s", lines, refused, e.keeper.story())
	}
	waitFor(t, "a record for each open", func() bool {
		return e.keeper.count(endDelivered)+e.keeper.count(endContested) == n
	})
	e.mustRead(t)
}

func TestPipesRefusal(t *testing.T) {
	bothCounters(t, func(t *testing.T, e *engine) {
		e.keeper.decide = func(context.Context, *process) error { return errors.New("no") }
		if got := startHelper(t, "read", e.file).wait(); got != lineRefused {
			t.Errorf("a refused reader got %q", got)
		}
		waitFor(t, "the record", func() bool { return e.keeper.all() == endRefused })
		e.keeper.decide = nil
		e.mustRead(t)
	})
}

// TestPipesNoCommentLine holds back a text whose first line would be a value:
// it would go out before the reader is known to read.
func TestPipesNoCommentLine(t *testing.T) {
	e := newEngine(t, false)
	for _, text := range []string{"", "#", "# no end", "KEY=value\n"} {
		e.keeper.mu.Lock()
		e.keeper.text = text
		e.keeper.mu.Unlock()
		if got := startHelper(t, "read", e.file).wait(); got != lineRefused {
			t.Errorf("%q: the reader got %q", text, got)
		}
	}
}

func TestPipesOddReaders(t *testing.T) {
	asks := func(e *engine) func() bool {
		return func() bool { return e.keeper.questions() != "" }
	}
	wait := func(ctx context.Context, _ *process) error { <-ctx.Done(); return ctx.Err() }
	for _, c := range []struct {
		name, helper, arg string
		size              int
		decide            func(context.Context, *process) error
		until             func(e *engine) func() bool // then it is killed
		want, word        string
	}{
		{name: "killed while waiting", helper: "read", decide: wait, until: asks, word: endAbandoned},
		{name: "killed in the middle", helper: "part", arg: "150000", size: 300 << 10, until: asks,
			word: endAbandoned},
		{name: "never reads", helper: "part", arg: "0", word: endAbandoned},
		{name: "reads the comment only", helper: "part", arg: "7", word: endAbandoned},
		{name: "one byte at a time", helper: "slow", want: testText(2000), word: endDelivered},
		{name: "does not wait", helper: "nonblock", want: unix.EAGAIN.Error(), word: endAbandoned},
		{name: "closes at once", helper: "touch", word: endAbandoned},
		{name: "reads and writes", helper: "readwrite", word: endNotReader},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothCounters(t, func(t *testing.T, e *engine) {
				e.patience = 400 * time.Millisecond
				if c.size > 0 {
					e.keeper.text = testText(c.size)
				}
				e.keeper.decide = c.decide
				r := startHelper(t, c.helper, e.file, c.arg)
				if c.until != nil {
					waitFor(t, "the question", c.until(e))
					time.Sleep(20 * time.Millisecond)
					r.kill()
				}
				waitFor(t, "the record", func() bool { return e.keeper.all() != "" })
				if c.word == endNotReader && e.keeper.questions() != "" {
					t.Error("somebody was asked")
				}
				if e.keeper.all() != c.word {
					t.Errorf("it ended %q, want %q", e.keeper.all(), c.word)
				}
				if r.in.Close(); c.helper != "part" && c.until == nil {
					if got := r.wait(); got != c.want {
						t.Errorf("the reader got %q, want %q", got, c.want)
					}
				}
				e.keeper.decide = nil
				e.mustRead(t)
			})
		})
	}
}

func TestPipesTooManyReaders(t *testing.T) {
	e := newEngine(t, false)
	release := make(chan struct{})
	e.keeper.decide = func(ctx context.Context, _ *process) error {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	var readers []*reader
	for k := range pendingMax {
		readers = append(readers, startHelper(t, "read", e.file))
		waitFor(t, "the question", func() bool { return len(strings.Fields(e.keeper.questions())) == k+1 })
	}
	if got := startHelper(t, "read", e.file).wait(); got != lineRefused {
		t.Errorf("one reader too many got %q", got)
	}
	close(release)
	for _, r := range readers {
		if got := r.wait(); got != e.keeper.text {
			t.Errorf("a waiting reader got %.40q; %s", got, e.keeper.story())
		}
	}
}

func TestPipesRemoveAndClose(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(e *engine)
	}{
		{"remove", func(e *engine) { e.remove("/project/.env") }},
		{"close", func(e *engine) { e.close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothCounters(t, func(t *testing.T, e *engine) {
				e.keeper.decide = func(ctx context.Context, _ *process) error { <-ctx.Done(); return ctx.Err() }
				r := startHelper(t, "read", e.file)
				waitFor(t, "the question", func() bool { return e.keeper.questions() != "" })
				c.end(e)
				if got := r.wait(); got != lineRefused {
					t.Errorf("the reader that waited got %q", got)
				}
				if _, err := os.Lstat(filepath.Dir(e.file)); !os.IsNotExist(err) {
					t.Errorf("the folder is still there: %v", err)
				}
				waitFor(t, "the record", func() bool { return e.keeper.all() == endRefused })
			})
		})
	}
}

func TestPipesTimes(t *testing.T) {
	bothCounters(t, func(t *testing.T, e *engine) {
		check := func(when string, want time.Time) {
			t.Helper()
			st, err := os.Stat(e.file)
			if err != nil || !st.ModTime().Equal(want) || st.Mode() != os.ModeNamedPipe|0o600 {
				t.Errorf("%s: %v, %v, want %v", when, st, err, want)
			}
		}
		check("at first", changedTime)
		e.mustRead(t)
		check("after a read", changedTime)
		later := changedTime.Add(time.Hour)
		e.touch("/project/.env", later)
		e.mustRead(t)
		check("after a change", later)
	})
}

func TestPipesAdd(t *testing.T) {
	e := newEngine(t, false)
	for _, base := range []string{"", ".", "..", "/", "a/b", "../x"} {
		if _, err := e.add("/other", base, changedTime); err == nil {
			t.Errorf("add took %q for a name", base)
		}
	}
	if _, err := e.add("/project/.env", ".env", changedTime); err == nil {
		t.Error("add took a mount twice")
	}
	e.remove("/project/.env")
	e.remove("/never")
	var err error
	if e.file, err = e.add("/project/.env", ".env", changedTime); err != nil {
		t.Fatal(err)
	}
	e.mustRead(t)
}

func TestPipesManyMounts(t *testing.T) {
	n := 200
	if *long {
		n = 1000
	}
	bothCounters(t, func(t *testing.T, e *engine) {
		var last string
		for k := range n {
			var err error
			if last, err = e.add(fmt.Sprint(k), ".env", changedTime); err != nil {
				t.Fatalf("mount %d: %v", k, err)
			}
		}
		e.mustRead(t)
		e.file = last
		e.mustRead(t)
	})
}

func TestPipesLeaveNothing(t *testing.T) {
	for _, fallback := range []bool{false, true} {
		dir, keeper := t.TempDir(), &keeperStub{text: testText(2000)}
		before, routines := openFiles(), runtime.NumGoroutine()
		s, err := newPipes(dir, keeper, fallback)
		if err != nil {
			t.Fatal(err)
		}
		for k := range 5 {
			file, err := s.add(fmt.Sprint(k), ".env", changedTime)
			if err != nil {
				t.Fatal(err)
			}
			e := &engine{pipes: s, keeper: keeper, file: file}
			e.mustRead(t)
		}
		s.close()
		s.close()
		waitFor(t, "goroutines and descriptors to go", func() bool {
			return runtime.NumGoroutine() <= routines && openFiles() <= before
		})
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("files are left: %v", left)
		}
	}
}

func openFiles() int {
	names, err := os.ReadDir("/dev/fd")
	if err != nil {
		return -1
	}
	return len(names)
}
