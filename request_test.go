package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// allowed is a policy that permits the actions without a question, whoever
// started this test.
func allowed(members string, actions ...string) string {
	list, _ := json.Marshal(actions)
	return fmt.Sprintf(`{%s"rules":[{"action":%[2]s,"agent":true,"decision":"allow"},
		{"action":%[2]s,"agent":false,"decision":"allow"}]}`, members, list)
}

// logged reads the audit log.
func (w *world) logged() (lines []auditEntry) {
	w.t.Helper()
	text, err := os.ReadFile(auditPath(w.home))
	must(w.t, err)
	for line := range bytes.Lines(text) {
		var e auditEntry
		must(w.t, json.Unmarshal(line, &e))
		lines = append(lines, e)
	}
	return lines
}

// stored stores a value where policy lets it without a question.
func (w *world) stored(env, name string) {
	w.t.Helper()
	cmd := w.command("set", env, name)
	cmd.Stdin = strings.NewReader("v")
	if _, errOut, code := w.done(cmd); code != 0 {
		w.t.Fatal(errOut)
	}
}

// TestActionsOfSpec: each tool is the action that the specification says.
// [REQ-3]
func TestActionsOfSpec(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `([a-z]+)` \\| (`[a-z_`, ]+`) \\|")
	found := 0
	for _, m := range row.FindAllStringSubmatch(readDoc(t, "SPEC.md"), -1) {
		for _, tool := range strings.Split(m[2], ", ") {
			if method, ok := methods[strings.Trim(tool, "`")]; ok && validAction(action(m[1])) {
				found++
				if string(method.action) != m[1] {
					t.Errorf("%s is the action %s, want %s", tool, method.action, m[1])
				}
			}
		}
	}
	if found != len(methods) {
		t.Errorf("SPEC.md has the action of %d tools, want %d", found, len(methods))
	}
}

// TestRequestNumber: the question, the decision and the outcome have one
// number. [REQ-1] [DLV-17]
func TestRequestNumber(t *testing.T) {
	t.Parallel()
	w, p, path := mounted(t, "")
	p.showed("#1 ")
	cmd, _ := w.reads(path)
	if q := p.answers("read", "o"); !strings.HasPrefix(q, "#3 ") { // after set and mount
		t.Errorf("the third question is %.20q", q)
	}
	p.sees("read by cat")
	cmd.Wait()
	var got []string
	for _, e := range w.logged() {
		if e.Event == string(actRead) {
			got = append(got, fmt.Sprint(e.Request, " ", e.Decision, " ", e.By, " ", e.Outcome))
		}
	}
	want := []string{"3 allow person: once ", "3   delivered"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the log has %q, want %q", got, want)
	}
}

// TestUnwrittenDecision: what cannot be recorded is a no, whoever said yes.
// [REQ-7] [REQ-10]
func TestUnwrittenDecision(t *testing.T) {
	w, p, path := mounted(t, allowCat(t))
	log := auditPath(w.home)
	must(t, os.Rename(log, log+".aside"))
	cmd, out := w.reads(path)
	if cmd.Wait(); out.String() != lineRefused {
		t.Errorf("without a record: %q", out)
	}
	must(t, os.Rename(log+".aside", log))
	cmd, out = w.reads(path)
	if cmd.Wait(); out.String() != acmeText {
		t.Errorf("with a record: %q", out)
	}
	p.nothingAsked()
	for _, e := range w.logged() { // by which rule
		if e.Event == string(actRead) && e.Decision == "allow" && !strings.Contains(e.By, "policy.json:") {
			t.Errorf("allowed by %q", e.By)
		}
	}
}

// TestChangedMeanwhile: a yes is for the Environment that was shown. [REQ-8]
// [DLV-10]
func TestChangedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy(allowed("", "append", "list"))
	p := w.unlock()
	w.stored("acme", "A")
	path := w.mount(p, "acme")
	cmd, out := w.reads(path)
	p.sees(`read\r\n[\s\S]*> $`)
	w.stored("acme", "B")
	p.presses("o")
	if cmd.Wait(); out.String() != lineRefused {
		t.Errorf("the reader got %q", out)
	}
	remove, errOut := w.command("unset", "acme", "A"), new(bytes.Buffer)
	remove.Stderr = errOut
	must(t, remove.Start())
	p.sees(`remove\r\n[\s\S]*> $`)
	w.stored("acme", "C")
	p.presses("o")
	if remove.Wait() == nil || !strings.Contains(errOut.String(), "changed while the question was open") {
		t.Errorf("the command ended well: %q", errOut)
	}
	if list, _, _ := w.done(w.command("list", "acme")); !strings.Contains(list, "A") {
		t.Errorf("the variable is gone: %q", list)
	}
}

