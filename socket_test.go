package main

import (
	"bufio"
	"encoding/json"
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
	// Connects, leaves its connection to a child, and ends.
	helpers["heir"] = func() {
		const ask = `{"jsonrpc":"2.0","id":2,"method":"list_environments","params":{"arguments":{}}}`
		conn, err := net.Dial("unix", socketPath(os.Getenv("KEEPMUM_HOME")))
		if err != nil {
			os.Exit(1)
		}
		fmt.Fprintln(conn, `{"jsonrpc":"2.0","id":1,"method":"status"}`)
		bufio.NewReader(conn).ReadBytes('\n')
		raw, _ := conn.(*net.UnixConn).File()
		cmd := exec.Command("sh", "-c", "read -r _; echo '"+ask+"' >&3; head -n 1 <&3")
		cmd.Stdin, cmd.Stdout, cmd.ExtraFiles = os.Stdin, os.Stdout, []*os.File{raw}
		if cmd.Start() != nil {
			os.Exit(1)
		}
	}
	// Connects as another user and shows what it is told.
	helpers["stranger"] = func() {
		if err := syscall.Setuid(65534); err != nil {
			os.Exit(1)
		}
		conn, err := net.Dial("unix", socketPath(os.Getenv("KEEPMUM_HOME")))
		if err != nil {
			os.Exit(1)
		}
		fmt.Fprintln(conn, `{"jsonrpc":"2.0","id":1,"method":"status"}`)
		answer, _ := bufio.NewReader(conn).ReadString('\n')
		fmt.Print(answer)
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
	t.Parallel()
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
	if strings.Count(out, " passwd; ") != 1 || strings.Count(out, "audit-gap") != 1 ||
		!strings.Contains(out, "the keeper was killed") {
		t.Errorf("the log:\n%s", out)
	}
}

// TestSocketLines: what is no request is answered, and the next one read.
// [SOC-6] [SOC-7] [SOC-8] [SOC-16] [SOC-18]
func TestSocketLines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	c := w.dial()
	for _, test := range []struct {
		line string
		code int // 0 is a result
		id   string
	}{
		{`{"jsonrpc":"2.0","id":"é","method":"status"}`, 0, `"é"`},
		{`{"jsonrpc":"2.0","id":9007199254740993,"method":"status"}`, 0, "9007199254740993"},
		{`{"jsonrpc":"2.0","id":1,"method":"status"`, codeParse, ""},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", codeParse, ""},
		{`{"jsonrpc":"2.0","id":1,"id":2,"method":"status"}`, codeInvalidRequest, ""},
		{`{"jsonrpc":"2.0","id":1,"Method":"status"}`, codeInvalidRequest, "1"},
		{`{"jsonrpc":"1.0","id":1,"method":"status"}`, codeInvalidRequest, "1"},
		{`{"jsonrpc":"2.0","id":1.5,"method":"status"}`, codeInvalidRequest, ""},
		{strings.Repeat(" ", lineLimit) + `{"jsonrpc":"2.0","id":1,"method":"status"}`, codeInvalidRequest, ""},
		{`{"jsonrpc":"2.0","id":1,"method":"Status"}`, codeMisuse, "1"},
		{`{"jsonrpc":"2.0","id":1,"method":"list_environments","params":{"arguments":{"x":1,"x":1}}}`, codeMisuse, "1"},
		{`{"jsonrpc":"2.0","id":1,"method":"list_variables","params":{"arguments":{"environmentName":"none"}}}`, codeMisuse, "1"},
	} {
		fmt.Fprintln(c, test.line)
		m := c.hear()
		if code := codeOf(m); code != test.code || string(m.id) != test.id {
			t.Errorf("%.80q: code %d, id %s", test.line, code, m.id)
		}
	}
	p.nothingAsked()
	// A slow one holds up no other, and what the client calls itself is shown.
	fmt.Fprintln(c, `{"jsonrpc":"2.0","id":1,"method":"list_environments","params":{"arguments":{},"claim":"claimed 1"}}`)
	if text := p.asked("list"); !strings.Contains(text, "claimed 1") {
		t.Errorf("the claim is not shown: %s", text)
	}
	c.say(2, "status")
	if m := c.hear(); string(m.id) != "2" || codeOf(m) != 0 {
		t.Errorf("behind a slow one: %s %v", m.id, m.err)
	}
	p.presses("n")
	if m := c.hear(); string(m.id) != "1" || codeOf(m) != codeRefused {
		t.Errorf("the slow one: %s %v", m.id, m.err)
	}
}

// codeOf is the code of an answer, 0 of a result.
func codeOf(m message) int {
	if m.err == nil {
		return 0
	}
	return m.err.Code
}

