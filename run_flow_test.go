package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// gated is an end that takes nothing until it is opened.
type gated struct {
	open chan struct{}
	got  bytes.Buffer
}

func (g *gated) Write(text []byte) (int, error) {
	<-g.open
	return g.got.Write(text)
}

// TestRunTerminalStill: all that the program wrote arrives at a terminal that
// stands still for longer than any limit, and somebody may end that. [RUN-18]
func TestRunTerminalStill(t *testing.T) {
	master, slave, err := openPTY()
	must(t, err)
	defer master.Close()
	defer slave.Close() // as what was left running does
	g := &gated{open: make(chan struct{})}
	f := newFlow(master, newMasker(newPatterns(nil), g), true)
	go f.carry()
	want := strings.Repeat("x", 3000)
	_, err = io.WriteString(slave, want)
	must(t, err)
	drains := func(enough chan struct{}) chan bool {
		drained := make(chan bool)
		go func() { f.drain(enough); close(drained) }()
		return drained
	}
	enough := make(chan struct{})
	first := drains(enough)
	close(enough)
	<-first
	second := drains(nil)
	select {
	case <-second:
		t.Error("it did not wait")
	case <-time.After(2 * lastLimit):
	}
	close(g.open)
	if <-second; g.got.String() != want {
		t.Errorf("%d bytes of %d arrived", g.got.Len(), len(want))
	}
}

// TestRunDrainEnds: what goes on writing is not waited for. [RUN-16]
func TestRunDrainEnds(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	go io.Copy(w, endless{})
	f := newFlow(r, newMasker(newPatterns(nil), io.Discard), false)
	go f.carry()
	f.drain(nil)
}

type endless struct{}

func (endless) Read(text []byte) (int, error) { return len(text), nil }

// TestRunLeftHolding: when the program has ended, a signal ends the command,
// with the program's status, though what it left running holds the output; at a
// terminal nothing is needed. [RUN-14] [RUN-17]
func TestRunLeftHolding(t *testing.T) {
	w, _ := running(t)
	const script = `trap '' INT TERM HUP QUIT; sleep 60 & echo $! >left; echo $$; exit 5`
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		cmd := w.command("run", "--env", "acme", "--", "sh", "-c", script)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		var pid int
		fmt.Fscan(out, &pid)
		waitFor(t, "the program's end", func() bool { return unix.Kill(pid, 0) != nil })
		must(t, cmd.Process.Signal(s))
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 5 {
			t.Errorf("%v: ended with %v", s, cmd.ProcessState)
		}
		endLeft(t, w)
	}
	sh := exec.Command("sh", "-c", `exec "$0" run --env acme -- sh -c "$1" 2>err`, w.command().Path, script)
	sh.Env, sh.Dir = w.env, w.project
	p := w.seat(sh)
	if code := p.ends(); code != 5 || !p.cooked() {
		t.Errorf("at a terminal: %d", code)
	}
	endLeft(t, w)
}

func endLeft(t *testing.T, w *world) {
	var left int
	text, err := os.ReadFile(filepath.Join(w.project, "left"))
	must(t, err)
	fmt.Sscan(string(text), &left)
	unix.Kill(left, unix.SIGKILL)
}
