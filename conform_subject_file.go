package main

// Reading a subject file. It is written by hand, and a name that is misspelt
// would leave cases out and say nothing: so all names in it have to be known.

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed conform/subjects/*.json
var subjectFiles embed.FS

// Names that a subject file may use.
var (
	subjectRevisions = append(slices.Clone(legacy), stateless)
	subjectKinds     = []string{"terminal", "command", "manual"}
	subjectAnswers   = []string{"once", "process", "timed", "until-locked", "no", "never",
		"values", "enter", "end-of-input", "interrupt", "wrong"}
	subjectVariables = []string{"server", "home", "project", "dir", "pass", "revision"}
)

// personAnswers are the first of subjectAnswers: those that are no keys.
const personAnswers = 6

// loadSubject reads a subject file, one of ours by its name.
func loadSubject(name string) (*subject, error) {
	raw, err := subjectFiles.ReadFile("conform/subjects/" + name + ".json")
	if err != nil {
		raw, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("no subject file %q; there is %s", name, strings.Join(subjectNames(), ", "))
	}
	s, err := parseSubject(raw)
	if err != nil {
		return nil, faultf("subject file %q: %v", name, err)
	}
	return s, nil
}

func subjectNames() (names []string) {
	files, _ := fs.Glob(subjectFiles, "conform/subjects/*.json")
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".json"))
	}
	return names
}

// parseSubject reads the text of a subject file. encoding/json takes a member in
// any case and the last of two, so the form is held first.
func parseSubject(raw []byte) (*subject, error) {
	var syntax *json.SyntaxError
	if err := json.Unmarshal(raw, new(any)); errors.As(err, &syntax) {
		before := raw[:min(int(syntax.Offset), len(raw))]
		return nil, fmt.Errorf("line %d: %v", 1+bytes.Count(before, []byte("\n")), syntax)
	}
	value, err := decodeExact(raw)
	if err != nil {
		return nil, err
	}
	s := &subject{}
	if err := hasForm("", value, reflect.TypeOf(*s)); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, err
	}
	if s.Name == "" || len(s.Revisions) == 0 {
		return nil, errors.New("name and revisions must be there")
	}
	slices.Sort(s.Revisions)
	if all := len(s.Revisions); len(slices.Compact(slices.Clone(s.Revisions))) < all {
		return nil, errors.New("a revision is there twice")
	}
	return s, s.patterns()
}

// formNames are the kinds of values, as people call them.
var formNames = map[reflect.Kind]string{reflect.Struct: "an object", reflect.Map: "an object",
	reflect.Slice: "a list", reflect.String: "a text", reflect.Bool: "true or false"}

// hasForm holds a value to the type that it is decoded into. null is a value
// only where a member may be missing.
func hasForm(at string, value any, t reflect.Type) error {
	if t.Kind() == reflect.Pointer {
		if value == nil {
			return nil
		}
		t = t.Elem()
	}
	switch v := value.(type) {
	case map[string]any:
		if t.Kind() == reflect.Struct || t.Kind() == reflect.Map {
			return hasMembers(at, v, t)
		}
	case []any:
		if t.Kind() == reflect.Slice {
			for i, item := range v {
				if err := hasForm(fmt.Sprintf("%s[%d]", at, i), item, t.Elem()); err != nil {
					return err
				}
			}
			return nil
		}
	case string:
		if t.Kind() == reflect.String {
			return nil
		}
	case bool:
		if t.Kind() == reflect.Bool {
			return nil
		}
	}
	return fmt.Errorf("%s: want %s", cmp.Or(at, "the file"), formNames[t.Kind()])
}

// hasMembers holds an object to its type.
func hasMembers(at string, object map[string]any, t reflect.Type) error {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		below := strings.TrimPrefix(at+"."+name, ".")
		if t.Kind() == reflect.Map {
			if err := hasForm(below, object[name], t.Elem()); err != nil {
				return err
			}
			continue
		}
		var names []string
		var member reflect.Type
		for _, f := range reflect.VisibleFields(t) {
			names = append(names, memberName(f))
			if memberName(f) == name {
				member = f.Type
			}
		}
		if member == nil {
			return unknownName("member", below, names)
		}
		if err := hasForm(below, object[name], member); err != nil {
			return err
		}
	}
	return nil
}

// memberName is the member of the file for a field.
func memberName(f reflect.StructField) string { return strings.ToLower(f.Name[:1]) + f.Name[1:] }

// unknownName says which names there are, if they are few.
func unknownName(what, name string, known []string) error {
	if len(known) > 30 {
		return fmt.Errorf("unknown %s %q: keepmum conform --list --json shows all", what, name)
	}
	known = slices.Sorted(slices.Values(known))
	return fmt.Errorf("unknown %s %q; known are %s", what, name, strings.Join(known, ", "))
}

// allKnown wants every name to be known.
func allKnown(what string, names, known []string) error {
	for _, name := range names {
		if !slices.Contains(known, name) {
			return unknownName(what, name, known)
		}
	}
	return nil
}

// patterns checks all regular expressions, so that later ones cannot fail.
func (s *subject) patterns() error {
	all := map[string][]string{"leaves": s.Leaves, "screen": s.Screen}
	if k := s.Keeper; k != nil {
		all["keeper.ready"] = []string{k.Ready}
		for _, step := range append(slices.Clone(k.First), k.Again...) {
			all["keeper.first, keeper.again"] = append(all["keeper.first, keeper.again"], step.See)
		}
		if k.Changed != nil {
			all["keeper.changed.question"] = []string{k.Changed.Question}
		}
	}
	if a := s.Approve; a != nil {
		all["approve"] = []string{a.Question, a.Withdrawn, a.Value, a.Passphrase, a.Agent}
		all["approve.offers"] = slices.Collect(maps.Values(a.Offers))
	}
	for _, at := range slices.Sorted(maps.Keys(all)) {
		for _, p := range all[at] {
			if _, err := regexp.Compile(p); err != nil {
				return fmt.Errorf("%s: %v", at, err)
			}
		}
	}
	return nil
}

// check holds the names in the file to what the cases, the specification and the
// command line of the server know.
func (s *subject) check(cases []*conformCase, server []string) error {
	var needs, commands []string
	for _, c := range cases {
		for _, need := range c.needs {
			needs = append(needs, need)
			if command, ok := strings.CutPrefix(need, "command:"); ok {
				commands = append(commands, command)
			}
		}
	}
	for _, answer := range subjectAnswers {
		needs = append(needs, "answer:"+answer)
	}
	slices.Sort(needs)
	needs = slices.Compact(needs)
	slices.Sort(commands)
	return errors.Join(allKnown("revision", s.Revisions, subjectRevisions),
		allKnown("command", slices.Sorted(maps.Keys(s.Commands)), slices.Compact(commands)),
		allKnown("need in has", s.Has, needs),
		allKnown("need in lacks", slices.Sorted(maps.Keys(s.Lacks)), needs),
		s.checkTools(), s.checkWays(), s.checkApprove(), s.checkVariables(server))
}

// checkTools holds the map of tools to the tools of SPEC §9.2.
func (s *subject) checkTools() error {
	var names []string
	for _, t := range tools {
		names = append(names, t.name)
	}
	of := func(fields []field) (names []string) {
		for _, f := range fields {
			names = append(names, f.name)
		}
		return names
	}
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(s.Tools)) {
		if err := allKnown("tool", []string{name}, names); err != nil {
			return err
		}
		if s.Tools[name] == nil {
			continue
		}
		theirs := s.tool(name)
		if first, twice := seen[theirs.Name]; twice {
			return fmt.Errorf("tools.%s and tools.%s have one name", first, name)
		}
		seen[theirs.Name] = name
		t := toolNamed(name)
		if err := errors.Join(
			allKnown("argument of "+name, slices.Sorted(maps.Keys(theirs.Arguments)), of(t.in)),
			allKnown("result of "+name, slices.Sorted(maps.Keys(theirs.Results)), of(t.out))); err != nil {
			return err
		}
	}
	return nil
}

// checkWays holds keeper and seed to one way each.
func (s *subject) checkWays() error {
	k, seed := s.Keeper, s.Seed
	switch {
	case k != nil && (len(k.Command) > 0) == (k.Manual != ""):
		return errors.New("keeper needs one of command and manual")
	case k != nil && len(k.Command) > 0 && len(k.Lock) == 0 && k.LockKeys == "":
		return errors.New("keeper.command needs lock or lockKeys, to end it")
	case seed != nil && seed.Tools == (len(seed.Set) > 0):
		return errors.New("seed needs one of tools and set")
	case seed != nil && (len(seed.Set) > 0) != (len(seed.SetPlain) > 0):
		return errors.New("seed needs setPlain with set")
	}
	return nil
}

// checkApprove holds the way in which questions are answered to what it needs.
func (s *subject) checkApprove() error {
	a := s.Approve
	if a == nil {
		return nil
	}
	if _, err := time.ParseDuration(cmp.Or(a.Delay, "0")); err != nil {
		return fmt.Errorf("approve.delay %q: want a duration such as 330ms", a.Delay)
	}
	switch {
	case !slices.Contains(subjectKinds, a.Kind):
		return unknownName("approve.kind", a.Kind, subjectKinds)
	case a.Kind != "manual" && a.Question == "":
		return errors.New("approve.question must be there")
	case a.Kind == "terminal" && (s.Keeper == nil || !s.Keeper.Terminal):
		return errors.New(`approve.kind "terminal" needs keeper.terminal`)
	case a.Kind == "command" && (len(a.Next) == 0 || len(a.Answer) == 0):
		return errors.New(`approve.kind "command" needs next and answer`)
	}
	return errors.Join(
		allKnown("answer in approve.answers", slices.Sorted(maps.Keys(a.Answers)), subjectAnswers),
		allKnown("answer in approve.offers", slices.Sorted(maps.Keys(a.Offers)), subjectAnswers))
}

// checkVariables looks at every text in which variables are replaced.
func (s *subject) checkVariables(server []string) error {
	known := slices.Clone(subjectVariables)
	for i := range server {
		known = append(known, "server."+strconv.Itoa(i))
	}
	var faults []error
	look := func(at string, more []string, texts ...string) {
		for _, text := range texts {
			for _, m := range caseVariable().FindAllStringSubmatch(text, -1) {
				if all := append(slices.Clone(known), more...); !slices.Contains(all, m[1]) {
					faults = append(faults, unknownName("variable in "+at, m[1], all))
				}
			}
		}
	}
	look("env", nil, slices.Collect(maps.Values(s.Env))...)
	look("policy, audit", nil, s.Policy, s.Audit)
	for _, name := range slices.Sorted(maps.Keys(s.Commands)) {
		look("commands."+name, nil, s.Commands[name]...)
	}
	if k := s.Keeper; k != nil {
		look("keeper", nil, append(slices.Clone(k.Command), k.Lock...)...)
		for _, step := range append(slices.Clone(k.First), k.Again...) {
			look("keeper", nil, step.Type)
		}
	}
	if a := s.Approve; a != nil {
		look("approve", nil, append(slices.Clone(a.Next), a.Pending...)...)
		look("approve.answer", []string{"answer"}, a.Answer...)
	}
	if s.Seed != nil {
		look("seed", []string{"env", "name"}, append(slices.Clone(s.Seed.Set), s.Seed.SetPlain...)...)
	}
	return errors.Join(faults...)
}
