package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const readersText = "# three lines\nKM_READ_FIRST=canary1\nKM_READ_SECOND=canary2\n"

func init() {
	helpers["conform-reader"] = func() {
		if d, err := time.ParseDuration(os.Getenv("KEEPMUM_TEST_ALARM")); err == nil {
			testOnlyReaderAlarm = d
		}
		words := append(os.Args[2:], "") // after conform-reader
		os.Exit(runReader(words[0], words[1], words[2]))
	}
}

// startKind starts a reader of the suite, or skips where this machine has none
// of the kind.
func startKind(t *testing.T, kind, path, arg string) (r *reader, errs *output) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv, missing, err := readerCommand(kind, self, path, arg)
	if err != nil {
		t.Fatal(err)
	}
	if missing != "" {
		t.Skip(missing)
	}
	r, errs = &reader{t: t, cmd: exec.Command(argv[0], argv[1:]...)}, &output{}
	r.cmd.Env = append(os.Environ(), "KEEPMUM_TEST_HELPER=conform-reader",
		"GORACE=atexit_sleep_ms=0")
	r.cmd.Stdout, r.cmd.Stderr = &r.out, errs
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.kill)
	return r, errs
}

// ownPipe makes a FIFO with a writer and no reader, as a mount has it.
func ownPipe(t testing.TB, path string) (w int) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	w, err = unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// kindServer gives one text to each open, from FIFOs made ahead, and to whoever
// opens the last one later its end of file.
type kindServer struct {
	path         string
	ws           []int
	opened       chan struct{} // at the first open, if it was seen
	ended, close chan struct{}
}

// serveKind serves path so many times, until stop is called.
func serveKind(t *testing.T, path string, times int) *kindServer {
	s := &kindServer{path: path, opened: make(chan struct{}), ended: make(chan struct{}),
		close: make(chan struct{})}
	for i := range times {
		name := path
		if i > 0 {
			name += "." + string(rune('0'+i))
		}
		s.ws = append(s.ws, ownPipe(t, name))
	}
	go s.serve()
	return s
}

func (s *kindServer) stop() {
	close(s.close)
	<-s.ended
}

func (s *kindServer) serve() {
	defer close(s.ended)
	for i, w := range s.ws {
		if s.until(func() bool { return hasReader(w) }) {
			if i == 0 {
				close(s.opened)
			}
			if i+1 < len(s.ws) {
				os.Rename(s.path+"."+string(rune('1'+i)), s.path)
			}
			unix.Write(w, []byte(readersText)) // less than PIPE_BUF: all or, to none, nothing
		}
		unix.Close(w)
	}
	s.until(func() bool {
		w, err := unix.Open(s.path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(w)
		}
		return false
	})
}

// until waits for done; it is false when the server is to stop.
func (s *kindServer) until(done func() bool) bool {
	for !done() {
		select {
		case <-s.close:
			return false
		case <-time.After(time.Millisecond):
		}
	}
	return true
}

// kindTest is what a kind is expected to do that does not print the whole text
// and end with 0.
type kindTest struct {
	arg   string
	times int // opens, if not one
	got   func(text string) bool
	exit  int
	says  string // on standard error
}

func gets(want string) func(string) bool { return func(got string) bool { return got == want } }

// getsLines wants each line of the text once, wherever it stands.
func getsLines(got string) bool {
	for line := range strings.Lines(readersText) {
		if line[0] != '#' && strings.Count("\n"+got, "\n"+line) != 1 {
			return false
		}
	}
	return true
}

// getsParted wants n parts, in which the text is once.
func getsParted(n int) func(string) bool {
	return func(got string) bool {
		return strings.Count(got, readerSeparator) == n-1 &&
			strings.ReplaceAll(got, readerSeparator, "") == readersText
	}
}

