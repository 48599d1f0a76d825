package main

// The connection of the bridge and of the command line to the keeper. It checks
// that the socket and the process behind it are ours before it says anything:
// another user who got hold of the path must not be told a value to append.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The keeper's own error codes, outside the range that JSON-RPC reserves
// (SPEC §4) [SOC-18].
const (
	codeRefused = 1 // not approved, or denied by policy
	codeFailed  = 2 // approved and gone wrong
	codeMisuse  = 3 // bad arguments
	codeScope   = 4 // authenticate first
	codeLocked  = 5 // no keeper, or it has locked
	codeBusy    = 6 // too much under way
	codeWaiting = 7 // the person has not answered yet; the same call continues it
)

const (
	dialTimeout = 5 * time.Second
	unlockHint  = `ask the person to run "keepmum unlock" in a terminal of their own, ` +
		"then call again"
)

// keeperClient is one connection to the keeper, shared by many calls.
type keeperClient struct {
	conn    io.ReadWriteCloser
	out     *lineWriter
	mu      sync.Mutex // guards what follows
	last    uint64
	pending map[string]*pendingCall
	lost    *wireError // why the connection ended
}

// pendingCall is a request that the keeper has not answered yet.
type pendingCall struct {
	client *keeperClient
	id     string
	done   chan message // holds one
}

// dialKeeper connects to the keeper of a home. It implements *Keeper and
// socket* (SPEC §4).
func dialKeeper(home string) (*keeperClient, error) {
	conn, err := connectKeeper(home)
	if err != nil {
		return nil, err
	}
	return newClient(conn), nil
}

// connectKeeper opens the connection and checks who is at its other end.
func connectKeeper(home string) (*net.UnixConn, error) {
	path := socketPath(home)
	if err := checkSocketPath(path); err != nil {
		return nil, wireErrorf(codeFailed, "%v", err)
	}
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	for end := time.Now().Add(dialTimeout); errors.Is(err, syscall.EAGAIN) && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond) // more wait to be taken than the system holds
		conn, err = net.DialTimeout("unix", path, dialTimeout)
	}
	if errors.Is(err, syscall.EAGAIN) {
		return nil, wireErrorf(codeBusy, "keepmum has too many connections waiting; try again later")
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) {
		return nil, wireErrorf(codeLocked, "keepmum is locked: %s", unlockHint)
	}
	if err != nil {
		return nil, wireErrorf(codeFailed, `cannot reach keepmum: %v; run "keepmum status"`, err)
	}
	keeper := conn.(*net.UnixConn)
	err = checkKeeper(path, keeper)
	if errors.Is(err, os.ErrProcessDone) {
		conn.Close()
		return nil, wireErrorf(codeLocked, "keepmum is locked: %s", unlockHint)
	}
	if err != nil {
		conn.Close()
		return nil, wireErrorf(codeFailed,
			`refused: %q: %v; move it away, then lock and unlock`, path, err)
	}
	return keeper, nil
}

// closedConn is a connection whose answers may hold values: this process is
// closed to others of the user before it reads one, and open again when it asks,
// since the keeper has to see who does [KPR-12]. [RUN-9]
type closedConn struct{ *net.UnixConn }

// Read waits until there is an answer, and only then closes this process.
func (c closedConn) Read(into []byte) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	peek := make([]byte, 1)
	raw.Read(func(fd uintptr) bool {
		_, _, err := unix.Recvfrom(int(fd), peek, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return err != unix.EAGAIN
	})
	if err := harden(); err != nil {
		return 0, err
	}
	return c.UnixConn.Read(into)
}

func (c closedConn) Write(line []byte) (int, error) {
	if err := allowTracing(); err != nil {
		return 0, err
	}
	return c.UnixConn.Write(line)
}

// newClient speaks on a connection that is open.
func newClient(conn io.ReadWriteCloser) *keeperClient {
	c := &keeperClient{conn: conn, out: &lineWriter{out: conn},
		pending: map[string]*pendingCall{}}
	go c.read()
	return c
}

// checkKeeper refuses a path that is not a socket of ours, since a link could
// lead anywhere, a listener that runs as another user, and one that is not the
// process which holds keeper.lock (SPEC §4) [SOC-2].
func checkKeeper(path string, conn *net.UnixConn) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if info.Mode().Type() != os.ModeSocket || !ok || int(stat.Uid) != os.Getuid() {
		return errors.New("it is not a socket of ours")
	}
	p, err := peerOf(conn)
	if err != nil {
		return err
	}
	if p.pidfd >= 0 {
		defer syscall.Close(p.pidfd)
	}
	if p.uid != os.Getuid() {
		return fmt.Errorf("process %d of user %d listens there", p.pid, p.uid)
	}
	if p.ended() || unix.Kill(p.pid, 0) == unix.ESRCH {
		return os.ErrProcessDone // it has locked meanwhile
	}
	return checkHolder(lockPath(filepath.Dir(path)), p.pid)
}

