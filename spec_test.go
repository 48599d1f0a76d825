package main

// SPEC.md is a list of requirements, each with an id, and the code cites them.
// Here the two are held together: no id is cited that is not there, and nothing
// that MUST be is without a test or a case that fails when it is not.

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// requirement is one of SPEC.md: its id, level and text, and where it begins.
type requirement struct {
	id, level, text string
	line            int
}

var (
	specMark  = regexp.MustCompile(`\*\*\[([A-Z]{3})-([1-9][0-9]*)\]\*\*`)
	specCite  = regexp.MustCompile(`\[([A-Z]{3}-[0-9]+)\]`)
	specLevel = regexp.MustCompile(`\b(MUST|SHOULD|MAY)\b`)
	specSpan  = regexp.MustCompile("`[^`]*`")
	specItem  = regexp.MustCompile(`^(- |[0-9]+\. )`)
	specBlock = regexp.MustCompile(`^(- |[0-9]+\. |\||    | +\|)`)
)

// specReader takes SPEC.md apart, line by line. A requirement begins with its
// id and ends at the next one, at the end of its paragraph or list item; a
// table, list or example belongs to it if its last sentence ends in a colon.
type specReader struct {
	all   []requirement
	loose []string // text of no requirement, by paragraphs
	open  bool     // the last of all goes on
	block bool     // in the table or list that belongs to it
}

func (s *specReader) read(number int, line string) {
	marks := specMark.FindAllStringSubmatchIndex(line, -1)
	blank := strings.TrimSpace(line) == ""
	switch {
	case blank && s.open && !s.block && strings.HasSuffix(s.all[len(s.all)-1].text, ":"):
		s.block = true // it is one if the next line says so
		return
	case blank, strings.HasPrefix(line, "#"):
		s.open, s.block = false, false
	case s.block && !specBlock.MatchString(line) && strings.HasSuffix(s.all[len(s.all)-1].text, ":"),
		!s.block && specItem.MatchString(line):
		s.open, s.block = false, false
	}
	for i, at := range marks {
		if i == 0 {
			s.add(specItem.ReplaceAllString(line[:at[0]], ""))
		}
		end := len(line)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		s.all = append(s.all, requirement{id: line[at[2]:at[3]] + "-" + line[at[4]:at[5]], line: number})
		s.open, s.block = true, false
		s.add(line[at[1]:end])
	}
	if len(marks) == 0 {
		s.add(line)
	}
}

// add gives text to the open requirement, or to no one.
func (s *specReader) add(text string) {
	text = strings.TrimSpace(text)
	to := &s.loose[len(s.loose)-1]
	if s.open {
		to = &s.all[len(s.all)-1].text
	} else if text == "" {
		s.loose = append(s.loose, "")
	}
	*to = strings.TrimSpace(*to + " " + text)
}

// readSpec returns the requirements of a specification, and what is wrong with
// their form: an id twice or out of order, no level or two, a level elsewhere.
func readSpec(text string) (all []requirement, faults []string) {
	s := specReader{loose: []string{""}}
	for i, line := range strings.Split(text, "\n") {
		s.read(i+1, line)
	}
	fault := func(r requirement, format string, args ...any) {
		faults = append(faults, fmt.Sprintf("line %d: [%s] ", r.line, r.id)+fmt.Sprintf(format, args...))
	}
	count := map[string]int{}
	for i, r := range s.all {
		prefix := r.id[:3]
		count[prefix]++
		if want := fmt.Sprintf("%s-%d", prefix, count[prefix]); r.id != want {
			fault(r, "stands where %s should", want)
		}
		levels := slices.Compact(slices.Sorted(slices.Values(
			specLevel.FindAllString(specSpan.ReplaceAllString(r.text, ""), -1))))
		if len(levels) != 1 {
			fault(r, "has the levels %q, want one", levels)
			continue
		}
		s.all[i].level = levels[0]
	}
	for _, text := range s.loose {
		if level := specLevel.FindString(text); level != "" && !strings.Contains(text, "RFC 2119") {
			faults = append(faults, fmt.Sprintf("%s outside of a requirement: %.60q", level, text))
		}
	}
	return s.all, faults
}

