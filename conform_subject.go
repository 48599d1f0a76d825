package main

import (
	"slices"
	"strings"
)

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

// runs returns the revisions in which a case runs, or why it does not.
func (s *subject) runs(c *conformCase) (revisions []string, skip string) {
	if why := s.lacksAny(c.needs); why != "" {
		return nil, why
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
		met = a != nil && a.gives(name) && (name != "values" || a.Value != "" && k != nil && k.Terminal)
	case "withdrawn":
		met = a != nil && a.Withdrawn != "" && k != nil && k.Manual == ""
	case "passphrase":
		met = a != nil && a.Passphrase != "" && k != nil && k.Terminal
	case "number":
		met = a != nil && strings.Contains(a.Question, "(?P<number>")
	case "seeded":
		return s.lacksSeeds()
	case "tools":
		return s.lacksTools()
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

// gives reports whether an answer can be given. A person can be told any that
// is no key, unless the file says which there are.
func (a *subjectApprove) gives(answer string) bool {
	if a.Kind == "manual" && len(a.Answers) == 0 {
		return slices.Contains(subjectAnswers[:personAnswers], answer)
	}
	return a.Answers[answer] != ""
}

// lacksSeeds returns why the values that every case finds cannot get in.
func (s *subject) lacksSeeds() string {
	if s.Seed == nil {
		return "lacks seed"
	}
	needs := []string{"approve", "answer:once", "tool:authenticate", "tool:list_environments"}
	if s.Seed.Tools {
		needs = append(needs, "tool:create_environment", "tool:append_variables")
	}
	return s.lacksAny(needs)
}

// lacksTools returns which of the tools is not there.
func (s *subject) lacksTools() string {
	var needs []string
	for _, t := range tools {
		needs = append(needs, "tool:"+t.name)
	}
	return s.lacksAny(needs)
}

func (s *subject) lacksAny(needs []string) string {
	for _, need := range needs {
		if why := s.lacks(need); why != "" {
			return why
		}
	}
	return ""
}

// manual reports whether a person has to do what the suite tells.
func (s *subject) manual() bool {
	return s.Keeper != nil && s.Keeper.Manual != "" || s.Approve != nil && s.Approve.Kind == "manual"
}
