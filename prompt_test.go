package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// exampleRead is the request of the prompt in SPEC §5.2.
func exampleRead() *request {
	above := func(name string, pid int) ancestor { return ancestor{pid: pid, exe: "/usr/bin/" + name} }
	return &request{number: 2, via: viaMount, action: actRead,
		actor: &process{pid: 18011, exe: "/usr/bin/cat", args: []string{"cat", ".env"}, dir: "/home/you/src/acme",
			agent: agentYes, ancestors: []ancestor{above("dash", 40), above("codex", 30), above("bash", 20),
				above("tmux", 10), above("init", 1)}},
		object: object{environment: "acme-dev", path: "/home/you/src/acme/.env", names: []string{"API_KEY",
			"DATABASE_URL"}}}
}

// prompt renders a request as the keeper does, on 80 columns.
func prompt(r *request, costs bool) string {
	at := time.Date(2026, 11, 23, 17, 42, 33, 0, time.UTC)
	return renderPrompt(r, choicesFor(r, timedGrant), costs, 80, screenRows, "/home/you", at)
}

// TestPromptExample: the prompt in the specification is what is shown. [ASK-3]
// [ASK-4]
func TestPromptExample(t *testing.T) {
	text := prompt(exampleRead(), false)
	var want strings.Builder
	for line := range strings.Lines(text) {
		want.WriteString("    " + strings.TrimRight(line, " \n") + "\n")
	}
	if spec := readDoc(t, "SPEC.md"); !strings.Contains(spec, "\n"+want.String()) {
		t.Errorf("SPEC.md does not hold this prompt:\n%s", want.String())
	}
}

func TestPromptSays(t *testing.T) {
	const values = "VALUES"
	for _, c := range []struct {
		name   string
		change func(*request)
		costs  bool
		has    []string
		lacks  string
	}{
		// [ASK-3]
		{"a claim", func(r *request) { r.claim = "codex 1.0" }, false, []string{"says it is codex 1.0"}, ""},
		{"a program that cannot be read", func(r *request) { r.actor.exe, r.actor.dir = "", "" }, false,
			[]string{"program (cannot be read) (pid 18011)", "directory (cannot be read)"}, ""},
		{"a new name", func(r *request) { r.action, r.object.newName = actRename, "prod" }, false,
			[]string{`to rename "acme-dev" to "prod"`}, ""},
		// [ASK-4]
		{"perhaps an agent", func(r *request) { r.actor.agent = agentUnknown }, false,
			[]string{"cannot be seen", values}, ""},
		{"no agent", func(r *request) { r.actor.agent = agentNo }, false, nil, values},
		{"no read", func(r *request) { r.action = actMount }, false, []string{"AI agent"}, values},
		// [ASK-5]
		{"a value that the agent has seen", func(r *request) {
			r.action, r.object.fromAgent = actAppend, []string{"API_KEY"}
		}, false, []string{"the agent has seen the value of API_KEY"}, ""},
		{"a value is replaced", func(r *request) {
			r.action, r.object.replaced = actAppend, []string{"API_KEY"}
		}, false, []string{"REPLACES the value of API_KEY"}, ""},
		// [ASK-6]
		{"what else it does", func(r *request) { r.object.notes = []string{"ends 2 mounts"} }, false,
			[]string{"note ends 2 mounts"}, ""},
		{"the passphrase", func(*request) {}, true, []string{"a yes costs the passphrase"}, ""},
		// [ASK-7]
		{"text that draws a prompt", func(r *request) {
			r.claim, r.actor.args = "x\n   allow?", []string{"a\x1b[2J"}
			r.object.path, r.object.names = "/a\u202eb", []string{"A\r"}
		}, false, []string{"x<U+000A> allow?", "a<U+001B>[2J", "/a<U+202E>b", "A<U+000D>"}, "\x1b"},
	} {
		r := exampleRead()
		c.change(r)
		raw := prompt(r, c.costs)
		text := strings.Join(strings.Fields(raw), " ") // it wraps
		for _, has := range c.has {
			if !strings.Contains(text, has) {
				t.Errorf("%s: no %q in\n%s", c.name, has, raw)
			}
		}
		if c.lacks != "" && strings.Contains(raw, c.lacks) {
			t.Errorf("%s: %q in\n%s", c.name, c.lacks, raw)
		}
	}
}

