package main

// Signals, on their way from who sent them to the program.

import (
	"os"
	"os/signal"
	"slices"

	"golang.org/x/sys/unix"
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
