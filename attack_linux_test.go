package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// script runs a shell script that waits for lines on its standard input.
func (w *world) script(text, path string) (next func(), out *bytes.Buffer, cmd *exec.Cmd) {
	w.t.Helper()
	cmd, out = exec.Command("sh", "-c", text, path), new(bytes.Buffer)
	cmd.Dir, cmd.Stdout = w.project, out
	in, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	return func() { fmt.Fprintln(in) }, out, cmd
}

// TestGrantEndsAtExec: what was approved is a program, not a process number.
// [GRT-9]
func TestGrantEndsAtExec(t *testing.T) {
	t.Parallel()
	w, p, path := mounted(t, "")
	for _, key := range []string{"o", "p"} {
		next, out, cmd := w.script(`while IFS= read -r l; do :; done < "$0"; read -r _; exec cat "$0"`, path)
		p.answers("read", key)
		p.sees("read by")
		next()
		if q := p.answers("read", "n"); !strings.Contains(q, "cat") {
			t.Errorf("after %q and exec: %s", key, q)
		}
		if cmd.Wait(); out.String() != lineRefused {
			t.Errorf("after %q and exec: %q", key, out)
		}
	}
}

// TestExecWhileAsked: a grant is for what the person saw, also where the
// process has become something else by the time of the answer. [GRT-12]
func TestExecWhileAsked(t *testing.T) {
	t.Parallel()
	w, p, path := mounted(t, "")
	next, _, cmd := w.script(`exec 3<"$0"; read -r _; exec cat "$0" <&3`, path)
	p.sees(`read\r\n[\s\S]*> $`)
	next()
	waitFor(t, "the exec", func() bool {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid))
		return filepath.Base(exe) == "cat"
	})
	p.presses("t")
	p.answers("read", "n") // of the cat it has become
	cat, out := w.reads(path)
	p.answers("read", "n")
	if cat.Wait(); out.String() != lineRefused {
		t.Errorf("a later cat: %q", out)
	}
}

// TestWithdrawnIsNoAnswer: who closed the file while the question was open may
// come again. [GRT-15]
func TestWithdrawnIsNoAnswer(t *testing.T) {
	t.Parallel()
	w, p, path := mounted(t, "")
	next, out, cmd := w.script(`exec 3<"$0"; read -r _; exec 3<&-; read -r _; while IFS= read -r l; do echo "$l"; done <"$0"`, path)
	p.sees(`read\r\n[\s\S]*> $`)
	next()
	p.sees("withdrawn")
	next()
	p.answers("read", "o")
	if cmd.Wait(); !strings.Contains(out.String(), "A='v'") {
		t.Errorf("%q", out)
	}
}

// TestFolderSwapped: the folder that was checked is the one that is used.
// [REQ-9]
func TestFolderSwapped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "A", "v")
	real, other := filepath.Join(w.project, "real"), filepath.Join(w.project, "other")
	os.Mkdir(real, 0o700)
	os.Mkdir(other, 0o700)
	cmd := w.command("mount", "acme", filepath.Join(real, ".env"))
	cmd.Start()
	p.sees(`mount\r\n[\s\S]*> $`)
	os.Rename(real, real+"2")
	os.Symlink("other", real)
	p.presses("o")
	cmd.Wait()
	if left, _ := os.ReadDir(other); len(left) > 0 {
		t.Errorf("a folder that was never shown holds %v", left)
	}
}

// TestStoppedTerminal: whoever stops the keeper's terminal cannot keep it from
// locking. [KPR-21]
func TestStoppedTerminal(t *testing.T) {
	w, p, path := mounted(t, "")
	status, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", p.master.Fd()))
	if err != nil || !strings.Contains(status, "ptmx") {
		t.Skip("the terminal has no name here")
	}
	n, err := unix.IoctlGetInt(int(p.master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Skip(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	if err := unix.IoctlSetInt(int(slave.Fd()), unix.TCXONC, unix.TCOOFF); err != nil {
		t.Fatal(err)
	}
	reading, out := w.reads(path)
	if _, errOut, code := w.done(w.command("lock")); code != 0 {
		t.Errorf("lock: %s", errOut)
	}
	if reading.Wait(); strings.Contains(out.String(), "A=v") {
		t.Error("values after the lock")
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("the mount outlives the lock")
	}
}

// TestTypingIsNoAnswer: who types a sentence is not answering the question that
// comes up meanwhile. [ASK-9]
func TestTypingIsNoAnswer(t *testing.T) {
	t.Parallel()
	w, p, path := mounted(t, "")
	cmd, out := w.reads(path)
	p.sees(`#\d+ [\d:]+  read`)
	for range 40 { // each within the quiet moment that an answer needs
		p.master.WriteString("o")
	}
	p.sees("allow")
	p.presses("n")
	if cmd.Wait(); out.String() != lineRefused {
		t.Errorf("%q", out)
	}
}
