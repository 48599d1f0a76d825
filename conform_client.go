package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// conformClient is an MCP client: it starts a server, writes lines, and keeps
// what comes back, in order.
type conformClient struct {
	r        *caseRun
	name     string
	revision string
	proc     *caseProcess
	in       io.WriteCloser
	lastID   int
	calls    map[string]int // label to id
	tools    map[int]string // id to the tool's name in SPEC §9.2
	lists    map[int]bool   // ids of tools/list

	mu       sync.Mutex // guards what follows
	messages []*received
	checks   *messageCheck
	unended  string // what was written of a line
	grew     chan struct{}
	ended    bool
}

// received is one message of the server's. A batch is taken apart.
type received struct {
	raw    json.RawMessage
	parts  map[string]json.RawMessage
	taken  bool
	inside bool // it came in an array
}

func (m *received) has(name string) bool { return m.parts[name] != nil }

// firstClientID keeps our ids apart from those that cases write themselves.
const firstClientID = 1000

// startServer starts the subject's server for a client. The client is a process
// of its own, named so: what else the case starts is then not below it, as a
// person's programs are not.
func (r *caseRun) startServer(name, program string) (*conformClient, error) {
	if program == "" {
		program = "mcp-client"
	}
	relay, err := r.ourselves(program)
	if err != nil {
		return nil, err
	}
	c := &conformClient{r: r, name: name, revision: r.revision, lastID: firstClientID,
		calls: map[string]int{}, tools: map[int]string{}, lists: map[int]bool{}, grew: make(chan struct{}),
		checks: newMessageCheck()}
	argv := append([]string{relay, "conform-relay", "--"}, r.server...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = r.project, append(r.env(), testOnlyEnv...)
	if c.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.proc = newCaseProcess(name, cmd)
	cmd.Stderr = c.proc.err
	if err := cmd.Start(); err != nil {
		return nil, faultf("cannot start the server: %v", err)
	}
	r.note("start %s %q", name, argv)
	go func() {
		c.listen(bufio.NewReaderSize(out, 1<<16))
		c.proc.wait()
	}()
	r.clients[name], r.procs["server-"+name] = c, c.proc
	return c, nil
}

// listen takes lines until the server closes its output.
func (c *conformClient) listen(out *bufio.Reader) {
	for {
		line, err := out.ReadBytes('\n')
		if len(line) > 0 {
			c.take(line, err == nil)
		}
		if err != nil {
			break
		}
	}
	c.proc.out.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.wake()
}

func (c *conformClient) wake() {
	close(c.grew)
	c.grew = make(chan struct{})
}

// take checks one line and keeps its messages.
func (c *conformClient) take(line []byte, whole bool) {
	c.proc.out.Write(line)
	c.r.note("%s <- %s", c.name, cut(string(line), 4000))
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.wake()
	if !whole {
		c.r.fails("the server's last line does not end: %q", cut(string(line), 200))
		return
	}
	line = line[:len(line)-1]
	for _, err := range c.checks.received(line) {
		c.r.fails("a line of the server: %v", err)
	}
	var batch []json.RawMessage
	if json.Unmarshal(line, &batch) != nil {
		batch = []json.RawMessage{line}
	}
	for _, raw := range batch {
		parts, err := decodeObject(raw)
		if err != nil {
			continue // the check has said so
		}
		c.messages = append(c.messages, &received{raw: raw, parts: parts, inside: len(line) > 0 && line[0] == '['})
	}
}

// write sends a line as it is.
func (c *conformClient) write(line string) error {
	c.r.note("%s -> %s", c.name, cut(line, 4000))
	return c.raw(line + "\n")
}

// wrote tells the checks of each line that is whole.
func (c *conformClient) wrote(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		end, rest, whole := strings.Cut(text, "\n")
		c.unended += end
		if !whole {
			return
		}
		c.checks.sent([]byte(c.unended))
		c.unended, text = "", rest
	}
}

// raw sends bytes; a server that takes none for ten seconds hangs.
func (c *conformClient) raw(text string) error {
	c.wrote(text)
	done := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c.in, text)
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("the server takes nothing any more: %v", err)
		}
		return nil
	case <-time.After(c.r.patience()):
		return errors.New("the server does not read")
	}
}

// meta is what each request of the stateless revision says of itself.
func (c *conformClient) meta() json.RawMessage {
	return encodeJSON(map[string]any{
		"io.modelcontextprotocol/protocolVersion":    stateless,
		"io.modelcontextprotocol/clientCapabilities": map[string]any{},
		"io.modelcontextprotocol/clientInfo":         map[string]any{"name": "conformance", "version": "1"}})
}

// request sends a request under a label.
func (c *conformClient) request(label, method string, params map[string]json.RawMessage) error {
	if params == nil {
		params = map[string]json.RawMessage{}
	}
	if c.revision == stateless && params["_meta"] == nil {
		params["_meta"] = c.meta()
	}
	c.lastID++
	c.calls[label] = c.lastID
	c.lists[c.lastID] = method == "tools/list"
	return c.write(string(encodeJSON(map[string]any{"jsonrpc": "2.0", "id": c.lastID,
		"method": method, "params": params})))
}

