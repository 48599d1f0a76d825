package main

import (
	"os"
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
	w := newWorld(t)
	self, err := os.Executable()
	must(t, err)
	program := self + "-" + filepath.Base(w.dir) // the same file, for the keeper's check of its callers
	must(t, os.Link(self, program))
	t.Cleanup(func() { os.Remove(program) })
	cmd := w.command("unlock")
	cmd.Path = program
	p := w.seat(cmd)
	p.type_("new passphrase: $", testPass+"\r")
	p.type_("the same again: $", testPass+"\r")
	p.sees(`Ctrl-C locks\.`)
	must(t, os.Remove(program))
	w.set(p, "acme", "A", "v")
	first := reaperOf(t, p)
	must(t, syscall.Kill(first, syscall.SIGKILL))
	waitFor(t, "another reaper", func() bool {
		list := childrenOf(t, p.cmd.Process.Pid)
		return len(list) == 1 && list[0] != first
	})
	path := w.mount(p, "acme") // which the new one is told of
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

// killedWithReaper mounts under another runtime folder, and kills all that could
// clean up.
func killedWithReaper(t *testing.T) (w *world, path, run string) {
	t.Helper()
	w = newWorld(t)
	usual := w.env
	must(t, os.Mkdir(w.dir+"/xdg", 0o700))
	w.env = append(slices.Clip(usual), "XDG_RUNTIME_DIR="+w.dir+"/xdg")
	p := w.unlock()
	w.set(p, "acme", "A", "v")
	path = w.mount(p, "acme")
	target, err := os.Readlink(path)
	must(t, err)
	must(t, p.cmd.Process.Signal(syscall.SIGSTOP)) // so that it starts no other reaper
	must(t, syscall.Kill(reaperOf(t, p), syscall.SIGKILL))
	must(t, p.cmd.Process.Kill())
	p.ends()
	w.env = usual
	if !exists(path) || !exists(target) {
		t.Fatal("somebody cleaned up")
	}
	return w, path, filepath.Dir(filepath.Dir(target))
}

// TestLeftInAnotherRoot: the next unlock has another XDG_RUNTIME_DIR, and that
// of the killed keeper is still there, or has gone in a power cut. [KPR-26]
func TestLeftInAnotherRoot(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		w, path, run := killedWithReaper(t)
		if gone {
			must(t, os.RemoveAll(w.dir+"/xdg"))
		}
		p := w.unlock()
		p.showed("1 mount served")
		if exists(run) {
			t.Error("the run folder is still there")
		}
		cmd, got := w.reads(path)
		p.answers("read", "o")
		if err := cmd.Wait(); err != nil || got.String() != acmeText {
			t.Errorf("%v %q", err, got)
		}
	}
}

// TestUnmountLeft: unmounting takes the link of a keeper that was killed, also
// where none runs. [MNT-13]
func TestUnmountLeft(t *testing.T) {
	t.Parallel()
	w, path, run := killedWithReaper(t)
	p := w.atTerminal("unmount", path)
	p.type_("passphrase: $", testPass+"\r")
	if code := p.ends(); code != 0 || exists(path) || exists(run) {
		t.Errorf("exit %d, the link is there: %v, the run folder: %v", code, exists(path), exists(run))
	}
}