// TestGotValueMeanwhile: an append replaces only what its question has called
// replaced. [REQ-8] [ASK-5]
func TestGotValueMeanwhile(t *testing.T) {
	for _, c := range []struct {
		name, value string // of the append
		replaced    []string
		wants       string
	}{
		{"A", "mine", []string{"A"}, "mine"},
		{"A", "mine", nil, "theirs"},
		{"A", "", nil, "theirs"}, // the person has typed one
		{"LATER", "mine", nil, "mine"},
	} {
		k, _ := partKeeper(t)
		var id string
		must(t, k.vault.update(func(d *vaultData) error {
			e, err := d.addEnvironment("acme", time.Now())
			if err != nil {
				return err
			}
			id = idText(e.id)
			e.set("LATER", nil, true)
			_, err = e.set("A", secret("theirs"), true)
			return err
		}))
		a := &call{k: k, r: &request{actor: &process{}, object: object{environmentID: id, replaced: c.replaced}},
			answer: answer{values: map[string]secret{"A": secret("typed")}}}
		a.args.Variables = []variableArg{{Name: c.name, Value: c.value, Concealed: true}}
		if c.value != "" {
			a.answer.values = nil
		}
		_, err := a.appendVariables()
		got := k.vault.view().environmentByName("acme").variable(c.name)
		if string(got.value) != c.wants || (err == nil) != (c.wants == "mine") {
			t.Errorf("%+v: %v, the value is %q", c, err, got.value)
		}
	}
}

// TestAppendSays: what an agent's append does to values. [ASK-5]
func TestAppendSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "OLD", "v")
	c := w.client()
	c.connect(p, "p")
	list, _ := c.asked(p, "list", "p", "list_environments", map[string]any{})
	id := list["environments"].([]any)[0].(map[string]any)["environmentId"]
	call := c.call("append_variables", map[string]any{"environmentId": id, "variables": []any{
		map[string]any{"name": "OLD", "value": "x"},
		map[string]any{"name": "PORT", "value": "3000", "concealed": false}}})
	q := strings.Join(strings.Fields(p.answers("append", "n")), " ")
	for _, says := range []string{"says it is test", "REPLACES the value of OLD", "the agent has seen the value of OLD",
		"a plain value, not concealed, which the agent gives: PORT"} {
		if !strings.Contains(q, says) {
			t.Errorf("no %q in %s", says, q)
		}
	}
	c.result(call)
}

// TestConsequencesSaid: a prompt says what else a yes does. [ASK-6] [MNT-10]
func TestConsequencesSaid(t *testing.T) {
	w := newWorld(t)
	w.policy(`{"sensitive":["acme"]}`)
	p := w.unlock()
	_, git := testGit(t)
	git("init", "-q", w.project)
	file := filepath.Join(w.project, ".env")
	must(t, os.WriteFile(file, []byte("A=1\n"), 0o600))
	says := func(action string, wants ...string) {
		t.Helper()
		q := strings.Join(strings.Fields(p.answers(action, "o")), " ")
		p.type_("yes costs: $", testPass+"\r")
		for _, want := range append(wants, "a yes costs the passphrase") {
			if !strings.Contains(q, want) {
				t.Errorf("no %q in %s", want, q)
			}
		}
	}
	cmd := w.command("import", "--mount", "acme", file)
	must(t, cmd.Start())
	says("import", "makes the new Environment acme", "REPLACES the file by a mount",
		"approving adds /.env to the work tree's .git/info/exclude")
	must(t, cmd.Wait())
	if text, _ := os.ReadFile(filepath.Join(w.project, ".git/info/exclude")); !strings.Contains(string(text), "\n/.env\n") {
		t.Errorf("the exclude file is %q", text)
	}
	cmd = w.command("env", "delete", "acme")
	must(t, cmd.Start())
	says("delete", "ends 1 mount, the first "+file, "DELETE")
	must(t, cmd.Wait())
}

// TestCommandWaits: a command comes again until the person has answered, and
// says that it waits. [WAI-6]
func TestCommandWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env = append(w.env, "KEEPMUM_TEST_WAIT=10ms")
	p := w.unlock()
	cmd, errOut := w.command("env", "create", "acme"), new(output)
	cmd.Stderr = errOut
	must(t, cmd.Start())
	q := p.asked("create")
	waitFor(t, "the command to say that it waits", func() bool {
		return strings.Contains(errOut.String(), "waiting for your answer")
	})
	p.presses("o")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v %s", err, errOut)
	}
	if !strings.HasPrefix(q, "#1 ") {
		t.Errorf("the question is %.20q", q)
	}
	p.nothingAsked()
}
