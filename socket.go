package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxConns      = 64              // connections at a time [SOC-13]
	maxConnsEach  = 16              // of them, of one process [SOC-12]
	maxArriving   = 16              // connections whose peer is being identified
	identifyLimit = 5 * time.Second // for that
	maxHeld       = 32 << 20        // bytes of the requests under way [SOC-11]
)

// server is the keeper's Unix socket. It implements *Keeper and socket*
// (SPEC §4).
type server struct {
	k        *keeper
	self     *process
	listener *net.UnixListener
	file     os.FileInfo // of the socket
	last     atomic.Uint64
	underWay chan struct{}
	held     atomic.Int64 // bytes of the requests under way
	arriving chan struct{}
	verifies sync.Mutex // held while the log is verified, which takes long

	mu    sync.Mutex
	conns map[*connection]bool // nil once closed
	ended sync.WaitGroup
}

func socketPath(home string) string { return filepath.Join(home, "keeper.sock") }

// checkSocketPath says what the system would only call an invalid argument.
func checkSocketPath(path string) error {
	if most := len(unix.RawSockaddrUnix{}.Path) - 1; len(path) > most {
		return fmt.Errorf("%q is longer than the %d bytes of a socket's path: "+
			"set KEEPMUM_HOME to a shorter one", path, most)
	}
	return nil
}

// listen opens the socket. The caller holds keeper.lock, so that a socket
// found there is a dead keeper's, or of one whose keeper.lock was removed.
func (k *keeper) listen() (*server, error) {
	self, err := lookup(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("cannot identify this process: %v", err)
	}
	path := socketPath(k.home)
	if err := checkSocketPath(path); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("%q is in the way and no socket: move it", path)
	}
	if err := unserved(k.home); err != nil {
		return nil, err
	}
	os.Remove(path)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %q: %v", path, err)
	}
	l.SetUnlinkOnClose(false) // remove looks first whose it is
	s := &server{k: k, self: self, listener: l, underWay: make(chan struct{}, maxUnderWay),
		arriving: make(chan struct{}, maxArriving), conns: map[*connection]bool{}}
	s.file, _ = os.Lstat(path)
	s.ended.Add(1)
	go s.accept()
	return s, nil
}

// accept takes connections until the listener is closed.
func (s *server) accept() {
	defer s.ended.Done()
	for {
		s.arriving <- struct{}{}
		conn, err := s.listener.AcceptUnix()
		if err == nil {
			s.ended.Add(1)
			go s.serve(&connection{s: s, id: s.last.Add(1), conn: conn, out: &lineWriter{out: conn},
				last: time.Now(), calls: map[string]context.CancelFunc{}})
			continue
		}
		<-s.arriving
		if errors.Is(err, net.ErrClosed) {
			return
		}
		time.Sleep(10 * time.Millisecond) // out of descriptors: not for long
	}
}

// admit takes a connection in. Where there are too many, the one that has been
// idle longest makes room, since bridges connect again by themselves; nobody
// can fill the keeper up by connections alone (SPEC §4).
func (s *server) admit(c *connection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		return wireErrorf(codeLocked, "keepmum is locked: %s", unlockHint)
	}
	var idlest *connection
	var since time.Time
	mine := 0
	for other := range s.conns {
		if instanceOf(other.first) == instanceOf(c.first) {
			mine++
		}
		if last, idle := other.idle(); idle && (idlest == nil || last.Before(since)) {
			idlest, since = other, last
		}
	}
	switch full := len(s.conns) >= maxConns; {
	case mine >= maxConnsEach: // [SOC-12]
		return wireErrorf(codeBusy, "keepmum serves %d connections of this process already", mine)
	case full && idlest == nil: // [SOC-13]
		return wireErrorf(codeBusy, "keepmum serves %d connections already; try again later", maxConns)
	case full:
		idlest.conn.Close()
		delete(s.conns, idlest)
	}
	s.conns[c] = true
	return nil
}

// remove takes the socket away, if it is still ours: another keeper's may have its
// name. Ours is open until then, so that no other has its inode.
func (s *server) remove() {
	path := socketPath(s.k.home)
	if named, err := os.Lstat(path); err == nil && s.file != nil && os.SameFile(named, s.file) {
		os.Remove(path)
	}
}

