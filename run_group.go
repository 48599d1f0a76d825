package main

// A program in our own process group. What a terminal sends to the whole group
// it has already, and what is sent to us alone it gets from us. The system does
// not tell us which of the two it was, so that is seen from where the terminal
// is and from what the program does.

import (
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// groupMember is that program.
type groupMember struct {
	*os.Process
	streams  []*outlet
	changed  chan struct{} // it has stopped, or goes on
	wentOn   time.Time     // when it was last seen to do so
	ended    chan struct{}
	status   syscall.WaitStatus // then
	err      error
	terminal bool      // there was one when we started
	hangup   time.Time // when that was seen to be gone
	halted   bool      // when it was last looked at
}

func newGroupMember(p *os.Process, streams []*outlet) *groupMember {
	m := &groupMember{Process: p, streams: streams, changed: make(chan struct{}, 16), ended: make(chan struct{}),
		terminal: hasTerminal()}
	go m.follow()
	return m
}

// follow sees the program stop, go on and end. Not every system says right
// which of the first two it was.
func (m *groupMember) follow() {
	defer close(m.ended)
	for {
		_, err := syscall.Wait4(m.Pid, &m.status, unix.WUNTRACED|unix.WCONTINUED, nil)
		switch {
		case err == unix.EINTR:
		case err != nil || m.status.Exited() || m.status.Signaled():
			m.err = err
			return
		default:
			m.changed <- struct{}{}
		}
	}
}

// watch follows the program and what is asked of us until its end. When it
// stops, so do we, as the shell knows us alone; when it does not, as it has
// caught the signal or ignored it, nor do we.
func (m *groupMember) watch(taken chan os.Signal) (syscall.WaitStatus, error) {
	for {
		select {
		case <-m.ended:
			return m.status, m.err
		case <-m.changed:
			if m.runs() {
				m.wentOn = time.Now()
			} else {
				stopHere(unix.Getpid())
			}
		case s := <-taken:
			if !isClosed(m.ended) && (m.has(s) || m.Signal(s) != os.ErrProcessDone) {
				continue
			}
			<-m.ended
			select {
			case taken <- s: // it is for us
			default: // there are others
			}
		}
	}
}

// runs looks whether the program is stopped.
func (m *groupMember) runs() bool {
	m.halted = (&process{pid: m.Pid}).state() == "T"
	return !m.halted
}

// has reports whether the program has got a signal of ours by itself.
func (m *groupMember) has(s os.Signal) bool {
	switch s {
	case unix.SIGWINCH:
		for _, s := range m.streams {
			s.resize()
		}
		// A terminal that we have put before the program has its size only now.
		return !slices.ContainsFunc(m.streams, (*outlet).isTerminal) && inFront()
	case unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP:
		return inFront()
	case unix.SIGHUP:
		return m.hungUp()
	case unix.SIGCONT:
		return m.goesOn() || !m.hangup.IsZero() && time.Since(m.hangup) < lastLimit
	}
	return false
}

// hungUp reports whether the terminal that there was is gone: its group has
// heard of that. A shell tells its jobs just before it goes.
func (m *groupMember) hungUp() bool {
	if !m.terminal {
		return false
	}
	for end := time.Now().Add(frontPause); hasTerminal(); time.Sleep(frontPause / 10) {
		if time.Now().After(end) {
			return false
		}
	}
	if m.hangup.IsZero() {
		m.hangup = time.Now()
	}
	return time.Since(m.hangup) < lastLimit // later ones come from somebody else
}

// goesOn reports whether the program went on when we did, as when a shell
// continues a job.
func (m *groupMember) goesOn() bool {
	halted := m.halted
	for enough := time.After(frontPause); time.Since(m.wentOn) > frontPause; {
		select {
		case <-m.changed:
			if m.runs() {
				m.wentOn = time.Now()
			}
		case <-m.ended:
			return true
		case <-enough:
			return halted && m.runs() // of which the system may tell late
		}
	}
	return true
}

// hasTerminal reports whether our session has one.
func hasTerminal() bool {
	tty, err := os.Open("/dev/tty")
	if err == nil {
		tty.Close()
	}
	return err == nil
}
