package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// client returns the client that a step is about.
func (r *caseRun) client(s caseStep) (*conformClient, error) {
	if c := r.clients[s.client]; c != nil {
		return c, nil
	}
	return nil, faultf("there is no client %q", s.client)
}

// doServer starts a server; with a word the client is another process, of that
// name.
func (r *caseRun) doServer(s caseStep) error {
	_, err := r.startServer(s.client, s.rest)
	return err
}

func (r *caseRun) doClient(s caseStep) error {
	c, err := r.startServer(s.client, s.rest)
	if err != nil {
		return err
	}
	return c.handshake()
}

// doConnect authenticates, with an answer of once unless one is given.
func (r *caseRun) doConnect(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	answer := s.rest
	if answer == "" {
		answer = "once"
	}
	if err := c.callTool("connect", "authenticate", map[string]json.RawMessage{}); err != nil {
		return err
	}
	if err := r.takeQuestion("connect"); err != nil {
		return err
	}
	if err := r.giveAnswer(answer); err != nil {
		return err
	}
	result, failure, err := c.toolResult("connect")
	if err != nil || failure != "" {
		return errors.Join(err, fmt.Errorf("authenticate: %s", failure))
	}
	var got struct {
		Account string `json:"account_id"`
	}
	if json.Unmarshal(result, &got) != nil || got.Account == "" {
		return fmt.Errorf("authenticate gave no account_id: %s", result)
	}
	r.vars["account"] = got.Account
	return nil
}

// toolArguments reads the arguments of a step.
func toolArguments(text string) (map[string]json.RawMessage, error) {
	if text == "" {
		text = "{}"
	}
	args, err := decodeObject([]byte(text))
	if err != nil {
		return nil, faultf("arguments: %v: %s", err, text)
	}
	return args, nil
}

func (r *caseRun) doCall(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	name, rest := label(s.rest, "call")
	tool, text, _ := strings.Cut(rest, " ")
	args, err := toolArguments(strings.TrimSpace(text))
	if err != nil {
		return err
	}
	return c.callTool(name, tool, args)
}

// labelled splits "[LABEL] REST", where the rest begins like a pattern.
func labelled(rest, starts string) (name, after string) {
	word, after, _ := strings.Cut(rest, " ")
	if word == "" || strings.ContainsAny(word[:1], starts) {
		return "call", rest
	}
	return word, after
}

func (r *caseRun) doOK(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	name, pattern := labelled(s.rest, "{")
	result, failure, err := c.toolResult(name)
	if err != nil {
		return err
	}
	if failure != "" {
		return fmt.Errorf("%s failed: %s", name, failure)
	}
	if pattern == "" {
		return nil
	}
	return matchJSON(pattern, result)
}

// doError expects a failure: error [LABEL:] [REGEX].
func (r *caseRun) doError(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	name, pattern := label(s.rest, "call")
	if pattern == "" && s.rest != "" && c.calls[s.rest] != 0 {
		name = s.rest
	}
	result, failure, err := c.toolResult(name)
	if err != nil {
		return err
	}
	if failure == "" {
		return fmt.Errorf("%s succeeded and should have failed: %s", name, result)
	}
	re, err := compilePattern(pattern)
	if err == nil && !re.MatchString(failure) {
		err = fmt.Errorf("%s failed with %q, want %q", name, failure, pattern)
	}
	return err
}

func (r *caseRun) doWaits(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	name, _ := labelled(s.rest, "{")
	if c.answered(name) {
		return fmt.Errorf("%s is answered and should wait", name)
	}
	return nil
}

// doMount mounts an Environment: mount ENV PATH.
func (r *caseRun) doMount(s caseStep) error {
	w, err := s.want(2)
	if err != nil {
		return err
	}
	c, err := r.client(s)
	if err != nil {
		return err
	}
	if err := c.callTool("mount", "create_local_env_file", map[string]json.RawMessage{
		"environmentId": encodeJSON(r.vars["env."+w[0]]), "environmentName": encodeJSON(w[0]),
		"mountPath": encodeJSON(w[1])}); err != nil {
		return err
	}
	if err := r.takeQuestion("mount"); err != nil {
		return err
	}
	if err := r.giveAnswer("once"); err != nil {
		return err
	}
	r.mounted = w[1]
	_, failure, err := c.toolResult("mount")
	if err == nil && failure != "" {
		err = fmt.Errorf("the mount failed: %s", failure)
	}
	return err
}

// doRequest sends any request: request LABEL: METHOD [PARAMS].
func (r *caseRun) doRequest(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	name, rest := label(s.rest, "request")
	method, text, _ := strings.Cut(rest, " ")
	params, err := toolArguments(text)
	if err != nil {
		return err
	}
	if method == "tools/call" {
		params = r.sub.callParams(params)
	}
	return c.request(name, method, params)
}

