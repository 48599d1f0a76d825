//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// isVictim does what each line of its input says:
//
//	read    reads the mount once and prints the text, as JSON
//	open    opens it and keeps it open
//	become  runs PROGRAM in its own place, which has what is open as descriptor 3
func (a *attack) isVictim() {
	held := -1
	for line := range a.lines {
		a.Tries++
		switch line {
		case "read":
			if fd, ok := a.open(a.path, unix.O_RDONLY); ok {
				text := a.slurp(fd, a.limit)
				unix.Close(fd)
				a.got(text)
				json.NewEncoder(os.Stdout).Encode(string(text))
			}
		case "open":
			held, _ = a.open(a.path, unix.O_RDONLY)
		case "become":
			if held >= 0 {
				unix.Dup2(held, 3) // without the flag that closes it
			}
			a.must(unix.Exec(a.program[0], a.program, os.Environ()))
		}
	}
}

// inherits reads what it was left open.
func (a *attack) inherits() {
	a.Tries++
	a.opened()
	a.got(a.slurp(3, a.limit))
}

// isAgent is a client of the bridge, if there is one to start, and once it was let in
// known as an agent however it is called. Then it starts a reader in one of these ways, and
// ends with the reader's report in place of its own:
//
//	child       as its child
//	session     in a session of its own
//	orphan      forked twice
//	daemon      forked twice, in a session of its own
//	adopted     forked twice, while it adopts orphans itself
//	nohup       by nohup, in the background of a shell that ends
//	named       after it has given itself another name
//	titled      with another first argument
//	copied      by a program of another name that is the same file's copy
//	becomes     in its own place
//	two         in a session of its own below one of an orphan's own
func (a *attack) isAgent() {
	if a.bridge != "" {
		a.connects()
	}
	read, write, err := os.Pipe()
	a.must(err)
	self, err := os.Executable()
	a.must(err)
	launch := append([]string{filepath.Join(filepath.Dir(self), "attack"), "launch", "-kind", a.kind, "--"}, a.program...)
	cmd := exec.Command(a.program[0], a.program[1:]...)
	switch a.kind {
	case "session":
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	case "orphan", "daemon", "two":
		cmd = exec.Command(launch[0], launch[1:]...)
	case "adopted":
		a.must(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		cmd = exec.Command(launch[0], launch[1:]...)
	case "nohup":
		cmd = exec.Command("sh", append([]string{"-c", `nohup "$@" </dev/null 2>/dev/null &`, "sh"}, a.program...)...)
	case "named":
		a.must(os.WriteFile("/proc/self/comm", []byte("bash"), 0))
	case "titled":
		cmd.Args[0] = "-bash"
	case "copied":
		copied := filepath.Join(filepath.Dir(a.path), "bash")
		text, err := os.ReadFile(self)
		a.must(err)
		a.must(os.WriteFile(copied, text, 0o700))
		cmd = exec.Command(copied, launch[1:]...)
	case "becomes":
		a.must(unix.Exec(a.program[0], a.program, os.Environ()))
	}
	cmd.Stdout, cmd.Stderr = write, os.Stderr
	a.must(cmd.Start())
	write.Close()
	io.Copy(os.Stdout, read) // until everybody has ended who can write
	os.Exit(0)
}

// connects asks the bridge to let it in, and waits for the answer.
func (a *attack) connects() {
	cmd := exec.Command(a.bridge, "mcp")
	in, err := cmd.StdinPipe()
	a.must(err)
	out, err := cmd.StdoutPipe()
	a.must(err)
	a.must(cmd.Start())
	fmt.Fprintln(in, initialize("an agent"))
	fmt.Fprintln(in, `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"authenticate","arguments":{}}}`)
	answers := bufio.NewReader(out)
	for range 2 {
		if _, err := answers.ReadBytes('\n'); err != nil {
			a.must(err)
		}
	}
}

// launches starts a program that it does not wait for. With -kind adopts it waits,
// and adopts who is left behind, as the first process of a desktop's session does.
// With -kind left it is the program, once the process -n that started it has ended.
func (a *attack) launches() {
	if a.kind == "left" {
		for os.Getppid() == a.n {
			time.Sleep(time.Millisecond)
		}
		a.must(unix.Exec(a.program[0], a.program, os.Environ()))
	}
	if a.kind == "adopts" {
		a.must(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
	}
	cmd := exec.Command(a.program[0], a.program[1:]...)
	left := []string{"launch", "-kind", "left", "-n", fmt.Sprint(os.Getpid()), "--"}
	switch a.kind {
	case "orphan", "daemon":
		cmd = exec.Command(os.Args[0], append(left, a.program...)...)
	case "two":
		left = append(left, os.Args[0], "launch", "-kind", "second", "--")
		cmd = exec.Command(os.Args[0], append(left, a.program...)...)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if slices.Contains([]string{"daemon", "two", "second"}, a.kind) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	}
	a.must(cmd.Start())
	if a.kind == "second" || a.kind == "copied" || a.kind == "adopts" {
		cmd.Wait()
	}
	os.Exit(0)
}

// covers starts PROGRAM in a view of the files of its own, in which the file of
// that name is the one at -path.
func (a *attack) covers() {
	if a.kind == "within" {
		a.must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		a.must(unix.Mount(a.path, a.program[0], "", unix.MS_BIND, ""))
		a.must(unix.Exec(a.program[0], a.program, os.Environ()))
	}
	cmd := exec.Command(os.Args[0], append([]string{"cover", "-kind", "within", "-path", a.path, "--"}, a.program...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	a.must(apart(cmd, unix.CLONE_NEWNS).Run())
	os.Exit(0)
}

// apart makes a process root in namespaces of its own, for which nobody needs a
// right.
func apart(cmd *exec.Cmd, namespaces uintptr) *exec.Cmd {
	one := func(id int) []syscall.SysProcIDMap { return []syscall.SysProcIDMap{{HostID: id, Size: 1}} }
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | namespaces,
		UidMappings: one(os.Getuid()), GidMappings: one(os.Getgid()), Pdeathsig: unix.SIGKILL}
	return cmd
}
