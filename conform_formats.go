package main

// The report for programs, and for a repository.

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

// jsonReport is what --json prints.
type jsonReport struct {
	Subject     string                `json:"subject"`
	Version     string                `json:"version"`
	Revisions   []string              `json:"revisions"`
	Strict      bool                  `json:"strict"`
	Interrupted bool                  `json:"interrupted"`
	Exit        int                   `json:"exit"`
	Seconds     float64               `json:"seconds"`
	Counts      map[string]jsonCounts `json:"counts"`
	Baseline    []string              `json:"baseline"` // lines to remove
	Results     []jsonRow             `json:"results"`
}

type jsonCounts map[string]int

// jsonRow is one result. The status is the outcome: a SHOULD that fails is
// "warn", and a failure in the baseline is "expected".
type jsonRow struct {
	ID           string   `json:"id"`
	Revision     string   `json:"revision,omitempty"`
	Level        string   `json:"level"`
	Requirements []string `json:"requirements"`
	Title        string   `json:"title"`
	Status       outcome  `json:"status"`
	Reason       string   `json:"reason,omitempty"`
	Expected     string   `json:"expected,omitempty"`
	Failures     []string `json:"failures,omitempty"`
	Seconds      float64  `json:"seconds"`
	Folder       string   `json:"folder,omitempty"`
	Transcript   string   `json:"transcript,omitempty"`
}

