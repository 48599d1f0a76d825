package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hostile is what a subject may say to forge a line or to break a format.
const hostile = "\x1b[2Jgone ]]> | # TODO \u202eklaw\r ```"

// sampleReport has a row for each outcome, out of order.
func sampleReport(t *testing.T, strict bool) *conformReport {
	t.Helper()
	k := func(id, level string, requirements ...string) *conformCase {
		return &conformCase{id: id, level: level, title: "title of " + id + " # not a directive",
			why:          "A library that gets nothing, or hangs, tells nobody what happened to <values> & names of it.",
			requirements: requirements}
	}
	refused, wire := k("mount-refused", "must", "DLV-14", "ASK-3"), k("wire-id", "must", "MCP-1")
	ask, grant := k("ask-text", "should", "ASK-1"), k("grant-timed", "must", "GRT-2")
	known, crash := k("wire-known", "must", "MCP-9"), k("wire-crash", "must", "MCP-2")
	r := newReport(&subject{Name: "acme " + hostile, Version: "1.0", Revisions: []string{"2025-11-25", "2026-07-28"}}, strict)
	r.elapsed, r.planned = 12345*time.Millisecond, 9
	var err error
	r.baseline, err = parseBaseline("known.txt", "wire-known@2026-07-28 # issue 7 | * of it\nmount-refused@2025-11-25 # was fixed\n")
	if err != nil {
		t.Fatal(err)
	}
	old, now := "2025-11-25", "2026-07-28"
	r.rows = []conformRow{
		{wire, conformResult{Revision: now, Status: "pass", Seconds: 0.5}, ""},
		{wire, conformResult{Revision: old, Status: "pass", Seconds: 0.25}, ""},
		{crash, conformResult{Revision: old, Status: "error", Failures: []string{"the worker died: exit status 2", "panic: x"},
			Transcript: "panic: x\n\ngoroutine 1\n"}, ""},
		{known, conformResult{Revision: now, Status: "fail", Failures: []string{"line 3: no answer"}}, ""},
		{known, conformResult{Revision: old, Status: "pass"}, ""},
		{grant, conformResult{Status: "skip", Reason: "the subject has no grants " + hostile}, ""},
		{ask, conformResult{Revision: now, Status: "fail", Failures: []string{"line 9: question"}, Seconds: 1}, ""},
		{refused, conformResult{Revision: old, Status: "pass"}, ""},
		{refused, conformResult{Revision: now, Status: "fail", Failures: []string{"line 12: gets r nothing: " + hostile, "leak: API_KEY"},
			Transcript: "> ping\n< " + hostile + "\n", Seconds: 3.0004}, "/tmp/km1/7"},
	}
	cases := []*conformCase{refused, wire, ask, grant, known, crash}
	r.finish(cases, cases)
	return r
}

// stream is what a person reads while the report is made, and after it.
func stream(verbose bool) func(io.Writer, *conformReport) error {
	return func(w io.Writer, r *conformReport) error {
		for _, row := range r.rows {
			io.WriteString(w, rowText(r, row, verbose))
		}
		return writeSummary(w, r)
	}
}

func tap(verbose bool) func(io.Writer, *conformReport) error {
	return func(w io.Writer, r *conformReport) error { return writeTAP(w, r, verbose) }
}

// TestReportFormats compares each format with testdata/conform, and looks at
// what must hold in all.
func TestReportFormats(t *testing.T) {
	for _, test := range []struct {
		file   string
		strict bool
		write  func(io.Writer, *conformReport) error
	}{
		{"person.txt", false, stream(false)},
		{"person-verbose.txt", false, stream(true)},
		{"person-strict.txt", true, stream(false)},
		{"report.tap", false, tap(false)},
		{"report-verbose.tap", false, tap(true)},
		{"report-strict.tap", true, tap(false)},
		{"report.xml", false, writeJUnit},
		{"report-strict.xml", true, writeJUnit},
		{"report.md", false, writeMarkdown},
		{"report.json", false, writeJSONReport},
	} {
		t.Run(test.file, func(t *testing.T) {
			var got bytes.Buffer
			if err := test.write(&got, sampleReport(t, test.strict)); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "conform", test.file), got.Bytes())
			if i := strings.IndexFunc(got.String(), func(r rune) bool { return r != '\n' && !allowedInPrompt(r) }); i >= 0 && test.file != "report.json" {
				t.Errorf("a character at %d is no text: %q", i, got.String()[i:min(i+20, got.Len())])
			}
		})
	}
}

