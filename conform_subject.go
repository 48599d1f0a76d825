package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

//go:embed conform/subjects/*.json
var subjectFiles embed.FS

// stateless is the revision without a handshake; all before have one.
const stateless = "2026-07-28"

// subject tells how an implementation is started, asked and answered, and what
// it lacks. docs/conformance.md describes each member.
type subject struct {
	Name, Version, About string
	Revisions            []string
	Env                  map[string]string
	Keeper               *subjectKeeper
	Approve              *subjectApprove
	Seed                 *subjectSeed
	Tools                map[string]*subjectTool // by their names in SPEC §9.2; null: there is none
	Policy               string                  // path of the policy file (SPEC §6)
	Audit                string                  // path of the log (SPEC §10)
	Commands             map[string][]string
	Has                  []string          // what nothing else here shows
	Lacks                map[string]string // needs that are not met, with the reason
	Leaves               []string          // patterns of files that may stay in the home
	Screen               []string          // patterns of what a terminal may get besides text
}

// subjectKeeper is the process that asks. Without it the server asks by itself.
type subjectKeeper struct {
	Command  []string
	Terminal bool         // it needs a terminal of its own
	First    []dialogStep // the first start, which makes the vault
	Again    []dialogStep
	Changed  *changedPolicy
	Ready    string
	Lock     []string // a command
	LockKeys string   // or keys
	Store    string   // what to copy for each case, relative to the home
	Manual   string   // or what to tell the person who runs the suite
}

// dialogStep is something to wait for, and what to type then.
type dialogStep struct{ See, Type string }

// changedPolicy is the question about a policy that is another than at the last
// unlock, after the passphrase (SPEC §6).
type changedPolicy struct {
	Question string // pattern of a whole question
	Yes, No  string // keys
}

// subjectApprove is how questions are read and answered.
type subjectApprove struct {
	Kind       string // terminal, command or manual
	Question   string // pattern of a whole question, with a group named action
	Answers    map[string]string
	Offers     map[string]string // pattern in the question, where an answer is not always offered
	Agent      string            // pattern in a question that tells of an agent
	Delay      string            // from the question to the key
	Withdrawn  string            // pattern
	Value      string            // pattern of the prompt for a value
	Passphrase string            // pattern of the prompt for the passphrase
	Next       []string          // command: waits for a question and prints it
	Answer     []string          // command: gives ${answer}
	Pending    []string          // command: prints the questions that wait
}

// subjectSeed is how values get in before a case.
type subjectSeed struct {
	Set, SetPlain []string // commands that take the value on standard input
	Asks          bool     // it is a request that is approved
	Tools         bool     // or create_environment and append_variables
}

// subjectTool maps the names of a tool, of its arguments and of its results.
type subjectTool struct {
	Name               string
	Arguments, Results map[string]string
}

// loadSubject reads a subject file, one of ours by its name.
func loadSubject(name string) (*subject, error) {
	raw, err := subjectFiles.ReadFile("conform/subjects/" + name + ".json")
	if err != nil {
		raw, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("no subject file %q; there is %s", name, strings.Join(subjectNames(), ", "))
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	s := &subject{}
	if err := d.Decode(s); err != nil {
		return nil, faultf("subject file %q: %v", name, err)
	}
	if s.Name == "" || len(s.Revisions) == 0 {
		return nil, faultf("subject file %q: name and revisions must be there", name)
	}
	slices.Sort(s.Revisions)
	return s, s.patterns()
}

func subjectNames() (names []string) {
	files, _ := fs.Glob(subjectFiles, "conform/subjects/*.json")
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".json"))
	}
	return names
}

