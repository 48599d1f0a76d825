package main

// A process is identified by its number held through a handle of the system
// (a pidfd), its start time and its executable's inode: a number alone is
// given to somebody else, and a name alone is anybody's. Ancestry may raise
// suspicion and never lowers it: a process of the same user can leave its
// family, so that "no agent" is what was seen, not a proof (SPEC §7.3).

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// agentState says whether an AI agent is among a process's ancestors. The zero
// value is unknown, and unknown counts as agent (SPEC §7.3). [WHO-8]
type agentState int

const (
	agentUnknown agentState = iota
	agentNo
	agentYes
)

const (
	ancestorsMax = 64
	argsMax      = 1024     // of a reader; more cannot be shown [WHO-4]
	argsBytesMax = 64 << 10 // of a reader, likewise
	ancestorArgs = 16       // of an ancestor; the rest is left out
)

// What follows the path of an executable that is not the file of that name: the
// first by the system, the second where the process sees other files than we do.
const (
	deletedFile = " (deleted)"
	anotherFile = " (another file)" // [WHO-9]
)

// pathOf is the path alone, for its name.
func pathOf(exe string) string {
	return strings.TrimSuffix(strings.TrimSuffix(exe, deletedFile), anotherFile)
}

// handles is held while a handle is looked at or given back: its number would be
// another's by then.
var handles sync.RWMutex

// ancestor is one step of a process's parentage.
type ancestor struct {
	pid            int
	parent         int // 0 at the end of what can be seen
	session        int
	start          uint64
	exe            string // "" where it may not be read: another user's process
	exeDev, exeIno uint64
	args           []string
}

// process is who did it (SPEC §7.3). Whoever got it from lookup closes it.
// [WHO-1]
type process struct {
	pid            int
	parent         int
	start          uint64 // clock ticks since boot: with pid, one process instance
	uid            int
	exe            string
	exeDev, exeIno uint64
	exeChanged     int64 // when the file changed last: an inode is used again
	args           []string
	dir            string
	tty            string // "" without a controlling terminal
	session        int
	ancestors      []ancestor // nearest first
	shares         []ancestor // those of them that have the same open file
	agent          agentState
	handle         int // pidfd on Linux, unique id on macOS; 0 is none
}

// same reports why p is no longer the process that was looked up: it has
// ended, or it runs another program or another command line now (SPEC §7.2).
// [DLV-10]
func (p *process) same() error {
	now, err := readProcess(p.pid)
	switch {
	case err != nil:
		return err
	case !p.alive(): // after reading, so that what was read is p's
		return fmt.Errorf("process %d has ended", p.pid)
	case now.start != p.start || now.uid != p.uid:
		return fmt.Errorf("process %d is another one now", p.pid)
	case now.exeDev != p.exeDev || now.exeIno != p.exeIno:
		return fmt.Errorf("process %d runs %q now", p.pid, now.exe)
	case !slices.Equal(now.args, p.args):
		return fmt.Errorf("process %d has another command line now", p.pid)
	}
	return nil
}

// hasAncestor reports whether pid is among the ancestors that were seen.
func (p *process) hasAncestor(pid int) bool {
	return slices.ContainsFunc(p.ancestors, func(a ancestor) bool { return a.pid == pid })
}

// sitting names the session that p belongs to, by its leader's process
// instance: a terminal and what was started in it. A session's number is not
// used again while it lasts.
func (p *process) sitting() string {
	for _, a := range p.chain() {
		if a.pid == p.session {
			return fmt.Sprintf("%d/%d", a.pid, a.start)
		}
	}
	return fmt.Sprintf("%d", p.session)
}

// chain is the process itself and then its ancestors, nearest first.
func (p *process) chain() []ancestor {
	self := ancestor{pid: p.pid, parent: p.parent, session: p.session, start: p.start,
		exe: p.exe, exeDev: p.exeDev, exeIno: p.exeIno, args: p.args}
	return append([]ancestor{self}, p.ancestors...)
}

// agentPrograms are executables that drive a model, by base name.
var agentPrograms = []string{"aider", "amp", "auggie", "claude", "cline", "codex", "copilot",
	"crush", "cursor", "cursor-agent", "droid", "gemini", "goose", "kiro", "kiro-cli",
	"kiro-cli-chat", "opencode", "openhands", "q", "qchat", "qwen", "windsurf"}

