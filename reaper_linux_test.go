package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// reaperOf finds the child of a keeper that does nothing else.
func reaperOf(t *testing.T, p *person) int {
	t.Helper()
	var list []int
	waitFor(t, "the reaper", func() bool {
		list = childrenOf(t, p.cmd.Process.Pid)
		return len(list) == 1
	})
	return list[0]
}

// TestReaperWithoutItsFile: the program's file may go, in an update, while a
// keeper runs. [KPR-25]
func TestReaperWithoutItsFile(t *testing.T) {
	t.Parallel()
	w, p, path := mounted(t, "")
	w.done(w.command("lock"))
	p.ends()
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	program := filepath.Join(w.dir, "program")
	must(t, os.WriteFile(program, self, 0o700))
	cmd := exec.Command(program, "unlock")
	cmd.Env, cmd.Dir = w.env, w.project
	p = w.seat(cmd)
	p.type_("passphrase: $", testPass+"\r")
	p.sees(`1 mount served[\s\S]*Ctrl-C locks\.`)
	must(t, os.Remove(program))
	first := reaperOf(t, p)
	must(t, syscall.Kill(first, syscall.SIGKILL))
	waitFor(t, "another reaper", func() bool {
		list := childrenOf(t, p.cmd.Process.Pid)
		return len(list) == 1 && !slices.Contains(list, first)
	})
	must(t, p.cmd.Process.Kill())
	waitFor(t, "the end of the link", func() bool { return !exists(path) })
}

// TestReaperNotUTF8: the run folder may lie anywhere, in a runtime folder or in
// a home whose name no JSON carries. [KPR-23] [KPR-26]
func TestReaperNotUTF8(t *testing.T) {
	t.Parallel()
	for _, variable := range []string{"XDG_RUNTIME_DIR", "KEEPMUM_HOME"} {
		w := newWorld(t)
		folder := filepath.Join(w.dir, "x\xff")
		must(t, os.Mkdir(folder, 0o700))
		w.env = append(w.env, variable+"="+folder)
		if variable == "KEEPMUM_HOME" {
			w.home = folder
		}
		p := w.unlock()
		w.set(p, "acme", "A", "v")
		path := w.mount(p, "acme")
		target, err := os.Readlink(path)
		if must(t, err); !within(target, folder) {
			t.Fatalf("%s: the mount leads to %q", variable, target)
		}
		must(t, p.cmd.Process.Kill())
		p.ends()
		waitFor(t, "the end of the link", func() bool { return !exists(path) })
		run := filepath.Dir(filepath.Dir(target))
		waitFor(t, "the end of the run folder", func() bool { return !exists(run) })
		p = w.unlock()
		cmd, out := w.reads(path)
		p.answers("read", "o")
		if cmd.Wait(); out.String() != acmeText {
			t.Errorf("%s: after the next unlock: %q", variable, out)
		}
	}
}
