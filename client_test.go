package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeKeeper answers on a socket what it was told to, and notes what it heard.
type fakeKeeper struct {
	home     string
	listener net.Listener
	lock     *os.File
	mu       sync.Mutex
	answers  map[string]string // by method: a result, "error CODE TEXT", or "never"
	heard    []string          // "METHOD PARAMS", "withdrawn METHOD", "the end of a connection"
	conns    []net.Conn
}

// shortHome is a home whose socket's path is not too long for a socket.
func shortHome(t testing.TB) string {
	home := t.TempDir()
	if len(home) < 80 {
		return home
	}
	home, err := os.MkdirTemp("", "km")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	return home
}

// holdLock takes keeper.lock as a keeper does and writes what it is told to.
func holdLock(t testing.TB, home, text string) *os.File {
	t.Helper()
	path := filepath.Join(home, "keeper.lock")
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	lock.WriteString(text)
	return lock
}

func startFakeKeeper(t testing.TB, home string) *fakeKeeper {
	t.Helper()
	lock := holdLock(t, home, fmt.Sprintf("pid %d\n", os.Getpid()))
	k := listenFake(t, home)
	k.lock = lock
	return k
}

// listenFake is the socket alone, without keeper.lock.
func listenFake(t testing.TB, home string) *fakeKeeper {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(home, "keeper.sock"))
	if err != nil {
		t.Fatal(err)
	}
	k := &fakeKeeper{home: home, listener: l, answers: map[string]string{}}
	t.Cleanup(k.stop)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			k.mu.Lock()
			k.conns = append(k.conns, conn)
			k.mu.Unlock()
			go k.serve(conn)
		}
	}()
	return k
}

func (k *fakeKeeper) serve(conn net.Conn) {
	in, out, methods := newLineReader(conn, lineLimit), &lineWriter{out: conn}, map[string]string{}
	for {
		line, err := in.next()
		if err != nil {
			k.mu.Lock()
			k.heard = append(k.heard, "the end of a connection")
			k.mu.Unlock()
			return
		}
		m, bad := parseMessage(line)
		if bad != nil {
			panic(bad)
		}
		k.mu.Lock()
		if m.method == "notifications/cancelled" {
			id, _ := decodeObject(m.params)
			k.heard = append(k.heard, "withdrawn "+methods[string(id["requestId"])])
			k.mu.Unlock()
			continue
		}
		methods[string(m.id)] = m.method
		k.heard = append(k.heard, m.method+" "+string(m.params))
		answer := k.answers[m.method]
		k.mu.Unlock()
		reply := &message{id: m.id, result: []byte(answer)}
		var code int
		if n, _ := fmt.Sscanf(answer, "error %d", &code); n == 1 {
			_, text, _ := strings.Cut(strings.TrimPrefix(answer, "error "), " ")
			reply = &message{id: m.id, err: wireErrorf(code, "%s", text)}
		}
		switch answer {
		case "never":
		case "refuse": // as a keeper that has no room
			out.write(&message{err: wireErrorf(codeBusy, "no room")})
			conn.Close()
		case "garbage":
			out.writeLine([]byte("garbage"))
		default:
			out.write(reply)
		}
	}
}

func (k *fakeKeeper) answer(method, answer string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answers[method] = answer
}

// hears waits until something that starts so was heard.
func (k *fakeKeeper) hears(t testing.TB, start string) {
	t.Helper()
	waitFor(t, "the keeper to hear "+start, func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, h := range k.heard {
			if strings.HasPrefix(h, start) {
				return true
			}
		}
		return false
	})
}

func (k *fakeKeeper) stop() {
	k.listener.Close()
	k.lock.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, conn := range k.conns {
		conn.Close()
	}
}

func dialFake(t *testing.T) (*fakeKeeper, *keeperClient) {
	t.Helper()
	k := startFakeKeeper(t, shortHome(t))
	c, err := dialKeeper(k.home)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return k, c
}

