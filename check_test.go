package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// started starts a program whose output is kept.
func (w *world) started(cmd *exec.Cmd) *bytes.Buffer {
	w.t.Helper()
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = io.MultiWriter(out, w), w
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return out
}

// TestDialectOfAMount goes the whole way: the question says the dialect, cat
// gets it, a shell its own, and the log, status and list tell. [TXT-10] [TXT-32]
// [TXT-33]
func TestDialectOfAMount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "A", "it's $HOME")
	mount := func(d string) (asked, out string) {
		cmd := w.command("mount", "--dialect", d, "acme")
		stdout := w.started(cmd)
		asked = p.answers("mount", "o")
		cmd.Wait()
		return asked, stdout.String()
	}
	asked, out := mount("raw")
	if !strings.Contains(asked, "dialect raw") || !strings.Contains(asked, "RUN") ||
		!strings.Contains(out, "its dialect is raw") {
		t.Errorf("the question: %s\nthe answer: %s", asked, out)
	}
	path := w.project + "/.env"
	read := func(args ...string) string {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir, cmd.Env = w.project, w.env
		stdout := w.started(cmd)
		p.answers("read", "o")
		cmd.Wait()
		return stdout.String()
	}
	if got := read("cat", path); !strings.HasSuffix(got, "\nA=it's $HOME\n") {
		t.Errorf("cat got %q", got)
	}
	if got := read("sh", "-c", `. ./.env; printf %s "$A"`); got != "it's $HOME" {
		t.Errorf("sh got %q", got)
	}
	status, _, _ := w.done(w.command("status"))
	if !strings.Contains(status, "served, raw") {
		t.Errorf("status: %s", status)
	}
	waitFor(t, "the outcomes", func() bool {
		var outcomes []string
		for _, e := range w.auditLines() {
			if e.Event == "read" && e.Outcome != "" {
				outcomes = append(outcomes, e.Outcome)
			}
		}
		return slices.Equal(outcomes, []string{"delivered: raw", "delivered: shell"})
	})
	// Another dialect is another mount to say yes to; without one it stays.
	if asked, _ := mount("js"); !strings.Contains(asked, "dialect js, no longer raw") {
		t.Errorf("the question: %s", asked)
	}
	w.mount(p, "acme")
	if got := read("cat", path); !strings.HasSuffix(got, "\nA=`it's $HOME`\n") {
		t.Errorf("cat got %q", got)
	}
	_, errOut, code := w.done(w.command("mount", "--dialect", "csh", "acme"))
	if code != 2 || !strings.Contains(errOut, "portable, shell, js, js-expand, escaped, raw") ||
		!strings.Contains(errOut, "hint") { // [CLI-10]
		t.Errorf("an unknown dialect: %d, %s", code, errOut)
	}
}

// TestGrantBindsTheDialect: a yes to one is none to another. [TXT-32]
func TestGrantBindsTheDialect(t *testing.T) {
	r := &request{action: actMount, object: object{path: "/a/.env", dialect: dialectPortable}}
	before := r.subject()
	r.object.dialect = dialectRaw
	if r.subject() == before {
		t.Error("the same subject with another dialect")
	}
	list := &request{action: actList}
	before = list.subject()
	list.object.check = true
	if list.subject() == before {
		t.Error("a list of names is taken for a check")
	}
}

// TestCheckNamesNoValue: check and the notes after a change name variables and
// readers, and nothing of a value. [TXT-7] [TXT-36] [CLI-15]
func TestCheckNamesNoValue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	cmd := w.command("set", "acme", "HASH")
	cmd.Stdin = strings.NewReader("canary$2b$12$canary\nline")
	out := w.started(cmd)
	p.answers("append", "o")
	cmd.Wait()
	if got := out.String(); !strings.Contains(got, "  HASH\n") || !strings.Contains(got, "next, vite") {
		t.Errorf("set said %q", got)
	}
	p.sees(`HASH`)
	w.set(p, "acme", "PLAIN", "canary")
	w.set(p, "acme", "WORDS", "canary and more")
	for _, args := range [][]string{{"check"}, {"check", "acme"}, {"check", "--json", "acme"}} {
		cmd := w.command(args...)
		out := w.started(cmd)
		if asked := p.answers("list", "o"); !strings.Contains(asked, "reader") {
			t.Errorf("the question: %s", asked)
		}
		cmd.Wait()
		got := out.String()
		if strings.Contains(got, "PLAIN") || !strings.Contains(got, "HASH") || !strings.Contains(got, "WORDS") {
			t.Errorf("%v: %s", args, got)
		}
		if cmd.ProcessState.ExitCode() != 0 {
			t.Errorf("%v ended with %v", args, cmd.ProcessState)
		}
	}
	if bytes.Contains(w.seen(), []byte("canary")) {
		t.Error("a value was printed")
	}
}

