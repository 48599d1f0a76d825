package main

// A program that runs without a terminal of its own: it stays in our process
// group and has our terminal, if there is one, and its output passes through
// us.

import (
	"cmp"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// passedOn are the signals that reach the program when they are sent to us.
// [RUN-14]
var passedOn = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1,
	unix.SIGUSR2, unix.SIGWINCH, unix.SIGTSTP, unix.SIGCONT}

// startIgnored are those that were ignored when we started, as under nohup: the
// program ignores them too. Go forgets that of a signal it was once asked for,
// and has never known it of SIGTSTP; of those that it takes for itself before we
// run nothing is left to see, here or elsewhere. That SIGCONT is ignored changes
// nothing, and we need it.
var startIgnored = ignoredAtStart()

func ignoredAtStart() []os.Signal {
	bits := ignoredNow()
	return slices.DeleteFunc(slices.Clone(passedOn), func(s os.Signal) bool {
		return s == unix.SIGCONT || !signal.Ignored(s) && bits>>(s.(unix.Signal)-1)&1 == 0
	})
}

// heeded returns signals without those that were ignored when we started.
func heeded(signals ...os.Signal) []os.Signal {
	return slices.DeleteFunc(signals, func(s os.Signal) bool { return slices.Contains(startIgnored, s) })
}

// takeSignals delivers the signals to pass on.
func takeSignals() chan os.Signal {
	taken := make(chan os.Signal, 64)
	signal.Notify(taken, heeded(slices.Clone(passedOn)...)...)
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) // a reader that goes is an error of Write
	return taken
}

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
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	for {
		select {
		case <-ended:
			enough := askedToEnd(taken)
			for _, s := range streams {
				j.lost = cmp.Or(j.lost, s.finish(enough))
			}
			return cmd.ProcessState.Sys().(syscall.WaitStatus), nil
		case s := <-taken:
			if passOn(s, cmd.Process, streams) == os.ErrProcessDone {
				<-ended
				select {
				case taken <- s: // it is for us
				default: // there are others
				}
			}
		}
	}
}

// passOn gives a signal to the program. What a terminal sends to its whole
// group, the program in that group has already.
func passOn(s os.Signal, to *os.Process, streams []*outlet) error {
	switch s {
	case unix.SIGWINCH:
		for _, s := range streams {
			s.resize()
		}
	case unix.SIGINT, unix.SIGQUIT:
		if inFront() {
			return nil
		}
	}
	err := to.Signal(s)
	if s == unix.SIGTSTP {
		stopHere(unix.Getpid())
		to.Signal(unix.SIGCONT)
	}
	return err
}

// stopHere stops us, or all of our group for 0, until somebody continues us. It
// is SIGSTOP, as the runtime never gives SIGTSTP back to the system; which
// would not stop a group that no shell looks after, and neither do we.
func stopHere(whom int) {
	if orphaned() {
		return
	}
	again := make(chan os.Signal, 1)
	signal.Notify(again, unix.SIGCONT)
	defer signal.Stop(again)
	unix.Kill(whom, unix.SIGSTOP)
	<-again
}

// orphaned reports whether no process of our session outside of our group could
// continue us: all that started us is in the group, or in another session.
func orphaned() bool {
	self, err := lookup(os.Getpid())
	if err != nil {
		return true
	}
	defer self.close()
	for _, a := range self.ancestors {
		group, err := unix.Getpgid(a.pid)
		if err != nil || a.session != self.session {
			return true
		}
		if group != unix.Getpgrp() {
			return false
		}
	}
	return true
}

// inFront reports whether we are the terminal's foreground job.
func inFront() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	return foreground(tty)
}

// foreground reports whether a terminal is ours to use: we are in front, or it
// is no terminal of our session, which knows no front.
func foreground(tty *os.File) (yes bool) {
	control(tty, func(fd int) {
		group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
		yes = err != nil || group == unix.Getpgrp()
	})
	return yes
}

func sameFile(a, b *os.File) bool {
	one, err := a.Stat()
	two, other := b.Stat()
	return err == nil && other == nil && os.SameFile(one, two)
}

// forget drops the environment, which the program has by now. Its texts stay in
// memory until they are collected; this process is closed to others.
func (j *job) forget() { clear(j.env); j.env = nil }
