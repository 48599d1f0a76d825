package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// given starts a command with this standard input and lets the person say once.
func (w *world) given(p *person, action, input string, args ...string) (question, errOut string, code int) {
	w.t.Helper()
	cmd := w.command(args...)
	cmd.Stdin = strings.NewReader(input)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, errOut, code = w.done(cmd)
	}()
	question = p.answers(action, "o") // in the keeper's terminal [CLI-2]
	<-ended
	return question, errOut, code
}

// TestSet: how a value is given, and what is kept of it.
func TestSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	for _, c := range []struct{ name, input, makes string }{
		{"A", "v\n\n", "makes the new Environment"}, // [CLI-4] [CLI-7]
		{"B", " v", ""},
	} {
		question, errOut, code := w.given(p, "append", c.input, "set", "acme", c.name)
		if code != 0 || strings.Contains(question, "makes the new") != (c.makes != "") {
			t.Errorf("set %s: %d %q, asked %s", c.name, code, errOut, question)
		}
	}
	// A flag may come last. [CLI-8]
	if _, errOut, code := w.given(p, "append", "3000", "set", "acme", "PORT", "--plain"); code != 0 {
		t.Errorf("set --plain: %s", errOut)
	}
	for _, input := range []string{"", "\n"} { // [CLI-5]
		cmd := w.command("set", "acme", "A")
		cmd.Stdin = strings.NewReader(input)
		if _, errOut, code := w.done(cmd); code != 1 || !strings.Contains(errOut, "keepmum: error: no value") {
			t.Errorf("set with %q: %d %q", input, code, errOut)
		}
	}
	for _, args := range [][]string{{"set", "acme", "A", "value"}, {"set", "acme", "A=value"}} { // [CLI-3]
		_, errOut, code := w.done(w.command(args...))
		if code != 2 || !strings.Contains(errOut, "keepmum: hint: ") { // [CLI-10]
			t.Errorf("%q: exit %d, %s", args, code, errOut)
		}
	}
	q := w.atTerminal("set", "acme", "A")
	q.type_(`not shown\): $`, "\x04")
	q.sees(`error: nothing was typed \(Ctrl-D\): try again`) // [CLI-9]
	p.nothingAsked()
	path := w.mount(p, "acme")
	cmd, out := w.reads(path)
	p.answers("read", "o")
	if want := "# keepmum: acme\nA=\"v\n\"\nB=' v'\nPORT=3000\n"; cmd.Wait() != nil || out.String() != want {
		t.Errorf("the values are %q, want %q", out, want)
	}
}

// TestListJSON: what is concealed [CLI-6], as JSON [CLI-11], with flags where
// people put them [CLI-8].
func TestListJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "A", "v")
	w.given(p, "append", "3000", "set", "--plain", "acme", "PORT")
	out, errOut, code := w.answered(p, "list", w.command("list", "acme", "--json"))
	var got struct {
		VariableNames []string
		Variables     []struct {
			Name                   string
			Concealed, Placeholder bool
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 {
		t.Fatalf("list --json: %d %v %s", code, err, errOut)
	}
	v := got.Variables
	if len(v) != 2 || v[0].Name != "A" || !v[0].Concealed || v[1].Name != "PORT" || v[1].Concealed {
		t.Errorf("the variables are %+v", v)
	}
	for _, args := range [][]string{{"status", "--json"}, {"policy", "--json"}, {"policy", "test", "read", "--json"},
		{"log", "--verify", "--json"}} {
		if out, errOut, code := w.done(w.command(args...)); code != 0 || !json.Valid([]byte(out)) {
			t.Errorf("%q: %d %q %q", args, code, out, errOut)
		}
	}
	// Behind -- all are names. The error goes to standard error. [CLI-8] [CLI-9]
	out, errOut, code = w.done(w.command("env", "--", "rename", "none", "--json"))
	want := "keepmum: error: no Environment is named \"none\"\n"
	if out != "" || errOut != want || code != 1 { // [CLI-10]
		t.Errorf("env -- rename none --json: %d %q %q", code, out, errOut)
	}
}

// TestImportNotSaved: what cannot be saved, here as it would be too large as
// text, leaves the file where it is. [TUL-18] [TUL-19]
func TestImportNotSaved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	file := filepath.Join(w.project, ".env")
	var text strings.Builder
	for i := range 16 {
		fmt.Fprintf(&text, "V%d=`%s`\n", i, strings.Repeat(`'"`, 30000))
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errOut, code := w.answered(p, "import", w.command("import", "--mount", "acme", file))
	if code != 1 || !strings.Contains(errOut, "larger than 1 MiB as text") {
		t.Errorf("import: %d %q", code, errOut)
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != text.String() {
		t.Errorf("the file is now %d bytes, %v", len(now), err)
	}
	if out, _, _ := w.answered(p, "list", w.command("list")); out != "" {
		t.Errorf("an Environment was made all the same: %q", out)
	}
	if left, err := os.ReadDir(w.project); err != nil || len(left) != 1 {
		t.Errorf("beside the file are %v, %v", left, err)
	}
}

// TestImportError names the first three faults, and a text without variables.
// [TXT-21]
func TestImportError(t *testing.T) {
	fault := func(line int) envProblem { return envProblem{line: line, text: "bad"} }
	some := []envLine{{name: "A"}}
	for _, c := range []struct {
		lines    []envLine
		problems []envProblem
		want     string
	}{
		{some, nil, ""},
		{some, []envProblem{{line: 2, text: "twice", warning: true}}, ""},
		{some, []envProblem{fault(2)}, `cannot import "/x": line 2: bad`},
		{nil, nil, `cannot import "/x": it holds no variables`},
		{some, []envProblem{fault(2), {line: 3, text: "twice", warning: true}, fault(4), fault(5), fault(6), fault(7)},
			`cannot import "/x": line 2: bad; line 4: bad; line 5: bad; and 2 more`},
	} {
		got := ""
		if err := importError("/x", c.lines, c.problems); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.problems, got, c.want)
		}
	}
}