// handshake is what the revision begins with.
func (c *conformClient) handshake() error {
	if c.revision == stateless {
		return nil
	}
	m, err := c.first()
	if err != nil {
		return err
	}
	if err := matchJSON(`{"result":{"protocolVersion":"`+c.revision+`"}}`, m.raw); err != nil {
		return err
	}
	return c.write(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
}

// first asks what every server answers, and waits for the answer.
func (c *conformClient) first() (*received, error) {
	method, params := "initialize", map[string]json.RawMessage{
		"protocolVersion": encodeJSON(c.revision), "capabilities": json.RawMessage("{}"),
		"clientInfo": json.RawMessage(`{"name":"conformance","version":"1"}`)}
	if c.revision == stateless {
		method, params = "server/discover", nil
	}
	if err := c.request(method, method, params); err != nil {
		return nil, err
	}
	return c.answer(method)
}

// find waits for the first message not yet taken that fits.
func (c *conformClient) find(fits func(*received) bool) (*received, error) {
	late := time.After(c.r.patience())
	for {
		c.mu.Lock()
		at := slices.IndexFunc(c.messages, func(m *received) bool { return !m.taken && fits(m) })
		grew, ended := c.grew, c.ended
		if at >= 0 {
			m := c.messages[at]
			m.taken = true
			c.mu.Unlock()
			return m, nil
		}
		c.mu.Unlock()
		if ended {
			return nil, c.endedEarly()
		}
		select {
		case <-grew:
		case <-late:
			return nil, fmt.Errorf("no answer within %v", c.r.patience())
		}
	}
}

// endedEarly says that the server has ended, and what it said at last.
func (c *conformClient) endedEarly() error {
	said := ""
	if c.proc.endsBy(time.Now().Add(goneWithin)) {
		said = fmt.Sprintf(" with %d", c.proc.exit)
	}
	if text := lastLines(c.proc.err.bytes(), 3); text != "" {
		said += fmt.Sprintf("; its standard error: %q", last(text, 300))
	}
	return errors.New("the server has ended without an answer" + said)
}

// lastLines returns the last lines of what a process wrote.
func lastLines(text []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// answer waits for the answer to a labelled request.
func (c *conformClient) answer(label string) (*received, error) {
	id, ok := c.calls[label]
	if !ok {
		return nil, faultf("no request has the label %q", label)
	}
	want := fmt.Sprint(id)
	m, err := c.find(func(m *received) bool { return !m.has("method") && string(m.parts["id"]) == want })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", label, err)
	}
	return m, nil
}

// answered reports whether the answer is already there.
func (c *conformClient) answered(label string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	want := fmt.Sprint(c.calls[label])
	return slices.ContainsFunc(c.messages, func(m *received) bool { return string(m.parts["id"]) == want && !m.taken })
}

// next waits for the next message that answers something.
func (c *conformClient) next() (*received, error) {
	return c.find(func(m *received) bool { return !m.has("method") })
}

// toolResult is what a call came to: an object, or the text of an error.
func (c *conformClient) toolResult(label string) (result json.RawMessage, failure string, err error) {
	m, err := c.answer(label)
	if err != nil {
		return nil, "", err
	}
	if e := m.parts["error"]; e != nil {
		return nil, parseWireError(e).Message, nil
	}
	var r struct {
		IsError           bool
		Content           []struct{ Type, Text string }
		StructuredContent json.RawMessage
	}
	if err := json.Unmarshal(m.parts["result"], &r); err != nil || len(r.Content) == 0 {
		return nil, "", fmt.Errorf("no result of a tool: %s", cut(string(m.raw), 500))
	}
	if r.IsError {
		return nil, r.Content[0].Text, nil
	}
	result = r.StructuredContent
	if result == nil {
		result = json.RawMessage(r.Content[0].Text)
	}
	object, err := decodeObject(result)
	if err != nil {
		return nil, "", fmt.Errorf("the result is %w: %s", err, cut(string(result), 500))
	}
	tool := c.r.sub.tool(c.tools[c.calls[label]])
	return encodeJSON(renamed(object, tool.Results, true)), "", nil
}

// callTool starts a call, with the subject's names.
func (c *conformClient) callTool(label, tool string, args map[string]json.RawMessage) error {
	if _, there := args["accountId"]; !there && tool != "authenticate" {
		args["accountId"] = encodeJSON(c.r.vars["account"])
	}
	names := c.r.sub.tool(tool)
	if err := c.request(label, "tools/call", map[string]json.RawMessage{"name": encodeJSON(names.Name),
		"arguments": encodeJSON(renamed(args, names.Arguments, false))}); err != nil {
		return err
	}
	c.tools[c.calls[label]] = tool
	return nil
}
