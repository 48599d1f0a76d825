package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxConns = 64 // connections at a time
)

// server is the keeper's Unix socket. It implements *Keeper and socket*
// (SPEC §4).
type server struct {
	k        *keeper
	self     *process
	listener *net.UnixListener
	last     atomic.Uint64
	underWay chan struct{}

	mu    sync.Mutex
	conns map[net.Conn]bool
	ended sync.WaitGroup
}

func socketPath(home string) string { return filepath.Join(home, "keeper.sock") }

// listen opens the socket. The caller holds keeper.lock, so that a socket
// found there is a dead keeper's.
func (k *keeper) listen() (*server, error) {
	self, err := lookup(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("cannot identify this process: %v", err)
	}
	path := socketPath(k.home)
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("%q is in the way and no socket: move it", path)
	}
	os.Remove(path)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %q: %v", path, err)
	}
	s := &server{k: k, self: self, listener: l, underWay: make(chan struct{}, maxUnderWay),
		conns: map[net.Conn]bool{}}
	s.ended.Add(1)
	go s.accept()
	return s, nil
}

// accept takes connections until the listener is closed.
func (s *server) accept() {
	defer s.ended.Done()
	for {
		conn, err := s.listener.AcceptUnix()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // out of descriptors: not for long
			continue
		}
		s.mu.Lock()
		full := len(s.conns) >= maxConns
		if !full {
			s.conns[conn] = true
			s.ended.Add(1)
		}
		s.mu.Unlock()
		if full {
			(&lineWriter{out: conn}).write(&message{err: wireErrorf(codeBusy,
				"keepmum serves %d connections already", maxConns)})
			conn.Close()
			continue
		}
		go s.serve(conn)
	}
}

// close ends the listener and every connection.
func (s *server) close() {
	s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.ended.Wait()
}

// serve answers one connection until it ends. A slow request does not block
// another: each has a goroutine, and answers may overtake.
func (s *server) serve(conn *net.UnixConn) {
	c := &connection{s: s, id: s.last.Add(1), out: &lineWriter{out: conn}, calls: map[string]context.CancelFunc{}}
	ctx, cancel := context.WithCancel(context.Background())
	defer s.ended.Done()
	defer func() {
		cancel()
		conn.Close()
		s.k.hangUp(c.id)
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	var err error
	if c.peer, err = peerOf(conn); err != nil || c.peer.uid != os.Getuid() {
		return
	}
	if c.peer.pidfd >= 0 {
		defer unix.Close(c.peer.pidfd)
	}
	in := newLineReader(conn, lineLimit)
	for {
		line, err := in.next()
		if err == errLineTooLong {
			c.out.write(&message{err: wireErrorf(codeInvalidRequest, "line too long")})
			continue
		}
		if err != nil {
			return
		}
		c.handle(ctx, line)
	}
}

// connection is one peer of the socket.
type connection struct {
	s    *server
	id   uint64
	peer peer
	out  *lineWriter

	mu    sync.Mutex
	calls map[string]context.CancelFunc // by request id
}

// handle starts one request, or withdraws one.
func (c *connection) handle(ctx context.Context, line []byte) {
	m, werr := parseMessage(line)
	switch {
	case werr != nil:
		c.out.write(&message{id: m.id, err: werr})
	case m.method == "notifications/cancelled":
		c.cancelled(m.params)
	case m.method == "" || m.id == nil: // a response, or a notification unknown here
	default:
		select {
		case c.s.underWay <- struct{}{}:
		default:
			c.out.write(&message{id: m.id, err: wireErrorf(codeBusy,
				"keepmum has %d requests under way; try again later", maxUnderWay)})
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		c.mu.Lock()
		c.calls[string(m.id)] = cancel
		c.mu.Unlock()
		go c.answer(ctx, m)
	}
}

// answer runs one request and writes what came of it.
func (c *connection) answer(ctx context.Context, m message) {
	defer func() { <-c.s.underWay }()
	result, err := guarded(func() (any, error) { return c.run(ctx, m) })
	c.mu.Lock()
	if cancel := c.calls[string(m.id)]; cancel != nil {
		cancel()
	}
	delete(c.calls, string(m.id))
	c.mu.Unlock()
	out := &message{id: m.id}
	if err == nil {
		out.result, err = json.Marshal(result)
	}
	if err != nil {
		out.result, out.err = nil, wireErrorOf(err)
	}
	c.out.write(out)
}

// run identifies the peer anew for each request: it may have replaced its
// program since the last one.
func (c *connection) run(ctx context.Context, m message) (result any, err error) {
	peer, err := lookup(c.peer.pid)
	if err == nil && c.peer.ended() { // before or after: its number may be another's now
		peer.close()
		err = os.ErrProcessDone
	}
	if err != nil {
		return nil, wireErrorf(codeRefused, "not approved: the caller cannot be identified")
	}
	defer peer.close()
	return c.s.k.dispatch(ctx, &caller{peer: peer, self: c.s.self, conn: c.id}, m.method, m.params)
}

// ended reports whether the process that connected is known to be gone.
func (p peer) ended() bool {
	if p.pidfd < 0 {
		return false
	}
	return pollNow(p.pidfd, unix.POLLIN) != 0
}

// cancelled withdraws a request of this connection.
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