// doReply compares the whole message that answers a request.
func (r *caseRun) doReply(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	name, pattern := labelled(s.rest, "{")
	if name == "call" && c.calls["call"] == 0 {
		name = "request"
	}
	m, err := c.answer(name)
	if err != nil {
		return err
	}
	if c.lists[c.calls[name]] {
		return matchJSON(pattern, r.sub.listBack(m.raw))
	}
	return matchJSON(pattern, m.raw)
}

func (r *caseRun) doNotify(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	method, text, _ := strings.Cut(s.rest, " ")
	params, err := toolArguments(text)
	if err != nil {
		return err
	}
	if c.revision == stateless && params["_meta"] == nil {
		params["_meta"] = c.meta()
	}
	return c.write(string(encodeJSON(map[string]any{"jsonrpc": "2.0", "method": method, "params": params})))
}

// doCancel withdraws a call, as its client does.
func (r *caseRun) doCancel(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	name, _ := labelled(s.rest, "{")
	id, ok := c.calls[name]
	if !ok {
		return faultf("no request has the label %q", name)
	}
	s.rest = fmt.Sprintf(`notifications/cancelled {"requestId":%d}`, id)
	return r.doNotify(s)
}

// doSend writes a line as it stands.
func (r *caseRun) doSend(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	return c.write(s.rest)
}

// doReceive compares the next message.
func (r *caseRun) doReceive(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	m, err := c.next()
	if err != nil {
		return err
	}
	return matchJSON(s.rest, m.raw)
}

// doNotice compares the next message that the server sends by itself.
func (r *caseRun) doNotice(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	m, err := c.find(func(m *received) bool { return m.has("method") })
	if err != nil {
		return err
	}
	return matchJSON(s.rest, m.raw)
}

// doBytes writes bytes without the end of a line: bytes TEXT [xN]. With "latin1"
// each character is one byte, which need not be UTF-8.
func (r *caseRun) doBytes(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	w, err := s.want(1)
	if err != nil {
		return err
	}
	n := 1
	if times, ok := strings.CutPrefix(w[1], "x"); ok {
		if n, err = strconv.Atoi(times); err != nil {
			return faultf("%v", err)
		}
	}
	if w[1] == "latin1" {
		var text []byte
		for _, char := range w[0] {
			text = append(text, byte(char))
		}
		w[0] = string(text)
	}
	r.note("%s -> %q x%d", c.name, cut(w[0], 200), n)
	for ; n > 0; n -= 1 << 16 {
		if err := c.raw(strings.Repeat(w[0], min(n, 1<<16))); err != nil {
			return err
		}
	}
	return nil
}

// doSilent asks something harmless: its answer has to be the very next message.
func (r *caseRun) doSilent(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	method := "ping"
	if c.revision == stateless {
		method = "server/discover"
	}
	if err := c.request("silent", method, nil); err != nil {
		return err
	}
	m, err := c.next()
	if err != nil {
		return err
	}
	if string(m.parts["id"]) != fmt.Sprint(c.calls["silent"]) {
		return fmt.Errorf("answered what is not to be answered: %s", cut(string(m.raw), 500))
	}
	return nil
}

func (r *caseRun) doEOF(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	c.wrote("\n")
	return c.in.Close()
}

// doExits waits for the server's end: exits [CODE].
func (r *caseRun) doExits(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	if !c.proc.endsBy(time.Now().Add(goneWithin)) {
		return fmt.Errorf("the server has not ended within %v", goneWithin)
	}
	if s.rest != "" && s.rest != fmt.Sprint(c.proc.exit) {
		return fmt.Errorf("the server ended with %d, want %s", c.proc.exit, s.rest)
	}
	return nil
}

func (r *caseRun) doServerSignal(s caseStep) error {
	c, err := r.client(s)
	if err != nil {
		return err
	}
	below := descendantsOf(c.proc.cmd.Process.Pid, nil) // the server is below the client
	if len(below) == 0 {
		return errors.New("the server has ended")
	}
	p, err := os.FindProcess(below[0])
	if err != nil {
		return err
	}
	return sendSignal(p, s.rest)
}

// sendSignal sends a signal by its short name.
func sendSignal(p *os.Process, name string) error {
	signals := map[string]os.Signal{"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT, "TERM": syscall.SIGTERM,
		"INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}
	s, ok := signals[name]
	if !ok {
		return faultf("unknown signal %q", name)
	}
	return p.Signal(s)
}
