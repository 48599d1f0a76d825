package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// readerMatrix is what scripts/readers.sh measured.
type readerMatrix struct {
	Date, Machine string
	Classes       map[string]json.RawMessage
	Dialects      []dialect
	Readers       []*measuredReader
}

// measuredReader is one reader of the matrix; what Wrong does not list came out
// exact.
type measuredReader struct {
	Name, Kind, Version string
	Reads               bool
	Opens               int
	Wrong               map[dialect]map[string][]string // how, and which classes
}

// damages are the ways in which more than the value itself is wrong.
var damages = []string{"neighbour", "injects", "nothing"}

// byEase are the dialects in the order in which to choose of equal ones: the
// one that needs no choice, then those that are safe to source.
var byEase = []dialect{dialectPortable, dialectShell, dialectEscaped, dialectJS,
	dialectJSExpand, dialectRaw}

func readMatrix(t *testing.T) *readerMatrix {
	t.Helper()
	m := &readerMatrix{}
	if err := json.Unmarshal([]byte(readDoc(t, "testdata/readers/matrix.json")), m); err != nil {
		t.Fatal(err)
	}
	if len(m.Classes) < 86 || len(m.reading()) < 30 || len(m.Dialects) != len(byEase) {
		t.Fatalf("the matrix has %d classes, %d readers and %d dialects", len(m.Classes),
			len(m.reading()), len(m.Dialects))
	}
	return m
}

// reading are the readers that read a FIFO at all.
func (m *readerMatrix) reading() (readers []*measuredReader) {
	for _, r := range m.Readers {
		if r.Reads {
			readers = append(readers, r)
		}
	}
	return readers
}

// exact counts the classes that came out exact.
func (m *readerMatrix) exact(r *measuredReader, d dialect) int {
	n := len(m.Classes)
	for _, classes := range r.Wrong[d] {
		n -= len(classes)
	}
	return n
}

// fitting is the dialect in which most comes out exact.
func (m *readerMatrix) fitting(r *measuredReader) dialect {
	return slices.MaxFunc(byEase, func(a, b dialect) int { // the first of equal ones
		return m.exact(r, a) - m.exact(r, b)
	})
}

// share is the part of all pairs that is exact, in percent.
func (m *readerMatrix) share(of func(*measuredReader) dialect) float64 {
	exact := 0
	for _, r := range m.reading() {
		exact += m.exact(r, of(r))
	}
	return 100 * float64(exact) / float64(len(m.Classes)*len(m.reading()))
}

func inPortable(*measuredReader) dialect { return dialectPortable }

// table writes rows as Markdown, the first of them the head.
func table(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return b.String()
}

func (m *readerMatrix) figures() string {
	reading := len(m.reading())
	return fmt.Sprintf("Measured on %s, on %s:\n"+
		"%d readers, %d classes of values, %d dialects. With `portable` %.1f %% of the %d pairs of\n"+
		"reader and class are exact, with the fitting dialect of each reader %.1f %%.\n", m.Date, m.Machine, reading, len(m.Classes),
		len(m.Dialects), m.share(inPortable), reading*len(m.Classes), m.share(m.fitting))
}

// readersTable has a row for each reader: how many classes are exact.
func (m *readerMatrix) readersTable() string {
	rows := [][]string{{"reader", "version", "opens"}}
	for _, d := range m.Dialects {
		rows[0] = append(rows[0], string(d))
	}
	rows[0] = append(rows[0], "choose")
	for _, r := range m.reading() {
		row := []string{r.Name, r.Version, fmt.Sprint(r.Opens)}
		for _, d := range m.Dialects {
			cell := fmt.Sprint(m.exact(r, d))
			if d == m.fitting(r) {
				cell = "**" + cell + "**"
			}
			row = append(row, cell)
		}
		rows = append(rows, append(row, string(m.fitting(r))))
	}
	return table(rows)
}

// literal are the kinds for which a quote is part of the value.
var literal = []string{"docker run --env-file", "make"}

// classesTable has a row for each class that somebody gets wrong with portable,
// the literal kinds aside.
func (m *readerMatrix) classesTable(order []string) string {
	rows := [][]string{{"class", "value", "exact", "differs with"}}
	for _, class := range order {
		var kinds []string
		wrong := 0
		for _, r := range m.reading() {
			if r.how(dialectPortable, class) == "" {
				continue
			}
			wrong++
			if !slices.Contains(literal, r.Kind) && !slices.Contains(kinds, r.Kind) {
				kinds = append(kinds, r.Kind)
			}
		}
		if len(kinds) > 0 {
			rows = append(rows, []string{class, m.shown(class), fmt.Sprint(len(m.reading()) - wrong),
				strings.Join(kinds, ", ")})
		}
	}
	return table(rows)
}

// how says how a class came out; nothing where it is exact.
func (r *measuredReader) how(d dialect, class string) string {
	for how, classes := range r.Wrong[d] {
		if slices.Contains(classes, class) {
			return how
		}
	}
	return ""
}

