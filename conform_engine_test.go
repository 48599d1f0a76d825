package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const goodCase = `title: a title
requirements: DLV-1
level: must
needs: socket
revisions: once
why: because
  of this

# a comment
unlock
call {"a":
  1}
`

func TestParseCase(t *testing.T) {
	c, err := parseCase("x-y", strings.Replace(goodCase, `call {"a":`, `call list_environments {"a":`, 1))
	if err != nil {
		t.Fatal(err)
	}
	if c.why != "because of this" || len(c.steps) != 2 || c.steps[1].rest != `list_environments {"a": 1}` ||
		!slices.Equal(c.needs, []string{"socket", "keeper", "seeded", "tool:list_environments"}) {
		t.Errorf("parsed %+v", c)
	}
	again := strings.Replace(goodCase, "unlock\n", "unlock\nunlock refused x\nunlock confirm\n", 1)
	again = strings.Replace(again, `call {"a":`, `call list_environments {"a":`, 1)
	if c, err := parseCase("x-y", again); err != nil || !slices.Contains(c.needs, "restart") {
		t.Errorf("a second start does not need what is kept: %v, %v", c, err)
	}
	for _, tt := range []struct{ name, old, new string }{
		{"no title", "title: a title\n", ""},
		{"header twice", "level: must\n", "level: must\nlevel: must\n"},
		{"level", "must", "may"},
		{"requirement", "DLV-1", "DLV-01"},
		{"revision", "once", "sometimes"},
		{"unknown header", "title", "titel"},
		{"empty header", "because\n  of this", ""},
		{"unknown verb", "unlock", "unlok"},
		{"no steps", "unlock\ncall {\"a\":\n  1}\n", ""},
		{"limit", "level: must", "level: must\nlimit: long"},
	} {
		text := strings.Replace(goodCase, tt.old, tt.new, 1)
		if text == goodCase {
			t.Fatalf("%s: nothing replaced", tt.name)
		}
		if _, err := parseCase("x", text); err == nil {
			t.Errorf("%s: accepted", tt.name)
		}
	}
}

func TestMatchJSON(t *testing.T) {
	const is = `{"a":1,"b":"text","c":[1,2,3],"d":{"e":null},"f":9007199254740993}`
	for _, tt := range []struct {
		pattern string
		want    bool
	}{
		{`{}`, true}, {`{"a":1}`, true}, {`{"a":2}`, false}, {`{"a":"1"}`, false}, {`{"b":"*"}`, true},
		{`{"g":"*"}`, false}, {`{"b":"~^te"}`, true}, {`{"b":"~^x"}`, false}, {`{"c":"~2"}`, true},
		{`{"c":[1,2,3]}`, true}, {`{"c":[1,2]}`, false}, {`{"c":[1,"..."]}`, true}, {`{"c":[2,"..."]}`, false},
		{`{"c":[1,2,3,4,"..."]}`, false}, {`{"d":{"e":null}}`, true}, {`{"d":null}`, false},
		{`{"g":{"$absent":true}}`, true}, {`{"a":{"$absent":true}}`, false},
		{`{"g":{"$may":1},"a":{"$may":1}}`, true}, {`{"a":{"$may":2}}`, false}, {`{"$only":true,"a":{"$may":1}}`, false},
		{`{"c":{"$each":"~\\d"}}`, true}, {`{"c":{"$each":1}}`, false}, {`{"d":{"$each":"*"}}`, false},
		{`{"f":9007199254740993}`, true}, {`{"f":9007199254740992}`, false}, {`[]`, false}, {`"*"`, true},
	} {
		err := matchJSON(tt.pattern, json.RawMessage(is))
		if (err == nil) != tt.want {
			t.Errorf("matchJSON(%s) = %v, want a match: %v", tt.pattern, err, tt.want)
		}
	}
}

