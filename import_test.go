package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// importFaults are what happens between the save and the exchange of a file, in
// a keeper that is started as the helper import-fault. [TUL-18] [TUL-19]
var importFaults = map[string]func(file string){
	"killed":  func(string) { unix.Kill(os.Getpid(), unix.SIGKILL) },
	"changed": func(file string) { os.WriteFile(file, []byte("C=changed\n"), 0o600) },
	"gone":    func(file string) { os.Remove(file) },
	"aside":   func(file string) { os.WriteFile(onlyAside(file), []byte("B=changed\n"), 0o600) },
}

// onlyAside is what a file that was set aside is called, or "".
func onlyAside(file string) string {
	if left, _ := filepath.Glob(file + asideMark + "*"); len(left) == 1 {
		return left[0]
	}
	return ""
}

func init() {
	helpers["import-fault"] = func() {
		name, at, _ := strings.Cut(os.Getenv("KEEPMUM_TEST_FAULT"), " ")
		at, file, _ := strings.Cut(at, " ")
		n, _ := strconv.Atoi(at)
		testOnlyBetween = func() {
			if n--; n == 0 {
				importFaults[name](file)
			}
		}
		helpers["main"]()
	}
}

// unlockFaulty starts a keeper in which a fault happens to the nth file.
func (w *world) unlockFaulty(fault string, nth int, file string) *person {
	w.t.Helper()
	env := w.env
	w.env = append(slices.Clone(env), "KEEPMUM_TEST_HELPER=import-fault",
		fmt.Sprintf("KEEPMUM_TEST_FAULT=%s %d %s", fault, nth, file))
	defer func() { w.env = env }()
	return w.unlock()
}

// envFiles writes files into the project, and returns their paths.
func (w *world) envFiles(texts ...string) (paths []string) {
	w.t.Helper()
	for i, text := range texts {
		path := filepath.Join(w.project, []string{".env", ".env.local", ".env.production.local"}[i])
		os.Remove(path) // a mount, where a test has failed
		put(w.t, path, text)
		paths = append(paths, path)
	}
	return paths
}

// importing starts an import and returns the question, in one line, and what
// ends it by a key.
func (w *world) importing(p *person, args ...string) (question string, end func(key string) (string, string, int)) {
	w.t.Helper()
	type done struct {
		out, errOut string
		code        int
	}
	ended := make(chan done, 1)
	go func() {
		out, errOut, code := w.done(w.command(append([]string{"import"}, args...)...))
		ended <- done{out, errOut, code}
	}()
	question = strings.Join(strings.Fields(p.asked("import")), " ")
	return question, func(key string) (string, string, int) {
		p.presses(key)
		d := <-ended
		return d.out, d.errOut, d.code
	}
}