// interpreters run a program that is named by their first argument.
var interpreters = []string{"node", "nodejs", "bun", "deno", "python", "python2", "python3"}

// agentOf says whether p runs under an AI agent: yes for a client of the
// keeper or a known program anywhere in the chain, no only for a chain that
// was seen whole and in which nobody was orphaned (SPEC §7.3). What the keeper
// itself has started, such as git, may be anybody's doing. [WHO-6] [WHO-7]
func agentOf(p *process, known func(pid int, start uint64) bool) agentState {
	chain := p.chain()
	for _, a := range chain {
		if known(a.pid, a.start) || a.runsAgent() {
			return agentYes
		}
	}
	if !unbroken(chain) || !settled(chain, p.tty != "") || p.hasAncestor(os.Getpid()) {
		return agentUnknown
	}
	return agentNo
}

// runsAgent reports whether the executable, what it calls itself, or the
// script that it interprets has the name of a known agent. [WHO-6]
func (a *ancestor) runsAgent() bool {
	exe := baseName(a.exe)
	names := []string{exe}
	if len(a.args) > 0 {
		names = append(names, baseName(a.args[0]))
	}
	version := strings.TrimRight(exe, "0123456789.") // python3.12
	if slices.Contains(interpreters, exe) || slices.Contains(interpreters, version) {
		for _, arg := range a.args[min(1, len(a.args)):] {
			if !strings.HasPrefix(arg, "-") && arg != "run" {
				names = append(names, baseName(arg))
				break
			}
		}
	}
	return slices.ContainsFunc(names, func(name string) bool {
		return slices.ContainsFunc(agentPrograms, func(agent string) bool {
			return name == agent || strings.HasPrefix(name, agent+"-") // codex-x86_64-…
		})
	})
}

// baseName is the last element of a path without what systems and languages
// add to it.
func baseName(path string) string {
	name := filepath.Base(pathOf(path))
	for _, suffix := range []string{".js", ".mjs", ".cjs", ".ts", ".py", ".exe"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return strings.ToLower(strings.TrimPrefix(name, "-")) // login shells
}

// unbroken reports whether each element is the parent of the one before it, up
// to the first process that can be seen. A parent that starts after its child
// is a number that was given away.
func unbroken(chain []ancestor) bool {
	for k := 1; k < len(chain); k++ {
		child, parent := chain[k-1], chain[k]
		if child.parent != parent.pid || parent.start > child.start {
			return false
		}
	}
	return chain[len(chain)-1].parent == 0
}

// settled reports whether nobody in the chain was left behind by a parent:
// every session leader is still in its member's own chain, and nobody in the
// process's own session was adopted by pid 1 or from outside, except a session
// leader with a terminal. Somebody who starts a session in an orphan, and
// another one in its child, is not found out: so do tmux and every desktop.
func settled(chain []ancestor, terminal bool) bool {
	last := chain[len(chain)-1]
	for k, a := range chain {
		leads := func(b ancestor) bool { return b.pid == a.session }
		outside := a.session == 0 && last.session == 0
		if !outside && !slices.ContainsFunc(chain[k:], leads) {
			return false
		}
		adopted := a.parent == 1 || a.parent == 0 && a.pid != 1
		if adopted && a.session == chain[0].session && !(leads(a) && terminal) {
			return false
		}
	}
	return true
}

// oneLine returns the newest of the processes that hold one open file, if the
// others are all its ancestors: a shell and its child share the descriptor,
// strangers do not (SPEC §7.2). [DLV-6]
func oneLine(pids []int) (*process, error) {
	for _, pid := range pids {
		p, err := lookup(pid)
		if err != nil {
			return nil, err
		}
		strange := func(other int) bool { return other != pid && !p.hasAncestor(other) }
		if !slices.ContainsFunc(pids, strange) {
			return p, nil
		}
		p.close()
	}
	return nil, errStrangers
}

// errStrangers tells that processes of no one line hold the same open file.
var errStrangers = errors.New("processes that are not related hold the pipe")