// TestSocketCancel: a request is withdrawn by its id, on its own connection
// only. [SOC-10]
func TestSocketCancel(t *testing.T) {
	const cancel = `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`
	w := newWorld(t)
	p := w.unlock()
	c, other := w.dial(), w.dial()
	c.say(1, "list_environments")
	p.asked("list")
	fmt.Fprintln(other, cancel)
	other.say(2, "status")
	other.hear()
	fmt.Fprintln(c, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"1"}}`)
	c.say(2, "status")
	c.hear()
	if m := w.status(); m.Waiting != 1 {
		t.Errorf("%d wait after a cancellation of others", m.Waiting)
	}
	fmt.Fprintln(c, cancel)
	p.sees("withdrawn")
	waitFor(t, "the question to go", func() bool { return w.status().Waiting == 0 })
}

// status is what keepmum status tells programs.
func (w *world) status() (s statusReport) {
	w.t.Helper()
	out, errOut, _ := w.done(w.command("status", "--json"))
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		w.t.Fatal(err, errOut)
	}
	return s
}

// TestStrangerIsRefused: whatever the modes say. [SOC-3] [SOC-18]
func TestStrangerIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can act as another user")
	}
	w := newWorld(t)
	w.unlock()
	for _, path := range []string{w.dir, w.home, socketPath(w.home)} {
		must(t, os.Chmod(path, 0o777))
	}
	out, _, code := w.done(w.helper("stranger"))
	if code != 0 || !strings.Contains(out, `"code":1,"message":"not approved: another user's process"`) {
		t.Errorf("%d %q", code, out)
	}
}

// TestPeerThatHasEnded: who gets its connection does not speak for it. [SOC-4]
func TestPeerThatHasEnded(t *testing.T) {
	w := newWorld(t)
	p := w.unlock()
	cmd := w.helper("heir")
	stdin, in, err := os.Pipe()
	must(t, err)
	out, stdout, err := os.Pipe()
	must(t, err)
	defer out.Close()
	cmd.Stdin, cmd.Stdout = stdin, stdout
	must(t, cmd.Run())
	stdin.Close()
	stdout.Close()
	fmt.Fprintln(in) // the heir, which is left, may speak
	in.Close()
	answer, _ := io.ReadAll(out)
	if !strings.Contains(string(answer), "the caller cannot be identified") {
		t.Errorf("%q", answer)
	}
	p.nothingAsked()
}

// TestNoValueOnTheSocket: not even for one who is approved. [SOC-15] [SOC-17]
func TestNoValueOnTheSocket(t *testing.T) {
	t.Parallel()
	const value = "canary-of-the-socket"
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "KEY", value)
	w.mount(p, "acme")
	c := w.dial()
	id := 0
	for _, method := range []string{"list_environments", "list_variables", "list_local_env_files", "append_variables",
		"status", "verify_log", "revoke"} {
		id++
		fmt.Fprintf(c, `{"jsonrpc":"2.0","id":%d,"method":%q,"params":{"arguments":{"environmentName":"acme"%s}}}`+"\n", id, method,
			map[string]string{"append_variables": `,"variables":[{"name":"KEY","value":"x","concealed":true}]`}[method])
		switch action, _, _ := strings.Cut(method, "_"); {
		case freely[method] != nil:
		case action == "append":
			p.answers("append", "n")
		default:
			p.answers("list", "o")
		}
		text, err := c.in.next()
		must(t, err)
		if strings.Contains(string(text), value) || (method == "status" && strings.Contains(string(text), "KEY")) {
			t.Errorf("%s: %s", method, text)
		}
		if m, _ := parseMessage(text); (m.err != nil) != (method == "append_variables") {
			t.Errorf("%s: %s", method, text)
		}
	}
	p.nothingAsked()
	c.say(100, "lock")
	p.ends()
}

// TestForWhom: a bridge acts for its client, everybody else for itself.
// [SOC-19] [SOC-20] [SOC-21]
func TestForWhom(t *testing.T) {
	parent, err := lookup(os.Getppid())
	if err != nil {
		t.Skip(err)
	}
	defer parent.close()
	self := &process{pid: 1000, exeDev: 1, exeIno: 2}
	bridge := func(ancestors ...ancestor) *process {
		return &process{pid: 1001, exeDev: 1, exeIno: 2, args: []string{"keepmum", "mcp"}, ancestors: ancestors}
	}
	another := ancestor{pid: 1002, exeDev: 1, exeIno: 2, args: []string{"keepmum", "mcp"}}
	client := ancestor{pid: parent.pid, start: parent.start}
	later := ancestor{pid: parent.pid, start: parent.start + 1}
	command := &process{pid: 1003, exeDev: 1, exeIno: 2, args: []string{"keepmum", "list", "mcp"}}
	other := &process{pid: 1004, exeDev: 1, exeIno: 3, args: []string{"keepmum", "mcp"}}
	for name, c := range map[string]struct {
		peer *process
		pid  int // 0 is refused
		via  string
	}{
		"a command":                 {command, 1003, viaCommand},
		"another executable":        {other, 1004, viaMCP},
		"a bridge":                  {bridge(client), parent.pid, viaMCP},
		"a bridge of a bridge":      {bridge(another, client), parent.pid, viaMCP},
		"a bridge without a client": {bridge(), 0, ""},
		"bridges alone":             {bridge(another), 0, ""},
		"a client that is gone":     {bridge(later), 0, ""},
	} {
		k := &keeper{clients: map[processID]bool{}}
		actor, via, err := k.actorOf(c.peer, self)
		if err != nil || c.pid == 0 {
			if (err != nil) != (c.pid == 0) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if actor.pid != c.pid || via != c.via {
			t.Errorf("%s: process %d by %s, want %d by %s", name, actor.pid, via, c.pid, c.via)
		}
		if actor != c.peer {
			actor.close()
		}
	}
}
