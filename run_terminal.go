package main

// A program that runs at a terminal gets one of its own, whose other end is
// ours. Four things are between it and the person: the person's terminal, raw
// while we are in front; we, who carry keys and masked output; a helper, which
// leads the new session (run_session.go); the program. Without the helper the
// program's group would be an orphan, which Ctrl-Z does not stop.

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

const frontPause = 100 * time.Millisecond // between two looks, in the background

// seat is the person's terminal, and the program's.
type seat struct {
	tty, master *os.File
	mu          sync.Mutex  // held while the terminal changes hands
	state       *term.State // as it was; nil before we took it
	raw         bool        // it is as we want it
	over        bool        // we are done with it
	flow        *flow
}

// onTerminal runs the program in a terminal of its own. Its standard input is
// ours, and its standard error goes its own way, if they were no terminals. It
// implements *Running a program* (SPEC §11.1). [RUN-16]
func (j *job) onTerminal(tty *os.File) (syscall.WaitStatus, error) {
	master, slave, err := openPTY()
	if err != nil {
		return 0, fmt.Errorf("%v: --no-masking needs none", err)
	}
	defer master.Close()
	d := &seat{tty: tty, master: master, flow: newFlow(master, newMasker(j.mask, os.Stdout), true)}
	copySize(tty, master)
	front := foreground(tty) // else it has the settings of a shell's line editor
	control(tty, func(fd int) {
		if t, err := unix.IoctlGetTermios(fd, ioctlGetTermios); err == nil && front {
			unix.IoctlSetTermios(int(slave.Fd()), ioctlSetTermios, t)
		}
	})
	var aside *outlet
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		if aside, err = newOutlet(os.Stderr, j.mask); err != nil {
			return 0, err
		}
	}
	taken := takeSignals()
	defer signal.Stop(taken)
	h, err := startSession(j, slave.Name(), aside)
	if err != nil {
		slave.Close()
		return 0, err
	}
	j.forget()
	if aside != nil {
		go aside.carry()
	}
	go d.flow.carry()
	go d.feed()
	status, err := d.watch(h, taken, slave)
	defer d.leave()
	d.keysEnd()
	enough := askedToEnd(taken)
	if aside != nil { // it may be held open for ever, and the terminal is not left for that
		aside.flow.drain(enough)
		j.lost = aside.flow.why()
	}
	d.flow.drain(enough)
	return status, err
}

// leader is the helper.
type leader struct {
	cmd  *exec.Cmd
	said chan string // a line for each change of the program; closed at its end
}

// startSession starts the helper and tells it by a socket what to run: nothing
// of it is in the helper's own arguments or environment [KPR-13].
func startSession(j *job, tty string, aside *outlet) (*leader, error) {
	exe, err := ownProgram()
	if err != nil {
		return nil, err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	h := &leader{cmd: exec.Command(exe, "run-session"), said: make(chan string, 16)}
	h.cmd.Stdin, h.cmd.Stdout, h.cmd.Stderr = os.Stdin, theirs, os.Stderr
	h.cmd.Env = append([]string{"LC_ALL=C"}, testOnlyEnv...)
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if aside != nil {
		h.cmd.Stderr = aside.theirs
		defer aside.theirs.Close()
	}
	err = h.cmd.Start()
	theirs.Close() // so that a helper that ends does not leave us writing
	if err != nil {
		return nil, err
	}
	head := []string{tty, strconv.Itoa(callersMask), j.program, strconv.Itoa(len(j.args))}
	text := []byte(strings.Join(slices.Concat(head, j.args, j.env), "\x00"))
	defer wipe(text)
	if _, err = ours.Write(text); err == nil {
		err = ours.CloseWrite()
	}
	if err != nil {
		h.cmd.Process.Kill()
		h.cmd.Wait()
		return nil, err
	}
	go func() {
		for lines := bufio.NewScanner(ours); lines.Scan(); {
			h.said <- lines.Text()
		}
		close(h.said)
		ours.Close()
	}()
	return h, nil
}

// socketPair returns a connection, and its other end for another process.
func socketPair() (*net.UnixConn, *os.File, error) {
	syscall.ForkLock.RLock()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(pair[0])
		unix.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, err
	}
	ours := os.NewFile(uintptr(pair[0]), "helper")
	defer ours.Close()
	theirs := os.NewFile(uintptr(pair[1]), "helper")
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

// watch follows the program and what is asked of us until its end. slave is
// kept open until the program has the terminal: before that there is no end to
// read.
func (d *seat) watch(h *leader, taken chan os.Signal, slave *os.File) (
	status syscall.WaitStatus, err error) {
	defer h.cmd.Wait()
	defer slave.Close()
	err = fmt.Errorf("the helper of this program was ended")
	for {
		select {
		case line, more := <-h.said:
			word, number, _ := strings.Cut(line, " ")
			n, _ := strconv.Atoi(number)
			switch {
			case !more:
				return status, err
			case word == "error":
				err = syscall.Errno(n)
			case word == "stopped":
				d.stop()
				d.front()
				h.cmd.Process.Signal(unix.SIGCONT)
			case word == "ended":
				status, err = syscall.WaitStatus(n), nil
			}
		case s := <-taken:
			if s == unix.SIGWINCH {
				copySize(d.tty, d.master) // the system tells the program
				continue
			}
			if s == unix.SIGCONT {
				d.again()
			}
			h.cmd.Process.Signal(s)
		}
	}
}

// front takes the terminal, raw, if we are its foreground job, and says so.
func (d *seat) front() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	front := !d.over && foreground(d.tty)
	if front && !d.raw {
		var before *term.State
		control(d.tty, func(fd int) { before, _ = term.MakeRaw(fd) })
		if d.state == nil {
			d.state = before
		}
		copySize(d.tty, d.master)
	}
	d.raw = front
	return front
}

// keysEnd lets the keys that send signals do so again: the program that they were
// for has ended.
func (d *seat) keysEnd() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.raw || !foreground(d.tty) {
		return
	}
	control(d.tty, func(fd int) {
		if t, err := unix.IoctlGetTermios(fd, ioctlGetTermios); err == nil {
			t.Lflag |= unix.ISIG
			unix.IoctlSetTermios(fd, ioctlSetTermios, t)
		}
	})
}

// leave makes the terminal what it was, for good.
func (d *seat) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.restore()
	d.over = true
}

func (d *seat) restore() {
	if d.state != nil && foreground(d.tty) {
		control(d.tty, func(fd int) { term.Restore(fd, d.state) })
	}
	d.state, d.raw = nil, false
}

// stop lets the shell have the terminal, as the program has stopped.
func (d *seat) stop() {
	d.flow.settle()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.restore()
	stopHere(0)
}

// again takes the terminal once more: who continued us may have changed it.
func (d *seat) again() {
	d.mu.Lock()
	d.raw = false
	d.mu.Unlock()
	d.front()
}

// feed carries keys to the program. In the background it must not even try to
// read: the system would stop us.
func (d *seat) feed() {
	keys := make([]byte, 4096)
	for {
		if !d.front() {
			time.Sleep(frontPause)
			continue
		}
		if !readable(d.tty, frontPause) || !d.front() {
			continue
		}
		n, err := d.tty.Read(keys)
		if n > 0 {
			_, err = d.master.Write(keys[:n])
			clear(keys[:n])
		}
		if err != nil {
			return
		}
	}
}
