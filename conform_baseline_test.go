package main

import (
	"slices"
	"strings"
	"testing"
)

// TestBaselineFile: each malformed line is refused and named.
func TestBaselineFile(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string // names and reasons, or the error
	}{
		{"nothing", "", nil},
		{"comments and blank lines", "# a list\n\n  # more\n", nil},
		{"a case", "wire-id # issue 7", []string{"wire-id", "issue 7"}},
		{"a revision", "wire-id@2025-11-25   #issue # 7\r\n", []string{"wire-id@2025-11-25", "issue # 7"}},
		{"one case in two revisions", "a-b@r1 # x\na-b@r2 # y", []string{"a-b@r1", "x", "a-b@r2", "y"}},
		{"no reason", "\nwire-id", []string{"line 2"}},
		{"an empty reason", "wire-id # ", []string{"line 1"}},
		{"two words", "wire-id wire-ok # x", []string{"line 1"}},
		{"capitals", "Wire-id # x", []string{"line 1"}},
		{"an empty revision", "wire-id@ # x", []string{"line 1"}},
		{"the same twice", "a-b # x\na-b # y", []string{"line 2", "line 1 already"}},
	} {
		b, err := parseBaseline("known.txt", test.text)
		if err != nil {
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s: error %q lacks %q", test.name, err, part)
				}
			}
			if len(b.entries) > 0 || len(test.want) == 0 {
				t.Errorf("%s: error %q with %d entries", test.name, err, len(b.entries))
			}
			continue
		}
		var got []string
		for _, e := range b.entries {
			got = append(got, e.name(), e.reason)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestBaselineFits: an entry must expect a failure that is there.
func TestBaselineFits(t *testing.T) {
	a, b := &conformCase{id: "a-a", level: "must"}, &conformCase{id: "b-b", level: "must"}
	row := func(revision, status string) conformRow {
		return conformRow{a, conformResult{Revision: revision, Status: status, Reason: "no grants"}, ""}
	}
	for _, test := range []struct {
		name, text  string
		rows        []conformRow
		interrupted bool
		want        string // "": it fits
	}{
		{"it fails", "a-a # x", []conformRow{row("r1", "fail")}, false, ""},
		{"it fails in one revision", "a-a # x", []conformRow{row("r1", "pass"), row("r2", "fail")}, false, ""},
		{"it fails in that revision", "a-a@r2 # x", []conformRow{row("r1", "pass"), row("r2", "fail")}, false, ""},
		{"it fails in another", "a-a@r1 # x", []conformRow{row("r1", "pass"), row("r2", "fail")}, false, "passes now"},
		{"it passes", "a-a # x", []conformRow{row("r1", "pass")}, false, "passes now"},
		{"it is skipped", "a-a # x", []conformRow{row("", "skip")}, false, "is skipped: no grants"},
		{"no such revision", "a-a@r9 # x", []conformRow{row("r1", "fail")}, false, "does not run in that revision"},
		{"no such case", "z-z # x", []conformRow{row("r1", "fail")}, false, "is no case"},
		{"it was not chosen", "b-b # x", []conformRow{row("r1", "fail")}, false, ""},
		{"an error leaves it open", "a-a # x", []conformRow{row("r1", "error")}, false, ""},
		{"an early end leaves it open", "a-a@r2 # x", []conformRow{row("r1", "pass")}, true, ""},
		{"no early end makes a case", "z-z # x", nil, true, "is no case"},
	} {
		list, err := parseBaseline("known.txt", "# a comment\n"+test.text)
		if err != nil {
			t.Fatal(err)
		}
		r := &conformReport{baseline: list, rows: test.rows, interrupted: test.interrupted}
		r.finish([]*conformCase{a, b}, []*conformCase{a})
		switch {
		case test.want == "" && len(r.stale) > 0:
			t.Errorf("%s: %q", test.name, r.stale[0].why)
		case test.want != "" && (len(r.stale) != 1 || !strings.Contains(r.stale[0].why, test.want) ||
			!strings.Contains(r.stale[0].why, "known.txt line 2") || !strings.Contains(r.stale[0].why, "remove the line")):
			t.Errorf("%s: %q, want %q", test.name, r.stale, test.want)
		}
	}
}
