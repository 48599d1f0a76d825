package main

// A conformance case is a text file: headers, a blank line, and steps, one a
// line. It knows nothing of the subject; names of tools and variables are the
// specification's. docs/conformance.md tells how to write one.

import (
	"embed"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

//go:embed conform/cases/*.txt
var caseFiles embed.FS

// caseLimit is how long a case may take, unless it says more.
const caseLimit = 30 * time.Second

// conformCase is one file of conform/cases.
type conformCase struct {
	id, title, level, why          string
	requirements, needs, revisions []string
	limit                          time.Duration
	steps                          []caseStep
}

// caseStep is one line: a client's name where it has one, a verb and the rest.
type caseStep struct {
	line               int
	client, verb, rest string
}

func (s caseStep) String() string { return strings.TrimSpace(s.verb + " " + s.rest) }

// caseFault is a fault of a case or of a subject file, and no failure of the
// subject.
type caseFault struct{ text string }

func (f *caseFault) Error() string { return f.text }

func faultf(format string, args ...any) error {
	return &caseFault{fmt.Sprintf(format, args...)}
}

// loadCases returns the cases, by id.
func loadCases() ([]*conformCase, error) {
	entries, err := caseFiles.ReadDir("conform/cases")
	if err != nil {
		return nil, err
	}
	var all []*conformCase
	for _, e := range entries {
		c, err := loadCase(strings.TrimSuffix(e.Name(), ".txt"))
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// loadCase reads one case.
func loadCase(id string) (*conformCase, error) {
	file := path.Join("conform/cases", id+".txt")
	text, err := caseFiles.ReadFile(file)
	if err != nil {
		return nil, faultf("no case %q", id)
	}
	c, err := parseCase(id, string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// caseWords are the words that some headers are limited to.
var caseWords = map[string]func() *regexp.Regexp{
	"requirements": lazily(`^[A-Z]{3}-[1-9][0-9]*$`),
	"level":        lazily(`^(must|should)$`),
	"revisions":    lazily(`^(once|each|all|\d{4}-\d\d-\d\d)$`),
}

// parseCase reads a case.
func parseCase(id, text string) (*conformCase, error) {
	c := &conformCase{id: id, limit: caseLimit}
	seen := map[string]bool{}
	inSteps := false
	for _, l := range joinLines(text) {
		var err error
		switch {
		case !inSteps && l.text == "":
			inSteps = true
		case !inSteps:
			name, value, _ := strings.Cut(l.text, ":")
			if seen[name] {
				return nil, faultf("line %d: %s is there twice", l.number, name)
			}
			seen[name] = true
			err = c.header(name, strings.TrimSpace(value))
		case l.text != "" && l.text[0] != '#':
			err = c.step(l.number, l.text)
		}
		if err != nil {
			return nil, faultf("line %d: %v", l.number, err)
		}
	}
	for _, name := range []string{"title", "requirements", "level", "revisions", "why"} {
		if !seen[name] {
			return nil, faultf("no %s", name)
		}
	}
	if len(c.steps) == 0 {
		return nil, faultf("no steps")
	}
	return c, nil
}

// header takes one header.
func (c *conformCase) header(name, value string) (err error) {
	words := strings.Fields(value)
	if pattern := caseWords[name]; pattern != nil {
		for _, w := range words {
			if !pattern().MatchString(w) {
				return fmt.Errorf("%s cannot be %q", name, w)
			}
		}
	}
	if value == "" && name != "needs" {
		return fmt.Errorf("%s is empty", name)
	}
	switch name {
	case "title":
		c.title = value
	case "requirements":
		c.requirements = words
	case "level":
		c.level = value
	case "needs":
		c.needs = words
	case "revisions":
		c.revisions = words
	case "why":
		c.why = value
	case "limit":
		c.limit, err = time.ParseDuration(value)
	default:
		err = fmt.Errorf("unknown header %q", name)
	}
	return err
}

// step takes one step, and what it needs of the subject.
func (c *conformCase) step(line int, text string) error {
	s := caseStep{line: line, client: "main"}
	if name, ok := strings.CutPrefix(text, "@"); ok {
		s.client, text, _ = strings.Cut(name, " ")
	}
	s.verb, s.rest, _ = strings.Cut(text, " ")
	s.rest = strings.TrimLeft(s.rest, " ")
	v, ok := verbs[s.verb]
	if !ok {
		return fmt.Errorf("unknown verb %q", s.verb)
	}
	needs := v.needs
	if v.also != nil {
		needs = append(slices.Clip(needs), v.also(s)...)
	}
	for _, m := range caseVariable().FindAllStringSubmatch(s.rest, -1) {
		if strings.HasPrefix(m[1], "tool.") || m[1] == "number" {
			needs = append(slices.Clip(needs), strings.Replace(m[1], ".", ":", 1))
		}
	}
	for _, need := range needs {
		if !slices.Contains(c.needs, need) {
			c.needs = append(c.needs, need)
		}
	}
	if s.starts() && slices.ContainsFunc(c.steps, caseStep.starts) && !slices.Contains(c.needs, "restart") {
		c.needs = append(c.needs, "restart") // what it knew before is to be there again
	}
	c.steps = append(c.steps, s)
	return nil
}

// starts reports whether the step starts a keeper.
func (s caseStep) starts() bool {
	return s.verb == "unlock" && !strings.HasPrefix(s.rest, "refused")
}

// numberedLine is a line with those that continue it.
type numberedLine struct {
	number int
	text   string
}

// joinLines joins indented lines to the one before, by a space.
func joinLines(text string) (all []numberedLine) {
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if line != "" && (line[0] == ' ' || line[0] == '\t') && len(all) > 0 {
			all[len(all)-1].text += " " + strings.TrimSpace(line)
			continue
		}
		all = append(all, numberedLine{i + 1, strings.TrimRight(line, " ")})
	}
	return all
}

var caseVariable = lazily(`\$\{([a-zA-Z_][a-zA-Z0-9_.-]*)\}`)

// expand puts the values of variables in. With quote they are written as inside
// of a JSON string.
func expand(text string, quote bool, value func(string) (string, bool)) (string, error) {
	var unknown error
	text = caseVariable().ReplaceAllStringFunc(text, func(v string) string {
		name := v[2 : len(v)-1]
		got, ok := value(name)
		if !ok {
			unknown = errors.Join(unknown, faultf("unknown variable %q", name))
		}
		if quote && name != "meta" {
			raw := encodeJSON(got)
			return string(raw[1 : len(raw)-1])
		}
		return got
	})
	return text, unknown
}