// TestReadSpec has one fault in each text.
func TestReadSpec(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"**[ABC-1]** It MUST be.\n\n- **[ABC-2]** It\n  SHOULD be.\n- It is.\n", "ABC-1 MUST, ABC-2 SHOULD"},
		{"**[ABC-1]** It MUST be. **[ABC-2]** It MAY\nnot.\n", "ABC-1 MUST, ABC-2 MAY"},
		{"**[ABC-1]** These:\n\n| x | MUST |\n| y | MUST NOT |\n\nAnd.\n", "ABC-1 MUST"},
		{"**[ABC-1]** These:\n\n1. it MUST be\n2. so\n", "ABC-1 MUST"},
		{"**[ABC-1]** A\n**[XYZ-1]** MUST, `MAY`\n", "line 1: [ABC-1] has the levels [], want one"},
		{"**[ABC-1]** MUST.\n\n**[ABC-1]** MUST.\n", "line 3: [ABC-1] stands where ABC-2 should"},
		{"**[ABC-1]** MUST.\n\n**[ABC-3]** MUST.\n", "line 3: [ABC-3] stands where ABC-2 should"},
		{"**[ABC-1]** It MUST and SHOULD.\n", `line 1: [ABC-1] has the levels ["MUST" "SHOULD"], want one`},
		{"**[ABC-1]** It MUST.\n\nAnd MUST.\n", `MUST outside of a requirement: "And MUST."`},
		{"**[ABC-1]** It MUST:\n\nAnd MAY.\n", `MAY outside of a requirement: "And MAY."`},
		{"- **[ABC-1]** It MUST.\n- And MAY.\n", `MAY outside of a requirement: "- And MAY."`},
		{"## 1. It MAY\n", `MAY outside of a requirement: "## 1. It MAY"`},
		{"- It is.\n- **[ABC-1]** It MUST.\n\n  MAY.\n", `MAY outside of a requirement: "MAY."`},
		{"MUST is as in\nRFC 2119.\n", ""},
	} {
		all, faults := readSpec(test.text)
		var got []string
		for _, r := range all {
			got = append(got, r.id+" "+r.level)
		}
		if len(faults) > 0 {
			got = faults
		}
		if text := strings.Join(got, ", "); text != test.want {
			t.Errorf("%q:\n got %s\nwant %s", test.text, text, test.want)
		}
	}
}

// specRequirements returns those of SPEC.md by id.
func specRequirements(t *testing.T) map[string]requirement {
	t.Helper()
	all, faults := readSpec(readDoc(t, "SPEC.md"))
	for _, fault := range faults {
		t.Errorf("SPEC.md: %s", fault)
	}
	if len(all) < 90 {
		t.Fatalf("found %d requirements in SPEC.md", len(all))
	}
	byID := map[string]requirement{}
	for _, r := range all {
		byID[r.id] = r
	}
	return byID
}

// caseHeaders returns the headers of a conformance case. They end at the first
// empty line or comment; an indented line continues the one before.
func caseHeaders(text string) map[string]string {
	headers, name := map[string]string{}, ""
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" || line[0] == '#' {
			break
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, line, _ = strings.Cut(line, ":")
		}
		headers[name] = strings.TrimSpace(headers[name] + " " + strings.TrimSpace(line))
	}
	return headers
}

// citations collects who cites each requirement. With tests, only what fails
// when it is broken counts: tests, and cases of the level must.
func citations(t *testing.T, tests bool) map[string][]string {
	t.Helper()
	cited := map[string][]string{}
	for _, name := range goFiles(t, true) {
		if tests && !strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, m := range specCite.FindAllStringSubmatch(comments(t, name), -1) {
			cited[m[1]] = append(cited[m[1]], name)
		}
	}
	cases, err := filepath.Glob("conform/cases/*.txt")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases in conform/cases, %v", err)
	}
	for _, name := range cases {
		headers := caseHeaders(readDoc(t, name))
		if tests && headers["level"] != "must" {
			continue
		}
		for _, id := range strings.Fields(headers["requirements"]) {
			cited[id] = append(cited[id], name)
		}
	}
	return cited
}

// TestCitedRequirements: an id in a comment or in a case is one of SPEC.md.
func TestCitedRequirements(t *testing.T) {
	defined, cited := specRequirements(t), citations(t, false)
	for id, names := range cited {
		if _, ok := defined[id]; !ok {
			t.Errorf("%s cites [%s], which SPEC.md does not define", names[0], id)
		}
	}
	if len(cited) < 90 {
		t.Errorf("found %d ids that are cited: the search is broken", len(cited))
	}
	for _, m := range specCite.FindAllStringSubmatch(readDoc(t, "SPEC.md"), -1) {
		if _, ok := defined[m[1]]; !ok {
			t.Errorf("SPEC.md cites [%s], which it does not define", m[1])
		}
	}
}

// TestRequirementsAreTested: what MUST be is cited by a test or by a case.
func TestRequirementsAreTested(t *testing.T) {
	cited := citations(t, true)
	for id, r := range specRequirements(t) {
		if r.level == "MUST" && cited[id] == nil {
			t.Errorf("SPEC.md:%d: no test and no case cites [%s]: %.70s…", r.line, id, r.text)
		}
	}
}

func TestCaseHeaders(t *testing.T) {
	got := fmt.Sprint(caseHeaders("title: a b\nrequirements: ABC-1\n  XYZ-2\nlevel: must\n\nlevel: x\n"))
	if want := "map[level:must requirements:ABC-1 XYZ-2 title:a b]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

var specRow = regexp.MustCompile(`(?m)^\| ((?:[^|\\\n]|\\.)+) \|`)

// TestSpecCommands holds the table of commands to the program's. [CLI-1]
func TestSpecCommands(t *testing.T) {
	_, section, _ := strings.Cut(readDoc(t, "SPEC.md"), "## 11. Command line")
	section, _, _ = strings.Cut(section, "\n## ")
	var want, got []string
	for _, row := range specRow.FindAllStringSubmatch(section, -1) {
		for _, span := range specSpan.FindAllString(row[1], -1) {
			want = append(want, strings.Fields(strings.Trim(span, "`"))[0])
		}
	}
	for _, cmd := range commands {
		if !cmd.hidden {
			got = append(got, cmd.name)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the program has %q\nSPEC.md has     %q", got, want)
	}
}
