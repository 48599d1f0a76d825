package main

// A baseline lists failures that are expected: those of a subject that is
// known not to conform yet. It must fit exactly, so that it never hides a
// failure that came back.

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// baselineLine is `ID[@REVISION] # reason`. Without a reason nobody can tell
// later whether the entry may go.
var baselineLine = lazily(
	`^([a-z0-9]+(?:-[a-z0-9]+)*)(?:@([0-9A-Za-z.-]+))?\s+#\s*(\S.*)$`)

// baselineEntry expects a case to fail, in one revision or ("") in some.
type baselineEntry struct {
	id, revision, reason string
	line                 int
}

func (e baselineEntry) name() string {
	return conformTask{&conformCase{id: e.id}, e.revision, ""}.name()
}

// covers reports whether the entry speaks of the row.
func (e baselineEntry) covers(row conformRow) bool {
	return e.id == row.id && (e.revision == "" || e.revision == row.Revision)
}

type baseline struct {
	path    string
	entries []baselineEntry
}

// readBaseline reads the file; without a path nothing is expected.
func readBaseline(path string) (b baseline, err error) {
	if path == "" {
		return b, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return b, fmt.Errorf("cannot read the baseline: %v", err)
	}
	return parseBaseline(path, string(text))
}

// parseBaseline reads entries, one a line. Blank lines and those that begin
// with "#" are left out.
func parseBaseline(path, text string) (baseline, error) {
	b := baseline{path: path}
	seen := map[string]int{}
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		m := baselineLine().FindStringSubmatch(line)
		if m == nil {
			return baseline{}, fmt.Errorf("%q line %d: want \"ID[@REVISION] # reason\", have %q",
				path, n+1, cut(line, 200))
		}
		e := baselineEntry{m[1], m[2], m[3], n + 1}
		if first := seen[e.name()]; first > 0 {
			return baseline{}, fmt.Errorf("%q line %d: %q is in line %d already", path, n+1, e.name(), first)
		}
		seen[e.name()] = n + 1
		b.entries = append(b.entries, e)
	}
	return b, nil
}

// expects returns why the row may fail, "" where it may not.
func (b baseline) expects(row conformRow) string {
	for _, e := range b.entries {
		if e.covers(row) {
			return e.reason
		}
	}
	return ""
}

// staleEntry is an entry that does not fit, and why.
type staleEntry struct{ name, why string }

// stale returns the entries that expect no failure which is there. Those of
// cases that were not chosen are let be, and so are those of which an early
// end, or an error, leaves the answer open.
func (b baseline) stale(r *conformReport, all, chosen []*conformCase) (found []staleEntry) {
	for _, e := range b.entries {
		named := func(c *conformCase) bool { return c.id == e.id }
		rows := slices.DeleteFunc(slices.Clone(r.rows),
			func(row conformRow) bool { return !e.covers(row) })
		fits := slices.ContainsFunc(rows, func(row conformRow) bool {
			return r.fails(row) || row.Status == statusError
		})
		why := "passes now"
		switch {
		case !slices.ContainsFunc(all, named):
			why = "is no case"
		case fits || r.interrupted || !slices.ContainsFunc(chosen, named):
			continue
		case len(rows) == 0:
			why = "does not run in that revision"
		case !slices.ContainsFunc(rows, func(row conformRow) bool { return row.Status == statusPass }):
			why = "is skipped: " + rows[0].Reason
		}
		found = append(found, staleEntry{e.name(),
			fmt.Sprintf("%s line %d: %s %s; remove the line", b.path, e.line, e.name(), why)})
	}
	return found
}
