package main

// A program that runs without a terminal of its own: it stays in our process
// group and has our terminal, if there is one, and its output passes through
// us.

import (
	"cmp"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// outlet is one way out of the program: its end, ours, and where it leads to.
type outlet struct {
	theirs, ours *os.File
	to           *os.File
	flow         *flow
}

// newOutlet makes a pipe or, where the way leads to a terminal, another one, so
// that the program sees a terminal. It only carries output. [RUN-17]
func newOutlet(to *os.File, p *patterns) (*outlet, error) {
	s := &outlet{to: to}
	var err error
	if !s.isTerminal() {
		s.ours, s.theirs, err = os.Pipe()
		s.flow = newFlow(s.ours, newMasker(p, to), false)
		return s, err
	}
	if s.ours, s.theirs, err = openPTY(); err != nil {
		return nil, err
	}
	s.flow = newFlow(s.ours, newMasker(p, to), false)
	s.resize()
	// The terminal behind it makes a line end of a line feed, so this one must
	// not.
	if t, err := unix.IoctlGetTermios(int(s.theirs.Fd()), ioctlGetTermios); err == nil {
		t.Oflag &^= unix.OPOST
		unix.IoctlSetTermios(int(s.theirs.Fd()), ioctlSetTermios, t)
	}
	return s, nil
}

func (s *outlet) isTerminal() bool { return term.IsTerminal(int(s.to.Fd())) }

// resize gives a terminal the size of the one behind it.
func (s *outlet) resize() { copySize(s.to, s.ours) }

func copySize(from, to *os.File) {
	if size, err := unix.IoctlGetWinsize(int(from.Fd()), unix.TIOCGWINSZ); err == nil {
		control(to, func(fd int) { unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size) })
	}
}

// control works on a descriptor that has to stay as it is: Fd would make it
// blocking.
func control(f *os.File, do func(fd int)) {
	if conn, err := f.SyscallConn(); err == nil {
		conn.Control(func(fd uintptr) { do(int(fd)) })
	}
}

// carry copies masked output until its end. When nobody takes it any more, nor
// do we, and the program sees that as it would have. [RUN-18]
func (s *outlet) carry() {
	defer s.ours.Close()
	s.flow.carry()
}

// finish waits for the end of the output, or at a terminal for what was written by
// now, since the program has ended.
func (s *outlet) finish(enough <-chan struct{}) error {
	if s.isTerminal() {
		s.flow.drain(enough)
	} else {
		s.flow.finish(enough)
	}
	return s.flow.why()
}

// onStreams runs the program with pipes for its output, and waits for it and
// for the end of what it wrote. Two ways that lead to one place are one, lest
// their lines change places. It implements *Running a program* (SPEC §11.1).
func (j *job) onStreams() (syscall.WaitStatus, error) {
	taken := takeSignals()
	defer signal.Stop(taken)
	out, err := newOutlet(os.Stdout, j.mask)
	if err != nil {
		return 0, err
	}
	streams := []*outlet{out}
	if !sameFile(os.Stdout, os.Stderr) {
		also, err := newOutlet(os.Stderr, j.mask)
		if err != nil {
			return 0, err
		}
		streams = append(streams, also)
	}
	cmd := &exec.Cmd{Path: j.program, Args: j.args, Env: j.env, Stdin: os.Stdin,
		Stdout: out.theirs, Stderr: streams[len(streams)-1].theirs}
	unix.Umask(callersMask)
	err = cmd.Start()
	unix.Umask(0o077)
	for _, s := range streams {
		s.theirs.Close()
	}
	if err != nil {
		return 0, err
	}
	j.forget()
	for _, s := range streams {
		go s.carry()
	}
	status, err := newGroupMember(cmd.Process, streams).watch(taken)
	enough := askedToEnd(taken)
	for _, s := range streams {
		j.lost = cmp.Or(j.lost, s.finish(enough))
	}
	return status, err
}

func sameFile(a, b *os.File) bool {
	one, err := a.Stat()
	two, other := b.Stat()
	return err == nil && other == nil && os.SameFile(one, two)
}

// forget drops the environment, which the program has by now. Its texts stay in
// memory until they are collected; this process is closed to others.
func (j *job) forget() { clear(j.env); j.env = nil }