var kindTests = map[string]kindTest{
	"head-line":     {got: gets("# three lines\n")},
	"sh-source":     {got: getsLines},
	"bash-source":   {got: getsLines},
	"node-env-file": {got: getsLines},
	"bash-words":    {got: gets(readersText)},

	"slow":     {arg: "1"},
	"mmap":     {got: gets(""), exit: 1, says: "cannot map"},
	"size":     {got: gets("")},
	"half":     {got: gets("# three lines\n")},
	"probe":    {got: gets("")},
	"leaver":   {arg: "50", got: gets("")},
	"hold":     {got: gets("")},
	"late":     {arg: "50"},
	"rdwr":     {arg: "300"},
	"writer":   {arg: "50", got: gets(""), exit: 1, says: "nobody opened it for reading"},
	"hardlink": {arg: "FOLDER"},
	"opath":    {arg: "50"},
	"flight":   {arg: "50"},
	"twice":    {times: 2, got: gets(readersText + "--\n" + readersText)},
	"again":    {arg: "3", times: 3, got: gets(readersText + "--\n" + readersText + "--\n" + readersText)},
	"together": {got: getsParted(2)},
	"exec":     {arg: "50"},
	"exec-cat": {arg: "50"},
}

// TestReaders has each kind read a FIFO. That a reader is waited for means that
// all have ended who had its output: none of its processes is left.
func TestReaders(t *testing.T) {
	for name := range kindTests {
		if k := findReader(name); k == nil || k.inner {
			t.Errorf("%q is tested and is no kind of reader", name)
		}
	}
	for _, k := range readerKinds {
		if k.inner {
			continue // by those that start them
		}
		t.Run(k.name, func(t *testing.T) { testKind(t, k.name, kindTests[k.name]) })
	}
}

func testKind(t *testing.T, kind string, c kindTest) {
	if c.arg == "FOLDER" {
		c.arg = t.TempDir()
	}
	if c.got == nil {
		c.got = gets(readersText)
	}
	path := filepath.Join(t.TempDir(), ".env")
	s := serveKind(t, path, max(c.times, 1))
	defer s.stop()
	r, errs := startKind(t, kind, path, c.arg)
	go func() { // what its standard input holds it back for
		select {
		case <-s.opened:
		case <-s.ended:
		}
		r.in.Close()
	}()
	if got := r.wait(); !c.got(got) {
		t.Errorf("it printed %q", got)
	}
	if code := r.cmd.ProcessState.ExitCode(); code != c.exit {
		t.Errorf("exit code %d, want %d: %s", code, c.exit, errs)
	}
	said := errs.String()
	if c.exit == 0 && said != "" || !strings.Contains(said, c.says) {
		t.Errorf("it said %q, want %q", said, c.says)
	}
	if strings.Contains(said+strings.Join(r.cmd.Args, " "), "canary") {
		t.Errorf("a value in an argument or on standard error: %q %q", r.cmd.Args, said)
	}
	if c.arg != "" && filepath.IsAbs(c.arg) {
		if left, _ := os.ReadDir(c.arg); len(left) > 0 {
			t.Errorf("it left %v in its folder", left)
		}
	}
}

// TestReaderWriter: the writer writes once somebody reads.
func TestReaderWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".env")
	unix.Close(ownPipe(t, path))
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	r, errs := startKind(t, "writer", path, "")
	if got := r.wait(); got != "" || !r.cmd.ProcessState.Success() {
		t.Errorf("it printed %q: %s", got, errs)
	}
	buf := make([]byte, 100)
	if n, err := unix.Read(fd, buf); string(buf[:max(n, 0)]) != "FORGED=1\n" {
		t.Errorf("it wrote %q (%v)", buf[:max(n, 0)], err)
	}
}

// TestReaderAlarm: whatever a reader waits for, it ends, also as another
// program.
func TestReaderAlarm(t *testing.T) {
	t.Setenv("KEEPMUM_TEST_ALARM", "300ms")
	for _, kind := range []string{"plain", "nonblock", "together", "child", "exec", "exec-cat", "orphan"} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), ".env")
			defer unix.Close(ownPipe(t, path)) // has a writer that gives nothing
			r, errs := startKind(t, kind, path, "")
			r.wait()
			// A program's alarm is a signal, for which there is no code.
			if code := r.cmd.ProcessState.ExitCode(); code != 3 && (kind != "exec-cat" || code != -1) {
				t.Errorf("exit code %d: %s", code, errs)
			}
		})
	}
	t.Run("in open", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), ".env")
		unix.Close(ownPipe(t, path))
		r, _ := startKind(t, "plain", path, "")
		r.wait()
		if code := r.cmd.ProcessState.ExitCode(); code != 3 {
			t.Errorf("exit code %d", code)
		}
	})
}

