package main

// The helper between us and a program at a terminal: the leader of the session
// that the terminal belongs to, as a shell would be. It starts the program,
// passes signals on, and tells of its stops and its end, one line each.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// ownProgram is the way to this very program, also if another was put in its
// place since it was started.
func ownProgram() (string, error) {
	if _, err := os.Stat("/proc/self/exe"); err == nil {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

// runSession is the helper (SPEC §11.1) [RUN-16].
func runSession(*cli, []string) error {
	if err := harden(); err != nil {
		return err
	}
	taken := takeSignals()
	order, err := io.ReadAll(os.Stdout)
	if err != nil {
		return err
	}
	pid, tty, err := startOrdered(order)
	wipe(order)
	if err != nil {
		var errno syscall.Errno
		errors.As(err, &errno)
		fmt.Printf("error %d\n", int(errno))
		return errSilent
	}
	signal.Ignore(unix.SIGTTOU) // from here on we are not in front
	give := func(group int) { unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, group) }
	give(pid)
	go func() {
		for s := range taken {
			if s == unix.SIGCONT {
				give(pid)
				unix.Kill(-pid, unix.SIGCONT)
			} else {
				unix.Kill(pid, s.(syscall.Signal))
			}
		}
	}()
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(pid, &status, unix.WUNTRACED, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err
		case status.Stopped() && groupInFront(tty) == pid &&
			(status.StopSignal() == unix.SIGTTIN || status.StopSignal() == unix.SIGTTOU):
			unix.Kill(-pid, unix.SIGCONT) // it was quicker than give
		case status.Stopped():
			fmt.Println("stopped")
		default:
			// The end of a session is a hangup for the group in front: ours,
			// not what the program has left running.
			signal.Ignore(unix.SIGHUP)
			give(unix.Getpgrp())
			fmt.Printf("ended %d\n", int(status))
			return nil
		}
	}
}

func groupInFront(tty int) int {
	group, _ := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	return group
}

// startOrdered takes the terminal and starts what startSession has written, in
// a group of its own.
func startOrdered(order []byte) (pid, tty int, err error) {
	var texts []string
	for _, w := range bytes.Split(order, []byte{0}) {
		texts = append(texts, string(w))
	}
	if len(texts) < 4 {
		return 0, 0, unix.EINVAL
	}
	name, program, rest := texts[0], texts[2], texts[4:]
	mask, _ := strconv.Atoi(texts[1])
	n, err := strconv.Atoi(texts[3])
	if err != nil || n < 1 || len(rest) < n {
		return 0, 0, unix.EINVAL
	}
	if tty, err = unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0); err != nil {
		return 0, 0, err
	}
	if err = unix.IoctlSetInt(tty, unix.TIOCSCTTY, 0); err != nil {
		return 0, 0, err
	}
	files := []uintptr{0, uintptr(tty), 2}
	for _, fd := range []int{0, 2} { // the person's terminal is not the program's
		if term.IsTerminal(fd) {
			files[fd] = uintptr(tty)
		}
	}
	unix.Umask(mask)
	pid, err = syscall.ForkExec(program, rest[:n], &syscall.ProcAttr{Env: rest[n:], Files: files,
		Sys: &syscall.SysProcAttr{Setpgid: true}})
	unix.Umask(0o077)
	os.Stdin.Close() // the program's alone
	os.Stderr.Close()
	return pid, tty, err
}
