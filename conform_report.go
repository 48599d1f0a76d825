package main

// What came of a run. A report is made of rows, and every format is written
// from it alone, so that all of them tell the same. What the subject said is
// cleaned before it is written as text (clean.go).

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"
)

const (
	reportWidth  = 80   // columns of folded text
	failureWidth = 1200 // columns of one line of a failure
	saidWidth    = 2000 // columns of one line of a transcript
)

// outcome is a result as the report counts it.
type outcome string

const (
	outPass     outcome = "pass"
	outFail     outcome = "fail"
	outWarn     outcome = "warn"     // a SHOULD that fails
	outExpected outcome = "expected" // a failure that the baseline lists
	outSkip     outcome = "skip"
	outError    outcome = "error"
)

// conformRow is a case with its result in one revision.
type conformRow struct {
	*conformCase
	conformResult
	kept string // the folder, where it was kept
}

func (r conformRow) name() string { return conformTask{r.conformCase, r.Revision, ""}.name() }

// noun is what the case is about: the first word of its id.
func (r conformRow) noun() string {
	noun, _, _ := strings.Cut(r.id, "-")
	return noun
}

// because is the row's lines of failure, or why it was skipped, as text.
func (r conformRow) because() (lines []string) {
	if r.Status == statusSkip {
		return []string{"skipped: " + clean(r.Reason, failureWidth)}
	}
	for _, line := range r.Failures {
		lines = append(lines, clean(line, failureWidth))
	}
	return lines
}

// said is the transcript's lines, as text.
func (r conformRow) said() (lines []string) {
	if r.Transcript == "" {
		return nil
	}
	for line := range strings.Lines(r.Transcript) {
		lines = append(lines, clean(strings.TrimRight(line, "\r\n"), saidWidth))
	}
	return lines
}

// conformReport is all that came of a run.
type conformReport struct {
	name, version string // of the subject
	revisions     []string
	strict        bool
	baseline      baseline
	rows          []conformRow
	stale         []staleEntry
	planned       int
	interrupted   bool
	elapsed       time.Duration
}

func newReport(s *subject, strict bool) *conformReport {
	return &conformReport{name: clean(s.Name, failureWidth), version: clean(s.Version, failureWidth),
		revisions: s.Revisions, strict: strict}
}

// finish puts the rows into the order of the cases, as those of several jobs
// came in any, and looks for entries of the baseline that do not fit.
func (r *conformReport) finish(all, chosen []*conformCase) {
	order := func(row conformRow) int { return slices.Index(r.revisions, row.Revision) }
	slices.SortStableFunc(r.rows, func(a, b conformRow) int {
		return cmp.Or(strings.Compare(a.id, b.id), cmp.Compare(order(a), order(b)))
	})
	r.stale = r.baseline.stale(r, all, chosen)
}

// fails reports whether the row is a failure of any kind.
func (r *conformReport) fails(row conformRow) bool {
	return row.Status == statusFail || r.strict && row.Status == statusSkip
}

func (r *conformReport) outcome(row conformRow) outcome {
	switch {
	case row.Status == statusError:
		return outError
	case r.fails(row) && r.baseline.expects(row) != "":
		return outExpected
	case row.Status == statusFail && row.level == levelShould && !r.strict:
		return outWarn
	case r.fails(row):
		return outFail
	case row.Status == statusSkip:
		return outSkip
	}
	return outPass
}

// exit is the code with which the run ends: 2 where an error leaves open
// whether the subject conforms, 1 where something failed.
func (r *conformReport) exit() int {
	must, should := r.counts()
	switch {
	case must[outError]+should[outError] > 0:
		return 2
	case must[outFail]+should[outFail]+len(r.stale) > 0 || r.interrupted:
		return 1
	}
	return 0
}

// counts are the rows of each level by outcome.
func (r *conformReport) counts() (must, should map[outcome]int) {
	must, should = map[outcome]int{}, map[outcome]int{}
	for _, row := range r.rows {
		if row.level == levelShould {
			should[r.outcome(row)]++
		} else {
			must[r.outcome(row)]++
		}
	}
	return must, should
}

// countHeads and countOf are the columns of the counts, in every format.
var countHeads = []string{"passed", "failed", "warned", "expected", "skipped", "errors"}

func countOf(n map[outcome]int) []int {
	return []int{n[outPass], n[outFail], n[outWarn], n[outExpected], n[outSkip], n[outError]}
}

// skips are the reasons for which cases were skipped, the most frequent first.
func (r *conformReport) skips() (reasons []string, cases map[string]int) {
	cases = map[string]int{}
	for _, row := range r.rows {
		if row.Status == statusSkip {
			reason := clean(row.Reason, failureWidth)
			if cases[reason]++; cases[reason] == 1 {
				reasons = append(reasons, reason)
			}
		}
	}
	slices.SortFunc(reasons, func(a, b string) int {
		return cmp.Or(cases[b]-cases[a], strings.Compare(a, b))
	})
	return reasons, cases
}

