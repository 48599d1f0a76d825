package main

// The suite's command against a server of the tests: one that never asks, or
// that is wrong in one way.

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func init() {
	helpers["conform-server"] = func() {
		mode := os.Args[1]
		fmt.Fprintf(os.Stderr, "one\ntwo\x1b[2J\nthis server is %s\n", mode)
		if mode == "dead" {
			os.Exit(7)
		}
		s := &toolServer{mode: mode}
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			s.take(lines.Bytes())
		}
	}
}

// toolServer offers the tools of SPEC §9.2, under other names in the mode
// "renamed", and never asks.
type toolServer struct {
	mode         string
	environments []any
}

// take answers one line.
func (s *toolServer) take(line []byte) {
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct {
			ProtocolVersion, Name string
			Arguments             map[string]any
		}
	}
	if json.Unmarshal(line, &m) != nil || m.ID == nil {
		return
	}
	var result any
	switch m.Method {
	case "initialize":
		result = map[string]any{"protocolVersion": m.Params.ProtocolVersion, "capabilities": map[string]any{},
			"serverInfo": map[string]any{"name": s.mode, "version": "1"}}
	case "tools/list":
		result = map[string]any{"tools": s.list()}
	case "tools/call":
		object := s.call(strings.TrimPrefix(m.Params.Name, "my_"), m.Params.Arguments)
		result = map[string]any{"structuredContent": object,
			"content": []any{map[string]any{"type": "text", "text": string(encodeJSON(object))}}}
	default:
		result = map[string]any{}
	}
	fmt.Printf("%s\n", encodeJSON(map[string]any{"jsonrpc": "2.0", "id": m.ID, "result": result}))
}

func (s *toolServer) list() (all []any) {
	for _, t := range tools {
		name, in, out := t.name, slices.Clone(t.in), slices.Clone(t.out)
		if s.mode == "renamed" {
			name = "my_" + name
			for i := range in {
				in[i].name = "in_" + in[i].name
			}
			for i := range out {
				out[i].name = "out_" + out[i].name
			}
		}
		all = append(all, map[string]any{"name": name, "description": "d", "title": "t",
			"inputSchema": schema(in), "outputSchema": schema(out)})
	}
	return all
}

func (s *toolServer) call(tool string, args map[string]any) any {
	switch tool {
	case "authenticate":
		return map[string]any{"account_id": strings.Repeat("A", 26)}
	case "create_environment":
		e := map[string]any{"environmentId": fmt.Sprint("id", len(s.environments)), "name": args["environmentName"]}
		s.environments = append(s.environments, e)
		return e
	case "append_variables":
		return map[string]any{"added": []any{}, "updated": []any{}, "placeholders": []any{}}
	}
	return map[string]any{"environments": s.environments}
}

// conformAgainst is the suite's command against the server in a mode. With
// TMPDIR in a folder of the test's, what it leaves can be seen.
func conformAgainst(t *testing.T, mode, subject string, flags ...string) *exec.Cmd {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "km") // short: a socket's path is
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(t.TempDir(), "mine.json")
	must(t, os.WriteFile(file, []byte(subject), 0o600))
	self, err := os.Executable()
	must(t, err)
	args := slices.Concat([]string{"conform", "--subject", file}, flags,
		[]string{"--", "env", "KEEPMUM_TEST_HELPER=conform-server", self, mode})
	cmd := again(args...)
	cmd.Env = append(os.Environ(), "KEEPMUM_TEST_HELPER=main", "TMPDIR="+dir)
	return cmd
}

// renamedSubject maps every tool, argument and result of the mode "renamed".
func renamedSubject() string {
	maps := map[string]any{}
	for _, t := range tools {
		in, out := map[string]any{}, map[string]any{}
		for _, f := range t.in {
			in[f.name] = "in_" + f.name
		}
		for _, f := range t.out {
			out[f.name] = "out_" + f.name
		}
		maps[t.name] = map[string]any{"name": "my_" + t.name, "arguments": in, "results": out}
	}
	return string(encodeJSON(map[string]any{"name": "mine", "revisions": []any{"2025-06-18"}, "tools": maps}))
}

const bareSubject = `{"name": "mine", "revisions": ["2025-06-18"]}`

