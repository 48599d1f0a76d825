package main

// The documents are tested like code: what they quote must be so, and what the
// code cites must be there. The house's rules on size are held here too.

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	maxFileLines     = 500
	maxFunctionLines = 70
)

// readDoc returns a document of this folder.
func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// goFiles lists the Go files of this folder, for every system.
func goFiles(t *testing.T, tests bool) []string {
	t.Helper()
	all, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files := slices.DeleteFunc(all, func(name string) bool {
		return strings.HasSuffix(name, "_test.go") && !tests
	})
	if len(files) < 10 {
		t.Fatalf("found %d Go files, want the whole program", len(files))
	}
	return files
}

// firstDifference returns the first line of want that got does not have there.
func firstDifference(got, want string) (g, w string) {
	gots, wants := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i, line := range wants {
		if i >= len(gots) {
			return "", line
		}
		if gots[i] != line {
			return gots[i], line
		}
	}
	return "", ""
}

func TestUsageInREADME(t *testing.T) {
	readme := readDoc(t, "README.md")
	want := "```\n" + usageText() + "```\n"
	if strings.Contains(readme, want) {
		return
	}
	at := strings.Index(readme, "```\nusage: keepmum")
	if at < 0 {
		t.Fatal(`README.md has no block that begins with "usage: keepmum"`)
	}
	g, w := firstDifference(readme[at:], want)
	t.Errorf("README.md does not hold the text of keepmum help:\n got %q\nwant %q", g, w)
}

var specHeading = regexp.MustCompile(`(?m)^#{2,3} (\d+(?:\.\d+)?)\.? (.+)$`)

// specHeadings returns the headings of SPEC.md by number.
func specHeadings(t *testing.T) map[string]string {
	t.Helper()
	headings := map[string]string{}
	for _, m := range specHeading.FindAllStringSubmatch(readDoc(t, "SPEC.md"), -1) {
		if headings[m[1]] != "" {
			t.Errorf("SPEC.md has two sections %s", m[1])
		}
		headings[m[1]] = m[2]
	}
	if len(headings) < 12 {
		t.Fatalf("found %d headings in SPEC.md", len(headings))
	}
	return headings
}

var (
	specCited  = regexp.MustCompile(`SPEC((?:,? §\d+(?:\.\d+)?)+)`)
	specNumber = regexp.MustCompile(`§(\d+(?:\.\d+)?)`)
	specNamed  = regexp.MustCompile(`\*([A-Z][^*]{2,60}|The [^*]{2,60})\* \(SPEC §(\d+(?:\.\d+)?)`)
)

// comments returns the comments of a Go file, each on one line.
func comments(t *testing.T, name string) string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, group := range f.Comments {
		all.WriteString(strings.Join(strings.Fields(group.Text()), " ") + "\n")
	}
	return all.String()
}

func TestSpecReferences(t *testing.T) {
	headings := specHeadings(t)
	cited, named := 0, 0
	for _, name := range goFiles(t, true) {
		text := comments(t, name)
		for _, m := range specCited.FindAllStringSubmatch(text, -1) {
			for _, n := range specNumber.FindAllStringSubmatch(m[1], -1) {
				cited++
				if headings[n[1]] == "" {
					t.Errorf("%s cites SPEC §%s, which is not there", name, n[1])
				}
			}
		}
		for _, m := range specNamed.FindAllStringSubmatch(text, -1) {
			named++
			if !headingUnder(headings, m[2], m[1]) {
				t.Errorf("%s cites *%s* (SPEC §%s); that section is %q", name, m[1], m[2], headings[m[2]])
			}
		}
	}
	if cited < 50 || named < 10 {
		t.Errorf("found %d citations of SPEC.md, %d with their heading: the search is broken", cited, named)
	}
}

// headingUnder reports whether section number, or one below it, has the name.
func headingUnder(headings map[string]string, number, name string) bool {
	for n, heading := range headings {
		if (n == number || strings.HasPrefix(n, number+".")) && heading == name {
			return true
		}
	}
	return false
}

func TestDocumentReferences(t *testing.T) {
	headings := specHeadings(t)
	for _, name := range []string{"SPEC.md", "README.md"} {
		found := specNumber.FindAllStringSubmatch(readDoc(t, name), -1)
		if len(found) == 0 {
			t.Errorf("%s cites no section", name)
		}
		for _, n := range found {
			if headings[n[1]] == "" {
				t.Errorf("%s cites §%s, which is not there", name, n[1])
			}
		}
	}
}

// unfold joins the lines of a folded example.
func unfold(text string) string {
	return strings.Join(strings.Split(text, "\n    "), "")
}

func TestSpecExamples(t *testing.T) {
	spec := unfold(readDoc(t, "SPEC.md"))
	for _, file := range []string{"testdata/vault/good_empty", "testdata/audit/good.txt"} {
		_, body, _ := strings.Cut(readDoc(t, file), "\n\n")
		line, _, _ := strings.Cut(body, "\n")
		if line == "" || !strings.Contains(spec, line) {
			t.Errorf("SPEC.md does not hold the first line of %s:\n%s", file, line)
		}
	}
	for _, name := range agentPrograms {
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(spec) {
			t.Errorf("SPEC.md does not list the agent program %q", name)
		}
	}
	for _, tool := range tools {
		if !strings.Contains(spec, "| `"+tool.name+"` |") {
			t.Errorf("SPEC.md does not list the tool %q", tool.name)
		}
	}
}