// TestMatchSaysWhy: the reason comes before what is long, and $some tells of the
// element that came closest.
func TestMatchSaysWhy(t *testing.T) {
	long := strings.Repeat("x", 3000)
	for _, tt := range []struct{ pattern, is, want string }{
		{`{"a":1}`, `{"b":"` + long + `"}`, "/a is not there, in {"},
		{`{"a":"` + long + `"}`, `{"a":"` + long + `y"}`, "want \"x"},
		{`{"$some":[{"name":"b","n":1}]}`, `[{"name":"a","n":1},{"name":"b","n":2},{"m":1}]`, "/1/n is 2, want 1; of 3 elements"},
		{`{"$some":[{"x":1,"y":2,"z":3}]}`, `[{"x":1},{"x":1,"y":2},{"z":0}]`, "/1/z is not there; of 3 elements"},
		{`{"$some":["a"]}`, `[]`, "is empty, want an element like \"a\""},
	} {
		err := matchJSON(tt.pattern, json.RawMessage(tt.is))
		row := conformRow{conformResult: conformResult{Status: statusFail,
			Failures: []string{"line 3, " + cut("reply "+tt.pattern, 120) + ": " + fmt.Sprint(err)}}}
		if err == nil || !strings.Contains(row.because()[0], tt.want) || strings.Contains(row.because()[0], "characters)") {
			t.Errorf("%.60s: %v, want %q", tt.pattern, row.because(), tt.want)
		}
	}
}

func TestCanaryForms(t *testing.T) {
	const value = "km$ecret\"value+1/2?x"
	around := func(text string) []byte { return []byte("before " + text + " after") }
	raw := encodeJSON(value)
	texts := [][]byte{around(value), around(string(raw)), around(hex.EncodeToString([]byte(value))),
		around(strings.ToUpper(hex.EncodeToString([]byte(value)))), around("km%24ecret%22value%2B1%2F2%3Fx")}
	for shift := range 3 {
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			texts = append(texts, around(enc.EncodeToString([]byte("abc"[:shift]+value+"and more"))))
		}
	}
	for i, text := range texts {
		if !leaks(text, value) {
			t.Errorf("%d: not found in %s", i, text)
		}
	}
	if leaks(around("km$ecret"), value) || leaks(nil, value) {
		t.Error("found where it is not")
	}
}

func TestTape(t *testing.T) {
	tape := newTape()
	go func() {
		tape.Write([]byte("one "))
		tape.Write([]byte("two three"))
		tape.end()
	}()
	until := time.Now().Add(10 * time.Second)
	for _, want := range []string{"on(e)", "three"} {
		if _, err := tape.await(regexp.MustCompile(want), until); err != nil {
			t.Errorf("await(%q) = %v", want, err)
		}
	}
	if _, err := tape.await(regexp.MustCompile("one"), until); err != errEnded {
		t.Errorf("a text that was taken is found again: %v", err)
	}
	if _, err := newTape().await(regexp.MustCompile("x"), time.Now()); err != errTooLate {
		t.Errorf("await past its time = %v", err)
	}
}

func TestWords(t *testing.T) {
	got, err := words(`one "two three" "\u0041\n" four`)
	if err != nil || !slices.Equal(got, []string{"one", "two three", "A\n", "four"}) {
		t.Errorf("words = %q, %v", got, err)
	}
	if _, err := words(`"open`); err == nil {
		t.Error("an open string is accepted")
	}
}

func TestExpand(t *testing.T) {
	value := func(name string) (string, bool) { return `a"b`, name == "x.y" }
	for _, tt := range []struct {
		text, want string
		quote      bool
	}{
		{"-${x.y}-", `-a"b-`, false}, {`{"a":"${x.y}"}`, `{"a":"a\"b"}`, true}, {"$x ${", "$x ${", false},
	} {
		if got, err := expand(tt.text, tt.quote, value); err != nil || got != tt.want {
			t.Errorf("expand(%q) = %q, %v, want %q", tt.text, got, err, tt.want)
		}
	}
	if _, err := expand("${z}", false, value); err == nil {
		t.Error("an unknown variable is accepted")
	}
}

// TestMetaOfTheRevision: what a case sends belongs to the revision in which it runs.
func TestMetaOfTheRevision(t *testing.T) {
	for revision, want := range map[string]string{"2025-11-25": "{}",
		stateless: string((&conformClient{}).meta())} {
		r := &caseRun{revision: revision}
		if got, _ := r.value("meta"); got != want {
			t.Errorf("%s: %q, want %q", revision, got, want)
		}
	}
}

