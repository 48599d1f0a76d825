package main

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// grouped is a program in the group of a command whose output goes to a file:
// it writes there what it catches, until SIGUSR1.
type grouped struct {
	*person
	command int // process id
	file    string
}

func (p *person) group(signal, after string) *grouped {
	p.w.t.Helper()
	g := &grouped{person: p, file: filepath.Join(p.w.project, signal)}
	p.types("keepmum run --env acme -- sh -c 'trap \"echo " + signal + "\" " + signal + "; trap over=1 USR1; " +
		"echo pid $PPID >&2; while ! test $over; do :; done; echo over' >" + signal + after + "\r")
	g.command, _ = strconv.Atoi(strings.Fields(p.sees(`pid \d+\r\n`))[1])
	p.w.t.Cleanup(func() { unix.Kill(-g.command, unix.SIGKILL) }) // its group, with the program
	return g
}

func (g *grouped) gets(s unix.Signal) {
	g.w.t.Helper()
	must(g.w.t, unix.Kill(g.command, s))
}

func (g *grouped) wrote(want string) {
	g.w.t.Helper()
	waitFor(g.w.t, want, func() bool {
		text, err := os.ReadFile(g.file)
		if err == nil && !strings.HasPrefix(want, string(text)) {
			g.w.t.Fatalf("it wrote %q, not %q", text, want)
		}
		return err == nil && string(text) == want
	})
}

// TestRunGroupCaught: the command does not stop by Ctrl-Z when the program does
// not, which gets it once. [RUN-14] [RUN-16]
func TestRunGroupCaught(t *testing.T) {
	t.Parallel()
	w, _ := running(t)
	p := w.shell()
	g := p.group("TSTP", "")
	p.types("\x1a")
	g.wrote("TSTP\n")
	g.gets(unix.SIGUSR1)
	g.wrote("TSTP\nover\n")
	p.sees(`\^Z\s*ready> $`)
}

// TestRunGroupStopped: the command stops with the program, which goes on once,
// be it continued by the shell or by the command alone. [RUN-14] [RUN-16]
func TestRunGroupStopped(t *testing.T) {
	t.Parallel()
	w, _ := running(t)
	p := w.shell()
	g := p.group("CONT", "")
	p.types("\x1a")
	p.sees(`Stopped[\s\S]*ready> $`)
	p.types("fg\r")
	g.wrote("CONT\n")
	g.gets(unix.SIGUSR1)
	g.wrote("CONT\nover\n")
	p.sees(`ready> $`)
	g = p.group("CONT", " &")
	g.gets(unix.SIGTSTP)
	waitFor(t, "the stop", func() bool { return (&process{pid: g.command}).state() == "T" })
	g.gets(unix.SIGCONT)
	g.wrote("CONT\n")
	g.gets(unix.SIGUSR1)
	g.wrote("CONT\nover\n")
}

// TestRunGroupHangup: the end of the terminal is heard of once, and SIGHUP by
// kill also in front. [RUN-14]
func TestRunGroupHangup(t *testing.T) {
	t.Parallel()
	w, _ := running(t)
	taken := make(chan os.Signal, 1) // under nohup it is ignored, and whom we start would ignore it
	signal.Notify(taken, unix.SIGHUP)
	defer signal.Stop(taken)
	p := w.shell()
	g := p.group("HUP", "")
	g.gets(unix.SIGHUP)
	g.wrote("HUP\n")
	must(t, p.cmd.Process.Kill())
	g.wrote("HUP\nHUP\n")
	g.gets(unix.SIGUSR1)
	g.wrote("HUP\nHUP\nover\n")
}

// TestRunGroupHas: what the program has is not sent again; two that come at once
// may look like one to it, so it is seen here. [RUN-14]
func TestRunGroupHas(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	must(t, cmd.Start())
	m := newGroupMember(cmd.Process, nil)
	if m.has(unix.SIGCONT) {
		t.Error("it has run all the time, and SIGCONT counts as sent to it")
	}
	must(t, m.Signal(unix.SIGSTOP))
	<-m.changed
	if m.runs() {
		t.Error("it is stopped, and counts as running")
	}
	must(t, m.Signal(unix.SIGCONT))
	if !m.has(unix.SIGCONT) {
		t.Error("it went on by itself, and SIGCONT is to be sent")
	}
	for _, c := range []struct {
		terminal bool
		ago      time.Duration
		want     bool
	}{{false, 0, false}, {true, 0, true}, {true, time.Hour, false}} {
		m.terminal, m.hangup = c.terminal, time.Now().Add(-c.ago)
		if !hasTerminal() && m.has(unix.SIGHUP) != c.want {
			t.Errorf("SIGHUP, with a terminal %t that was lost %v ago: %t", c.terminal, c.ago, !c.want)
		}
	}
	must(t, m.Kill())
	<-m.ended
	if m.err != nil || m.status.Signal() != unix.SIGKILL {
		t.Errorf("ended with %v, %v", m.status, m.err)
	}
}
