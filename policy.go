package main

// A policy is what an administrator and the person have said in advance. This
// file is pure: values in, decision out; no clock and no file.
//
//   - The stricter word wins: deny over ask over allow, the smaller limit, the
//     shorter time (SPEC §6).
//   - Without a word of a rule the answer is ask; whatever is not understood is
//     refused when the file is parsed, or denied when a request is decided.
//   - Unknown ancestry counts as an agent, and an unknown program or directory
//     counts as the one that a deny or ask rule names.

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const maxPolicyText = 1 << 20

// The words of a policy, the strictest first.
var (
	decisionWords   = []string{"deny", "ask", "allow"}
	approvalWords   = []string{"passphrase", "confirm"}
	agentValueWords = []string{"deny", "ask"}
)

// policy is what is in force after both files are merged (SPEC §6).
type policy struct {
	MCP           bool
	IdleLock      time.Duration
	PromptTimeout time.Duration // of reads
	// CommandTimeout is of MCP and commands: five minutes, or promptTimeout
	// where a file sets that (SPEC §5).
	CommandTimeout time.Duration
	GrantMax       time.Duration
	MaxMounts      int
	Approval       string // one of approvalWords
	Sensitive      []string
	AgentValues    string            // one of agentValueWords
	Rules          []rule            // the administrator's, then the person's
	from           map[string]string // of each member: "policy.json:3" or "default"
	settings       []policyLine
}

// policyFile is one file as parsed; from has only what the file says.
type policyFile struct{ policy }

// rule is one entry of "rules". An empty field matches everything.
type rule struct {
	actions        []action
	environment    string // with * and ?
	program, under string // absolute and cleaned
	agent          *bool
	decision       string
	where          string // "policy.json:7"
	text           string // as the file has it, without its white space
	admin          bool   // from the administrator's file
}

// policyDecoder walks one file token by token, because encoding/json folds the
// case of members and lets the last of two win.
type policyDecoder struct {
	*json.Decoder
	file, home string
	text       []byte
	counted    int64 // up to here newlines are counted in line
	line       int
}

// field is one member that an object may have.
type policyField struct {
	into any         // pointer for encoding/json, or a func() error that reads
	must string      // what the value must be
	good func() bool // looks at the value; nil is fine with every one
}

func wordField(into *string, words []string) policyField {
	return policyField{into, fmt.Sprintf("one of %q", words),
		func() bool { return slices.Contains(words, *into) }}
}

// timeField takes no time under a second: nobody could answer (SPEC §6). [POL-1]
func timeField(into *time.Duration) policyField {
	var text string
	return policyField{&text, `a time of at least one second, such as "30m"`, func() (ok bool) {
		var err error
		*into, err = time.ParseDuration(text)
		return err == nil && *into >= time.Second
	}}
}

// pathField takes no wildcard: it would never match, which for a deny rule is
// worse than an error (SPEC §6). [POL-4]
func pathField(into *string, home string) policyField {
	return policyField{into, "an absolute path or begin with ~/, without * and ?", func() bool {
		if rest, ok := strings.CutPrefix(*into, "~/"); ok {
			*into = path.Join(home, rest)
		}
		*into = path.Clean(*into)
		return path.IsAbs(*into) && !strings.ContainsAny(*into, "*?")
	}}
}

