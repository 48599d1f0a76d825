package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// client drives a bridge as a client does, over pipes.
type client struct {
	t     testing.TB
	in    *io.PipeWriter
	lines chan string
	log   *lockedBuffer
	ended chan error
}

// startClient starts a bridge. After the test it must have left by itself at
// the end of its input.
func startClient(t testing.TB, home string) *client {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	c := &client{t: t, in: inW, lines: make(chan string, 1000), log: new(lockedBuffer), ended: make(chan error, 1)}
	serve := tapedBridge(t)
	go func() {
		c.ended <- serve(context.Background(), inR, outW, c.log, home)
		outW.Close()
	}()
	go func() {
		in := bufio.NewReader(outR)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				close(c.lines)
				return
			}
			c.lines <- strings.TrimSuffix(line, "\n")
		}
	}()
	t.Cleanup(func() {
		c.in.Close()
		for range c.lines { // until the bridge has left
		}
	})
	return c
}

func (c *client) send(line string) { io.WriteString(c.in, line+"\n") }

// next returns the next line of the bridge.
func (c *client) next() string {
	c.t.Helper()
	select {
	case line, open := <-c.lines:
		if !open {
			c.t.Fatal("the bridge has left")
		}
		return line
	case <-time.After(patience):
		c.t.Fatal("no answer")
	}
	return ""
}

// ask sends a line and returns what comes until an answer, notifications first.
func (c *client) ask(line string) (answers []string) {
	c.t.Helper()
	c.send(line)
	for {
		answers = append(answers, c.next())
		if last := answers[len(answers)-1]; !strings.Contains(last, `,"method":"`) {
			return answers
		}
	}
}

func waiting(t testing.TB, wait, progress time.Duration) {
	oldWait, oldProgress := waitForPerson, progressEvery
	waitForPerson, progressEvery = wait, progress
	t.Cleanup(func() { waitForPerson, progressEvery = oldWait, oldProgress })
}

