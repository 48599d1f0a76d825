//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	numbers  = 700 // of processes in the namespace
	reserved = 300 // of them, which the system gives out once only
)

// isFirst is the first process of its namespace. It starts the keeper at the
// terminal, and a reader -kind; then it does what each line says:
//
//	read    has the reader read once, and prints the text
//	around  ends the reader, makes processes until its number comes again, gives it
//	        to the same program with the same arguments, and has that one read
//
// It speaks by descriptors 3 and 4, since the terminal is the keeper's. Without a
// reader it only tells whether all of this can be done here.
func (a *attack) isFirst() {
	if os.Getpid() != 1 {
		cmd := exec.Command(os.Args[0], os.Args[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = a.terminal, a.terminal, a.terminal
		if a.kind != "" {
			cmd.ExtraFiles = []*os.File{os.Stdin, os.Stdout}
		} else {
			cmd.Stdout = os.Stdout
		}
		a.must(apart(cmd, unix.CLONE_NEWNS|unix.CLONE_NEWPID).Run())
		os.Exit(0)
	}
	a.must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	a.must(unix.Mount("proc", "/proc", "proc", 0, ""))
	a.must(fewNumbers())
	if a.kind == "" {
		a.got([]byte("yes"))
		return
	}
	keeper := exec.Command(a.program[0], a.program[1:]...)
	keeper.Stdin, keeper.Stdout, keeper.Stderr = a.terminal, a.terminal, a.terminal
	a.must(keeper.Start())
	for fork() < reserved { // none of these would come again
	}
	a.follows(a.startReader())
	keeper.Wait()
}

// fewNumbers makes the namespace small, where it has a limit of its own: before
// Linux 6.14 the limit is everybody's.
func fewNumbers() error {
	var system unix.Utsname
	unix.Uname(&system)
	var major, minor int
	fmt.Sscanf(string(system.Release[:]), "%d.%d", &major, &minor)
	if major < 6 || major == 6 && minor < 14 {
		return errors.New("a namespace has no limit of numbers of its own before Linux 6.14")
	}
	return os.WriteFile("/proc/sys/kernel/pid_max", fmt.Append(nil, numbers), 0)
}

// follows does what the lines say.
func (a *attack) follows(who *follower) {
	for line := range a.lines {
		if line == "around" {
			who.end()
			if who = a.another(who.cmd.Process.Pid); who == nil {
				a.failed("the number did not come again")
				return
			}
		}
		text := who.read()
		a.got([]byte(text))
		json.NewEncoder(os.Stdout).Encode(text)
	}
}

// follower is a victim that is told what to do.
type follower struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (a *attack) startReader() *follower {
	f := &follower{cmd: exec.Command(a.kind, "victim", "-path", a.path)}
	var err error
	f.in, err = f.cmd.StdinPipe()
	a.must(err)
	out, err := f.cmd.StdoutPipe()
	a.must(err)
	f.out = bufio.NewReader(out)
	a.must(f.cmd.Start())
	return f
}

// read has it read and returns the text.
func (f *follower) read() (text string) {
	fmt.Fprintln(f.in, "read")
	line, _ := f.out.ReadString('\n')
	json.NewDecoder(strings.NewReader(line)).Decode(&text)
	return text
}

func (f *follower) end() {
	f.cmd.Process.Kill()
	f.cmd.Wait()
}

// another makes processes until one has the number, and returns it. Threads of
// the keeper take numbers too, so it may need more than one round, and a thread
// that stays may have the number before.
func (a *attack) another(number int) *follower {
	before, last := number-1, 0
	for a.more() {
		now := fork()
		if now == number {
			before = last
		}
		if last = now; now != before {
			continue
		}
		who := a.startReader()
		if last = who.cmd.Process.Pid; last == number {
			a.opened()
			return who
		}
		who.end()
	}
	return nil
}

// fork makes a process that has nothing to run and ends, and returns the number
// that was given out last.
func fork() (last int) {
	syscall.ForkExec("/nothing", nil, nil)
	load, _ := os.ReadFile("/proc/loadavg") // 0.1 0.2 0.3 1/234 5678
	_, number, _ := strings.Cut(string(load), "/")
	fmt.Sscanf(number, "%d %d", new(int), &last)
	return last
}
