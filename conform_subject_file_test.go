package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// goodSubject has a text for each fault of the tests to replace.
const goodSubject = `{
  "name": "mine", "revisions": ["2025-06-18"], "env": {"A": "${home}/a"},
  "keeper": {"command": ["${server}", "keep"], "terminal": true, "ready": "ready", "lockKeys": "q",
    "first": [{"see": "pass", "type": "${pass}\r"}]},
  "approve": {"kind": "terminal", "question": "(?P<action>[a-z]+)", "answers": {"once": "o"},
    "offers": {"once": "o"}, "delay": "3ms"},
  "seed": {"set": ["${server.1}", "${env}", "${name}"], "setPlain": ["x"], "asks": true},
  "tools": {"create_environment": {"name": "make", "arguments": {"environmentName": "label"}},
    "import_env_file": null, "list_variables": {"results": {"variables": "all"}}},
  "policy": "${home}/p", "commands": {"verify": ["${server}"]}, "has": ["keepmum-home"],
  "lacks": {"answer:never": "no"}, "leaves": ["^a$"]
}`

// TestSubjectFile: a subject file has no name that nobody knows.
func TestSubjectFile(t *testing.T) {
	cases, err := loadCases()
	must(t, err)
	read := func(text string) error {
		s, err := parseSubject([]byte(text))
		if err != nil {
			return err
		}
		return s.check(cases, []string{"serve", "x.py"})
	}
	must(t, read(goodSubject))
	for _, tt := range []struct{ old, new, want string }{
		{`"approve"`, `"aprove"`, `unknown member "aprove"; known are about, approve`},
		{`"terminal": true`, `"Terminal": true`, `unknown member "keeper.Terminal"`},
		{`"env"`, `"name": "x", "env"`, `member "name" is there twice`},
		{`"leaves"`, "\n\"leaves\" ,", "line 12: invalid character"},
		{`"leaves": ["^a$"]` + "\n}", `"leaves": ["^a$"]}` + "\n\n{}", "line 13: invalid character '{' after"},
		{`["2025-06-18"]`, `"2025-06-18"`, "revisions: want a list"},
		{`true,`, `"yes",`, "keeper.terminal: want true or false"},
		{`"3ms"`, `3`, "approve.delay: want a text"},
		{`["x"]`, `[7]`, "seed.setPlain[0]: want a text"},
		{`{"once": "o"},`, `null,`, "approve.answers: want an object"},
		{`"3ms"`, `"3"`, `approve.delay "3": want a duration`},
		{`2025-06-18`, `2025-06-19`, `unknown revision "2025-06-19"`},
		{`["2025-06-18"]`, `["2025-06-18", "2025-06-18"]`, "a revision is there twice"},
		{`["2025-06-18"]`, `[]`, "name and revisions"},
		{`"kind": "terminal"`, `"kind": "window"`, `unknown approve.kind "window"; known are command,`},
		{`"kind": "terminal"`, `"kind": "command"`, "needs next and answer"},
		{`"terminal": true`, `"terminal": false`, "needs keeper.terminal"},
		{`"question": "(?P<action>[a-z]+)"`, `"question": ""`, "approve.question must be there"},
		{`"ready": "ready"`, `"ready": "("`, "keeper.ready: error parsing"},
		{`"answers": {"once"`, `"answers": {"onec"`, `unknown answer in approve.answers "onec"`},
		{`"offers": {"once"`, `"offers": {"onec"`, `unknown answer in approve.offers "onec"`},
		{`"create_environment"`, `"make_environment"`, `unknown tool "make_environment"`},
		{`"environmentName"`, `"environmentname"`, `unknown argument of create_environment "environmentname"`},
		{`"variables"`, `"values"`, `unknown result of list_variables "values"`},
		{`"results"`, `"name": "make", "results"`, "have one name"},
		{`"verify"`, `"verfy"`, `unknown command "verfy"`},
		{`"keepmum-home"`, `"socket"`, `unknown need in has "socket"`},
		{`"answer:never"`, `"answers:never"`, `unknown need in lacks "answers:never"`},
		{`"${server}", "keep"`, `"${sever}", "keep"`, `unknown variable in keeper "sever"`},
		{`${home}/p`, `${policy}`, `unknown variable in policy, audit "policy"`},
		{`${home}/a`, `${HOME}/a`, `unknown variable in env "HOME"`},
		{`${pass}\r`, `${passphrase}\r`, `unknown variable in keeper "passphrase"`},
		{`${server.1}`, `${server.2}`, `unknown variable in seed "server.2"`},
		{`["${server}"]`, `["${name}"]`, `unknown variable in commands.verify "name"`},
		{`"setPlain": ["x"], `, ``, "seed needs setPlain"},
		{`"set": ["${server.1}", "${env}", "${name}"], "setPlain": ["x"]`, `"tools": false`, "one of tools and set"},
		{`"ready": "ready"`, `"manual": "start it"`, "keeper needs one of"},
		{`"lockKeys": "q",`, ``, "keeper.command needs lock"},
	} {
		text := strings.Replace(goodSubject, tt.old, tt.new, 1)
		if text == goodSubject {
			t.Fatalf("%s: nothing replaced", tt.old)
		}
		if err := read(text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s for %s: %v, want %q", tt.new, tt.old, err, tt.want)
		}
	}
}

