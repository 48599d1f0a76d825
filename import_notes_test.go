package main

// What an import says of its files, and how several become several Environments.

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestImportTracked: the values of a tracked file are in the history, which the
// question says; a mount is refused there. [IMP-9]
func TestImportTracked(t *testing.T) {
	w := newWorld(t)
	p := w.unlock()
	file := w.envFiles("A=1\n")[0]
	w.git("init", "-q")
	w.git("add", ".env")
	q, end := w.importing(p, "acme", file)
	if want := "tracked by Git, whose history keeps the values: " + file; !strings.Contains(q, want) {
		t.Errorf("no %q in %s", want, q)
	}
	if _, errOut, code := end("o"); code != 0 {
		t.Error(errOut)
	}
	_, errOut, code := w.done(w.command("import", "--mount", "acme", file))
	if code != 1 || !strings.Contains(errOut, "git rm --cached") {
		t.Errorf("with --mount: %d %q", code, errOut)
	}
	p.nothingAsked()
}

// git runs git in the project and returns what it says.
func (w *world) git(args ...string) string {
	w.t.Helper()
	git := exec.Command("git", args...)
	git.Dir, git.Env = w.project, w.env
	out, err := git.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %q: %v %s", args, err, out)
	}
	return string(out)
}

// TestImportHardLinks: of two names of one file none is left in clear, and the
// question does not say that one stays. [TUL-18] [IMP-7]
func TestImportHardLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	files := w.envFiles("A=1\n", "B=2\n", "C=3\n")
	must(t, os.Remove(files[1]))
	must(t, os.Link(files[0], files[1]))
	q, end := w.importing(p, append([]string{"--mount", "acme"}, files...)...)
	if strings.Contains(q, "hard link") {
		t.Errorf("the question: %s", q)
	}
	if out, errOut, code := end("o"); code != 0 || strings.Contains(out, "could not be deleted") {
		t.Errorf("%d %q %q", code, out, errOut)
	}
	for _, file := range files {
		if target, err := os.Readlink(file); err != nil || onlyAside(file) != "" {
			t.Errorf("%s leads to %q, %v; beside it is %q", file, target, err, onlyAside(file))
		}
	}
}

// TestImportLeft: a file that cannot be removed after another is gone is named by
// the answer, with its new name, which Git ignores. [IMP-6]
func TestImportLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.git("init", "-q")
	files := w.envFiles("A=1\n", "B=2\n", "C=3\n")
	p := w.unlockFaulty("aside", 3, files[1])
	_, end := w.importing(p, append([]string{"--mount", "acme"}, files...)...)
	out, errOut, code := end("o")
	left := onlyAside(files[1])
	want := fmt.Sprintf("%q is a mount now, but its file could not be deleted (it changed): it is left as %q, "+
		"with its values: look at it, then delete it\n", files[1], left)
	if text, _ := os.ReadFile(left); code != 0 || string(text) != "B=changed\n" || !strings.Contains(out, want) {
		t.Errorf("%d %q\n got %s\nwant %s", code, errOut, out, want)
	}
	if status := w.git("status", "--porcelain"); status != "" {
		t.Errorf("Git sees %s", status)
	}
	if onlyAside(files[0])+onlyAside(files[2]) != "" {
		t.Error("another file is left too")
	}
}

// TestImportSplit: an Environment for each file, each asked about by itself; a
// no ends it, and what was done stays. [IMP-10]
func TestImportSplit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	files := w.envFiles("A=1\n", "B=2\n", "C=3\n")
	q, end := w.importing(p, append([]string{"--json", "--mount", "--split", "acme"}, files...)...)
	if !strings.Contains(q, `1 variable from the file below into "acme" path ~/project/.env names A`) {
		t.Errorf("the first question: %s", q)
	}
	p.presses("o")
	if q := p.asked("import"); !strings.Contains(q, `"acme-local"`) {
		t.Errorf("the second question: %s", q)
	}
	out, errOut, code := end("n")
	var done []struct {
		EnvironmentName, Path string
		Result                struct{ Imported, MountPaths []string }
	}
	must(t, json.Unmarshal([]byte(out), &done))
	if got, want := fmt.Sprint(done), "[{acme "+files[0]+" {[A] ["+files[0]+"]}}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if want := fmt.Sprintf("1 of 3 files imported; not imported: %q, %q", files[1], files[2]); code != 1 ||
		!strings.Contains(errOut, want) {
		t.Errorf("%d %q, want %q", code, errOut, want)
	}
	if text, err := os.ReadFile(files[1]); err != nil || string(text) != "B=2\n" {
		t.Errorf("%s is %q, %v", files[1], text, err)
	}
	if _, errOut, code := w.done(w.command("import", "acme", "")); code != 2 || !strings.Contains(errOut, "an empty name") {
		t.Errorf("no name: %d %q", code, errOut)
	}
	if _, errOut, code := w.done(w.command("import", "--split", "acme", ".env.a", "x/.env.a")); code != 2 ||
		!strings.Contains(errOut, `would both become "acme-a"`) {
		t.Errorf("two of a name: %d %q", code, errOut)
	}
}