// TestLockReturns when all is gone, and not before. [CLI-13]
func TestLockReturns(t *testing.T) {
	w, p, path := mounted(t, "")
	out, errOut, code := w.done(w.command("lock"))
	_, err := os.Lstat(path)
	if code != 0 || out != "locked\n" || !os.IsNotExist(err) {
		t.Errorf("lock: %d %q %q, the mount %v", code, out, errOut, err)
	}
	if left, err := os.ReadDir(filepath.Join(w.home, "run")); err != nil || len(left) > 0 {
		t.Errorf("of the pipes are left %v, %v", left, err)
	}
	lock := holdLock(t, w.home, "") // fails while the keeper has it
	lock.Close()
	p.ends()
}

// TestCommandsSay what is so, and nothing else.
func TestCommandsSay(t *testing.T) {
	w := newWorld(t)
	must(t, os.Mkdir(w.home, 0o700))
	for _, c := range []struct {
		args   []string
		log    string // what the log holds
		code   int
		out    string // "" for nothing
		errOut string
	}{
		{[]string{"version", "x"}, "", 2, "", "use: keepmum version"}, // [CLI-10]
		{[]string{"log"}, "", 0, "", "no log yet"},
		{[]string{"log"}, strings.Repeat("x", 3*auditLineMax), 1, "", "keepmum log --verify"}, // [CLI-9]
		{[]string{"status", "--json"}, "", 0, `{ "state": "locked", "environments": 0, "variables": 0, ` +
			`"mounts": [], "grants": [], "waiting": 0, "refusedReads": 0 }`, ""},
		{[]string{"lock"}, "", 0, "locked already: no keeper runs", ""},
	} {
		os.Remove(auditPath(w.home))
		if c.log != "" {
			must(t, os.WriteFile(auditPath(w.home), []byte(c.log), 0o600))
		}
		out, errOut, code := w.done(w.command(c.args...))
		if strings.Join(strings.Fields(out), " ") != c.out || code != c.code || !strings.Contains(errOut, c.errOut) {
			t.Errorf("%q: %d %q %q, want %d %q %q", c.args, code, out, errOut, c.code, c.out, c.errOut)
		}
	}
}

// TestHelpOfFlags: what stands in the place of a value is told once.
func TestHelpOfFlags(t *testing.T) {
	for _, cmd := range commands {
		if text := helpText(cmd); regexp.MustCompile(`(?m)^  --\S+ [A-Z]+ +[A-Z]+:`).MatchString(text) {
			t.Errorf("help %s:\n%s", cmd.name, text)
		}
	}
}

// TestEveryCommandIsTold by the help and by each completion script. [CLI-12]
func TestEveryCommandIsTold(t *testing.T) {
	for _, cmd := range commands {
		if cmd.hidden {
			continue
		}
		for where, text := range map[string]string{"help": usageText(), "bash": bashScript(),
			"zsh": zshScript(), "fish": fishScript()} {
			if !regexp.MustCompile(`\b` + cmd.name + `\b`).MatchString(text) {
				t.Errorf("%s does not tell of %s", where, cmd.name)
			}
		}
	}
}
