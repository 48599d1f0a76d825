//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os/exec"
	"path/filepath"
	"time"
)

// dial connects to the keeper without asking who it is.
func (a *attack) dial() (net.Conn, error) {
	conn, err := net.Dial("unix", filepath.Join(a.home, "keeper.sock"))
	if err != nil {
		a.failed(err)
		return nil, err
	}
	a.opened()
	return conn, nil
}

// asked are the arguments of every method that there is, but for lock and revoke,
// which anybody may, and of some that there are not. The account is what somebody
// else was told.
func (a *attack) asked() map[string]map[string]any {
	account := map[string]any{"accountId": a.text}
	with := func(m map[string]any, name string, value any) map[string]any {
		m = maps.Clone(m)
		m[name] = value
		return m
	}
	env := with(account, "environmentName", "acme")
	all := map[string]map[string]any{
		"authenticate": {}, "status": {}, "verify_log": {},
		"list_environments": account, "check": env, "list_variables": env, "list_local_env_files": env, "export": env,
		"create_environment":    with(account, "environmentName", "new"),
		"append_variables":      with(env, "variables", []any{map[string]any{"name": "A", "value": "x"}}),
		"create_local_env_file": with(env, "mountPath", a.path+".other"),
		"import_env_file":       with(env, "path", a.path),
		"run":                   {"environmentNames": []string{"acme"}, "path": "/usr/bin/env"},
	}
	switch a.kind {
	case "stranger":
		delete(all, "authenticate")
	case "guest":
	default:
		maps.Copy(all, map[string]map[string]any{"delete_environment": env,
			"rename_environment": with(env, "newName", "mine"), "remove_variables": with(env, "variableNames", []string{"A"}),
			"remove_local_env_file": with(account, "mountPath", a.path)})
	}
	for _, name := range []string{"unlock", "list", "set", "unset", "import", "mount", "unmount", "env", "mcp",
		"policy", "log", "passwd", "read", "approve", "tools/call", "initialize", "rpc.discover", "Export"} {
		all[name] = env
	}
	return all
}

// forged are members that nobody may set, each in the place where it might count.
var forged = []struct {
	where string
	more  map[string]any
}{
	{"", nil},
	{"message", map[string]any{"via": "command", "actor": map[string]any{"pid": 1, "exe": "/usr/bin/keepmum"}, "approved": true}},
	{"params", map[string]any{"via": "command", "peer": map[string]any{"pid": 1}, "self": true, "conn": 1, "agent": "no"}},
	{"params", map[string]any{"claim": "keepmum export acme"}},
	{"arguments", map[string]any{"force": true, "approved": true}},
	{"arguments", map[string]any{"environmentNames": []string{"acme"}, "path": "/usr/bin/env"}},
}

// speaks asks for everything, each time with other forged members. As a stranger it
// does not ask to be let in, and as a guest for nothing that takes something away.
func (a *attack) speaks() {
	conn, err := a.dial()
	a.must(err)
	in := bufio.NewReaderSize(conn, maxText)
	id := 0
	for a.more() {
		for method, args := range a.asked() {
			for _, f := range forged {
				id++
				line := speech(id, method, args, f.where, f.more)
				conn.SetDeadline(time.Now().Add(a.limit))
				conn.Write(append(line, '\n'))
				answer, err := in.ReadBytes('\n')
				if err != nil {
					a.must(fmt.Errorf("%s: %v", line, err))
				}
				a.summed(answer, method+": "+codeOf(answer))
			}
		}
	}
}

// speech is one request.
func speech(id int, method string, args map[string]any, where string, more map[string]any) []byte {
	at := map[string]map[string]any{"arguments": {}, "params": {"claim": ""}, "message": {"jsonrpc": "2.0", "id": id,
		"method": method}}
	for name, value := range args {
		at["arguments"][name] = value
	}
	for name, value := range more {
		at[where][name] = value
	}
	at["params"]["arguments"] = at["arguments"]
	at["message"]["params"] = at["params"]
	line, _ := json.Marshal(at["message"])
	return line
}

// codeOf is the code of an answer, or "result".
func codeOf(answer []byte) string {
	var m struct {
		Error  *struct{ Code int }
		Result map[string]any
	}
	if json.Unmarshal(answer, &m) != nil || m.Error == nil && m.Result == nil {
		return "nonsense"
	}
	if m.Error != nil {
		return fmt.Sprint(m.Error.Code)
	}
	return "result"
}

func initialize(name string) string {
	quoted, _ := json.Marshal(name)
	return `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},` +
		`"clientInfo":{"name":` + string(quoted) + `,"version":"1"}}}`
}

// bridges is a client that calls itself -kind and uses the account that another
// client was given.
func (a *attack) bridges() {
	cmd := exec.Command(a.program[0], a.program[1:]...)
	in, err := cmd.StdinPipe()
	a.must(err)
	out, err := cmd.StdoutPipe()
	a.must(err)
	a.must(cmd.Start())
	answers := bufio.NewReaderSize(out, maxText)
	fmt.Fprintln(in, initialize(a.kind))
	answer, _ := answers.ReadBytes('\n')
	a.summed(answer, "initialize: "+codeOf(answer))
	id := 1
	for a.more() {
		for tool, args := range a.asked() {
			id++
			line, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": "tools/call",
				"params": map[string]any{"name": tool, "arguments": args}})
			a.opened()
			in.Write(append(line, '\n'))
			answer, err := answers.ReadBytes('\n')
			if err != nil {
				a.must(fmt.Errorf("%s: %v", line, err))
			}
			a.summed(answer, tool+": "+toolAnswer(answer))
		}
	}
	in.Close()
	cmd.Wait()
}

// toolAnswer is what a tool's call came to.
func toolAnswer(answer []byte) string {
	var m struct {
		Result struct {
			IsError bool
			Content []struct{ Text string }
		}
	}
	if json.Unmarshal(answer, &m); m.Result.IsError && len(m.Result.Content) > 0 {
		return m.Result.Content[0].Text
	}
	return codeOf(answer)
}
