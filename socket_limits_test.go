package main

// How much the socket takes at a time, and who makes room.

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestIdleConnectionsMakeRoom: the one that was idle longest, here with half a
// line, goes when there are too many, and no process has more than its share.
// [SOC-12] [SOC-13]
func TestIdleConnectionsMakeRoom(t *testing.T) {
	w := newWorld(t)
	w.unlock()
	oldest, err := dialKeeper(w.home)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(oldest.conn, `{"jsonrpc":"2.0",`)
	newer := w.dial()
	newer.say(1, "status")
	newer.hear()
	for range 3 {
		w.hold(maxConnsEach, "status")
	}
	w.hold(maxConns-2-3*maxConnsEach, "status")
	if !oldest.alive() {
		t.Error("a connection ended while there was room")
	}
	if out, errOut, code := w.done(w.command("status")); code != 0 || !strings.HasPrefix(out, "unlocked") {
		t.Errorf("status: %d %q %q", code, out, errOut)
	}
	waitFor(t, "the oldest to make room", func() bool { return !oldest.alive() })
	newer.say(2, "status")
	newer.hear()
	for range maxConnsEach - 1 {
		conn := w.dial()
		conn.say(1, "status")
		conn.hear()
	}
	c, err := dialKeeper(w.home)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	_, err = c.start("status", requestParams(nil, "")).wait(t.Context())
	if !errors.Is(err, &wireError{Code: codeBusy}) || !strings.Contains(err.Error(), "16 connections of this process") {
		t.Errorf("one more of a process: %v", err)
	}
	newer.say(3, "status")
	newer.hear()
}

// TestBusyConnectionsStay: with a request under way on each, one more is told
// so, and is not told that keepmum is locked; but a keeper can always be locked.
// [SOC-13] [SOC-18]
func TestBusyConnectionsStay(t *testing.T) {
	w := newWorld(t)
	p := w.unlock()
	var ends []func()
	for range maxConns / maxConnsEach {
		ends = append(ends, w.hold(maxConnsEach, "list_environments"))
	}
	p.sees("allow\\?")
	out, errOut, code := w.done(w.command("status"))
	if code != 1 || out != "" || !strings.Contains(errOut, "serves 64 connections already") {
		t.Errorf("status: %d %q %q", code, out, errOut)
	}
	ends[0]()
	waitFor(t, "room", func() bool { _, _, code := w.done(w.command("status")); return code == 0 })
	w.hold(maxConnsEach, "list_environments")
	if out, errOut, code := w.done(w.command("lock")); code != 0 || out != "locked\n" {
		t.Errorf("lock: %d %q %q", code, out, errOut)
	}
	p.ends()
}

// TestTooMuchUnderWay: one more than 256 requests is told so, and what takes rights
// away has room all the same. [SOC-11] [SOC-18]
func TestTooMuchUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.unlock()
	c := w.dial()
	for id := range maxUnderWay + 1 { // the same question, which they share
		c.say(id, "list_environments")
	}
	if m := c.hear(); codeOf(m) != codeBusy || string(m.id) != fmt.Sprint(maxUnderWay) {
		t.Errorf("one more: %s %v", m.id, m.err)
	}
	for _, args := range [][]string{{"status"}, {"revoke", "--all"}} {
		if _, errOut, code := w.done(w.command(args...)); code != 0 {
			t.Errorf("%v: %d %q", args, code, errOut)
		}
	}
	if _, errOut, code := w.done(w.command("list")); code != 1 || !strings.Contains(errOut, "256 requests") {
		t.Errorf("what is not free: %d %q", code, errOut)
	}
	c.Close()
	waitFor(t, "room", func() bool {
		d := w.dial()
		defer d.Close()
		d.say(1, "verify_log")
		return codeOf(d.hear()) != codeBusy
	})
}

// TestTooManyBytesUnderWay: few requests can be large, not many; nor can a claim.
// [SOC-11]
func TestTooManyBytesUnderWay(t *testing.T) {
	w := newWorld(t)
	w.unlock()
	c := w.dial()
	long := func(id, size int, claim string) {
		fmt.Fprintf(c, `{"jsonrpc":"2.0","id":%d,"method":"list_environments","params":{"claim":"%s"}%s}`+"\n", id,
			claim, strings.Repeat(" ", size))
	}
	long(0, 0, strings.Repeat("x", maxClaim+1))
	if m := c.hear(); codeOf(m) != codeMisuse {
		t.Errorf("a long claim: %s %v", m.id, m.err)
	}
	const each = 3 << 20
	for id := range maxHeld/each + 1 {
		long(id, each, "")
	}
	if m := c.hear(); codeOf(m) != codeBusy || !strings.Contains(m.err.Message, "32 MiB") {
		t.Errorf("one more: %s %v", m.id, m.err)
	}
}

// stuckConn is a connection whose peer takes nothing.
type stuckConn struct {
	net.Conn
	deadline time.Time
	writes   int
}

func (c *stuckConn) SetWriteDeadline(at time.Time) error { c.deadline = at; return nil }

func (c *stuckConn) Write([]byte) (int, error) { c.writes++; return 1, os.ErrDeadlineExceeded }

// TestPeerThatTakesNothing: it has a deadline, and gets nothing after it.
// [SOC-14]
func TestPeerThatTakesNothing(t *testing.T) {
	conn := &stuckConn{}
	out := &lineWriter{out: conn}
	for range 3 {
		if out.write(&message{id: json.RawMessage("1"), result: json.RawMessage("{}")}) == nil {
			t.Error("a failed answer is no error")
		}
	}
	if conn.deadline.IsZero() || writeTimeout != 10*time.Second || conn.writes != 1 {
		t.Errorf("deadline %v, limit %v, %d writes", conn.deadline, writeTimeout, conn.writes)
	}
}