// checkHolder refuses a process that does not hold keeper.lock: a program of
// ours may have put its own socket in the place of the keeper's (SPEC §4)
// [SOC-2].
func checkHolder(path string, pid int) error {
	lock, err := openPrivate(path, os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("process %d listens there and is no keeper: %w", pid, err)
	}
	defer lock.Close()
	// Shared, so that two who look at once do not take each other for a keeper.
	if unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB) != unix.EWOULDBLOCK {
		return fmt.Errorf("process %d listens there and is no keeper: nobody holds keeper.lock", pid)
	}
	who := make([]byte, 64)
	n, _ := lock.ReadAt(who, 0)
	if string(who[:n]) != fmt.Sprintf("pid %d\n", pid) {
		return fmt.Errorf("process %d listens there, but keeper.lock is held by %q", pid, who[:n])
	}
	return nil
}

// signalKeeper has the keeper lock that holds keeper.lock: others may have all the
// connections there are, and be waiting in each, or have removed its socket.
// (SPEC §4) [SOC-13] [CLI-13]
func signalKeeper(home string) error {
	path, pid := lockPath(home), 0
	lock, err := openPrivate(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err = fmt.Fscanf(lock, "pid %d\n", &pid); err == nil && pid > 1 {
		err = checkHolder(path, pid)
	}
	if err != nil || pid <= 1 {
		return errors.Join(errNoAnswer, err)
	}
	return unix.Kill(pid, unix.SIGTERM)
}

// peer is the process at the other end of a Unix socket, as the kernel tells it.
// pidfd is -1 where the kernel gives none; who asked for the peer closes it.
type peer struct{ pid, uid, pidfd int }

// peerOf asks the kernel who is at the other end. It implements *Keeper and
// socket* (SPEC §4).
func peerOf(conn *net.UnixConn) (p peer, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	closed := raw.Control(func(fd uintptr) { p, err = peerOfSocket(int(fd)) })
	return p, errors.Join(closed, err)
}

// start sends a request and does not wait. What goes wrong comes out of wait.
func (c *keeperClient) start(method string, params any) *pendingCall {
	c.mu.Lock()
	c.last++
	p := &pendingCall{client: c, id: strconv.FormatUint(c.last, 10), done: make(chan message, 1)}
	c.pending[p.id] = p
	c.mu.Unlock()
	c.send(&message{id: json.RawMessage(p.id), method: method, params: encodeJSON(params)})
	return p
}

// send writes a message. Where the keeper has hung up, read finds what it said
// before, and then the end.
func (c *keeperClient) send(m *message) {
	if err := c.out.write(m); err != nil && (!errors.Is(err, syscall.EPIPE) || !c.alive()) {
		c.lose(err)
	}
}

// wait returns the keeper's answer, or ctx's error when that ends first. The
// question then stays with the keeper, and wait may be called again.
func (p *pendingCall) wait(ctx context.Context) (json.RawMessage, error) {
	var m message
	select {
	case m = <-p.done:
	case <-ctx.Done():
		select {
		case m = <-p.done: // both at once: an answer is not thrown away
		default:
			return nil, ctx.Err()
		}
	}
	if m.err != nil {
		return nil, m.err
	}
	return m.result, nil
}

// cancel withdraws the question at the keeper. Nothing is waited for.
func (p *pendingCall) cancel() {
	if p.client.take(p.id) == nil {
		return
	}
	p.client.send(&message{method: "notifications/cancelled",
		params: json.RawMessage(`{"requestId":` + p.id + `}`)})
}

// take returns the call of that id and forgets it, or nil.
func (c *keeperClient) take(id string) *pendingCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pending[id]
	delete(c.pending, id)
	return p
}

// read delivers answers until the connection ends. Anything malformed ends it:
// a keeper that we do not understand must not leave a call waiting. So does an
// error without id, which tells why it ends.
func (c *keeperClient) read() {
	in := newLineReader(c.conn, lineLimit)
	for {
		line, err := in.next()
		if err != nil {
			c.lose(err)
			return
		}
		m, bad := parseMessage(line)
		if bad != nil || m.method != "" {
			c.lose(errors.New("malformed answer"))
			return
		}
		if m.id == nil && m.err != nil {
			c.lose(m.err)
			return
		}
		if p := c.take(string(m.id)); p != nil {
			p.done <- m
		}
	}
}

// lose closes the connection and answers every call that waits on it. Whether
// the keeper has locked is not known: it may have hung up on us alone.
func (c *keeperClient) lose(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.conn.Close() // after the reason is kept: a write that fails by it is no reason
	if c.lost == nil && !errors.As(err, &c.lost) {
		c.lost = wireErrorf(codeFailed, "the connection to keepmum ended (%v): try again", err)
	}
	for id, p := range c.pending {
		delete(c.pending, id)
		p.done <- message{err: c.lost}
	}
}

// alive says whether the connection can still be used.
func (c *keeperClient) alive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost == nil
}

func (c *keeperClient) close() { c.lose(net.ErrClosed) }