// TestDialRefuses: what lies or listens at the path, and is no keeper. [SOC-2]
func TestDialRefuses(t *testing.T) {
	locked := &wireError{Code: codeLocked}
	refused := &wireError{Code: codeFailed}
	for _, test := range []struct {
		name string
		make func(t *testing.T, path string)
		want error
	}{
		{"nothing there", func(*testing.T, string) {}, locked},
		{"a socket that nobody listens on", func(t *testing.T, path string) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		}, locked},
		{"a link to a socket", func(t *testing.T, path string) {
			k := startFakeKeeper(t, shortHome(t))
			if err := os.Symlink(filepath.Join(k.home, "keeper.sock"), path); err != nil {
				t.Fatal(err)
			}
		}, refused},
		{"a socket of another user", func(t *testing.T, path string) {
			if os.Getuid() != 0 {
				t.Skip("only root can give a file away")
			}
			startFakeKeeper(t, filepath.Dir(path))
			if err := os.Chown(path, 1, 1); err != nil {
				t.Fatal(err)
			}
		}, refused},
		{"a listener, and nobody holds keeper.lock", func(t *testing.T, path string) {
			listenFake(t, filepath.Dir(path))
			holdLock(t, filepath.Dir(path), fmt.Sprintf("pid %d\n", os.Getpid())).Close()
		}, refused},
		{"a listener, and no keeper.lock", func(t *testing.T, path string) {
			listenFake(t, filepath.Dir(path))
		}, refused},
		{"a listener, and another process holds keeper.lock", func(t *testing.T, path string) {
			listenFake(t, filepath.Dir(path))
			holdLock(t, filepath.Dir(path), fmt.Sprintf("pid %d\n", os.Getppid()))
		}, refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			home := shortHome(t)
			test.make(t, filepath.Join(home, "keeper.sock"))
			c, err := dialKeeper(home)
			if c != nil || !errors.Is(err, test.want) {
				t.Errorf("dialKeeper = %v, %v, want code %v", c, err, test.want.(*wireError).Code)
			}
		})
	}
}

