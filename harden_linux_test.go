package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestEveryProcessIsLimited: no core file and no file for others, in a keeper,
// its child, a bridge and a command that waits. [KPR-9]
func TestEveryProcessIsLimited(t *testing.T) {
	w := newWorld(t)
	p := w.unlock()
	c := w.client()
	waiting := w.command("list")
	must(t, waiting.Start())
	p.asked("list")
	children := childrenOf(t, p.cmd.Process.Pid)
	if len(children) != 1 {
		t.Fatalf("the keeper has the children %v", children)
	}
	for _, pid := range append(children, p.cmd.Process.Pid, c.cmd.Process.Pid, waiting.Process.Pid) {
		status, limits := procText(t, pid, "status"), procText(t, pid, "limits")
		if !strings.Contains(status, "\nUmask:\t0077\n") ||
			!regexp.MustCompile(`(?m)^Max core file size +0 +0 `).MatchString(limits) {
			t.Errorf("process %d: %s\n%s", pid, status, limits)
		}
	}
	p.presses("n")
	waiting.Wait()
}

// TestWhoIsDumpable: who is to hold the key is closed before it asks for the
// passphrase; who speaks to a keeper must be seen. [KPR-10] [KPR-12]
func TestWhoIsDumpable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may look into every process")
	}
	w := newWorld(t)
	closed := func(what string, pid int, want bool) {
		t.Helper()
		_, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if errors.Is(err, os.ErrPermission) != want {
			t.Errorf("the environment of %s: %v", what, err)
		}
	}
	p := w.atTerminal("unlock")
	p.sees("new passphrase: $")
	closed("unlock, before the passphrase,", p.cmd.Process.Pid, true)
	p.master.WriteString(testPass + "\r")
	p.type_("the same again: $", testPass+"\r")
	p.sees(`Ctrl-C locks\.`)
	closed("a keeper", p.cmd.Process.Pid, true)
	closed("a bridge", w.client().cmd.Process.Pid, false)
	waiting := w.command("list")
	must(t, waiting.Start())
	p.asked("list")
	closed("a command that speaks to a keeper", waiting.Process.Pid, false)
	p.presses("n")
	waiting.Wait()
	w.done(w.command("lock"))
	p.ends()
	for _, args := range [][]string{{"passwd"}, {"list"}} {
		p := w.atTerminal(args...)
		p.sees("passphrase: $")
		closed(args[0]+", its own keeper,", p.cmd.Process.Pid, true)
		p.master.WriteString("\x03")
		p.ends()
	}
}

func init() {
	// A client that protects itself as a keeper does, with a bridge of its own.
	helpers["hidden client"] = func() {
		runtimeHide()
		self, _ := os.Executable()
		cmd := exec.Command(self, "mcp")
		cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
		for _, v := range os.Environ() {
			if !strings.HasPrefix(v, "KEEPMUM_TEST_HELPER=") {
				cmd.Env = append(cmd.Env, v)
			}
		}
		cmd.Env = append(cmd.Env, "KEEPMUM_TEST_HELPER=main")
		check(cmd.Run())
	}
}

// TestHiddenClient: the prompt says so, and no grant outlives it. [SOC-22]
func TestHiddenClient(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may look into every process")
	}
	w := newWorld(t)
	p := w.unlock()
	cmd := w.helper("hidden client")
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	fmt.Fprintln(in, initialize)
	fmt.Fprintln(in, toolCall(1, "authenticate", "{}"))
	text := p.asked("connect")
	if strings.Count(text, "(cannot be read)") != 2 {
		t.Errorf("the question does not say what is hidden: %s", text)
	}
	if strings.Contains(text, "[t]imed") || strings.Contains(text, "[u]ntil") || !strings.Contains(text, "[p]rocess") {
		t.Errorf("what is offered: %s", text)
	}
	p.presses("n")
}

// TestUnderADebugger: who is to hold the key does not start. [KPR-11]
func TestUnderADebugger(t *testing.T) {
	w := newWorld(t)
	p := w.unlock()
	w.done(w.command("lock"))
	p.ends()
	for _, args := range [][]string{{"unlock"}, {"passwd"}, {"list"}} {
		said, code := w.traced(args...)
		if code != 1 || !strings.Contains(said, "a debugger is attached to this process") {
			t.Errorf("%v: %d %q", args, code, said)
		}
	}
}

// traced runs a command under this process as its debugger.
func (w *world) traced(args ...string) (said string, code int) {
	w.t.Helper()
	runtime.LockOSThread() // a debugger is a thread
	defer runtime.UnlockOSThread()
	out, err := os.Create(filepath.Join(w.dir, "traced"))
	must(w.t, err)
	defer out.Close()
	cmd := w.command(args...)
	cmd.Stderr = out
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Setsid: true}
	if err := cmd.Start(); err != nil {
		w.t.Skipf("no debugger here: %v", err)
	}
	pid, signal := cmd.Process.Pid, 0
	for {
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
			w.t.Fatal(err)
		}
		if !status.Stopped() {
			code = status.ExitStatus()
			break
		}
		if signal = int(status.StopSignal()); signal == int(syscall.SIGTRAP) {
			signal = 0 // our own stop at exec
		}
		must(w.t, syscall.PtraceCont(pid, signal))
	}
	text, err := os.ReadFile(out.Name())
	must(w.t, err)
	return string(text), code
}

// procText returns a file of /proc of one process.
func procText(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	must(t, err)
	return string(text)
}

// childrenOf lists the children of a process.
func childrenOf(t *testing.T, pid int) (list []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Fatal("no processes", err)
	}
	for _, name := range stats {
		text, _ := os.ReadFile(name)
		var parent, child int
		fmt.Sscan(string(text), &child)
		if i := bytes.LastIndexByte(text, ')'); i > 0 {
			fmt.Sscanf(string(text[i+1:]), " %c %d", new(rune), &parent)
		}
		if parent == pid {
			list = append(list, child)
		}
	}
	return list
}

// TestTIOCSTIWarning: where there is no switch for it, nothing forbids it.
// [KPR-7]
func TestTIOCSTIWarning(t *testing.T) {
	for text, want := range map[string]string{"1\n": "TIOCSTI (dev.tty.legacy_tiocsti=1)", "0\n": "",
		"": "TIOCSTI (this system has no switch for it)"} {
		path := filepath.Join(t.TempDir(), "legacy_tiocsti")
		if text != "" {
			put(t, path, text)
		}
		if got := injectionRisk(path); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
