package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// runDemoAgent plays the coding agent of the demo: an MCP client that starts
// the bridge, and a shell command of the agent's.
func runDemoAgent(c *cli, args []string) error {
	if err := c.want(args, 0, 0); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bridge := exec.Command(self, "mcp")
	in, err := bridge.StdinPipe()
	if err != nil {
		return err
	}
	out, err := bridge.StdoutPipe()
	if err != nil {
		return err
	}
	bridge.Stderr = c.err
	if err := bridge.Start(); err != nil {
		return err
	}
	a := &demoAgent{to: in, from: bufio.NewReader(out), show: c.out}
	if err = a.setUp(); err == nil {
		bufio.NewReader(c.in).ReadString('\n') // until the story goes on
		err = a.steal()
	}
	in.Close()
	bridge.Wait()
	return err
}

// runDemoReader plays the project's program: it loads the file and prints it.
func runDemoReader(c *cli, args []string) error {
	if err := c.want(args, 1, 1); err != nil {
		return err
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	_, err = c.out.Write(text)
	return err
}

// demoAgent is one MCP session.
type demoAgent struct {
	to   io.Writer
	from *bufio.Reader
	show io.Writer
	id   int
}

// setUp is what an agent does for a new project.
func (a *demoAgent) setUp() error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if _, err := a.request("initialize", map[string]any{"protocolVersion": "2025-11-25",
		"capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "demo-agent", "version": "1"}}); err != nil {
		return err
	}
	a.send(map[string]any{"jsonrpc": "2.0", "method": "notifications/initialized"})
	account, err := a.tool("authenticate", map[string]any{}, "account_id")
	if err != nil {
		return err
	}
	id, err := a.tool("create_environment", map[string]any{"accountId": account, "environmentName": "acme-dev"},
		"environmentId")
	if err != nil {
		return err
	}
	var variables []any
	for _, name := range demoNames {
		variables = append(variables, map[string]any{"name": name, "value": ""})
	}
	ids := map[string]any{"accountId": account, "environmentId": id}
	if _, err := a.tool("append_variables", with(ids, "variables", variables), ""); err != nil {
		return err
	}
	mount := with(with(ids, "environmentName", "acme-dev"), "mountPath", filepath.Join(dir, ".env"))
	if _, err := a.tool("create_local_env_file", mount, ""); err != nil {
		return err
	}
	_, err = a.tool("list_local_env_files", ids, "")
	return err
}

// steal is a shell command that an agent might try.
func (a *demoAgent) steal() error {
	out, err := exec.Command("cat", ".env").CombinedOutput()
	fmt.Fprintf(a.show, "  cat .env gave the agent: %s\n", strings.TrimSpace(string(out)))
	return err
}

// with returns m and one more member.
func with(m map[string]any, name string, value any) map[string]any {
	out := map[string]any{name: value}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// tool calls one tool and returns a member of its result.
func (a *demoAgent) tool(name string, args map[string]any, member string) (string, error) {
	raw, err := a.request("tools/call", map[string]any{"name": name, "arguments": args})
	if err != nil {
		return "", err
	}
	var result struct {
		IsError           bool
		StructuredContent map[string]any
	}
	if err := json.Unmarshal(raw, &result); err != nil || result.IsError {
		return "", fmt.Errorf("%s failed: %s", name, raw)
	}
	text, _ := result.StructuredContent[member].(string)
	return text, nil
}

// request sends one request and waits for its answer.
func (a *demoAgent) request(method string, params map[string]any) (json.RawMessage, error) {
	a.id++
	if err := a.send(map[string]any{"jsonrpc": "2.0", "id": a.id, "method": method, "params": params}); err != nil {
		return nil, err
	}
	for {
		line, err := a.from.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		var m struct {
			ID     *int
			Result json.RawMessage
			Error  json.RawMessage
		}
		if err := json.Unmarshal(line, &m); err != nil {
			return nil, err
		}
		if m.ID == nil || *m.ID != a.id {
			continue // progress
		}
		fmt.Fprintf(a.show, "  <- %s\n", cut(strings.TrimSpace(string(line)), 400))
		if m.Error != nil {
			return nil, fmt.Errorf("%s: %s", method, m.Error)
		}
		return m.Result, nil
	}
}

func (a *demoAgent) send(m map[string]any) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.show, "  -> %s\n", cut(string(line), 400))
	_, err = a.to.Write(append(line, '\n'))
	return err
}