func TestNoKeeperSaysWhatToDo(t *testing.T) {
	_, err := dialKeeper(t.TempDir())
	want := `keepmum is locked: ask the person to run "keepmum unlock" in a terminal of their own, then call again`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestPeerIsMyself(t *testing.T) {
	_, c := dialFake(t)
	p, err := peerOf(c.conn.(*net.UnixConn))
	if err != nil || p.pid != os.Getpid() || p.uid != os.Getuid() {
		t.Errorf("peerOf = %+v, %v, want pid %d and uid %d", p, err, os.Getpid(), os.Getuid())
	}
	if p.pidfd >= 0 {
		os.NewFile(uintptr(p.pidfd), "pidfd").Close()
	}
}

func TestClientGetsAnswersByID(t *testing.T) {
	k, c := dialFake(t)
	k.answer("slow", "never")
	k.answer("good", `{"a":1}`)
	k.answer("bad", "error 4 authenticate first")
	slow := c.start("slow", struct{}{})
	bad, good := c.start("bad", struct{}{}), c.start("good", map[string]int{"x": 1})
	if r, err := good.wait(t.Context()); err != nil || string(r) != `{"a":1}` {
		t.Errorf("good = %s, %v", r, err)
	}
	if _, err := bad.wait(t.Context()); !errors.Is(err, &wireError{Code: codeScope}) || err.Error() != "authenticate first" {
		t.Errorf("bad = %v", err)
	}
	k.hears(t, `good {"x":1}`)
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := slow.wait(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("slow = %v, want the context's error", err)
	}
	if _, err := good.wait(ended); err == nil {
		t.Error("an answer is given once")
	}
}

// TestWaitPrefersTheAnswer: an answer that came with the end is not lost.
func TestWaitPrefersTheAnswer(t *testing.T) {
	k, c := dialFake(t)
	k.answer("good", `{}`)
	ended, end := context.WithCancel(t.Context())
	end()
	for range 20 {
		p := c.start("good", struct{}{})
		waitFor(t, "the answer", func() bool { return len(p.done) == 1 })
		if _, err := p.wait(ended); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCancelWithdrawsAndLeavingDoesNot(t *testing.T) {
	k, c := dialFake(t)
	k.answer("left", "never")
	k.answer("gone", "never")
	k.answer("last", "{}")
	ended, end := context.WithCancel(t.Context())
	end()
	c.start("left", struct{}{}).wait(ended)
	p := c.start("gone", struct{}{})
	p.cancel()
	p.cancel()
	if _, err := c.start("last", struct{}{}).wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var withdrawn []string
	for _, h := range k.heard {
		if strings.HasPrefix(h, "withdrawn") {
			withdrawn = append(withdrawn, h)
		}
	}
	if fmt.Sprint(withdrawn) != "[withdrawn gone]" {
		t.Errorf("withdrawn: %v, want gone once", withdrawn)
	}
}

func TestLostConnectionAnswersEverybody(t *testing.T) {
	for name, lose := range map[string]func(*fakeKeeper, *keeperClient){
		"keeper locks":     func(k *fakeKeeper, _ *keeperClient) { k.stop() },
		"malformed answer": func(k *fakeKeeper, c *keeperClient) { c.start("garbage", struct{}{}) },
		"client closes":    func(_ *fakeKeeper, c *keeperClient) { c.close() },
	} {
		t.Run(name, func(t *testing.T) {
			k, c := dialFake(t)
			k.answer("slow", "never")
			k.answer("garbage", "garbage")
			calls := []*pendingCall{c.start("slow", struct{}{}), c.start("slow", struct{}{})}
			k.hears(t, "slow")
			lose(k, c)
			waitFor(t, "the loss", func() bool { return !c.alive() })
			for _, p := range append(calls, c.start("slow", struct{}{})) {
				_, err := p.wait(t.Context())
				if !errors.Is(err, &wireError{Code: codeFailed}) || !strings.Contains(err.Error(), "try again") {
					t.Errorf("wait = %v, want the loss and what to do", err)
				}
			}
			if len(c.pending) != 0 {
				t.Errorf("%d calls are still pending", len(c.pending))
			}
		})
	}
}

// TestTheKeepersLastWord: an error without id is why the connection ends.
func TestTheKeepersLastWord(t *testing.T) {
	k, c := dialFake(t)
	k.answer("slow", "never")
	k.answer("refuse", "refuse")
	slow := c.start("slow", struct{}{})
	c.start("refuse", struct{}{})
	waitFor(t, "the loss", func() bool { return !c.alive() })
	for _, p := range []*pendingCall{slow, c.start("slow", struct{}{})} {
		if _, err := p.wait(t.Context()); !errors.Is(err, &wireError{Code: codeBusy}) || err.Error() != "no room" {
			t.Errorf("wait = %v, want what the keeper said", err)
		}
	}
}

func TestLongHome(t *testing.T) {
	home := "/" + strings.Repeat("h", 120)
	_, err := dialKeeper(home)
	_, listens := (&keeper{home: home}).listen()
	for _, err := range []error{err, listens} {
		if err == nil || !strings.Contains(err.Error(), "KEEPMUM_HOME") {
			t.Errorf("%v, want what to do about a path too long", err)
		}
	}
}

// TestFullBacklog: more connections than the system holds for a keeper that is slow
// to take them are no error, but a wait.
func TestFullBacklog(t *testing.T) {
	home := testFolder(t)
	holdLock(t, home, fmt.Sprintf("pid %d\n", os.Getpid()))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: socketPath(home)}))
	must(t, unix.Listen(fd, 0))
	for err == nil {
		var conn net.Conn
		if conn, err = net.Dial("unix", socketPath(home)); err == nil {
			defer conn.Close()
		}
	}
	if !errors.Is(err, syscall.EAGAIN) {
		t.Skip(err)
	}
	done := make(chan error, 1)
	go func() {
		c, err := dialKeeper(home)
		if err == nil {
			c.close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("it does not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	taken, _, err := unix.Accept(fd)
	must(t, err)
	defer unix.Close(taken)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
