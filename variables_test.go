package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// one is the argument variables with one of them.
func one(members ...any) []any {
	v := map[string]any{}
	for i := 0; i < len(members); i += 2 {
		v[members[i].(string)] = members[i+1]
	}
	return []any{v}
}

// TestScope: without a grant, or for another account, no tool does anything
// [TUL-9], and the log is not filled by it [AUD-6].
func TestScope(t *testing.T) {
	w := newWorld(t)
	p := w.unlock()
	c := w.client()
	const text = "Missing required scope: environments:%s. Call the authenticate tool first."
	for range 2 {
		for tool, scope := range map[string]string{"list_environments": "list", "create_environment": "write"} {
			args := map[string]any{"accountId": strings.Repeat("A", 26)}
			if scope == "write" {
				args["environmentName"] = "acme"
			}
			if _, got := c.result(c.call(tool, args)); got != fmt.Sprintf(text, scope) {
				t.Errorf("%s: %q", tool, got)
			}
		}
		if c.account == "" {
			p.nothingAsked()
			c.connect(p, "o")
		}
	}
	p.nothingAsked()
	// A once was for that connection.
	other := w.client()
	if _, got := other.result(other.call("list_environments", map[string]any{"accountId": c.account})); got != fmt.Sprintf(text, "list") {
		t.Errorf("another connection: %q", got)
	}
	if log, _, _ := w.done(w.command("log")); strings.Count(log, "deny, not connected") != 1 {
		t.Errorf("the log:\n%s", log)
	}
}

// TestScopeTogether: two connections of one client that authenticate at once are
// two, and a once is for one of them; neither gets what only the other may. [GRT-10]
// [TUL-9]
func TestScopeTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	a, b := w.client(), w.client()
	first := a.call("authenticate", map[string]any{})
	p.asked("connect")
	second := b.call("authenticate", map[string]any{})
	list := map[string]any{"accountId": strings.Repeat("A", 26)}
	if _, got := b.result(b.call("list_environments", list)); !strings.Contains(got, "Missing required scope") {
		t.Errorf("before: %q", got)
	}
	p.presses("o")
	r, text := a.result(first)
	if text != "" {
		t.Fatal(text)
	}
	p.answers("connect", "o")
	if _, text := b.result(second); text != "" {
		t.Fatal(text)
	}
	a.account, b.account = r["account_id"].(string), r["account_id"].(string)
	for _, c := range []*session{a, b} {
		if _, text := c.asked(p, "list", "o", "list_environments", map[string]any{}); text != "" {
			t.Errorf("connected, and %s", text)
		}
	}
}

// TestAppend: what becomes of names and values, and who has seen them.
func TestAppend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	c := w.client()
	c.connect(p, "p")
	made, _ := c.asked(p, "create", "o", "create_environment", map[string]any{"environmentName": "acme"})
	id := made["environmentId"]
	for _, step := range []struct {
		variable []any
		question string // what it says beside the names
		want     string // added, updated, placeholders
	}{
		{one("name", "A", "value", "one"), "has seen the value of A", "[A] [] []"}, // [TUL-10] [TUL-14]
		{one("name", "A", "value", "two"), "REPLACES", "[] [A] []"},
		{one("name", "B", "value", ""), "", "[] [] [B]"},                    // [TUL-11]
		{one("name", "A", "value", "", "concealed", false), "", "[] [] []"}, // [TUL-12] [TUL-13]
		{one("name", "P", "value", "3000", "concealed", false), "", "[P] [] []"},
		{one("name", "P", "value", "", "concealed", true), "", "[] [] []"}, // [TUL-13]
	} {
		call := c.call("append_variables", map[string]any{"environmentId": id, "variables": step.variable})
		question := p.answers("append", "o")
		r, text := c.result(call)
		if got := fmt.Sprint(r["added"], r["updated"], r["placeholders"]); text != "" || got != step.want {
			t.Errorf("%v: %s %s, want %s", step.variable, got, text, step.want)
		}
		if !strings.Contains(question, step.question) {
			t.Errorf("%v: the question does not say %q: %s", step.variable, step.question, question)
		}
	}
	// A command that an agent has started carries what the agent has seen. [TUL-14]
	if q, _, code := w.given(p, "append", "three", "set", "acme", "C"); code != 0 || !strings.Contains(q, "has seen the value of C") {
		t.Errorf("set: %d, the question: %s", code, q)
	}
	env := map[string]any{"environmentId": id}
	if _, text := c.result(c.call("remove_variables", with(env, "variableNames", []any{"A", "NONE"}))); !strings.Contains(text, "nothing was removed") {
		t.Errorf("remove: %q", text)
	}
	p.nothingAsked()
	r, _ := c.asked(p, "list", "o", "list_variables", env)
	var got []string
	for _, v := range r["variables"].([]any) {
		v := v.(map[string]any)
		got = append(got, fmt.Sprint(v["name"], " ", v["concealed"], " ", v["placeholder"]))
	}
	// All are there [TUL-20], and none was renamed a secret or less of one [TUL-13].
	if want := "A true false, B true true, P false false, C true false"; strings.Join(got, ", ") != want {
		t.Errorf("the variables are %s, want %s", strings.Join(got, ", "), want)
	}
	cmd, out := w.reads(w.mount(p, "acme"))
	p.answers("read", "o")
	if want := "# keepmum: acme\nA=two\n# B= (no value yet)\nP=3000\nC=three\n"; cmd.Wait() != nil || out.String() != want {
		t.Errorf("the values are %q, want %q", out, want) // [TUL-12]
	}
}

