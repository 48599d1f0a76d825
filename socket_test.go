package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// line is a connection to the keeper on which a test says what it likes.
type line struct {
	t testing.TB
	net.Conn
	in *lineReader
}

func (w *world) dial() *line {
	w.t.Helper()
	conn, err := net.Dial("unix", socketPath(w.home))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return &line{w.t, conn, newLineReader(conn, lineLimit)}
}

func (l *line) say(id int, method string) {
	fmt.Fprintf(l, `{"jsonrpc":"2.0","id":%d,"method":%q,"params":{"arguments":{},"claim":""}}`+"\n", id, method)
}

func (l *line) hear() message {
	l.t.Helper()
	text, err := l.in.next()
	if err != nil {
		l.t.Fatal(err)
	}
	m, bad := parseMessage(text)
	if bad != nil {
		l.t.Fatal(bad)
	}
	return m
}

func init() {
	// Opens connections, asks on each what it is told to, and keeps them until
	// its input ends.
	helpers["hold"] = func() {
		var n int
		fmt.Sscan(os.Args[1], &n)
		for range n {
			conn, err := net.Dial("unix", socketPath(os.Getenv("KEEPMUM_HOME")))
			if err != nil {
				os.Exit(1)
			}
			if os.Args[2] != "status" {
				fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":1,"method":%q,"params":{"arguments":{}}}`+"\n", os.Args[2])
			}
			// Once this is answered, what came before it is under way.
			fmt.Fprintln(conn, `{"jsonrpc":"2.0","id":2,"method":"status"}`)
			answer, _ := bufio.NewReader(conn).ReadString('\n')
			if !strings.Contains(answer, `"result":`) {
				fmt.Printf("%q\n", answer)
				os.Exit(1)
			}
		}
		fmt.Println("ready")
		io.Copy(io.Discard, os.Stdin)
	}
	// Connects, and then runs another program or itself with other arguments,
	// which asks for something on that connection.
	helpers["replace"] = func() {
		const ask = `{"jsonrpc":"2.0","id":2,"method":"list_environments","params":{"arguments":{}}}`
		if os.Args[1] == "second" {
			conn := os.NewFile(9, "connection")
			fmt.Fprintln(conn, ask)
			answer, _ := bufio.NewReader(conn).ReadString('\n')
			fmt.Print(answer)
			return
		}
		conn, err := net.Dial("unix", socketPath(os.Getenv("KEEPMUM_HOME")))
		if err != nil {
			os.Exit(1)
		}
		fmt.Fprintln(conn, `{"jsonrpc":"2.0","id":1,"method":"status"}`)
		bufio.NewReader(conn).ReadBytes('\n')
		raw, _ := conn.(*net.UnixConn).File()
		if fd, err := unix.FcntlInt(raw.Fd(), unix.F_DUPFD, 9); err != nil || fd != 9 {
			os.Exit(1)
		}
		self, _ := os.Executable()
		args := []string{self, "second"}
		if os.Args[1] == "sh" {
			self, args = "/bin/sh", []string{"sh", "-c", "echo '" + ask + "' >&9; head -n 1 <&9"}
		}
		syscall.Exec(self, args, os.Environ())
		os.Exit(1)
	}
}

// helper is a program of the tests in this world.
func (w *world) helper(name string, args ...string) *exec.Cmd {
	cmd := w.command(args...)
	for i, v := range cmd.Env {
		if strings.HasPrefix(v, "KEEPMUM_TEST_HELPER=") {
			cmd.Env = append(append([]string{}, cmd.Env[:i]...), cmd.Env[i+1:]...)
		}
	}
	cmd.Env = append(cmd.Env, "KEEPMUM_TEST_HELPER="+name)
	return cmd
}