func TestChoices(t *testing.T) {
	clients := []action{actConnect, actList, actCreate, actMount, actUnmount}
	for _, c := range []struct {
		name    string
		actions []action
		via     string
		agent   agentState
		exe     string
		empty   []string
		want    string
	}{
		// [GRT-2]
		{"read", []action{actRead}, viaMount, agentNo, "/a", nil, "optu"},
		{"client", clients, viaMCP, agentNo, "/a", nil, "optu"},
		{"command", clients[1:], viaCommand, agentNo, "/a", nil, "otu"},
		{"append", []action{actAppend}, viaMCP, agentNo, "/a", nil, "o"},
		{"append, a value is missing", []action{actAppend}, viaMCP, agentNo, "/a", []string{"A"}, "oe"},
		{"what cannot be taken back", []action{actRename, actRemove, actDelete, actImport}, viaCommand,
			agentNo, "/a", nil, "o"},
		// [GRT-3] [WHO-8]
		{"read by an agent", []action{actRead}, viaMount, agentYes, "/a", nil, "opt"},
		{"read by an agent, perhaps", []action{actRead}, viaMount, agentUnknown, "/a", nil, "opt"},
		{"an agent's command", clients[1:], viaCommand, agentYes, "/a", nil, "ot"},
		// [GRT-4]
		{"a client that hides", clients, viaMCP, agentNo, "", nil, "op"},
	} {
		for _, a := range c.actions {
			got := ""
			for _, choice := range choicesFor(&request{action: a, via: c.via, object: object{empty: c.empty},
				actor: &process{exe: c.exe, agent: c.agent}}, timedGrant) {
				got += string(choice.key)
			}
			if got != c.want+"nv" {
				t.Errorf("%s, %s: offered %q, want %q", c.name, a, got, c.want+"nv")
			}
		}
	}
}

// TestKeys: what is not listed is no answer, and Enter is no. [ASK-10] [GRT-1]
func TestKeys(t *testing.T) {
	r := exampleRead()
	offered := choicesFor(r, timedGrant)
	want := map[byte]string{'o': answerOnce, 'p': answerProcess, 't': answerTimed, 'n': answerNo,
		'v': answerNever, '\r': answerNo, '\n': answerNo, keyEOF: answerNo, 'N': answerNo}
	for key := range 256 {
		if got := wordOf(byte(key), offered); got != want[byte(key)] {
			t.Errorf("key %q is %q, want %q", byte(key), got, want[byte(key)])
		}
	}
	if slices.ContainsFunc(offered, func(c choice) bool { return c.word == answerLocked }) {
		t.Error("an agent is offered trust until lock")
	}
}

// FuzzPrompt: whatever is in a request, its prompt holds allowed characters
// only, and no line is wider than the screen. [ASK-7] [ASK-8]
func FuzzPrompt(f *testing.F) {
	for _, ranges := range hidden {
		f.Add("a"+string(ranges[0][0])+"b", "API_KEY", uint8(3), 40)
	}
	f.Add(strings.Repeat("x", 10240), strings.Repeat("e\u0301\u0302 ", 50), uint8(0), 80)
	f.Add("\x1b]0;title\a", "\x1b[2J\x1b[H> yes", uint8(4), 20)
	f.Add("世界\r\n\tapproved", "\u202egpj.exe", uint8(12), 200)
	f.Fuzz(func(t *testing.T, a, b string, which uint8, width int) {
		r := &request{number: 1, via: viaMCP, claim: a, action: actions[int(which)%len(actions)],
			actor: &process{pid: 7, exe: b, args: []string{a, b}, dir: a, agent: agentYes, tty: b,
				ancestors: []ancestor{{pid: 6, exe: a}, {pid: 5, exe: b}}},
			object: object{environment: a, newName: b, path: a, names: []string{b, a}, fromAgent: []string{a},
				empty: []string{b}, replaced: []string{a}, notes: []string{b}}}
		screen := min(max(width, 40), 120)
		for line := range strings.Lines(renderPrompt(r, choicesFor(r, timedGrant), which%2 == 0, width, 200, a, time.Now())) {
			line = strings.TrimSuffix(line, "\n")
			if columns(line) > screen {
				t.Errorf("%d columns on a screen of %d: %q", columns(line), screen, line)
			}
			for _, c := range line {
				if !allowedInPrompt(c) {
					t.Errorf("%U in %q", c, line)
				}
			}
		}
	})
}
