package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const testPass = "correct horse battery"

// testEarlyKey is earlyKey in the programs under test.
const testEarlyKey = 100 * time.Millisecond

// world is one throw-away home, a project beside it, and what was seen.
type world struct {
	t             *testing.T
	dir, home     string
	project       string
	env           []string
	transcript    *bytes.Buffer // every byte that any of our processes wrote
	transcriptMux sync.Mutex
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "km") // short: a socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &world{t: t, dir: dir, home: filepath.Join(dir, "home"), project: filepath.Join(dir, "project"),
		transcript: new(bytes.Buffer)}
	if err := os.Mkdir(w.project, 0o700); err != nil {
		t.Fatal(err)
	}
	w.env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "KEEPMUM_HOME=" + w.home,
		"KEEPMUM_TEST_HELPER=main", "KEEPMUM_TEST_ADMIN=" + filepath.Join(dir, "none"),
		tapesVariable + "=" + dir, "GORACE=atexit_sleep_ms=0"} // see startHelper
	t.Cleanup(func() { checkTapes(t, foundTapes(t, dir)) })
	return w
}

// Write keeps what was seen, for the search for canaries.
func (w *world) Write(b []byte) (int, error) {
	w.transcriptMux.Lock()
	defer w.transcriptMux.Unlock()
	return w.transcript.Write(b)
}

// seen is a copy of all that was written so far.
func (w *world) seen() []byte {
	w.transcriptMux.Lock()
	defer w.transcriptMux.Unlock()
	return bytes.Clone(w.transcript.Bytes())
}

// command is the program under test: this binary as keepmum.
func (w *world) command(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env, cmd.Dir = w.env, w.project
	return cmd
}

// policy writes the person's policy.
func (w *world) policy(text string) {
	w.t.Helper()
	os.Mkdir(w.home, 0o700)
	if err := os.WriteFile(filepath.Join(w.home, "policy.json"), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// done runs a command to its end and returns what it wrote.
func (w *world) done(cmd *exec.Cmd) (out, errOut string, code int) {
	w.t.Helper()
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&o, w), io.MultiWriter(&e, w)
	began := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	said := e.String()
	if time.Since(began) > quietWait { // on a busy machine an answer is late that nobody was asked for
		said = strings.ReplaceAll(said, "keepmum: waiting for your answer in the keeper's terminal\n", "")
	}
	return o.String(), said, cmd.ProcessState.ExitCode()
}

// person sits at a terminal in which a program of ours runs.
type person struct {
	w      *world
	cmd    *exec.Cmd
	master *os.File
	slave  *os.File // as whoever had it open before keepmum has it

	mu    sync.Mutex
	shown []byte
	read  int
}

// atTerminal starts a program of ours in a terminal of its own.
func (w *world) atTerminal(args ...string) *person {
	w.t.Helper()
	return w.seat(w.command(args...))
}

// seat starts any program so.
func (w *world) seat(cmd *exec.Cmd) *person {
	w.t.Helper()
	master, slave, err := openPTY()
	if err != nil {
		w.t.Fatal(err)
	}
	p := &person{w: w, cmd: cmd, master: master, slave: slave}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go p.watch()
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("the screen of %v:\n%s", cmd.Args[1:], p.screen())
		}
		p.cmd.Process.Kill()
		p.cmd.Wait()
		slave.Close()
		master.Close()
	})
	return p
}

// unlock starts a keeper, on a new vault or an old one.
func (w *world) unlock(args ...string) *person {
	w.t.Helper()
	_, err := os.Stat(filepath.Join(w.home, "vault"))
	p := w.atTerminal(append([]string{"unlock"}, args...)...)
	if errors.Is(err, fs.ErrNotExist) {
		p.type_("new passphrase: $", testPass+"\r")
		p.type_("the same again: $", testPass+"\r")
	} else {
		p.type_("passphrase: $", testPass+"\r")
	}
	p.sees(`Ctrl-C locks\.`)
	return p
}

func (p *person) watch() {
	buf := make([]byte, 4096)
	for {
		n, err := p.master.Read(buf)
		p.w.Write(buf[:n])
		p.mu.Lock()
		p.shown = append(p.shown, buf[:n]...)
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// sees waits until what was not yet looked at matches, and returns the match.
func (p *person) sees(pattern string) string {
	p.w.t.Helper()
	want := regexp.MustCompile(pattern)
	var found, rest string
	if !eventually(patience, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		at := want.FindIndex(p.shown[p.read:])
		if at != nil {
			found = string(p.shown[p.read+at[0] : p.read+at[1]])
			p.read += at[1]
		}
		rest = string(p.shown[p.read:])
		return at != nil
	}) {
		seen := p.w.seen()
		p.w.t.Fatalf("the screen never showed %q; it shows:\n%s\nthe last that was written anywhere:\n%s",
			pattern, rest, seen[max(0, len(seen)-1000):])
	}
	return found
}

// showed fails if the text has not been on the screen.
func (p *person) showed(text string) {
	p.w.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !bytes.Contains(p.shown, []byte(text)) {
		p.w.t.Errorf("the screen has not shown %q but:\n%s", text, p.shown)
	}
}

// type_ waits for the screen and types.
func (p *person) type_(pattern, keys string) {
	p.w.t.Helper()
	p.sees(pattern)
	if _, err := io.WriteString(p.master, keys); err != nil {
		p.w.t.Fatal(err)
	}
}

// answers waits for a question about an action and presses a key, after the
// moment in which keys do not count. It returns the question.
func (p *person) answers(action, key string) string {
	p.w.t.Helper()
	text := p.asked(action)
	p.presses(key)
	return text
}

// asked waits for a question about an action and returns it.
func (p *person) asked(action string) string {
	p.w.t.Helper()
	return p.sees(`#\d+ [\d:]+  ` + action + `\r\n[\s\S]*?allow\?[\s\S]*?  > `)
}

// presses answers the question on the screen, once more where that came early
// all the same on a busy machine.
func (p *person) presses(key string) {
	p.w.t.Helper()
	taken := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.read < len(p.shown)
	}
	for range 10 {
		time.Sleep(testEarlyKey + 20*time.Millisecond) // the rule under test, not luck
		io.WriteString(p.master, key)
		if eventually(2*time.Second, taken) {
			return
		}
	}
	p.w.t.Fatal("the keeper took no answer")
}