func TestSubjectRuns(t *testing.T) {
	full, err := loadSubject("keepmum")
	if err != nil {
		t.Fatal(err)
	}
	bare := &subject{Name: "bare", Revisions: []string{"2025-06-18"}, Tools: map[string]*subjectTool{"delete_environment": nil},
		Lacks: map[string]string{"audit": "writes none"}}
	for _, tt := range []struct {
		sub   *subject
		needs string
		when  string
		want  int // revisions
	}{
		{full, "keeper approve lock process terminal restart policy audit seed", "once", 1},
		{full, "answer:timed answer:values command:verify passphrase withdrawn question", "each", 2},
		{full, "tool:delete_environment", "all", 5}, {full, "", "2025-03-26 2024-11-05", 2},
		{full, "answer:perhaps", "once", 0}, {full, "", "1999-01-01", 0}, {full, "no-such-need", "once", 0},
		{bare, "", "each", 1}, {bare, "", "all", 1}, {bare, "", "2026-07-28", 0}, {bare, "keeper", "once", 0},
		{bare, "approve", "once", 0}, {bare, "tool:delete_environment", "once", 0},
		{bare, "tool:create_environment", "once", 1}, {bare, "audit", "once", 0},
	} {
		c := &conformCase{needs: strings.Fields(tt.needs), revisions: strings.Fields(tt.when)}
		got, why := tt.sub.runs(c)
		if len(got) != tt.want || (why == "") != (tt.want > 0) {
			t.Errorf("%s runs(%q, %q) = %q, %q, want %d revisions", tt.sub.Name, tt.needs, tt.when, got, why, tt.want)
		}
	}
}

// TestConformanceDoc: docs/conformance.md names each verb, each member of a
// subject file and each flag.
func TestConformanceDoc(t *testing.T) {
	doc := readDoc(t, "docs/conformance.md")
	for name := range verbs {
		if !strings.Contains(doc, "`"+name+"`") {
			t.Errorf("docs/conformance.md does not name the verb %q", name)
		}
	}
	for _, v := range []any{subject{}, subjectKeeper{}, subjectApprove{}, subjectSeed{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			name := strings.ToLower(f.Name[:1]) + f.Name[1:]
			if !regexp.MustCompile("`(approve)?[.]?" + name + "(: true)?`").MatchString(doc) {
				t.Errorf("docs/conformance.md does not name the member %q", name)
			}
		}
	}
	for _, v := range []any{jsonReport{}, jsonRow{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !strings.Contains(doc, `"`+name+`":`) && !strings.Contains(doc, "`"+name+"`") {
				t.Errorf("docs/conformance.md does not name the member %q of the report", name)
			}
		}
	}
	set := flag.NewFlagSet("", flag.ContinueOnError)
	conformFlags(set, &options{})
	set.VisitAll(func(f *flag.Flag) {
		if !strings.Contains(doc, "--"+f.Name) {
			t.Errorf("docs/conformance.md does not name the flag --%s", f.Name)
		}
	})
}

// TestConformanceDocExamples: what the document shows of subject files is right.
func TestConformanceDocExamples(t *testing.T) {
	cases, err := loadCases()
	must(t, err)
	found := 0
	for _, m := range jsonBlock.FindAllStringSubmatch(strings.ReplaceAll(readDoc(t, "docs/conformance.md"), "\n   ", "\n"), -1) {
		text := m[1]
		if strings.HasPrefix(text, `{ "subject"`) {
			continue
		}
		if !strings.Contains(text, `"name": "mine"`) {
			text = `{ "name": "mine", "revisions": ["2025-06-18"], ` + strings.TrimPrefix(text, "{")
		}
		s, err := parseSubject([]byte(text))
		if err == nil {
			err = s.check(cases, []string{"serve"})
		}
		if found++; err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
	if found < 3 {
		t.Errorf("found %d examples", found)
	}
}
