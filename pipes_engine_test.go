package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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
	case <-time.After(patience):
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
	helpers["part"] = func() { // reads some bytes, says so and sleeps
		n, _ := strconv.Atoi(os.Args[1])
		fd := open(file, unix.O_RDONLY)
		for buf := make([]byte, 1000); n > 0; {
			k, err := unix.Read(fd, buf[:min(n, len(buf))])
			if k <= 0 && err != unix.EINTR {
				break
			}
			n -= max(k, 0)
		}
		fmt.Println("taken")
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
	helpers["first"] = func() { // one read
		b := make([]byte, 1<<16)
		n, _ := unix.Read(open(file, unix.O_RDONLY), b)
		os.Stdout.Write(b[:max(n, 0)])
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