// verdict says in one line what the counts come to.
func (r *conformReport) verdict() string {
	must, should := r.counts()
	var parts []string
	add := func(format string, n int) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf(format, n))
		}
	}
	add("%d left open by errors", must[outError]+should[outError])
	add("%d MUST failed", must[outFail])
	add("%d SHOULD failed", should[outFail])
	add("baseline: %d to remove", len(r.stale))
	if r.interrupted {
		parts = append(parts, fmt.Sprintf("interrupted after %d of %d", len(r.rows), r.planned))
	}
	if len(parts) > 0 {
		return strings.Join(parts, ", ")
	}
	text := "no MUST failed"
	if must[outExpected] > 0 {
		text += " that was not expected"
	}
	if n := must[outSkip] + should[outSkip]; n > 0 {
		text += fmt.Sprintf(", %d not tested", n)
	}
	return text
}

// example is the id of a case of which a person will want to see more: one that
// decides, before one that only warns.
func (r *conformReport) example() string {
	for _, wanted := range [][]outcome{{outFail, outError}, {outWarn}} {
		for _, row := range r.rows {
			if slices.Contains(wanted, r.outcome(row)) {
				return row.id
			}
		}
	}
	return ""
}

// writeSummary is the end of what a person reads.
func writeSummary(w io.Writer, r *conformReport) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s, %s: %s in %.1fs\n", strings.TrimSpace(r.name+" "+r.version), strings.Join(r.revisions, " "),
		count(len(r.rows), "result"), r.elapsed.Seconds())
	must, should := r.counts()
	line := func(label string, cells []string) {
		fmt.Fprintf(&b, "  %-8s", label)
		for _, cell := range cells {
			fmt.Fprintf(&b, "%10s", cell)
		}
		b.WriteString("\n")
	}
	numbers := func(n map[outcome]int) (cells []string) {
		for _, k := range countOf(n) {
			cells = append(cells, fmt.Sprint(k))
		}
		return cells
	}
	line("", countHeads)
	line("MUST", numbers(must))
	line("SHOULD", numbers(should))
	if reasons, cases := r.skips(); len(reasons) > 0 {
		b.WriteString("skipped:\n")
		for _, reason := range reasons {
			fmt.Fprintf(&b, "%6d  %s\n", cases[reason], reason)
		}
	}
	for _, e := range r.stale {
		fmt.Fprintf(&b, "baseline: %s\n", clean(e.why, failureWidth))
	}
	if id := r.example(); id != "" {
		fmt.Fprintf(&b, "to see more: --verbose --run '^%s$'\n", id)
	}
	fmt.Fprintf(&b, "%s\n", r.verdict())
	_, err := io.WriteString(w, b.String())
	return err
}

// conformShow tells a person what happens while it does: each failure as it
// comes on standard output, and how far it is on standard error.
type conformShow struct {
	out, err io.Writer
	notes    io.Writer // for what preparing says
	report   *conformReport
	verbose  bool
	live     bool // one line that is written over
	total    int
	done     int
}

var _ conformWatch = (*conformShow)(nil)

// newShow makes one. Where another format takes standard output, failures are
// told by that one alone.
func newShow(c *cli, report *conformReport) *conformShow {
	o := &c.opt.conform
	s := &conformShow{out: c.out, err: c.err, notes: c.err, report: report, verbose: o.verbose}
	if c.opt.json || o.tap || o.junit == "-" || o.markdown == "-" {
		s.out = io.Discard
	}
	if f, ok := c.err.(*os.File); ok {
		s.live = term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
	}
	return s
}

// clear takes the line of progress away.
func (s *conformShow) clear() {
	if s.live {
		io.WriteString(s.err, "\r\x1b[K")
	}
}

func (s *conformShow) line(name string) {
	if s.live {
		fmt.Fprintf(s.err, "\r\x1b[K[%*d/%d] %s", len(fmt.Sprint(s.total)), s.done, s.total,
			clean(name, reportWidth-16))
	}
}

func (s *conformShow) began(task conformTask) { s.line(task.name()) }

// ended adds a row to the report and shows it, if it is no pass.
func (s *conformShow) ended(task conformTask, result conformResult, kept string) {
	row := conformRow{task.conformCase, result, kept}
	s.report.rows = append(s.report.rows, row)
	if text := rowText(s.report, row, s.verbose); text != "" {
		s.clear()
		io.WriteString(s.out, text)
	}
	before := s.done * 10 / s.total
	s.done++
	if now := s.done * 10 / s.total; now > before && !s.live {
		fmt.Fprintf(s.err, "[%*d/%d] %d%%\n", len(fmt.Sprint(s.total)), s.done, s.total,
			s.done*100/s.total)
	}
	s.line(task.name())
}

// rowText is a row as a person reads it; "" where there is nothing to tell.
func rowText(r *conformReport, row conformRow, verbose bool) string {
	out := r.outcome(row)
	if out == outPass || out == outSkip || out == outExpected && !verbose {
		return ""
	}
	label := string(out)
	if out == outFail || out == outError {
		label = strings.ToUpper(label)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %s  (%s %s)\n", label, row.name(), row.level,
		strings.Join(row.requirements, " "))
	put := func(text string) { fmt.Fprintf(&b, "         %s\n", text) }
	for _, line := range wrap(row.why, reportWidth-9) {
		put(line)
	}
	lines := row.because()
	if !verbose {
		lines = lines[:min(len(lines), 1)]
	}
	for _, line := range lines {
		put("> " + line)
	}
	if out == outExpected {
		put("expected: " + clean(r.baseline.expects(row), failureWidth))
	}
	if row.kept != "" {
		put("kept in " + clean(row.kept, failureWidth))
	}
	if verbose {
		for _, line := range row.said() {
			put("| " + line)
		}
	}
	return b.String()
}