// hold starts a process with n connections that have asked for something.
func (w *world) hold(n int, method string) (end func()) {
	w.t.Helper()
	cmd := w.helper("hold", fmt.Sprint(n), method)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	end = func() { in.Close(); cmd.Wait() }
	w.t.Cleanup(end)
	if text, _ := bufio.NewReader(out).ReadString('\n'); text != "ready\n" {
		w.t.Fatalf("hold: %q", text)
	}
	return end
}

// TestReplacedProgram: who connects and then runs another program does not
// speak in its name, not even in that of our own commands. [SOC-5]
func TestReplacedProgram(t *testing.T) {
	w := newWorld(t)
	p := w.unlock()
	for _, by := range []string{"sh", "self"} {
		out, _, _ := w.done(w.helper("replace", by))
		if !strings.Contains(out, "the caller replaced its program") {
			t.Errorf("replaced by %s: %q", by, out)
		}
	}
	p.nothingAsked()
}

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
// so, and is not told that keepmum is locked. [SOC-13] [SOC-18]
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
	if _, errOut, code := w.done(w.command("lock")); code != 1 || !strings.Contains(errOut, "64 connections") {
		t.Errorf("lock: %d %q", code, errOut)
	}
	for _, end := range ends {
		end()
	}
	waitFor(t, "room", func() bool { _, _, code := w.done(w.command("status")); return code == 0 })
}

// TestSameIDTwice: the end of one would withdraw the other. [SOC-9]
func TestSameIDTwice(t *testing.T) {
	w := newWorld(t)
	p := w.unlock()
	c := w.dial()
	c.say(1, "list_environments")
	p.sees(`list\r\n[\s\S]*> $`)
	c.say(1, "status")
	if m := c.hear(); string(m.id) != "1" || m.err == nil || m.err.Code != codeInvalidRequest {
		t.Errorf("the second: %s %v", m.result, m.err)
	}
	p.presses("o")
	if m := c.hear(); m.err != nil || !json.Valid(m.result) {
		t.Errorf("the first: %v", m.err)
	}
	c.say(1, "status")
	if m := c.hear(); m.err != nil {
		t.Errorf("an id that is free again: %v", m.err)
	}
}

// TestOtherBuild: a command of another keepmum is told what to do. [SOC-19]
func TestOtherBuild(t *testing.T) {
	w := newWorld(t)
	w.unlock()
	cmd := w.command("list")
	program, err := os.ReadFile(cmd.Path)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path = filepath.Join(w.dir, "keepmum")
	if err := os.WriteFile(cmd.Path, program, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd.Args[0] = "keepmum"
	if _, errOut, code := w.done(cmd); code != 1 || !strings.Contains(errOut, "another build of keepmum") {
		t.Errorf("list: %d %q", code, errOut)
	}
}

// TestPasswdAfterAKilledKeeper: the lines that the vault does not know of yet
// stay good under their own key. [VLT-23]
func TestPasswdAfterAKilledKeeper(t *testing.T) {
	const second = "another passphrase"
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "A", "v")
	for range 3 {
		cmd := w.command("list")
		cmd.Start()
		p.answers("list", "o")
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	p.cmd.Process.Kill()
	p.ends()
	p = w.atTerminal("passwd")
	p.type_("passphrase: $", testPass+"\r")
	p.type_("new passphrase: $", second+"\r")
	p.type_("the same again: $", second+"\r")
	p.sees("was changed")
	p.ends()
	p = w.atTerminal("log", "--verify")
	p.type_("passphrase: $", second+"\r")
	p.sees("the audit log is whole")
	p.ends()
	p = w.atTerminal("unlock")
	p.type_("passphrase: $", second+"\r")
	p.sees(`Ctrl-C locks\.`)
	if out, errOut, code := w.done(w.command("log", "--verify")); code != 0 {
		t.Errorf("log --verify: %q %q", out, errOut)
	}
	out, _, _ := w.done(w.command("log"))
	if strings.Count(out, " passwd; ") != 1 || strings.Contains(out, "audit-gap") {
		t.Errorf("the log:\n%s", out)
	}
}