// golden compares got with the file, or writes the file.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if g, w := firstDifference(string(got), string(want)); g != w || !bytes.Equal(got, want) {
		t.Errorf("%s differs:\n got %q\nwant %q\n(-update rewrites it)", file, g, w)
	}
}

// TestReportsAreRead: what programs read is well-formed, and its numbers add up.
func TestReportsAreRead(t *testing.T) {
	r := sampleReport(t, false)
	var text bytes.Buffer
	writeJUnit(&text, r)
	var suites junitSuites
	if err := xml.Unmarshal(text.Bytes(), &suites); err != nil {
		t.Fatal(err)
	}
	if n := suites.junitCounts; n.Tests != len(r.rows)+len(r.stale) || n.Failures != 2 || n.Errors != 1 || n.Skipped != 3 {
		t.Errorf("JUnit counts %+v of %d rows", n, len(r.rows))
	}
	text.Reset()
	writeJSONReport(&text, r)
	var all struct {
		Counts  map[string]map[string]int
		Results []struct{ Status string }
	}
	if err := json.Unmarshal(text.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, level := range all.Counts {
		for _, n := range level {
			sum += n
		}
	}
	if sum != len(r.rows) || len(all.Results) != len(r.rows) {
		t.Errorf("JSON counts %d and lists %d of %d rows", sum, len(all.Results), len(r.rows))
	}
}

// TestMarkdownIsSteady: another run that comes to the same writes the same.
func TestMarkdownIsSteady(t *testing.T) {
	var first, second bytes.Buffer
	r := sampleReport(t, false)
	writeMarkdown(&first, r)
	r.elapsed += time.Minute
	for i := range r.rows {
		row := &r.rows[i]
		row.Seconds, row.Transcript, row.kept = row.Seconds+1, "other", "/tmp/km2/7"
		for k := range row.Failures {
			row.Failures[k] += " at 17:42"
		}
	}
	if writeMarkdown(&second, r); first.String() != second.String() {
		t.Errorf("first\n%s\nsecond\n%s", &first, &second)
	}
}

// TestConformExit: one row, and what the whole run comes to.
func TestConformExit(t *testing.T) {
	for _, test := range []struct {
		name, level, status string
		strict, interrupted bool
		baseline            string
		outcome             outcome
		exit                int
	}{
		{"a pass", "must", "pass", false, false, "", outPass, 0},
		{"a MUST that fails", "must", "fail", false, false, "", outFail, 1},
		{"a SHOULD that fails", "should", "fail", false, false, "", outWarn, 0},
		{"a SHOULD that fails, strict", "should", "fail", true, false, "", outFail, 1},
		{"a skip", "must", "skip", false, false, "", outSkip, 0},
		{"a skip, strict", "must", "skip", true, false, "", outFail, 1},
		{"an error", "must", "error", false, false, "", outError, 2},
		{"an error of a SHOULD", "should", "error", false, false, "", outError, 2},
		{"an interrupt", "must", "pass", false, true, "", outPass, 1},
		{"an expected failure", "must", "fail", false, false, "a-case # r", outExpected, 0},
		{"an expected failure of the revision", "must", "fail", false, false, "a-case@r2 # r", outExpected, 0},
		{"a failure in another revision", "must", "fail", false, false, "a-case@r1 # r", outFail, 1},
		{"an expected warning", "should", "fail", false, false, "a-case # r", outExpected, 0},
		{"an expected skip, strict", "must", "skip", true, false, "a-case # r", outExpected, 0},
		{"an error is never expected", "must", "error", false, false, "a-case # r", outError, 2},
		{"an entry that passes", "must", "pass", false, false, "a-case # r", outPass, 1},
		{"an entry that is skipped", "must", "skip", false, false, "a-case # r", outSkip, 1},
		{"an entry of no case", "must", "pass", false, false, "b-case # r", outPass, 1},
	} {
		k := &conformCase{id: "a-case", level: test.level}
		r := newReport(&subject{Name: "s", Revisions: []string{"r2"}}, test.strict)
		r.interrupted = test.interrupted
		var err error
		if r.baseline, err = parseBaseline("b", test.baseline); err != nil {
			t.Fatal(err)
		}
		r.rows = []conformRow{{k, conformResult{Revision: "r2", Status: test.status}, ""}}
		r.finish([]*conformCase{k}, []*conformCase{k})
		if out, exit := r.outcome(r.rows[0]), r.exit(); out != test.outcome || exit != test.exit {
			t.Errorf("%s: %s, exit %d; want %s, %d", test.name, out, exit, test.outcome, test.exit)
		}
	}
}