// TestREADMECheck: what the README shows is what check prints of such a value.
func TestREADMECheck(t *testing.T) {
	e := &environment{name: "acme-dev", variables: []*variable{{name: "BCRYPT_HASH",
		value: secret("$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW")}}}
	list := e.findings(e.names())
	for i := range list {
		list[i].Environment = e.name
	}
	want := bytes.NewBufferString("$ keepmum check acme-dev\n")
	printFindings(want, "", list)
	if text := strings.ReplaceAll(readDoc(t, "README.md"), "\n    ", "\n"); !strings.Contains(text, want.String()) {
		t.Errorf("README.md does not show\n%s", want)
	}
}

var jsonBlock = regexp.MustCompile("(?s)```json\n(.*?)```")

func TestPolicyExamples(t *testing.T) {
	for _, name := range []string{"SPEC.md", "README.md"} {
		found := 0
		for _, m := range jsonBlock.FindAllStringSubmatch(readDoc(t, name), -1) {
			if !strings.Contains(m[1], `"rules"`) {
				continue
			}
			found++
			if _, err := parsePolicy(name, []byte(m[1]), "/home/you"); err != nil {
				t.Errorf("the policy in %s: %v", name, err)
			}
		}
		if found == 0 {
			t.Errorf("%s has no policy", name)
		}
	}
}

func TestREADMECommands(t *testing.T) {
	lines := strings.Split(readDoc(t, "README.md"), "\n")
	from := slices.Index(lines, "## Set-up")
	if from < 0 {
		t.Fatal(`README.md has no section "Set-up"`)
	}
	var got []string
	for _, line := range lines[from+1:] {
		if strings.HasPrefix(line, "## ") {
			break
		}
		if command, ok := strings.CutPrefix(line, "    "); ok {
			got = append(got, command)
		}
	}
	if want := []string{"go run . demo", "go test ./..."}; !slices.Equal(got, want) {
		t.Errorf("the set-up in README.md is %q, want %q", got, want)
	}
}

var readmePattern = regexp.MustCompile("`([a-z_*]+\\.go)`")

func TestREADMEFiles(t *testing.T) {
	var patterns []string
	for _, m := range readmePattern.FindAllStringSubmatch(readDoc(t, "README.md"), -1) {
		patterns = append(patterns, m[1])
	}
	used := map[string]bool{}
	for _, name := range goFiles(t, false) {
		listed := false
		for _, p := range patterns {
			if ok, err := filepath.Match(p, name); err != nil {
				t.Fatal(err)
			} else if ok {
				listed, used[p] = true, true
			}
		}
		if !listed {
			t.Errorf("README.md does not list %s", name)
		}
	}
	for _, p := range patterns {
		if !used[p] {
			t.Errorf("README.md lists %s, which is not there", p)
		}
	}
}

func TestGoModDependencies(t *testing.T) {
	allowed := []string{"golang.org/x/sys", "golang.org/x/term", "golang.org/x/crypto"}
	needed := regexp.MustCompile(`(?m)^(?:require)?\s*([a-z0-9.-]+\.[a-z]+/\S+) v\S+`)
	found := needed.FindAllStringSubmatch(readDoc(t, "go.mod"), -1)
	if len(found) == 0 {
		t.Fatal("found no dependency in go.mod")
	}
	for _, m := range found {
		if !slices.Contains(allowed, m[1]) {
			t.Errorf("go.mod requires %s, which is not one of %q", m[1], allowed)
		}
	}
	if text := readDoc(t, "go.mod"); regexp.MustCompile(`(?m)^(replace|exclude)\b`).MatchString(text) {
		t.Error("go.mod replaces or excludes a module")
	}
}

func TestFileSizes(t *testing.T) {
	total := 0
	for _, name := range goFiles(t, false) {
		text := []byte(readDoc(t, name))
		if n := bytes.Count(text, []byte("\n")); n >= maxFileLines {
			t.Errorf("%s has %d lines, want under %d: split it by noun", name, n, maxFileLines)
		}
		total += codeLines(name, text)
		checkFunctions(t, name, text)
	}
	t.Logf("%d lines of code", total)
}

// codeLines counts the lines on which code stands.
func codeLines(name string, text []byte) int {
	set := token.NewFileSet()
	file := set.AddFile(name, -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, nil, 0)
	lines := map[int]bool{}
	for {
		pos, tok, literal := s.Scan()
		if tok == token.EOF {
			return len(lines)
		}
		if tok == token.SEMICOLON && literal == "\n" {
			continue // put in by the scanner
		}
		first := file.Line(pos)
		for k := range strings.Count(literal, "\n") + 1 {
			lines[first+k] = true
		}
	}
}

// checkFunctions holds every function to its size. An init that fills a table
// has as many lines as the table.
func checkFunctions(t *testing.T, name string, text []byte) {
	t.Helper()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Name.Name == "init" {
			continue
		}
		if n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1; n > maxFunctionLines {
			t.Errorf("%s: %s has %d lines, want at most %d", name, fn.Name.Name, n, maxFunctionLines)
		}
	}
}