// TestImportAsks: the question says what a yes does, by names; so does the
// answer. [TUL-15] [TUL-16] [IMP-1] [IMP-4] [IMP-6] [CLI-7]
func TestImportAsks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "OLD", "v")
	files := w.envFiles("# one\n\nOLD=canary-1\nA=canary-2 # two\nA=canary-3\n", "# three\nA=canary-4\nB=canary-5\n",
		"C='canary-6 # no comment'\n")
	q, end := w.importing(p, append([]string{"acme"}, files...)...)
	for _, want := range []string{`to import 4 variables from the 3 files below into "acme"`,
		"path ~/project/.env and ~/project/.env.local and ~/project/.env.production.local",
		"names OLD, A, B, C",
		"REPLACES the value of OLD names", "does not keep 3 comments",
		"in several of the files, the last of which counts: A note",
		"on several lines of a file, the last of which counts: A "} {
		if !strings.Contains(q, want) {
			t.Errorf("no %q in %s", want, q)
		}
	}
	if strings.Contains(q, "new Environment") || strings.Contains(q, "by a mount") {
		t.Errorf("the question: %s", q)
	}
	out, errOut, code := end("o")
	want := "imported 4 variables into \"acme\"\n  A, B, C, OLD\nreplaced the value of\n  OLD\nnot kept: 3 comments\n" +
		"taken from the last of several lines\n  A\n"
	for _, file := range files {
		want += file + " is still there, in clear: delete it, or import with --mount\n"
	}
	if code != 0 || out != want {
		t.Errorf("import: %d %q\n got %s\nwant %s", code, errOut, out, want)
	}
	for name, value := range map[string]string{"OLD": "canary-1", "A": "canary-4", "B": "canary-5",
		"C": "canary-6 # no comment"} {
		if got := w.valueOf("acme", name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if seen := w.seen(); bytes.Contains(seen, []byte("canary-")) {
		t.Errorf("a value was shown: %s", seen)
	}
}

// valueOf opens the vault beside the keeper.
func (w *world) valueOf(env, name string) string {
	w.t.Helper()
	lowCost(w.t)
	v, err := openVault(vaultPath(w.home), []byte(testPass))
	must(w.t, err)
	defer v.close()
	if e := v.view().environmentByName(env); e != nil && e.variable(name) != nil {
		return string(e.variable(name).value)
	}
	return "(none)"
}

// TestImportChanged: a yes is for the bytes that were shown, and for the file
// that had them. [IMP-3]
func TestImportChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	for name, change := range map[string]func(path string){
		"other names": func(path string) { put(t, path, "B=12\n") },
		"same size and time": func(path string) {
			info, err := os.Stat(path)
			must(t, err)
			put(t, path, "A=21\n")
			must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
		},
		"another file": func(path string) { os.Remove(path); put(t, path, "A=12\n") },
		"a fault":      func(path string) { put(t, path, "A='1\n") },
		"gone":         func(path string) { os.Remove(path) },
	} {
		files := w.envFiles("FIRST=1\n", "A=12\n")
		_, end := w.importing(p, append([]string{"--mount", "acme"}, files...)...)
		change(files[1])
		now, _ := os.ReadFile(files[1])
		if out, errOut, code := end("o"); code != 1 || out != "" || !strings.Contains(errOut, ".env.local") {
			t.Errorf("%s: %d %q %q", name, code, out, errOut)
		}
		if after, _ := os.ReadFile(files[1]); string(after) != string(now) {
			t.Errorf("%s: the file is now %q", name, after)
		}
		if got := w.valueOf("acme", "FIRST"); got != "(none)" {
			t.Errorf("%s: FIRST is %q", name, got)
		}
	}
}

// TestImportGotValue: what the question did not call replaced is not. [IMP-1]
func TestImportGotValue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	c := w.client()
	c.connect(p, "p")
	r, text := c.asked(p, "create", "o", "create_environment", map[string]any{"environmentName": "acme"})
	if text != "" {
		t.Fatal(text)
	}
	args := map[string]any{"environmentId": r["environmentId"], "variables": one("name", "A", "value", "")}
	c.asked(p, "append", "o", "append_variables", args)
	file := w.envFiles("A=1\n")[0]
	q, end := w.importing(p, "acme", file)
	if strings.Contains(q, "REPLACES") {
		t.Errorf("a placeholder has no value to be replaced: %s", q)
	}
	lowCost(t)
	v, err := openVault(vaultPath(w.home), []byte(testPass))
	must(t, err)
	must(t, v.update(func(d *vaultData) error {
		_, err := d.environmentByName("acme").set("A", secret("2"), true)
		return err
	}))
	v.close()
	if _, errOut, code := end("o"); code != 1 || !strings.Contains(errOut, "got a value") || w.valueOf("acme", "A") != "2" {
		t.Errorf("import: %d %q, A is %q", code, errOut, w.valueOf("acme", "A"))
	}
}