// patterns checks all regular expressions, so that later ones cannot fail.
func (s *subject) patterns() error {
	all := append(slices.Clone(s.Leaves), s.Screen...)
	if k := s.Keeper; k != nil {
		all = append(all, k.Ready)
		for _, step := range append(slices.Clone(k.First), k.Again...) {
			all = append(all, step.See)
		}
		if k.Changed != nil {
			all = append(all, k.Changed.Question)
		}
	}
	if a := s.Approve; a != nil {
		all = append(all, a.Question, a.Withdrawn, a.Value, a.Passphrase, a.Agent)
		for _, p := range a.Offers {
			all = append(all, p)
		}
	}
	for _, p := range all {
		if _, err := regexp.Compile(p); err != nil {
			return faultf("subject %s: %v", s.Name, err)
		}
	}
	return nil
}

// runs returns the revisions in which a case runs, or why it does not.
func (s *subject) runs(c *conformCase) (revisions []string, skip string) {
	for _, need := range c.needs {
		if why := s.lacks(need); why != "" {
			return nil, why
		}
	}
	var legacy []string
	for _, r := range s.Revisions {
		if r < stateless {
			legacy = append(legacy, r)
		}
	}
	for _, word := range c.revisions {
		switch {
		case word == "all":
			revisions = append(revisions, s.Revisions...)
		case word == "once" && len(legacy) > 0:
			revisions = append(revisions, legacy[len(legacy)-1])
		case word == "once":
			revisions = append(revisions, stateless)
		case word == "each":
			if len(legacy) > 0 {
				revisions = append(revisions, legacy[len(legacy)-1])
			}
			if slices.Contains(s.Revisions, stateless) {
				revisions = append(revisions, stateless)
			}
		case slices.Contains(s.Revisions, word):
			revisions = append(revisions, word)
		}
	}
	if len(revisions) == 0 {
		return nil, "speaks none of " + strings.Join(c.revisions, ", ")
	}
	return revisions, ""
}

// lacks returns why a need is not met, or nothing.
func (s *subject) lacks(need string) string {
	if why, ok := s.Lacks[need]; ok {
		return why
	}
	kind, name, _ := strings.Cut(need, ":")
	k, a := s.Keeper, s.Approve
	met := false
	switch kind {
	case "keeper":
		met = k != nil
	case "lock":
		met = k != nil && (len(k.Lock) > 0 || k.LockKeys != "" || k.Manual != "")
	case "process":
		met = k != nil && k.Manual == ""
	case "terminal":
		met = k != nil && k.Terminal
	case "restart":
		met = k != nil && k.Store != ""
	case "changed":
		met = k != nil && k.Terminal && k.Changed != nil
	case "approve":
		met = a != nil
	case "question":
		met = a != nil && a.Kind != "manual"
	case "answer":
		met = a != nil && (a.Answers[name] != "" || a.Kind == "manual")
	case "withdrawn":
		met = a != nil && a.Withdrawn != ""
	case "passphrase":
		met = a != nil && a.Passphrase != ""
	case "seed":
		met = s.Seed != nil && s.Seed.Set != nil
	case "policy":
		met = s.Policy != ""
	case "audit":
		met = s.Audit != ""
	case "command":
		met = len(s.Commands[name]) > 0
	case "tool":
		t, listed := s.Tools[name]
		met = !listed || t != nil
	default:
		met = slices.Contains(s.Has, need)
	}
	if met {
		return ""
	}
	return "lacks " + need
}

// tool returns the subject's names for a tool.
func (s *subject) tool(name string) *subjectTool {
	t := s.Tools[name]
	if t == nil {
		t = &subjectTool{}
	}
	if t.Name == "" {
		return &subjectTool{Name: name, Arguments: t.Arguments, Results: t.Results}
	}
	return t
}

// renamed returns an object with its members renamed, from the specification's
// names to the subject's or back.
func renamed(object map[string]json.RawMessage, names map[string]string, back bool) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(object))
	for name, value := range object {
		for ours, theirs := range names {
			if back {
				ours, theirs = theirs, ours
			}
			if name == ours {
				name = theirs
				break
			}
		}
		out[name] = value
	}
	return out
}

// manual reports whether a person has to do what the suite tells.
func (s *subject) manual() bool {
	return s.Keeper != nil && s.Keeper.Manual != "" || s.Approve != nil && s.Approve.Kind == "manual"
}