// writeJSONReport writes one object. Texts are as they were said: JSON keeps
// them apart from the rest, and who shows them cleans them.
func writeJSONReport(w io.Writer, r *conformReport) error {
	must, should := r.counts()
	all := jsonReport{r.name, r.version, append([]string{}, r.revisions...), r.strict, r.interrupted,
		r.exit(), seconds(r.elapsed.Seconds()),
		map[string]jsonCounts{levelMust: namedCounts(must), levelShould: namedCounts(should)},
		[]string{}, []jsonRow{}}
	for _, e := range r.stale {
		all.Baseline = append(all.Baseline, e.why)
	}
	for _, row := range r.rows {
		j := jsonRow{row.id, row.Revision, row.level, append([]string{}, row.requirements...), row.title,
			r.outcome(row), row.Reason, "", row.Failures, seconds(row.Seconds), row.kept, row.Transcript}
		if j.Status == outExpected {
			j.Expected = r.baseline.expects(row)
		}
		all.Results = append(all.Results, j)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(all)
}

// seconds are whole milliseconds: more is noise.
func seconds(s float64) float64 { return float64(int(s*1000+0.5)) / 1000 }

func namedCounts(n map[outcome]int) jsonCounts {
	named := jsonCounts{}
	for i, k := range countOf(n) {
		named[countHeads[i]] = k
	}
	return named
}

// tapText escapes what TAP reads as a directive.
var tapText = strings.NewReplacer(`\`, `\\`, "#", `\#`)

// writeTAP writes TAP version 14. A failure that does not count is a TODO.
func writeTAP(w io.Writer, r *conformReport, verbose bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "TAP version 14\n1..%d\n", len(r.rows)+len(r.stale))
	for i, row := range r.rows {
		out, directive := r.outcome(row), ""
		switch out {
		case outWarn:
			directive = " # TODO should"
		case outExpected:
			directive = " # TODO expected: " + tapText.Replace(clean(r.baseline.expects(row), failureWidth))
		case outSkip:
			directive = " # SKIP " + tapText.Replace(clean(row.Reason, failureWidth))
		}
		ok := "ok"
		if out != outPass && out != outSkip {
			ok = "not ok"
		}
		fmt.Fprintf(&b, "%s %d - %s%s\n", ok, i+1,
			tapText.Replace(row.name()+": "+row.title), directive)
		if ok != "ok" {
			tapDiagnostics(&b, row, verbose)
		}
	}
	for i, e := range r.stale {
		fmt.Fprintf(&b, "not ok %d - baseline: %s\n", len(r.rows)+i+1,
			tapText.Replace(clean(e.why, failureWidth)))
	}
	if r.interrupted {
		b.WriteString("Bail out! interrupted\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// tapDiagnostics writes YAML, in which a string of JSON is a string.
func tapDiagnostics(b *strings.Builder, row conformRow, verbose bool) {
	fmt.Fprintf(b, "  ---\n  level: %s\n  requirements: [%s]\n  why: %s\n  failures:\n", row.level,
		strings.Join(row.requirements, ", "), encodeJSON(row.why))
	for _, line := range row.because() {
		fmt.Fprintf(b, "    - %s\n", encodeJSON(line))
	}
	if said := row.said(); verbose && len(said) > 0 {
		b.WriteString("  transcript:\n")
		for _, line := range said {
			fmt.Fprintf(b, "    - %s\n", encodeJSON(line))
		}
	}
	b.WriteString("  ...\n")
}

// The elements of JUnit's XML, as most programs read them.
type junitSuites struct {
	XMLName xml.Name `xml:"testsuites"`
	Name    string   `xml:"name,attr"`
	junitCounts
	Suites []*junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name string `xml:"name,attr"`
	junitCounts
	Cases []junitCase `xml:"testcase"`
}

type junitCounts struct {
	Tests    int     `xml:"tests,attr"`
	Failures int     `xml:"failures,attr"`
	Errors   int     `xml:"errors,attr"`
	Skipped  int     `xml:"skipped,attr"`
	Time     float64 `xml:"time,attr"`
}

type junitCase struct {
	Class   string     `xml:"classname,attr"`
	Name    string     `xml:"name,attr"`
	Time    float64    `xml:"time,attr"`
	Failure *junitText `xml:"failure"`
	Error   *junitText `xml:"error"`
	Skipped *junitText `xml:"skipped"`
}

type junitText struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// writeJUnit writes a suite for each noun. JUnit knows no failure that does not
// count, so that a warning and an expected failure are skipped there.
func writeJUnit(w io.Writer, r *conformReport) error {
	all := junitSuites{Name: strings.TrimSpace("keepmum conform: " + r.name + " " + r.version)}
	suite := func(noun string) *junitSuite {
		if n := len(all.Suites); n == 0 || all.Suites[n-1].Name != noun {
			all.Suites = append(all.Suites, &junitSuite{Name: noun})
		}
		return all.Suites[len(all.Suites)-1]
	}
	for _, row := range r.rows {
		suite(row.noun()).Cases = append(suite(row.noun()).Cases, r.junit(row))
	}
	for _, e := range r.stale {
		s := suite("baseline")
		s.Cases = append(s.Cases, junitCase{Class: "baseline", Name: e.name,
			Failure: &junitText{clean(e.why, failureWidth), ""}})
	}
	for _, s := range all.Suites {
		s.count(s.Cases)
		all.add(s.junitCounts)
	}
	all.Time = seconds(r.elapsed.Seconds())
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, text)
	return err
}

// junit is a row as a test case.
func (r *conformReport) junit(row conformRow) junitCase {
	c := junitCase{Class: row.noun(), Name: row.name(), Time: seconds(row.Seconds)}
	lines := row.because()
	first := ""
	if len(lines) > 0 {
		first = lines[0]
	}
	full := &junitText{first, strings.Join(append(append(lines, row.why, ""), row.said()...), "\n")}
	switch r.outcome(row) {
	case outFail:
		c.Failure = full
	case outError:
		c.Error = full
	case outWarn:
		c.Skipped = &junitText{Message: "should: " + first}
	case outExpected:
		c.Skipped = &junitText{Message: "expected: " + clean(r.baseline.expects(row), failureWidth)}
	case outSkip:
		c.Skipped = &junitText{Message: clean(row.Reason, failureWidth)}
	}
	return c
}

// count counts the cases.
func (n *junitCounts) count(cases []junitCase) {
	for _, c := range cases {
		n.Tests++
		n.Time = seconds(n.Time + c.Time)
		switch {
		case c.Failure != nil:
			n.Failures++
		case c.Error != nil:
			n.Errors++
		case c.Skipped != nil:
			n.Skipped++
		}
	}
}

func (n *junitCounts) add(m junitCounts) {
	n.Tests += m.Tests
	n.Failures += m.Failures
	n.Errors += m.Errors
	n.Skipped += m.Skipped
}

// writeMarkdown writes tables without times or texts of the run, so that a run
// that comes to the same writes the same.
func writeMarkdown(w io.Writer, r *conformReport) error {
	var b strings.Builder
	row := func(cells ...string) {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	rule := func(n int) { b.WriteString("|" + strings.Repeat("---|", n) + "\n") }
	fmt.Fprintf(&b, "# Conformance of %s\n\n", mark(strings.TrimSpace(r.name+" "+r.version)))
	row(append([]string{"level"}, countHeads...)...)
	rule(1 + len(countHeads))
	must, should := r.counts()
	for _, level := range []struct {
		name string
		n    map[outcome]int
	}{{"MUST", must}, {"SHOULD", should}} {
		cells := []string{level.name}
		for _, k := range countOf(level.n) {
			cells = append(cells, fmt.Sprint(k))
		}
		row(cells...)
	}
	noun := ""
	for rows := r.rows; len(rows) > 0; {
		same := slices.IndexFunc(rows, func(row conformRow) bool { return row.id != rows[0].id })
		if same < 0 {
			same = len(rows)
		}
		if first := rows[0]; first.noun() != noun {
			noun = first.noun()
			fmt.Fprintf(&b, "\n## %s\n\n", noun)
			row(append([]string{"case", "level", "requirements"}, r.revisions...)...)
			rule(3 + len(r.revisions))
		}
		row(r.markdownCells(rows[:same])...)
		rows = rows[same:]
	}
	r.markdownEnd(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// markdownCells are the cells of one case, of which rows are the results.
func (r *conformReport) markdownCells(rows []conformRow) []string {
	first := rows[0]
	cells := []string{"`" + first.id + "`", strings.ToUpper(first.level),
		strings.Join(first.requirements, " ")}
	for _, revision := range r.revisions {
		cell := ""
		for _, row := range rows {
			// A case that is skipped as a whole has no revision.
			if row.Revision == revision || row.Revision == "" {
				cell = string(r.outcome(row))
			}
		}
		if cell == string(outFail) || cell == string(outError) {
			cell = "**" + cell + "**"
		}
		cells = append(cells, cell)
	}
	return cells
}

// markdownEnd lists why cases were skipped and failures expected.
func (r *conformReport) markdownEnd(b *strings.Builder) {
	if reasons, cases := r.skips(); len(reasons) > 0 {
		b.WriteString("\n## Skipped\n\n")
		for _, reason := range reasons {
			fmt.Fprintf(b, "- %d: %s\n", cases[reason], mark(reason))
		}
	}
	head := "\n## Expected failures\n\n"
	for _, row := range r.rows {
		if r.outcome(row) == outExpected {
			fmt.Fprintf(b, "%s- `%s`: %s\n", head, row.name(),
				mark(clean(r.baseline.expects(row), failureWidth)))
			head = ""
		}
	}
}

// markdownMarks are what begins a construct of Markdown in running text.
var markdownMarks = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`,
	"|", `\|`, "<", `\<`, "[", `\[`, "&", `\&`)

func mark(text string) string { return markdownMarks.Replace(text) }