// shown is a value as a cell of a table.
func (m *readerMatrix) shown(class string) string {
	var value []byte
	json.Unmarshal(m.Classes[class], &value)
	text := fmt.Sprintf("%q", value)
	if len(text) > 40 {
		text = text[:36] + "…\""
	}
	return "<code>" + strings.NewReplacer("|", "&#124;", "<", "&lt;", "&", "&amp;",
		"*", "&#42;", "_", "&#95;", "`", "&#96;").Replace(text) + "</code>"
}

// damageTable has what harms more than the value, in portable and in the
// fitting dialect.
func (m *readerMatrix) damageTable() string {
	rows := [][]string{{"reader", "dialect", "what happens", "classes"}}
	for _, r := range m.reading() {
		for _, d := range slices.Compact([]dialect{dialectPortable, m.fitting(r)}) {
			for _, how := range damages {
				if classes := r.Wrong[d][how]; len(classes) > 0 {
					rows = append(rows, []string{r.Name, string(d), damageWords[how],
						strings.Join(classes, ", ")})
				}
			}
		}
	}
	return table(rows)
}

var damageWords = map[string]string{"neighbour": "another variable is damaged",
	"injects": "a line becomes a variable", "nothing": "no variable arrives"}

// skipTable has the readers that do not read a FIFO.
func (m *readerMatrix) skipTable() string {
	rows := [][]string{{"reader", "version", "opens"}}
	for _, r := range m.Readers {
		if !r.Reads {
			rows = append(rows, []string{r.Name, r.Version, fmt.Sprint(r.Opens)})
		}
	}
	return table(rows)
}

var (
	docBlock  = regexp.MustCompile(`(?s)<!-- measured: (\w+) -->\n(.*?)<!-- end -->`)
	classLine = regexp.MustCompile(`(?m)^ *"([a-z-]+)": "[A-Za-z0-9+/=]*",?$`)
)

// TestReadersDoc holds docs/readers.md against what was measured; -update
// writes its tables.
func TestReadersDoc(t *testing.T) {
	const file = "docs/readers.md"
	m, doc := readMatrix(t), readDoc(t, file)
	var order []string // as measured: a map of Go has none
	for _, line := range classLine.FindAllStringSubmatch(readDoc(t, "testdata/readers/matrix.json"), -1) {
		order = append(order, line[1])
	}
	if len(order) != len(m.Classes) {
		t.Fatalf("found %d of %d classes in the data", len(order), len(m.Classes))
	}
	blocks := map[string]string{"figures": m.figures(), "readers": m.readersTable(),
		"classes": m.classesTable(order), "damage": m.damageTable(), "skip": m.skipTable()}
	found := 0
	now := docBlock.ReplaceAllStringFunc(doc, func(block string) string {
		name := docBlock.FindStringSubmatch(block)[1]
		if blocks[name] == "" {
			t.Errorf("%s has an unknown block %q", file, name)
		}
		found++
		return "<!-- measured: " + name + " -->\n" + blocks[name] + "<!-- end -->"
	})
	if found != len(blocks) {
		t.Errorf("%s has %d blocks, want %d", file, found, len(blocks))
	}
	if *update {
		if err := os.WriteFile(file, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if now != doc {
		g, w := firstDifference(doc, now)
		t.Errorf("%s is not as measured:\n got %q\nwant %q\n(-update rewrites it)", file, g, w)
	}
}

// TestReadersFigures holds the measurement to what is promised.
func TestReadersFigures(t *testing.T) {
	m := readMatrix(t)
	for _, c := range []struct {
		what string
		of   func(*measuredReader) dialect
		want float64
	}{
		{"portable", inPortable, 84},
		{"the fitting dialect", m.fitting, 95},
	} {
		if got := m.share(c.of); got < c.want {
			t.Errorf("with %s %.2f %% of the pairs are exact, want %.0f or more", c.what, got, c.want)
		}
	}
	for _, r := range m.reading() {
		for d, wrong := range r.Wrong {
			for how, classes := range wrong {
				for _, class := range classes {
					if m.Classes[class] == nil || !slices.Contains(m.Dialects, d) {
						t.Errorf("%s: %s, %s, %s is of no class or dialect", r.Name, d, how, class)
					}
				}
			}
		}
	}
}

// TestReadersDamageNamed: check has told of every value that harmed more than
// itself, and of the reader it did so in. [TXT-33]
func TestReadersDamageNamed(t *testing.T) {
	m, pairs := readMatrix(t), 0
	for _, r := range m.reading() {
		for d := range r.Wrong {
			for _, how := range damages {
				for _, class := range r.Wrong[d][how] {
					pairs++
					var value []byte
					if err := json.Unmarshal(m.Classes[class], &value); err != nil {
						t.Fatal(err)
					}
					found := findingOf(d, &variable{name: "KEY", value: value})
					if !slices.ContainsFunc(found.Readers, func(kind string) bool {
						return strings.HasPrefix(r.Kind, kind)
					}) {
						t.Errorf("%s, %s, %s: %s, and check names only %q", r.Name, d, class,
							damageWords[how], found.Readers)
					}
				}
			}
		}
	}
	if pairs < 100 {
		t.Errorf("found %d pairs that damage: the search is broken", pairs)
	}
}