// [IMP-10]
func TestSplitName(t *testing.T) {
	for base, want := range map[string]string{".env": "e", ".env.local": "e-local", "prod.env": "e-prod",
		".env.production.local": "e-production-local", ".envrc": "e-envrc", "secrets": "e-secrets", ".env.": "e"} {
		if got := splitName("e", "/a/"+base); got != want {
			t.Errorf("%s: %q, want %q", base, got, want)
		}
	}
}

// TestNotKept counts comments wherever they stand, and none in a value. [IMP-1]
func TestNotKept(t *testing.T) {
	for text, want := range map[string]string{
		"A=1\n":                       "0 []",
		"# a\n\n  # b\nA=1\n#":        "3 []",
		"A=1 # a\nB=x#y\n":            "1 []",
		"# keepmum: e\nA=1\n":         "0 []",
		"# keepmum js: e\n# a\nA=1\n": "1 []",
		"A='1 # a'\n":                 "0 []",
		"A='1 # a' # b # c\n":         "1 []",
		"A=\"x\n# y\n\" # z\n# a\n":   "2 []",
		"\ufeff# a\r\nA=1\r\nB=2 # b": "2 []",
		"A=`\n # x`\n":                "0 []",
		"A=1\nB=2\nA=3\nA=4\nB=1\n":   "0 [A B]",
		"A='it'\\''s # x'\nexport A=": "0 [A]",
	} {
		read, twice := readEnv([]byte(text)), []string{}
		for _, p := range read.problems {
			if p.twice != "" && !slices.Contains(twice, p.twice) {
				twice = append(twice, p.twice)
			}
		}
		if got := fmt.Sprint(read.comments, " ", twice); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestImportTellsLinesOnly: before the yes nobody learns a name or a value, and
// an agent not even the kind of a fault. [IMP-2]
func TestImportTellsLinesOnly(t *testing.T) {
	dir := testFolder(t)
	for text, want := range map[string]string{
		"A=1\nCANARY\n": "line 2: no = in it",
		"CANARY=" + strings.Repeat("x", 64<<10+1):       "line 1: value too long: at most 64 KiB",
		"A=1\n" + strings.Repeat("CANARY", 50) + "=1\n": "line 2: a name of more than 256 bytes",
		"CANARY='x\n":                     "line 1: a quote is never closed",
		"# CANARY\n":                      "it holds no variables",
		"CANARY=1\nCANARY=2\nB=\"\\q\"\n": "line 3: a backslash",
		"A=1\n" + strings.Repeat("# CANARY\n", 120000): "too large",
	} {
		put(t, dir+"/.env", text)
		_, err := openImport(dir+"/.env", true)
		if err == nil || strings.Contains(want, "line") && !strings.Contains(err.Error(), want[:len("line 1: ")]+"cannot be read") {
			t.Errorf("%.40q, to an agent: %v", text, err)
		}
		_, err = openImport(dir+"/.env", false)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

// TestImportReadOtherwise: the question names lines that readers differ on, and
// the answer to an agent does not. [IMP-7]
func TestImportReadOtherwise(t *testing.T) {
	dir := testFolder(t)
	put(t, dir+"/.env", "A=1\nB=`CANARY`\n")
	must(t, os.Link(dir+"/.env", dir+"/.other"))
	f, err := openImport(dir+"/.env", false)
	must(t, err)
	defer f.close()
	c := &call{r: &request{via: viaMCP, actor: &process{}}, files: []*importedFile{f}}
	c.describeImport()
	notes := strings.Join(c.r.object.notes, "\n")
	if !strings.Contains(notes, "other readers differ: .env line 2: backticks") || strings.Contains(notes, "CANARY") {
		t.Errorf("the question has: %s", notes)
	}
	if !strings.Contains(notes, "stays in clear: "+dir+"/.env") {
		t.Errorf("of the hard link the question has: %s", notes)
	}
	for via, want := range map[string]int{viaMCP: 0, viaCommand: 1} {
		c.r.via, c.r.actor.agent = via, agentNo
		if got := c.importResult(&environment{})["notes"].([]string); len(got) != want {
			t.Errorf("by %s the answer has %q", via, got)
		}
	}
}