// TestReaderNoFile: a reader that finds nothing says so, and ends with 1.
func TestReaderNoFile(t *testing.T) {
	for _, k := range ownReaders {
		if k.inner {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			arg := kindTests[k.name].arg
			if arg == "FOLDER" {
				arg = t.TempDir()
			}
			r, errs := startKind(t, k.name, filepath.Join(t.TempDir(), "none"), arg)
			if got := strings.ReplaceAll(r.wait(), readerSeparator, ""); got != "" {
				t.Errorf("it printed %q", got)
			}
			if code := r.cmd.ProcessState.ExitCode(); code != 1 || errs.String() == "" {
				t.Errorf("exit code %d, and it said %q", code, errs)
			}
		})
	}
}

func TestReaderCommand(t *testing.T) {
	for _, c := range []struct{ kind, path, arg, want string }{
		{"nobody", "/p/.env", "", `unknown kind of reader "nobody"`},
		{"inherited", "/p/.env", "", `unknown kind of reader "inherited"`},
		{"cat", ".env", "", `reader "cat" needs an absolute path, got ".env"`},
		{"cat", "/p/.env", "1", `reader "cat" takes no argument, got "1"`},
		{"twice", "/p/.env", "3", `reader "twice" takes no argument, got "3"`},
		{"slow", "/p/.env", "1s", `reader "slow" needs a number from 0 to 60000 (MS), got "1s"`},
		{"slow", "/p/.env", "-1", `reader "slow" needs a number from 0 to 60000 (MS), got "-1"`},
		{"slow", "/p/.env", "60001", `reader "slow" needs a number from 0 to 60000 (MS), got "60001"`},
		{"hardlink", "/p/.env", "x", `reader "hardlink" needs the absolute path of a folder, got "x"`},
	} {
		argv, missing, err := readerCommand(c.kind, "/self", c.path, c.arg)
		if err == nil || err.Error() != c.want || argv != nil || missing != "" {
			t.Errorf("%s %s %s: %q, %q, %v, want %s", c.kind, c.path, c.arg, argv, missing, err, c.want)
		}
	}
	argv, missing, err := readerCommand("again", "/self", "/p/.env", "2")
	want := []string{"/self", "conform-reader", "again", "/p/.env", "2"}
	if !slices.Equal(argv, want) || missing != "" || err != nil {
		t.Errorf("got %q, %q, %v, want %q", argv, missing, err, want)
	}
}

// TestReaderMissing: a machine without a program skips its kinds and no others.
func TestReaderMissing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	for _, k := range programReaders {
		argv, missing, err := readerCommand(k.name, "/self", "/p/.env", "")
		if argv != nil || err != nil || !strings.Contains(missing, k.program) {
			t.Errorf("%s: %q, %q, %v", k.name, argv, missing, err)
		}
	}
	if _, missing, err := readerCommand("plain", "/self", "/p/.env", ""); missing != "" || err != nil {
		t.Errorf("a built-in reader is missing: %q, %v", missing, err)
	}
	for version, lacks := range map[string]bool{"v18.20.1": true, "v20.5.9": true, "v20.6.0": false,
		"v24.1.0": false, "": true} {
		script := "#!/bin/sh\necho " + version + "\n"
		if err := os.WriteFile(filepath.Join(dir, "node"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		_, missing, err := readerCommand("node-env-file", "/self", "/p/.env", "")
		if (missing != "") != lacks || err != nil {
			t.Errorf("node %s: %q, %v", version, missing, err)
		}
	}
}

// TestReaderTable: each kind has a name of its own and one way to run.
func TestReaderTable(t *testing.T) {
	names := map[string]bool{}
	for _, k := range readerKinds {
		if names[k.name] || !regexp.MustCompile(`^[a-z]+[a-z0-9-]*$`).MatchString(k.name) {
			t.Errorf("%q is a bad name, or there twice", k.name)
		}
		names[k.name] = true
		if k.what == "" || (k.run == nil) == (k.argv == nil) || (k.program == "") == (k.argv != nil) {
			t.Errorf("%q is not told of, or has not one way to run", k.name)
		}
	}
}