// TestNoErrorQuotesAValue goes through what can be wrong with a value, wherever
// that is found: the error does not hold it. [TUL-6] [TXT-8] [TXT-21] [CLI-3]
func TestNoErrorQuotesAValue(t *testing.T) {
	w := newWorld(t)
	file := func(v string) error {
		_, err := openImport(w.envFiles(v)[0], false)
		return err
	}
	command := func(input string, args ...string) error {
		cmd := w.command(args...)
		cmd.Stdin = strings.NewReader(input)
		if _, errOut, code := w.done(cmd); code != 0 {
			return errors.New(errOut)
		}
		return nil
	}
	for name, fails := range map[string]func(v string) error{
		"of a tool": func(v string) error {
			_, err := decodeArgs(encodeJSON(map[string]any{"variables": one("name", "A", "value", v)}))
			return err
		},
		"of a call": func(v string) error {
			k, _ := partKeeper(t)
			must(t, k.vault.update(func(d *vaultData) error { _, err := d.addEnvironment("acme", testTime); return err }))
			c := &call{k: k, r: &request{actor: &process{}}}
			c.args = toolArgs{EnvironmentName: "acme", Variables: []variableArg{{Name: "A", Value: v}}}
			return c.newValues()
		},
		"to be stored": func(v string) error {
			_, err := new(environment).set("A", secret(v), true)
			return err
		},
		"in the vault": func(v string) error {
			d, e := newData(t)
			e.variables[0].value = secret(v)
			_, err := d.encode()
			return err
		},
		"in a file":               func(v string) error { return file("A='" + v + "'\n") },
		"in a file, not ended":    func(v string) error { return file("B=x\nA='" + v) },
		"in a file, without name": func(v string) error { return file("B=x\n" + v + "\n") },
		"on standard input":       func(v string) error { return command(v, "set", "acme", "A") },
		"in the place of a name":  func(v string) error { return command("", "set", "acme", "A="+v) },
		"as an argument":          func(v string) error { return command("", "set", "acme", "A", v) },
	} {
		for kind, v := range map[string]string{"too long": canary + strings.Repeat("x", maxValue),
			"with NUL": canary + "\x00", "not UTF-8": canary + "\xff"} {
			if kind != "too long" && (strings.HasPrefix(name, "as ") || strings.HasPrefix(name, "in the place")) {
				v = canary // no argument can hold the others
			}
			if kind == "not UTF-8" && name == "of a tool" {
				continue // nor can JSON
			}
			err := fails(v)
			if err == nil || strings.Contains(err.Error(), canary) {
				t.Errorf("%s, %s: %.200v", name, kind, err)
			}
		}
	}
}

// TestAgentValues: a policy that refuses what the agent has seen, by a tool and
// by a command. [TUL-14]
func TestAgentValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy(`{"agentValues":"deny"}`)
	p := w.unlock()
	c := w.client()
	c.connect(p, "p")
	made, _ := c.asked(p, "create", "o", "create_environment", map[string]any{"environmentName": "acme"})
	_, text := c.result(c.call("append_variables", map[string]any{"environmentId": made["environmentId"],
		"variables": one("name", "A", "value", "v")}))
	if !strings.Contains(text, "not approved: agentValues is deny") {
		t.Errorf("append: %q", text)
	}
	set := w.command("set", "acme", "A")
	set.Stdin = strings.NewReader("v")
	if _, errOut, code := w.done(set); code != 1 || !strings.Contains(errOut, "agentValues") {
		t.Errorf("set: %d %q", code, errOut)
	}
	p.nothingAsked()
}

// TestNothingRuns of what stands in arguments: names, values and paths that a
// shell would run. [TUL-7]
func TestNothingRuns(t *testing.T) {
	t.Parallel()
	const run = "$(touch ran)`touch ran`;touch ran;"
	w := newWorld(t)
	p := w.unlock()
	c := w.client()
	c.connect(p, "p")
	folder := filepath.Join(w.project, run)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	git := exec.Command("git", "init", "-q")
	git.Dir = folder
	if out, err := git.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	made, _ := c.asked(p, "create", "o", "create_environment", map[string]any{"environmentName": run})
	env := map[string]any{"environmentId": made["environmentId"]}
	if _, text := c.asked(p, "append", "o", "append_variables", with(env, "variables", one("name", "A", "value", run))); text != "" {
		t.Error(text)
	}
	path := filepath.Join(folder, "-x"+run)
	if _, text := c.asked(p, "mount", "o", "create_local_env_file", with(with(env, "environmentName", run), "mountPath", path)); text != "" {
		t.Error(text)
	}
	cmd, out := w.reads(path)
	p.answers("read", "o")
	if want := "# keepmum: " + run + "\nA='" + run + "'\n"; cmd.Wait() != nil || out.String() != want {
		t.Errorf("the text is %q, want %q", out, want)
	}
	filepath.WalkDir(w.dir, func(path string, e fs.DirEntry, err error) error {
		if e != nil && e.Name() == "ran" {
			t.Errorf("something ran: %s", path)
		}
		return nil
	})
}