// TestOwnSubjects: our own files are right, with the servers that they are for.
func TestOwnSubjects(t *testing.T) {
	cases, err := loadCases()
	must(t, err)
	names := subjectNames()
	if len(names) < 2 {
		t.Fatalf("found the subjects %q", names)
	}
	for _, name := range names {
		s, err := loadSubject(name)
		must(t, err)
		if err := s.check(cases, []string{"python3", "pocket.py", "serve"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSubjectLacks: what a subject file leaves out is why cases are skipped, and
// no error.
func TestSubjectLacks(t *testing.T) {
	cases, err := loadCases()
	must(t, err)
	for _, tt := range []struct {
		change func(*subject)
		want   string // the reason of some case
		steps  string // how no step of a case that runs begins
	}{
		{func(s *subject) { s.Seed = nil }, "lacks seed", "unlock, begin, seed"},
		{func(s *subject) { s.Approve = nil }, "lacks approve", "unlock, connect, ask, answer, mount, question"},
		{func(s *subject) { delete(s.Approve.Answers, "once") }, "lacks answer:once", "unlock, connect, mount"},
		{func(s *subject) { s.Keeper = nil }, "lacks keeper", "unlock, begin, kill, signal, keys, screen"},
		{func(s *subject) { s.Commands = nil }, "lacks command:list", "tool, start"},
		{func(s *subject) { s.Tools = map[string]*subjectTool{"authenticate": nil} }, "lacks tool:authenticate", "unlock, connect"},
		{func(s *subject) { s.Keeper = &subjectKeeper{Manual: "unlock it"} }, "lacks terminal", "begin, keys, screen, kill, signal, withdrawn, password, unlock refused"},
		{func(s *subject) { s.Approve.Kind = "manual" }, "lacks question", "question, offered, unasked"},
		{func(s *subject) { s.Approve = &subjectApprove{Kind: "manual"} }, "lacks answer:enter", "password"},
		{func(s *subject) { s.Approve.Question = "." }, "lacks number", ""},
	} {
		s, err := loadSubject("keepmum")
		must(t, err)
		tt.change(s)
		reasons := map[string]int{}
		for _, c := range cases {
			_, why := s.runs(c)
			reasons[why]++
			for _, step := range c.steps {
				begins := func(with string) bool { return strings.HasPrefix(step.String()+" ", with+" ") }
				if why == "" && tt.steps != "" && slices.ContainsFunc(strings.Split(tt.steps, ", "), begins) {
					t.Errorf("%s: %s runs with %q", tt.want, c.id, step)
				}
			}
		}
		if reasons[tt.want] == 0 || reasons[""] == 0 {
			t.Errorf("want %q, have %v", tt.want, slices.Sorted(maps.Keys(reasons)))
		}
	}
}
