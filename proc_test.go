package main

import (
	"os"
	"testing"
)

// personChain is a shell in a terminal and what it started; each test breaks it.
func personChain() *process {
	return &process{pid: 300, parent: 200, session: 200, start: 30, exe: "/usr/bin/cat", tty: "/dev/pts/1",
		args: []string{"cat", ".env"}, ancestors: []ancestor{
			{pid: 200, parent: 100, session: 200, start: 20, exe: "/usr/bin/zsh", args: []string{"-zsh"}},
			{pid: 100, parent: 1, session: 100, start: 10, exe: "/usr/bin/tmux", args: []string{"tmux"}},
			{pid: 1, parent: 0, session: 1, start: 1, args: []string{"/sbin/init"}},
		}}
}

// [WHO-6] [WHO-7]
func TestAgentOf(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(p *process)
		want   agentState
	}{
		{"a personChain's shell", func(p *process) {}, agentNo},
		{"itself an agent", func(p *process) { p.exe = "/opt/claude" }, agentYes},
		{"agent above", func(p *process) { p.ancestors[1].exe = "/usr/local/bin/codex" }, agentYes},
		{"deleted agent", func(p *process) { p.ancestors[1].exe = "/opt/codex (deleted)" }, agentYes},
		{"agent in another view of the files", func(p *process) { p.ancestors[1].exe = "/opt/codex (another file)" }, agentYes},
		{"agent's script", func(p *process) {
			p.ancestors[0].exe, p.ancestors[0].args = "/usr/bin/node", []string{"node", "--x", "/a/gemini.js"}
		}, agentYes},
		{"agent's module", func(p *process) {
			p.ancestors[0].exe = "/usr/bin/python3.12"
			p.ancestors[0].args = []string{"python3", "-m", "aider"}
		}, agentYes},
		{"interpreter alone", func(p *process) {
			p.ancestors[0].exe, p.ancestors[0].args = "/usr/bin/node", []string{"node"}
		}, agentNo},
		{"agent's name as an argument", func(p *process) { p.args = []string{"cat", "codex"} }, agentNo},
		{"agent's name as own title", func(p *process) {
			p.ancestors[0].exe, p.ancestors[0].args = "/usr/bin/node", []string{"claude"}
		}, agentYes},
		{"known client", func(p *process) { p.ancestors[0].pid, p.parent, p.session = 4242, 4242, 4242 }, agentYes},
		{"number of a known client, another start", func(p *process) {
			p.ancestors[0].pid, p.parent, p.session, p.ancestors[0].session = 4242, 4242, 4242, 4242
			p.ancestors[0].start = 21
		}, agentNo},
		{"nobody above", func(p *process) { p.ancestors = nil }, agentUnknown},
		{"chain ends early", func(p *process) { p.ancestors = p.ancestors[:2] }, agentUnknown},
		{"a step is missing", func(p *process) { p.ancestors = p.ancestors[1:] }, agentUnknown},
		{"parent younger than its child", func(p *process) { p.ancestors[0].start = 31 }, agentUnknown},
		{"adopted by pid 1", func(p *process) {
			p.parent, p.session, p.ancestors = 1, 300, p.ancestors[2:]
			p.tty = ""
		}, agentUnknown},
		{"session leader with a terminal under pid 1", func(p *process) {
			p.parent, p.session, p.ancestors = 1, 300, p.ancestors[2:]
		}, agentNo},
		{"adopted, session left behind", func(p *process) {
			p.parent, p.ancestors = 1, p.ancestors[2:]
		}, agentUnknown},
		{"from outside, no terminal", func(p *process) {
			p.parent, p.session, p.ancestors, p.tty = 0, 300, nil, ""
		}, agentUnknown},
		{"from outside with a terminal", func(p *process) {
			p.parent, p.session, p.ancestors = 0, 300, nil
		}, agentNo},
		{"child of an orphan", func(p *process) {
			p.ancestors[0].parent, p.tty = 1, ""
			p.ancestors = []ancestor{p.ancestors[0], p.ancestors[2]}
		}, agentUnknown},
		{"an ancestor's session left behind", func(p *process) { p.ancestors[1].session = 77 }, agentUnknown},
		{"session from outside all along", func(p *process) {
			p.ancestors[1].session, p.ancestors[2].session = 0, 0
		}, agentNo},
		{"started by the keeper itself", func(p *process) {
			p.ancestors[0].pid, p.parent, p.session, p.ancestors[0].session = os.Getpid(), os.Getpid(), os.Getpid(), os.Getpid()
		}, agentUnknown},
		{"session from outside half way", func(p *process) { p.ancestors[1].session = 0 }, agentUnknown},
	} {
		p := personChain()
		c.change(p)
		known := func(pid int, start uint64) bool { return pid == 4242 && start == 20 }
		if got := agentOf(p, known); got != c.want {
			t.Errorf("%s: agentOf = %v, want %v", c.name, got, c.want)
		}
	}
}