// TestConformServers: what comes of servers that are right, or wrong in one way.
func TestConformServers(t *testing.T) {
	t.Parallel()
	manual := `{"name": "mine", "revisions": ["2025-06-18"], "keeper": {"manual": "unlock it"},
		"approve": {"kind": "manual"}, "seed": {"tools": true}}`
	for _, tt := range []struct {
		name, mode, subject, flags string
		exit                       int
		want                       string
	}{
		{"a server that is right", "right", bareSubject, "--run ^schema-(tools|arguments|results)$", 0, "no MUST failed\n"},
		{"one that ends", "dead", bareSubject, "--run ^schema-tools$", 2,
			`the server does not start: initialize: the server has ended without an answer with 7; its standard error: "one\ntwo\x1b[2J\nthis server is dead"`},
		{"other names", "renamed", renamedSubject(), "--run ^schema-(tools|arguments|results)$", 0, "no MUST failed\n"},
		{"other names, and no map", "renamed", bareSubject, "--run ^schema-(tools|arguments|results)$", 1, "3 MUST failed"},
		{"a tool that is not offered", "right", `{"name": "mine", "revisions": ["2025-06-18"], "tools": {"delete_environment": {"name": "drop"}}}`,
			"--run ^schema-tools$", 2, `tools.delete_environment of the subject file: the server offers no tool "drop"; it offers authenticate,`},
		{"a tool that is missing", "right", `{"name": "mine", "revisions": ["2025-06-18"], "tools": {"delete_environment": null}}`,
			"--run ^schema-tools$", 0, "1  lacks tool:delete_environment"},
		{"standard error of a failure", "right", bareSubject, "--verbose --run ^life-resources$", 1,
			"| standard error of server-main:\n         | one\n         | two<U+001B>[2J\n         | this server is right\n"},
		{"another server by the way of keepmum", "right", bareSubject, "--subject keepmum --run ^schema-tools$", 2,
			"another server than keepmum needs --subject FILE"},
		{"nobody to tell", "right", manual, "--run ^tool-authenticate$", 2, "this subject needs a person at a terminal"},
	} {
		cmd := conformAgainst(t, tt.mode, tt.subject, strings.Fields(tt.flags)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit); cmd.ProcessState.ExitCode() != tt.exit || !strings.Contains(string(out), tt.want) {
			t.Errorf("%s: %v, want exit %d and %q\n%s", tt.name, err, tt.exit, tt.want, out)
		}
	}
}

// TestConformManual: a person at a terminal is told what to do, also by the
// workers, which have none of their own.
func TestConformManual(t *testing.T) {
	subject := func(keeper string) string {
		return `{"name": "mine", "revisions": ["2025-06-18"], "leaves": ["^\\.s/pid$"], "keeper": ` + keeper + `,
			"approve": {"kind": "manual"}, "seed": {"tools": true}}`
	}
	unlock, started := subject(`{"manual": "unlock it"}`), subject(`{"ready": "ready", "store": ".s",
		"command": ["sh", "-c", "mkdir -p ~/.s; echo $$ >~/.s/pid; echo ready; exec sleep 100"],
		"lock": ["sh", "-c", "kill $(cat ~/.s/pid)"]}`)
	for _, tt := range []struct {
		subject   string
		key       string
		told      int
		exit      int
		says, not string
	}{
		{unlock, "\r", 12, 0, "no MUST failed", "could not"},
		{started, "\r", 11, 0, "no MUST failed", "could not"},
		{unlock, "s\r", 1, 1, "the person could not do it: unlock it", "no MUST failed"},
	} {
		cmd := conformAgainst(t, "right", tt.subject, "--run", "^tool-authenticate$")
		master, slave, err := openPTY()
		must(t, err)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		must(t, cmd.Start())
		t.Cleanup(func() { cmd.Process.Kill() })
		slave.Close()
		screen := newTape()
		go func() { io.Copy(screen, master); screen.end() }()
		told := 0
		for prompt := regexp.MustCompile(`>> (.*)\r\n.*cannot be done: `); ; told++ {
			if _, err := screen.await(prompt, time.Now().Add(30*time.Second)); err != nil {
				break
			}
			io.WriteString(master, tt.key)
		}
		cmd.Wait()
		text := string(screen.bytes())
		if code := cmd.ProcessState.ExitCode(); told != tt.told || code != tt.exit || !strings.Contains(text, tt.says) || strings.Contains(text, tt.not) {
			t.Errorf("%q: told %d times, exit %d, want %d and %d\n%s", tt.key, told, code, tt.told, tt.exit, text)
		}
		master.Close()
	}
}

// TestQuestionCommand: what is said of a command that gives no question.
func TestQuestionCommand(t *testing.T) {
	t.Parallel()
	r := &caseRun{sub: &subject{}, vars: map[string]string{}, project: t.TempDir(), asked: newTape()}
	for _, tt := range []struct {
		command string
		patient time.Duration
		want    string
	}{
		{"sleep 600", 0, `the command "sh -c sleep 600" did not end within its time`},
		{"echo no; exit 3", time.Minute, `the command "sh -c echo no; exit 3": exit status 3: "no\n"`},
	} {
		_, err := (&commandQuestioner{r}).run([]string{"sh", "-c", tt.command}, "", time.Now().Add(tt.patient))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

// TestConformBrokenPipe: when nobody reads the report any more, the run ends and
// leaves no folder.
func TestConformBrokenPipe(t *testing.T) {
	cmd := conformAgainst(t, "right", bareSubject, "--run", "^life-resources$|^life-instructions$", "--jobs", "1")
	r, w, err := os.Pipe()
	must(t, err)
	r.Close()
	var errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &errOut
	cmd.Run()
	w.Close()
	var tmp string
	for _, v := range cmd.Env {
		if dir, ok := strings.CutPrefix(v, "TMPDIR="); ok {
			tmp = dir
		}
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 || cmd.ProcessState.Success() {
		t.Errorf("left %v, %v, %v\n%s", left, err, cmd.ProcessState, &errOut)
	}
}