// TestImportSeveral: each file becomes a mount of the whole Environment, by a
// tool as by a command. [IMP-4] [IMP-5] [IMP-6]
func TestImportSeveral(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy(allowCat(t))
	p := w.unlock()
	c := w.client()
	c.connect(p, "p")
	files := w.envFiles("A=1\nB=1\n", "B=2\n", "C=3\n")
	r, text := c.asked(p, "import", "o", "import_env_file", map[string]any{"environmentName": "acme", "paths": files,
		"mount": true})
	if text != "" {
		t.Fatal(text)
	}
	delete(r, "environmentId")
	delete(r, "warnings")
	got, err := json.Marshal(r)
	must(t, err)
	paths, err := json.Marshal(files)
	must(t, err)
	want := `{"imported":["A","B","C"],"mountPaths":` + string(paths) +
		`,"notKept":{"comments":0,"duplicates":[]},"notes":[],"replaced":[]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, file := range files {
		cmd, out := w.reads(file)
		if cmd.Wait(); out.String() != "# keepmum: acme\nA=1\nB=2\nC=3\n" {
			t.Errorf("%s: %q", file, out)
		}
	}
	if left, err := os.ReadDir(w.project); err != nil || len(left) != 3 {
		t.Errorf("in the folder are %v, %v", left, err)
	}
	for name, args := range map[string]map[string]any{
		"given twice":        {"paths": []string{files[0], files[0]}},
		"one of them":        {"path": files[0], "paths": files[1:]},
		`argument "path"`:    {},
		"not a regular file": {"paths": files[1:]},
	} {
		args["environmentName"] = "acme"
		put(t, filepath.Join(w.project, "x.env"), "A=1\n")
		if name == "given twice" {
			args["paths"] = []string{w.project + "/x.env", w.project + "/x.env"}
		}
		if _, text := c.result(c.call("import_env_file", args)); !strings.Contains(text, name) {
			t.Errorf("%s: %q", name, text)
		}
	}
	p.nothingAsked()
}

// TestImportAllOrNone: if one of the files cannot be replaced all are as they
// were, and so is the vault. [IMP-5] [TUL-19]
func TestImportAllOrNone(t *testing.T) {
	t.Parallel()
	for _, fault := range []string{"changed", "gone"} {
		for nth := 1; nth <= 3; nth++ {
			w := newWorld(t)
			texts := []string{"A=1\n", "B=2\n", "C=3\n"}
			files := w.envFiles(texts...)
			p := w.unlockFaulty(fault, nth, files[nth-1])
			_, errOut, code := w.answered(p, "import", w.command(append([]string{"import", "--mount", "acme"}, files...)...))
			if code != 1 || !strings.Contains(errOut, "nothing was imported") {
				t.Errorf("%s %d: %d %q", fault, nth, code, errOut)
			}
			for i, file := range files {
				text, _ := os.ReadFile(file)
				if i != nth-1 && string(text) != texts[i] {
					t.Errorf("%s %d: %s is now %q", fault, nth, file, text)
				}
			}
			if left, _ := filepath.Glob(w.project + "/.*keepmum*"); len(left) > 0 {
				t.Errorf("%s %d: left are %q", fault, nth, left)
			}
			if out, _, _ := w.answered(p, "list", w.command("list")); out != "" {
				t.Errorf("%s %d: an Environment was made: %q", fault, nth, out)
			}
			if status, _, _ := w.done(w.command("status")); strings.Contains(status, "mount ") {
				t.Errorf("%s %d: %s", fault, nth, status)
			}
		}
	}
}

// TestImportKilled: a keeper that is killed between the save and the exchange
// leaves file and variables, and the next import ends the work. [TUL-18]
func TestImportKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy(allowCat(t))
	file := w.envFiles("A=1\n")[0]
	p := w.unlockFaulty("killed", 1, file)
	if _, _, code := w.answered(p, "import", w.command("import", "--mount", "acme", file)); code == 0 {
		t.Error("the import ended well")
	}
	p.ends()
	if text, err := os.ReadFile(file); err != nil || string(text) != "A=1\n" || w.valueOf("acme", "A") != "1" {
		t.Errorf("the file is %q, %v; A is %q", text, err, w.valueOf("acme", "A"))
	}
	p = w.unlock()
	if _, errOut, code := w.answered(p, "import", w.command("import", "--mount", "acme", file)); code != 0 {
		t.Fatal(errOut)
	}
	cmd, out := w.reads(file)
	if cmd.Wait(); out.String() != acmeText[:len("# keepmum: acme\n")]+"A=1\n" {
		t.Errorf("read %q", out)
	}
}

// TestImportKilledHalfway: of two files the first is mounted when the keeper is
// killed. What it was is beside it, and the next unlock says so. [TUL-18]
func TestImportKilledHalfway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	files := w.envFiles("A=1\n", "B=2\n")
	p := w.unlockFaulty("killed", 2, files[1])
	w.answered(p, "import", w.command(append([]string{"import", "--mount", "acme"}, files...)...))
	p.ends()
	left, err := filepath.Glob(files[0] + asideMark + "*")
	if err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
	if text, err := os.ReadFile(left[0]); err != nil || string(text) != "A=1\n" {
		t.Errorf("the first is %q, %v", text, err)
	}
	w.unlock().showed(filepath.Base(left[0]) + ": an import that was ended left the file there")
}

// TestImportSaveFails: a vault that cannot be saved leaves the files. [TUL-18]
func TestImportSaveFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	before, err := os.ReadFile(vaultPath(w.home))
	must(t, err)
	w.set(p, "acme", "A", "old")
	files := w.envFiles("A=1\n", "B=2\n")
	_, end := w.importing(p, append([]string{"--mount", "acme"}, files...)...)
	now, err := os.ReadFile(vaultPath(w.home))
	must(t, err)
	must(t, os.WriteFile(vaultPath(w.home), before, 0o600)) // an older copy: no save follows it
	if _, errOut, code := end("o"); code != 1 || !strings.Contains(errOut, "older copy") {
		t.Errorf("import: %d %q", code, errOut)
	}
	must(t, os.WriteFile(vaultPath(w.home), now, 0o600))
	for i, file := range files {
		if text, _ := os.ReadFile(file); string(text) != []string{"A=1\n", "B=2\n"}[i] {
			t.Errorf("%s is now %q", file, text)
		}
	}
	if got := w.valueOf("acme", "A"); got != "old" {
		t.Errorf("A is %q", got)
	}
}

// TestTakeBack: only what the import wrote goes, and only where it still stands.
// [IMP-8]
func TestTakeBack(t *testing.T) {
	for _, c := range []struct {
		name, before string
		between      func(*vaultData, *environment)
		want         string
	}{
		{"as it was", "OLD=1 LATER=", nil, "OLD=1 LATER="},
		{"another variable", "OLD=1", func(_ *vaultData, e *environment) { e.set("MORE", secret("2"), true) }, "OLD=1 MORE=2"},
		{"a newer value", "OLD=1", func(_ *vaultData, e *environment) { e.set("OLD", secret("3"), true) }, "OLD=3"},
		{"a newer value of a new one", "", func(_ *vaultData, e *environment) { e.set("NEW", secret("3"), true) }, "NEW=3"},
		{"not concealed", "OLD=1", func(_ *vaultData, e *environment) { e.variable("OLD").concealed = false }, "OLD=new"},
		{"removed", "OLD=1", func(_ *vaultData, e *environment) { e.unset("OLD") }, ""},
		{"made by it", "none", nil, "none"},
		{"made by it, and used", "none", func(_ *vaultData, e *environment) { e.set("MORE", secret("2"), true) }, "MORE=2"},
		{"made by it, and renamed", "none", func(d *vaultData, e *environment) { d.rename(e, "other") }, ""},
		{"deleted", "OLD=1", func(d *vaultData, e *environment) { d.remove(e) }, "none"},
	} {
		k := &keeper{vault: newVault(t), audit: &auditLog{}}
		call := &call{k: k, r: &request{object: object{environment: "acme", names: []string{"OLD", "NEW", "LATER"},
			replaced: []string{"OLD"}}}}
		must(t, k.vault.update(func(d *vaultData) error {
			if c.before == "none" {
				return nil
			}
			e, err := d.addEnvironment("acme", testTime)
			call.r.object.environmentID = idText(e.id)
			for _, field := range strings.Fields(c.before) {
				name, value, _ := strings.Cut(field, "=")
				v := secret(value)
				if value == "" {
					v = nil
				}
				e.set(name, v, true)
			}
			return err
		}))
		i := &imported{call: call}
		for _, name := range call.r.object.names {
			i.lines = append(i.lines, envLine{name: name, value: secret("new")})
		}
		must(t, k.vault.update(i.store))
		must(t, k.vault.update(func(d *vaultData) error {
			if c.between != nil {
				c.between(d, d.environmentByID(idText(i.now.id)))
			}
			return nil
		}))
		if err := i.takeBack(errors.New("why")); err == nil || !strings.Contains(err.Error(), "why") {
			t.Errorf("%s: %v", c.name, err)
		}
		got := []string{}
		e := k.vault.view().environmentByID(idText(i.now.id))
		if e == nil {
			got = []string{"none"}
		} else {
			for _, v := range e.variables {
				got = append(got, v.name+"="+string(v.value))
			}
			if c.between == nil && !e.changed.Equal(testTime.Truncate(time.Second)) {
				t.Errorf("%s: changed at %v", c.name, e.changed)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
