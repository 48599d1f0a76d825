package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// demoAgent is one MCP session.
type demoAgent struct {
	*keeperClient
	err error // after the first, nothing more is done
}

// shownPipe is a bridge's two ends; what passes is shown.
type shownPipe struct {
	io.Reader
	io.Writer
	io.Closer
}

// runDemoAgent plays the coding agent of the demo: an MCP client that starts
// the bridge, and a shell command of the agent's.
func runDemoAgent(c *cli, _ []string) error {
	bridge := again("mcp")
	bridge.Stderr = c.err
	in, err := bridge.StdinPipe()
	if err != nil {
		return err
	}
	out, err := bridge.StdoutPipe()
	if err != nil {
		return err
	}
	if err := bridge.Start(); err != nil {
		return err
	}
	a := &demoAgent{keeperClient: newClient(shownPipe{
		io.TeeReader(out, &screen{out: c.out, prefix: "  <- "}),
		io.MultiWriter(&screen{out: c.out, prefix: "  -> "}, in), in})}
	if a.setUp(); a.err == nil {
		bufio.NewReader(c.in).ReadString('\n') // until the story goes on
		text, err := exec.Command("cat", ".env").CombinedOutput()
		fmt.Fprintf(c.out, "  cat .env gave the agent: %s\n", strings.TrimSpace(string(text)))
		a.err = err
	}
	a.close()
	bridge.Wait()
	return a.err
}

// runDemoReader plays the project's program: it loads the file and prints it.
func runDemoReader(c *cli, args []string) error {
	if err := c.want(args, 1, 1); err != nil {
		return err
	}
	text, err := os.ReadFile(args[0])
	if err == nil {
		_, err = c.out.Write(text)
	}
	return err
}

// setUp is what an agent does for a new project.
func (a *demoAgent) setUp() {
	a.request("initialize", jsonObject{"protocolVersion": "2025-11-25", "capabilities": jsonObject{},
		"clientInfo": jsonObject{"name": "demo-agent", "version": "1"}})
	a.send(&message{method: "notifications/initialized"})
	account := a.tool("authenticate", nil)["account_id"]
	ids := jsonObject{"accountId": account}
	made := a.tool("create_environment", ids, jsonObject{"environmentName": "acme-dev"})
	ids["environmentId"] = made["environmentId"]
	var variables []jsonObject
	for _, name := range demoNames {
		variables = append(variables, jsonObject{"name": name, "value": ""})
	}
	a.tool("append_variables", ids, jsonObject{"variables": variables})
	dir, _ := os.Getwd()
	a.tool("create_local_env_file", ids, jsonObject{"environmentName": "acme-dev",
		"mountPath": filepath.Join(dir, ".env")})
	a.tool("list_local_env_files", ids)
}

// tool calls one tool and returns its result.
func (a *demoAgent) tool(name string, parts ...jsonObject) jsonObject {
	args := jsonObject{}
	for _, part := range parts {
		maps.Copy(args, part)
	}
	return a.request("tools/call", jsonObject{"name": name, "arguments": args})
}

// request sends one request, waits for its answer and returns what of it is a
// tool's result.
func (a *demoAgent) request(method string, params jsonObject) jsonObject {
	if a.err != nil {
		return nil
	}
	var answer struct {
		IsError           bool
		StructuredContent jsonObject
	}
	raw, err := a.start(method, params).wait(context.Background())
	if err == nil {
		err = json.Unmarshal(raw, &answer)
	}
	if err != nil || answer.IsError {
		a.err = fmt.Errorf("%s failed: %v %s", method, err, raw)
	}
	return answer.StructuredContent
}