// nothingAsked fails if a question was shown that nobody looked at.
func (p *person) nothingAsked() {
	p.w.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if bytes.Contains(p.shown[p.read:], []byte("allow?")) {
		p.w.t.Fatalf("asked: %s", p.shown[p.read:])
	}
}

// ends waits for the program's end.
func (p *person) ends() int {
	p.w.t.Helper()
	ended := make(chan struct{})
	go func() { p.cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(patience):
		p.w.t.Fatal("the program did not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// session is an MCP session with a bridge of ours.
type session struct {
	w       *world
	cmd     *exec.Cmd
	in      io.WriteCloser
	id      int
	account string

	mu      sync.Mutex
	answers map[int]chan map[string]any
}

func (w *world) client() *session {
	w.t.Helper()
	c := &session{w: w, cmd: w.command("mcp"), answers: map[int]chan map[string]any{}}
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		w.t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	c.cmd.Stderr = w
	if err := c.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.in.Close(); c.cmd.Process.Kill(); c.cmd.Wait() })
	go c.listen(bufio.NewReader(out))
	c.wait(c.send("initialize", map[string]any{"protocolVersion": "2025-11-25", "capabilities": map[string]any{},
		"clientInfo": map[string]any{"name": "test", "version": "1"}}))
	return c
}

func (c *session) listen(out *bufio.Reader) {
	for {
		line, err := out.ReadBytes('\n')
		c.w.Write(line)
		if err != nil {
			return
		}
		var m map[string]any
		if json.Unmarshal(line, &m) != nil {
			c.w.t.Errorf("not JSON: %q", line)
		}
		if id, ok := m["id"].(float64); ok {
			c.mu.Lock()
			select {
			case c.answers[int(id)] <- m:
			default: // the second answer, or one that nobody asked for
				c.w.t.Errorf("not an answer to anything: %s", line)
			}
			c.mu.Unlock()
		}
	}
}

// send sends a request and returns its id.
func (c *session) send(method string, params any) int {
	c.id++
	c.mu.Lock()
	c.answers[c.id] = make(chan map[string]any, 1)
	c.mu.Unlock()
	line, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": c.id, "method": method, "params": params})
	if err != nil {
		c.w.t.Fatal(err)
	}
	c.in.Write(append(line, '\n'))
	return c.id
}

func (c *session) wait(id int) map[string]any {
	c.w.t.Helper()
	c.mu.Lock()
	ch := c.answers[id]
	c.mu.Unlock()
	select {
	case m := <-ch:
		c.mu.Lock()
		delete(c.answers, id) // and no second one
		c.mu.Unlock()
		return m
	case <-time.After(patience):
		c.w.t.Fatalf("no answer to request %d", id)
		return nil
	}
}

// call starts a tool's call.
func (c *session) call(tool string, args map[string]any) int {
	if c.account != "" && args["accountId"] == nil {
		args = with(args, "accountId", c.account)
	}
	return c.send("tools/call", map[string]any{"name": tool, "arguments": args})
}

// result waits for a call's result: structured content, or the text of an error.
func (c *session) result(id int) (map[string]any, string) {
	c.w.t.Helper()
	m := c.wait(id)
	r, _ := m["result"].(map[string]any)
	if r == nil {
		return nil, fmt.Sprint(m["error"])
	}
	if r["isError"] == true {
		return nil, r["content"].([]any)[0].(map[string]any)["text"].(string)
	}
	return r["structuredContent"].(map[string]any), ""
}

// asked runs a call that the person answers with a key.
func (c *session) asked(p *person, action, key, tool string, args map[string]any) (map[string]any, string) {
	c.w.t.Helper()
	id := c.call(tool, args)
	p.answers(action, key)
	return c.result(id)
}

// connect authenticates.
func (c *session) connect(p *person, key string) {
	c.w.t.Helper()
	r, text := c.asked(p, "connect", key, "authenticate", map[string]any{})
	if text != "" {
		c.w.t.Fatal(text)
	}
	c.account = r["account_id"].(string)
}

// set stores a value by the command line, approved at the terminal.
func (w *world) set(p *person, env, name, value string) {
	w.t.Helper()
	cmd := w.command("set", env, name)
	cmd.Stdin = strings.NewReader(value)
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	p.answers("append", "o")
	if err := cmd.Wait(); err != nil {
		w.t.Fatal(err)
	}
}

// mount mounts an Environment at the project's .env.
func (w *world) mount(p *person, env string, path ...string) string {
	w.t.Helper()
	target := filepath.Join(append([]string{w.project}, append(path, ".env")...)...)
	cmd := w.command("mount", env, target)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	p.answers("mount", "o")
	if err := cmd.Wait(); err != nil {
		w.t.Fatal(err)
	}
	return target
}

// with returns m and one more member.
func with(m map[string]any, name string, value any) map[string]any {
	out := map[string]any{name: value}
	maps.Copy(out, m)
	return out
}