// TestFindings has one value each: who differs, and what to do. [TXT-34] [TXT-35]
func TestFindings(t *testing.T) {
	for _, test := range []struct{ value, mount, advice string }{
		{"plain", "", ""},
		{"", "", "varlock: base64"},
		{"two words", "", "docker run, make: mount --dialect raw"},
		{"a$HOME", "", "dotenv-expand, next, vite, bun: mount --dialect js-expand"},
		{"a$HOME", "js-expand", "dotenv, node --env-file: mount --dialect js"},
		{`it's "x"`, "", "dotenv, node --env-file, deno, dotenvx: mount --dialect js"},
		{"a\nb", "", "decouple, django-environ, docker run, make: base64"},
		{"a\nb", "raw", "dotenv, node --env-file, deno, dotenvx: mount --dialect js;"},
		{`a\`, "", "viper, python-dotenv, ruby dotenv: mount --dialect js;"},
		{`a\`, "", "docker compose, just: mount --dialect escaped"},
	} {
		e := &environment{variables: []*variable{{name: "V", value: secret(test.value)}, {name: "P", placeholder: true}}}
		if test.mount != "" {
			e.mounts = []*mount{{dialect: test.mount}}
		}
		advice := ""
		for _, f := range e.findings(e.names()) {
			advice += f.Advice
		}
		if !strings.Contains(advice, test.advice) || (advice == "") != (test.advice == "") {
			t.Errorf("%q, %s: %q, want %q", test.value, test.mount, advice, test.advice)
		}
		if n := len(e.notes(e.names())); n > 0 && strings.HasPrefix(advice, "docker") {
			t.Errorf("%q: %d notes for readers that keep quotes", test.value, n)
		}
	}
	text, _ := json.Marshal((&environment{}).notes(nil))
	if string(text) != "[]" {
		t.Errorf("no findings are %s", text)
	}
}

// BenchmarkFindings: values that are made to be slow. What repeats itself is cheap;
// mixed does not, and costs as much as its length.
func BenchmarkFindings(b *testing.B) {
	pieces, mixed := []string{"x", "${A", "'", "\\", "a='\\\n", "'\"$HOME\\n`x` #\n"}, ""
	for r := rand.New(rand.NewPCG(1, 2)); len(mixed) < 64000; {
		mixed += pieces[r.IntN(len(pieces))]
	}
	for _, piece := range append(pieces, mixed) {
		b.Run(fmt.Sprintf("%.12q", piece), func(b *testing.B) {
			value := secret("'\"`" + strings.Repeat(piece, max(1, 64000/len(piece))))
			e := &environment{name: "acme", variables: []*variable{{name: "A", value: value}}}
			for b.Loop() {
				e.findings([]string{"A"})
			}
		})
	}
}

// TestFindingsOfRepeats: what is repeated is looked at a few times, and found as if
// it were all looked at. A reader that counts what it reads would be wrong here. [TXT-34]
func TestFindingsOfRepeats(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	part := func(most int) (s string) {
		for range r.IntN(most) {
			s += []string{"a", "'", `"`, "`", `\`, "#", " ", "\n", "$A", "=", "{", "(", "\t", "\r", `\n`}[r.IntN(15)]
		}
		return s
	}
	values := []string{strings.Repeat("\t", 13) + "\"`" + strings.Repeat("\\\"`", 16) + `\$AA=`}
	for range 100 {
		values = append(values, part(4)+strings.Repeat(part(6), 10+r.IntN(14))+part(4))
	}
	wrong := 0
	for _, v := range values {
		whole, short := newTrial(envShape([]byte(v))), trialOf(v)
		for _, k := range envReaders() {
			for _, d := range dialects {
				gets := whole.readsBack(k, d, "last") && !slices.ContainsFunc(envNeighbours, func(n string) bool {
					return !whole.readsBack(k, d, n) && trialOf("plain").readsBack(k, d, n)
				})
				if short.gets(k, d) != gets {
					t.Errorf("%s %s, %s, %q: %t, as %q it is not", k.name, k.version, d, v, gets, short.value)
				}
				if !gets {
					wrong++
				}
			}
		}
	}
	if most := len(values) * len(envReaders()) * len(dialects); wrong < most/10 || wrong > most*9/10 {
		t.Errorf("%d of %d are wrong: the values show nothing", wrong, most)
	}
}

// TestFindingsAreShort: a long value of repeated quotes is shortened, and no reader
// is asked twice about the same dialect.
func TestFindingsAreShort(t *testing.T) {
	for _, piece := range []string{"x", "'", "\\", "a=\"b\n", "'\"$HOME\\n`x` #\n"} {
		if short := trialOf("'\"`" + strings.Repeat(piece, 4096)).value; len(short) > 300 {
			t.Errorf("%q: %d bytes are left of it", piece, len(short))
		}
	}
	trial := trialOf("it's")
	trial.gets(envReaders()[0], dialectJS)
	trial.known[envAsked{envReaders()[0], dialectJS}] = false
	if trial.gets(envReaders()[0], dialectJS) {
		t.Error("what is known is asked again")
	}
}