// TestMCPTranscripts plays the sessions of testdata/mcp. A line begins with
//
//	>   a line to the bridge; what follows is its answer
//	>>  the same, but it is not waited for
//	<   a line of the bridge
//	~   what the keeper is to do: METHOD RESULT, METHOD error CODE TEXT,
//	    METHOD never, or "hurry" for a person who is waited for shortly
//	?   what the keeper must have heard
//
// and everything else is prose. -update rewrites the lines of the bridge. Long
// texts that are files of their own are shortened.
//
//	both_eras          [MCP-5] [MCP-9] [MCP-10]
//	version_mismatch   [MCP-6] [MCP-7] [MCP-8] [MCP-9]
//	handshake_…        [MCP-8] [TUL-2] [TUL-4]
//	modern             [MCP-10] [MCP-11] [MCP-17]
//	batch              [MCP-12] [MCP-13]
//	resources          [MCP-11] [MCP-14] [MCP-17] [TUL-23]
//	bad_arguments_…    [MCP-15] [MCP-16] [MCP-26]
//	unknown_tool       [MCP-10] [MCP-16]
//	subscriptions      [MCP-18]
//	same_id            [MCP-24]
//	cancel             [MCP-27]
//	no_keeper          [MCP-29] [MCP-30]
//	keeper_errors      [TUL-5]
//	waiting            [WAI-1] [WAI-5]
func TestMCPTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/mcp/*.txt")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d transcripts, %v, want at least 12", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := playTranscript(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if !strings.Contains(got, "\n< ") {
				t.Error("the transcript shows no answer")
			}
			compareLines(t, got, string(want))
		})
	}
}

// TestHowLongACallWaits has the production values, which transcripts shorten.
// [WAI-1] [WAI-5]
func TestHowLongACallWaits(t *testing.T) {
	if waitForPerson != 45*time.Second || progressEvery != 5*time.Second {
		t.Errorf("a call waits %v and says so every %v", waitForPerson, progressEvery)
	}
}

func compareLines(t *testing.T, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		a, b := "(end)", "(end)"
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			t.Fatalf("line %d\n got %s\nwant %s", i+1, a, b)
		}
	}
}

// playTranscript returns the transcript with the answers that came.
func playTranscript(t *testing.T, text string) string {
	waiting(t, waitForPerson, progressEvery)
	home := shortHome(t)
	c := startClient(t, home)
	var keeper *fakeKeeper
	var played []string
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		mark, rest, _ := strings.Cut(line, " ")
		if mark == "<" {
			continue
		}
		played = append(played, line)
		switch mark {
		case ">":
			for _, answer := range c.ask(rest) {
				played = append(played, "< "+shorten(answer))
			}
		case ">>":
			c.send(rest)
		case "~":
			if keeper == nil {
				keeper = startFakeKeeper(t, home)
			}
			method, answer, _ := strings.Cut(rest, " ")
			keeper.answer(method, answer)
			waitForPerson, progressEvery = 45*time.Second, 5*time.Second
			if method == "hurry" {
				waitForPerson, progressEvery = 30*time.Millisecond, 10*time.Millisecond
			}
		case "?":
			keeper.hears(t, rest)
		}
	}
	c.in.Close()
	for line := range c.lines {
		played = append(played, "< "+shorten(line))
	}
	if err := <-c.ended; err != nil {
		t.Errorf("serveMCP = %v, want nil", err)
	}
	return strings.Join(played, "\n") + "\n"
}

// shorten cuts from an answer what can be read elsewhere.
func shorten(line string) string {
	for _, r := range resources {
		text, _ := documents.ReadFile("docs/mcp/" + r.name + ".md")
		line = strings.ReplaceAll(line, string(encodeJSON(string(text))), `"…`+r.name+`.md…"`)
	}
	line = strings.ReplaceAll(line, string(encodeJSON(instructions)), `"…instructions.md…"`)
	for _, tool := range tools[1:] {
		for _, revision := range append([]string{modern}, legacy...) {
			line = strings.ReplaceAll(line, ","+string(encodeJSON(tool.describe(revision))), "")
		}
	}
	return line
}

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25",` +
	`"capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`

// call is a tools/call of a legacy session.
func toolCall(id int, tool, args string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, id, tool, args)
}

// TestLeavesWhileACallWaits: neither the person nor the keeper holds it. [MCP-3]
func TestLeavesWhileACallWaits(t *testing.T) {
	for name, leave := range map[string]func(c *client){
		"end of input": func(c *client) { c.in.Close() },
		"SIGTERM":      func(*client) { syscall.Kill(os.Getpid(), syscall.SIGTERM) },
		"SIGINT":       func(*client) { syscall.Kill(os.Getpid(), syscall.SIGINT) },
		"SIGHUP":       func(*client) { syscall.Kill(os.Getpid(), syscall.SIGHUP) },
	} {
		t.Run(name, func(t *testing.T) {
			k := startFakeKeeper(t, shortHome(t))
			k.answer("authenticate", "never")
			c := startClient(t, k.home)
			c.ask(initialize)
			c.send(toolCall(1, "authenticate", "{}"))
			k.hears(t, "authenticate")
			leave(c)
			select {
			case err := <-c.ended:
				if err != nil {
					t.Errorf("serveMCP = %v, want nil", err)
				}
			case <-time.After(patience):
				t.Fatal("the bridge is still there")
			}
			for line := range c.lines {
				t.Errorf("a call that waits was answered: %s", line)
			}
			k.hears(t, "the end of a connection")
		})
	}
}

// TestAnswersBeforeItLeaves: the input may end directly behind a call. [MCP-4]
func TestAnswersBeforeItLeaves(t *testing.T) {
	k := startFakeKeeper(t, shortHome(t))
	k.answer("authenticate", `{"account_id":"A"}`)
	out := new(lockedBuffer)
	in := strings.NewReader(initialize + "\n" + toolCall(1, "authenticate", "{}"))
	if err := tapedBridge(t)(t.Context(), in, out, io.Discard, k.home); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `"structuredContent":{"account_id":"A"}`) {
		t.Errorf("no answer in %s", out)
	}
}

func TestLeavesWhenTheOutputBreaks(t *testing.T) {
	inR, inW := io.Pipe()
	defer inW.Close()
	ended, serve := make(chan error, 1), tapedBridge(t)
	go func() {
		ended <- serve(context.Background(), inR, &countingWriter{}, io.Discard, t.TempDir())
	}()
	io.WriteString(inW, ping+"\n")
	select {
	case err := <-ended:
		if !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("serveMCP = %v, want the writer's error", err)
		}
	case <-time.After(patience):
		t.Fatal("the bridge is still there")
	}
}

// TestLeavesAClientThatDoesNotRead: nobody reads the output, and a signal comes.
// [MCP-3]
func TestLeavesAClientThatDoesNotRead(t *testing.T) {
	outR, outW := io.Pipe()
	defer outR.Close()
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	inR, inW := io.Pipe()
	defer inW.Close()
	serve := tapedBridge(t)
	go func() { ended <- serve(ctx, inR, outW, io.Discard, t.TempDir()) }()
	io.WriteString(inW, ping+"\n")
	io.ReadFull(outR, make([]byte, 1)) // the rest of the answer is not read
	end()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the bridge is still there")
	}
}

// TestManyCallsAtOnce: one more is refused, and there is room again later.
// [MCP-28]
func TestManyCallsAtOnce(t *testing.T) {
	k := startFakeKeeper(t, shortHome(t))
	k.answer("authenticate", `{"account_id":"A"}`)
	k.answer("list_environments", "never")
	c := startClient(t, k.home)
	c.ask(initialize)
	for id := range maxUnderWay {
		c.send(toolCall(1000+id, "list_environments", `{"accountId":"A"}`))
	}
	over := c.ask(toolCall(1, "authenticate", "{}"))[0]
	if !strings.Contains(over, `"isError":true`) || !strings.Contains(over, "256 calls are under way") {
		t.Errorf("one more call: %s", over)
	}
	again := c.ask(toolCall(1000, "list_environments", `{"accountId":"A"}`))[0]
	if !strings.Contains(again, "a request with this id is under way") {
		t.Errorf("an id under way: %s", again)
	}
	c.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1000}}`)
	k.hears(t, "withdrawn list_environments")
	waitFor(t, "room for a call", func() bool {
		return strings.Contains(c.ask(toolCall(2, "authenticate", "{}"))[0], `"structuredContent":{"account_id":"A"}`)
	})
}

func TestAThousandCalls(t *testing.T) {
	k := startFakeKeeper(t, shortHome(t))
	k.answer("authenticate", `{"account_id":"A"}`)
	c := startClient(t, k.home)
	c.ask(initialize)
	seen := map[string]bool{}
	for first := 1; first <= 1000; first += 200 {
		for id := range 200 {
			c.send(toolCall(first+id, "authenticate", "{}"))
		}
		for range 200 {
			m, bad := parseMessage([]byte(c.next()))
			if bad != nil || strings.Contains(string(m.result), "isError") {
				t.Fatalf("%v %s", bad, m.result)
			}
			seen[string(m.id)] = true
		}
	}
	if len(seen) != 1000 {
		t.Errorf("%d calls were answered, want 1000", len(seen))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.conns) != 1 {
		t.Errorf("%d connections, want one that all calls share", len(k.conns))
	}
}

func TestComesBackAfterALock(t *testing.T) {
	home := shortHome(t)
	c := startClient(t, home)
	c.ask(initialize)
	for round := range 3 {
		k := startFakeKeeper(t, home)
		k.answer("authenticate", `{"account_id":"A"}`)
		waitFor(t, "an answer of the new keeper", func() bool {
			return strings.Contains(c.ask(toolCall(round, "authenticate", "{}"))[0], `"account_id":"A"`)
		})
		k.stop()
		waitFor(t, "the lock to show", func() bool {
			return strings.Contains(c.ask(toolCall(round, "authenticate", "{}"))[0], "keepmum unlock")
		})
	}
}

// TestPanicIsAnAnswer: a fault in one call must not end the session.
func TestPanicIsAnAnswer(t *testing.T) {
	k := startFakeKeeper(t, shortHome(t))
	k.answer("authenticate", "never")
	waiting(t, time.Second, 0) // a division by zero
	c := startClient(t, k.home)
	c.ask(initialize)
	got := c.ask(toolCall(1, "authenticate", "{}"))[0]
	if !strings.Contains(got, `"isError":true`) || !strings.Contains(got, "internal error") {
		t.Errorf("answer %s", got)
	}
	if !strings.Contains(c.log.String(), "internal error in authenticate") {
		t.Errorf("log %q", c.log.String())
	}
	if got := c.ask(ping)[0]; got+"\n" != pong {
		t.Errorf("afterwards %s", got)
	}
}

// TestNoValueComesBack calls every tool with a value, right and wrong, before a
// keeper that fails: no line and no log may hold it. [TUL-6]
func TestNoValueComesBack(t *testing.T) {
	k := startFakeKeeper(t, shortHome(t))
	c := startClient(t, k.home)
	c.ask(initialize)
	id := 0
	for _, tool := range tools {
		k.answer(tool.name, "error 2 failed")
		for _, args := range []string{
			`{"accountId":"A","environmentId":"e","variables":[{"name":"A","value":"` + canary + `"}]}`,
			`{"accountId":"A","environmentId":"e","variables":[{"name":"A","value":"` + canary + `","concealed":1}]}`,
			`{"accountId":"A","environmentId":"e","variables":[{"name":"A","value":["` + canary + `"]}]}`,
			`{"accountId":"A","environmentId":"e","variables":[{"name":"` + canary + `","value":"x"}]}`,
			`{"accountId":"A","environmentId":"e","variables":{"A":"` + canary + `"}}`,
			`{"accountId":"A","environmentId":"e","variables":["` + canary + `"],"mount":"` + canary + `"}`,
			`{"accountId":["` + canary + `"]}`,
		} {
			id++
			if got := c.ask(toolCall(id, tool.name, args))[0]; strings.Contains(got, canary) {
				t.Errorf("%s %s: %s", tool.name, args, got)
			}
		}
	}
	if strings.Contains(c.log.String(), canary) {
		t.Errorf("log: %s", c.log.String())
	}
	k.hears(t, "append_variables") // one was right
}

// FuzzMCP: whatever comes in, only JSON-RPC goes out [MCP-1], and the bridge
// leaves at the end of its input [MCP-3].
func FuzzMCP(f *testing.F) {
	files, _ := filepath.Glob("testdata/mcp/*.txt")
	if len(files) == 0 {
		f.Fatal("no seeds")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var session strings.Builder
		for line := range strings.Lines(string(text)) {
			if mark, rest, _ := strings.Cut(line, " "); mark == ">" || mark == ">>" {
				session.WriteString(rest)
				f.Add([]byte(rest))
			}
		}
		f.Add([]byte(session.String()))
	}
	home := f.TempDir()
	f.Fuzz(func(t *testing.T, input []byte) {
		out := new(lockedBuffer)
		if err := tapedBridge(t)(context.Background(), bytes.NewReader(input), out, io.Discard, home); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			parts := []json.RawMessage{json.RawMessage(line)}
			if strings.HasPrefix(line, "[") && json.Unmarshal([]byte(line), &parts) != nil {
				t.Fatalf("not an array: %q", line)
			}
			for _, part := range parts {
				checkAnswer(t, part)
			}
		}
	})
}

// checkAnswer holds a line of the bridge to JSON-RPC and to what we may send.
func checkAnswer(t *testing.T, line json.RawMessage) {
	t.Helper()
	m, bad := parseMessage(line)
	members, err := decodeObject(line)
	switch {
	case bad != nil || err != nil:
		t.Fatalf("not a message: %q", line)
	case m.method != "" && m.id == nil:
		if !slices.Contains([]string{"notifications/progress", "notifications/subscriptions/acknowledged"}, m.method) {
			t.Fatalf("an unexpected notification: %q", line)
		}
	case m.method != "": // [MCP-19]
		t.Fatalf("a request: %q", line)
	case (members["result"] == nil) == (members["error"] == nil), members["result"] != nil && m.id == nil:
		t.Fatalf("neither result nor error, or both, or a result without an id: %q", line)
	}
}