// close ends the listener and every connection.
func (s *server) close() {
	s.remove()
	s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.conn.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.ended.Wait()
}

// serve answers one connection until it ends, if its peer can be identified
// and there is room.
func (s *server) serve(c *connection) {
	defer s.ended.Done()
	defer c.conn.Close()
	late, err := c.identifySoon()
	if late {
		<-s.arriving
		c.out.write(&message{err: wireErrorOf(err)})
		return
	}
	if c.peer.pidfd >= 0 {
		defer unix.Close(c.peer.pidfd)
	}
	if err == nil {
		err = s.admit(c)
	}
	<-s.arriving
	if err != nil {
		c.out.write(&message{err: wireErrorOf(err)})
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.read(ctx)
	cancel()
	c.conn.Close()
	s.k.hangUp(c.id)
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// connection is one peer of the socket.
type connection struct {
	s     *server
	id    uint64
	conn  *net.UnixConn
	peer  peer
	first *process // the peer as it was when it connected; its handle is closed
	out   *lineWriter

	mu    sync.Mutex
	last  time.Time                     // of a line read or an answer
	calls map[string]context.CancelFunc // by request id
}

// identify looks the peer up before it can say anything, so that a program
// which it runs later does not speak for it (SPEC §4).
func (c *connection) identify() (err error) {
	if c.peer, err = peerOf(c.conn); err != nil {
		c.peer.pidfd = -1
		return err
	}
	if c.peer.uid != os.Getuid() { // [SOC-3]
		return wireErrorf(codeRefused, "not approved: another user's process")
	}
	if c.first, err = c.lookup(); err == nil {
		c.first.close()
	}
	return err
}

// identifySoon gives up on a peer whose program is where the system does not answer.
// Then identify is late, and what it still finds is closed by itself. [SOC-11]
func (c *connection) identifySoon() (late bool, err error) {
	identified := make(chan error, 1)
	go func() { identified <- c.identify() }()
	select {
	case err = <-identified:
		return false, err
	case <-time.After(identifyLimit):
	}
	go func() {
		if <-identified; c.peer.pidfd >= 0 {
			unix.Close(c.peer.pidfd)
		}
	}()
	return true, wireErrorf(codeRefused, "not approved: the caller cannot be identified in time")
}

// lookup identifies the peer as it is now (SPEC §4) [SOC-4].
func (c *connection) lookup() (*process, error) {
	p, err := lookup(c.peer.pid)
	if err == nil && c.peer.ended() { // before or after: its number may be another's now
		p.close()
		err = os.ErrProcessDone
	}
	if err != nil {
		return nil, wireErrorf(codeRefused, "not approved: the caller cannot be identified")
	}
	return p, nil
}

// read handles lines until there are no more. A slow request does not block
// another: each has a goroutine, and answers may overtake (SPEC §4) [SOC-8].
func (c *connection) read(ctx context.Context) {
	in := newLineReader(c.conn, lineLimit)
	for {
		line, err := in.next()
		switch {
		case err == errLineTooLong: // [SOC-7]
			c.out.write(&message{err: wireErrorf(codeInvalidRequest, "line too long")})
		case err != nil:
			return
		default:
			c.handle(ctx, line)
		}
	}
}

// handle starts one request, or withdraws one.
func (c *connection) handle(ctx context.Context, line []byte) {
	c.mu.Lock()
	c.last = time.Now()
	c.mu.Unlock()
	m, werr := parseMessage(line)
	switch {
	case werr != nil:
		c.out.write(&message{id: m.id, err: werr})
	case m.method == "notifications/cancelled":
		c.cancelled(m.params)
	case m.method == "" || m.id == nil: // a response, or a notification unknown here
	default:
		c.start(ctx, m, len(line))
	}
}

// start has a request answered. What takes rights away always has room, and so is
// done here: nobody can be in its way but the peer itself. [SOC-11]
func (c *connection) start(ctx context.Context, m message, size int) {
	ctx, cancel := context.WithCancel(ctx)
	always := freely[m.method] != nil && m.method != "verify_log"
	if err := c.begin(m.id, cancel, always, int64(size)); err != nil {
		cancel()
		c.out.write(&message{id: m.id, err: err})
		return
	}
	if always {
		c.answer(ctx, m)
		return
	}
	go func() {
		c.answer(ctx, m)
		c.s.held.Add(-int64(size))
		<-c.s.underWay
	}()
}

// begin notes that a request is under way, if there is room and its id is its
// own: the end of one would withdraw the other.
func (c *connection) begin(id json.RawMessage, cancel context.CancelFunc, always bool, size int64) *wireError {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls[string(id)] != nil { // [SOC-9]
		return wireErrorf(codeInvalidRequest, "invalid request: a request with this id is under way")
	}
	if !always {
		if err := c.s.takeRoom(size); err != nil {
			return err
		}
	}
	c.calls[string(id)] = cancel
	return nil
}

// takeRoom counts a request of so many bytes, if there is room. [SOC-11]
func (s *server) takeRoom(size int64) *wireError {
	if s.held.Add(size) > maxHeld {
		s.held.Add(-size)
		return wireErrorf(codeBusy, "keepmum has %d MiB of requests under way; try again later", maxHeld>>20)
	}
	select {
	case s.underWay <- struct{}{}:
		return nil
	default:
		s.held.Add(-size)
		return wireErrorf(codeBusy, "keepmum has %d requests under way; try again later", maxUnderWay)
	}
}

// idle reports whether no request is under way, and since when.
func (c *connection) idle() (last time.Time, idle bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, len(c.calls) == 0
}

// answer runs one request and writes what came of it.
func (c *connection) answer(ctx context.Context, m message) {
	result, err := guarded(func() (any, error) { return c.run(ctx, m) })
	out := &message{id: m.id}
	if err == nil {
		out.result, err = encodeResult(result)
		defer wipe(out.result)
	}
	if err != nil {
		out.result, out.err = nil, wireErrorOf(err)
	}
	c.mu.Lock()
	c.calls[string(m.id)]()
	delete(c.calls, string(m.id))
	c.last = time.Now()
	c.mu.Unlock()
	c.out.write(out)
}

// run identifies the peer anew for each request, and refuses one that has
// replaced its program: it would speak in another's name (SPEC §4) [SOC-5].
func (c *connection) run(ctx context.Context, m message) (any, error) {
	peer, err := c.lookup()
	if err != nil {
		return nil, err
	}
	defer peer.close()
	if peer.start != c.first.start || peer.exeDev != c.first.exeDev ||
		peer.exeIno != c.first.exeIno || !slices.Equal(peer.args, c.first.args) {
		return nil, wireErrorf(codeRefused, "not approved: the caller replaced its program")
	}
	if m.method == "verify_log" {
		if !c.s.verifies.TryLock() {
			return nil, wireErrorf(codeBusy, "the audit log is being verified; try again later")
		}
		defer c.s.verifies.Unlock()
	}
	result, err := c.s.k.dispatch(ctx, &caller{peer: peer, self: c.s.self, conn: c.id}, m.method, m.params)
	if errors.Is(err, &wireError{Code: codeScope}) && c.otherBuild(peer) {
		err = wireErrorf(codeScope, "another build of keepmum runs as keeper: lock, then unlock")
	}
	return result, err
}

// otherBuild reports whether a peer looks like a command of another keepmum.
// Anybody can: the word serves only to tell a person what to do.
func (c *connection) otherBuild(p *process) bool {
	self := c.s.self
	return baseName(p.args[0]) == "keepmum" && (len(p.args) < 2 || p.args[1] != "mcp") &&
		(p.exeDev != self.exeDev || p.exeIno != self.exeIno)
}

// ended reports whether the process that connected is known to be gone.
func (p peer) ended() bool {
	if p.pidfd < 0 {
		return false
	}
	return pollNow(p.pidfd, unix.POLLIN) != 0
}

// cancelled withdraws a request of this connection (SPEC §4) [SOC-10].
func (c *connection) cancelled(params json.RawMessage) {
	object, err := decodeObject(params)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel := c.calls[string(object["requestId"])]; cancel != nil {
		cancel()
	}
}

// wireErrorOf gives any error a code of ours.
func wireErrorOf(err error) *wireError {
	var w *wireError
	if errors.As(err, &w) {
		return w
	}
	return wireErrorf(codeFailed, "%v", err)
}