// parsePolicy reads one policy file. file is its name in messages and in the
// rules; a leading ~/ in the rules is home. Everything that is not exactly as
// described is an error with file and line. It implements *Policy* (SPEC §6).
// [POL-2]
func parsePolicy(file string, text []byte, home string) (*policyFile, error) {
	if len(text) > maxPolicyText || !utf8.Valid(text) {
		return nil, fmt.Errorf("%s: malformed policy: over %d bytes, or not UTF-8", file, maxPolicyText)
	}
	// A look at the whole first: it finds text after the object, bounds the
	// depth, and leaves no fault of syntax for the walk to meet.
	if err := json.Unmarshal(text, new(json.RawMessage)); err != nil {
		syntax := new(json.SyntaxError)
		errors.As(err, &syntax)
		line := 1 + bytes.Count(text[:max(syntax.Offset-1, 0)], []byte("\n"))
		return nil, fmt.Errorf("%s:%d: malformed JSON: %v", file, line, err)
	}
	d := &policyDecoder{Decoder: json.NewDecoder(bytes.NewReader(text)), file: file, home: home,
		text: text, line: 1}
	f := &policyFile{policy{from: make(map[string]string)}}
	err := d.object(f.from, map[string]policyField{
		"mcp":           {&f.MCP, "true or false", nil},
		"idleLock":      timeField(&f.IdleLock),
		"promptTimeout": timeField(&f.PromptTimeout),
		"grantMax":      timeField(&f.GrantMax),
		"maxMounts": {&f.MaxMounts, "a whole number, 0 or more",
			func() bool { return f.MaxMounts >= 0 }},
		"approval":    wordField(&f.Approval, approvalWords),
		"agentValues": wordField(&f.AgentValues, agentValueWords),
		"sensitive": {&f.Sensitive, "a list of names of 1 to 256 bytes",
			func() bool { return !slices.ContainsFunc(f.Sensitive, notPattern) }},
		"rules": {into: func() error { return d.rules(&f.Rules) }}})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// where is the line of the last token; none holds a raw newline.
func (d *policyDecoder) where() string {
	offset := d.InputOffset()
	d.line += bytes.Count(d.text[d.counted:offset], []byte("\n"))
	d.counted = offset
	return fmt.Sprintf("%s:%d", d.file, d.line)
}

// object reads one object, each member once and none that is not in fields,
// and notes in from where each stands, and under "" where the object begins
// (SPEC §6). [POL-2]
func (d *policyDecoder) object(from map[string]string, fields map[string]policyField) error {
	if token, _ := d.Token(); token != json.Delim('{') {
		return fmt.Errorf("%s: a policy, and each of its rules, must be an object", d.where())
	}
	from[""] = d.where()
	for d.More() {
		token, _ := d.Token()
		name, _ := token.(string)
		f, known := fields[name]
		if !known {
			return fmt.Errorf("%s: unknown member %.60q", d.where(), name)
		}
		if from[name] != "" {
			return fmt.Errorf("%s: member %q is given twice", d.where(), name)
		}
		from[name] = d.where()
		if err := d.value(name, from[name], f); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// value reads one member into its field, or says what it must be (SPEC §6).
func (d *policyDecoder) value(name, where string, f policyField) error {
	if read, ok := f.into.(func() error); ok {
		return read()
	}
	var raw json.RawMessage
	err := d.Decode(&raw)
	// To encoding/json null is every type.
	if err != nil || string(raw) == "null" || json.Unmarshal(raw, f.into) != nil ||
		f.good != nil && !f.good() {
		return fmt.Errorf("%s: %q must be %s, not %s", where, name, f.must, clean(string(raw), 60))
	}
	return nil
}

// rules reads the list of rules (SPEC §6).
func (d *policyDecoder) rules(into *[]rule) error {
	if token, _ := d.Token(); token != json.Delim('[') {
		return fmt.Errorf(`%s: "rules" must be a list`, d.where())
	}
	for d.More() {
		r, err := d.rule()
		if err != nil {
			return err
		}
		*into = append(*into, r)
	}
	_, err := d.Token()
	return err
}

// rule reads one rule. A rule without a decision is a slip (SPEC §6). [POL-2]
func (d *policyDecoder) rule() (r rule, err error) {
	before, from := d.InputOffset(), make(map[string]string)
	err = d.object(from, map[string]policyField{
		"action": {&r.actions, fmt.Sprintf("a list of some of %q", actions), func() bool {
			unknown := func(a action) bool { return !slices.Contains(actions, a) }
			return len(r.actions) > 0 && !slices.ContainsFunc(r.actions, unknown)
		}},
		"environment": {&r.environment, "a name of 1 to 256 bytes",
			func() bool { return !notPattern(r.environment) }},
		"program":  pathField(&r.program, d.home),
		"under":    pathField(&r.under, d.home),
		"agent":    {&r.agent, "true or false", nil},
		"decision": wordField(&r.decision, decisionWords)})
	if r.where = from[""]; err == nil && r.decision == "" {
		err = fmt.Errorf("%s: a rule without a decision", r.where)
	}
	if err != nil {
		return rule{}, err
	}
	var text bytes.Buffer
	err = json.Compact(&text, bytes.TrimLeft(d.text[before:d.InputOffset()], ", \t\r\n"))
	r.text = text.String()
	return r, err
}

// mergePolicy puts the two files together, of each member the stricter; nil is
// a file that is not there. It implements *Policy* (SPEC §6). [POL-1]
func mergePolicy(admin, person *policyFile) *policy {
	files := []*policyFile{cmp.Or(admin, new(policyFile)), cmp.Or(person, new(policyFile))}
	p := &policy{MCP: true, IdleLock: 30 * time.Minute, PromptTimeout: time.Minute,
		CommandTimeout: 5 * time.Minute, GrantMax: 8 * time.Hour, MaxMounts: 1000,
		Approval: "confirm", AgentValues: "ask", from: make(map[string]string)}
	stricter(p, files, "mcp", func(p *policy) *bool { return &p.MCP },
		func(x, y bool) bool { return y && !x })
	stricter(p, files, "idleLock", func(p *policy) *time.Duration { return &p.IdleLock }, cmp.Less)
	stricter(p, files, "promptTimeout", func(p *policy) *time.Duration { return &p.PromptTimeout },
		cmp.Less)
	stricter(p, files, "grantMax", func(p *policy) *time.Duration { return &p.GrantMax }, cmp.Less)
	stricter(p, files, "maxMounts", func(p *policy) *int { return &p.MaxMounts }, cmp.Less)
	stricter(p, files, "approval", func(p *policy) *string { return &p.Approval },
		inOrder(approvalWords))
	stricter(p, files, "agentValues", func(p *policy) *string { return &p.AgentValues },
		inOrder(agentValueWords))
	if p.from["promptTimeout"] != "default" {
		p.CommandTimeout = p.PromptTimeout
	}
	for i, f := range files {
		if where := f.from["sensitive"]; where != "" {
			p.settings = append(p.settings, policyLine{"sensitive", fmt.Sprintf("%q", f.Sensitive), where})
		}
		p.Sensitive = append(p.Sensitive, f.Sensitive...)
		for _, u := range f.Rules {
			u.admin = i == 0
			p.Rules = append(p.Rules, u)
		}
	}
	return p
}

// stricter sets one member of p to the strictest of what the files state, or
// leaves the default, and notes where it came from; of two alike the first
// (SPEC §6).
func stricter[T any](p *policy, files []*policyFile, name string,
	member func(*policy) *T, less func(x, y T) bool) {
	into, from := member(p), "default"
	for _, f := range files {
		said := *member(&f.policy)
		if where := f.from[name]; where != "" && (from == "default" || less(said, *into)) {
			*into, from = said, where
		}
	}
	p.from[name] = from
	p.settings = append(p.settings, policyLine{name, fmt.Sprint(*into), from})
}

func inOrder(words []string) func(x, y string) bool {
	return func(x, y string) bool { return slices.Index(words, x) < slices.Index(words, y) }
}

// distrusted is the policy without what it allows: for a file that the person
// has not confirmed. [POL-14]
func (p *policy) distrusted() *policy {
	d := *p
	d.Approval = "passphrase"
	d.Rules = slices.DeleteFunc(slices.Clone(p.Rules), func(u rule) bool { return u.decision == "allow" })
	return &d
}

// policyLine is one line of what `keepmum policy` shows.
type policyLine struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	From  string `json:"from"`
}

// describe lists the policy in force and where each part came from, the rules
// in the order in which they are asked (SPEC §6). [POL-12]
func (p *policy) describe() []policyLine {
	lines := slices.Clone(p.settings)
	for _, u := range p.Rules {
		lines = append(lines, policyLine{"rule", u.text, u.where})
	}
	return lines
}

// decision is the answer to one request, and the rule that said so.
type decision struct {
	word string // "allow", "ask" or "deny"
	rule string // "policy.json:7", "grant 3", "no rule", …
	// passphrase says that a yes to this ask costs the passphrase.
	passphrase bool
}

// decide answers one request. It implements *Policy* (SPEC §6) and *Requests,
// prompts, grants* (SPEC §5). [REQ-5]
func decide(p *policy, grants []*grant, r *request, now time.Time) decision {
	for _, g := range grants {
		if g != nil && r != nil && g.covers(r, now) {
			return p.weigh(r, g.rule())
		}
	}
	return p.weigh(r, "")
}

// weigh is decide with the grant found already; remembered names it. A deny
// stands against a grant: a policy is not undone by an earlier yes (SPEC §5).
// [POL-11]
func (p *policy) weigh(r *request, remembered string) decision {
	if p == nil || r == nil || !slices.Contains(actions, r.action) {
		return decision{word: "deny", rule: "not understood"}
	}
	if !p.MCP && (r.action == actConnect || r.via != "command" && r.via != "mount") {
		return decision{word: "deny", rule: "mcp is off (" + p.from["mcp"] + ")"}
	}
	if p.AgentValues != "ask" && len(r.object.fromAgent) > 0 {
		return decision{word: "deny", rule: "agentValues is deny (" + p.from["agentValues"] + ")"}
	}
	if r.action.carriesValues() && r.via == viaMCP { // [RUN-1]
		return decision{word: "deny", rule: "values go to keepmum's own run and export alone"}
	}
	d := p.ruling(r)
	for _, name := range r.object.others { // [RUN-11]
		other := *r
		other.object.environment, other.object.others = name, nil
		if also := p.ruling(&other); inOrder(decisionWords)(also.word, d.word) {
			d = also
		}
	}
	if d.word != "deny" && remembered != "" {
		return decision{word: "allow", rule: remembered}
	}
	d.passphrase = d.word == "ask" && (p.Approval != "confirm" || p.sensitive(r.object))
	return d
}

// ruling is what the rules say: of each file the first that matches, of the
// two words the stricter (SPEC §6). [POL-6]
func (p *policy) ruling(r *request) decision {
	d, o := decision{rule: "no rule"}, r.object
	o.others = nil
	for _, admin := range []bool{true, false} {
		i := slices.IndexFunc(p.Rules, func(u rule) bool { return u.admin == admin && u.matches(r) })
		if i < 0 {
			continue
		}
		u := decision{word: p.Rules[i].decision, rule: p.Rules[i].where}
		// A wildcard was written without this Environment in mind. [POL-10]
		if u.word == "allow" && p.sensitive(o) &&
			(p.Rules[i].environment != o.environment || strings.ContainsAny(o.environment, "*?")) {
			u = decision{word: "ask", rule: u.rule + " (sensitive, so ask)"}
		}
		// Another process may be the one that reads. [GRT-19]
		if u.word == "allow" && r.actor != nil && len(r.actor.shares) > 0 {
			u = decision{word: "ask", rule: u.rule + " (the file is open in two processes, so ask)"}
		}
		if d.word == "" || inOrder(decisionWords)(u.word, d.word) {
			d = u
		}
	}
	d.word = cmp.Or(d.word, "ask")
	return d
}

// matches reports whether the rule speaks of r. What is unknown about the
// actor never lets an allow match, and never lets it slip past another rule
// (SPEC §6). [POL-8]
func (u *rule) matches(r *request) bool {
	actor, strict := cmp.Or(r.actor, new(process)), u.decision != "allow"
	if len(u.actions) > 0 && !slices.Contains(u.actions, r.action) || !u.matchesNames(r.object) {
		return false
	}
	// An allow without "agent" is meant for people and their programs, and who may
	// be an agent's counts as one. [POL-7] [WHO-8]
	agent := actor.agent != agentNo
	if u.agent == nil && !strict && agent || u.agent != nil && *u.agent != agent {
		return false
	}
	alike := actor.exe == "" || pathOf(actor.exe) == u.program // no more is known of it
	if u.program != "" && u.program != actor.exe && !(strict && alike) {
		return false
	}
	where := actor.dir
	if strict {
		where = pathOf(where) // of a folder that was removed, where it was last
	}
	return u.under == "" || isUnder(where, u.under) && (strict || pathOf(where) == where) ||
		strict && !path.IsAbs(where)
}

// matchesNames matches the Environment. A rename is about two names: an allow
// must cover both, another rule either. A request about none has no match
// (SPEC §6). [POL-9]
func (u *rule) matchesNames(o object) bool {
	if u.environment == "" || o.environment == "" {
		return u.environment == ""
	}
	one := matchGlob(u.environment, o.environment)
	other := o.newName != "" && matchGlob(u.environment, o.newName)
	if u.decision == "allow" {
		return one && (other || o.newName == "")
	}
	return one || other
}

// sensitive reports whether a yes about o costs the passphrase (SPEC §5).
func (p *policy) sensitive(o object) bool {
	return slices.ContainsFunc(p.Sensitive, func(s string) bool {
		return o.environment != "" && matchGlob(s, o.environment) ||
			o.newName != "" && matchGlob(s, o.newName) ||
			slices.ContainsFunc(o.others, func(name string) bool { return matchGlob(s, name) })
	})
}

// isUnder reports whether dir is root or below it, by path components.
func isUnder(dir, root string) bool {
	return strings.HasPrefix(path.Clean(dir)+"/", strings.TrimSuffix(root, "/")+"/")
}

// notPattern holds patterns to a length that always compiles.
func notPattern(s string) bool { return s == "" || len(s) > 256 }

// matchGlob matches the whole name, case-sensitive: * is any text, ? is one
// character, everything else is itself. Not path.Match, to which / and [ are
// special; an Environment's name may hold both (SPEC §6). [POL-4]
func matchGlob(pattern, name string) bool {
	wildcards := strings.NewReplacer(`\*`, `.*`, `\?`, `.`)
	expression := "^(?s:" + wildcards.Replace(regexp.QuoteMeta(pattern)) + ")$"
	return regexp.MustCompile(expression).MatchString(name)
}
