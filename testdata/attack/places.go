//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// mine is in every file that is put somewhere.
const mine = "MINE=keep\n"

// thing is what was put at a path.
type thing struct {
	kind, beside string // and where its other name or its target is
	dev, ino     uint64
	pipe         int // its end, of a FIFO
}

// make makes a thing of one of these kinds where nothing is:
//
//	file, directory, fifo, socket
//	symlink   to a file of its own
//	hardlink  of a file of its own
func (a *attack) make(kind, path, beside string) (t thing, err error) {
	t = thing{kind: kind, beside: beside, pipe: -1}
	switch kind {
	case "file":
		err = newFile(path)
	case "directory":
		if err = unix.Mkdir(path, 0o700); err == nil {
			err = newFile(filepath.Join(path, "file"))
		}
	case "fifo":
		if err = unix.Mkfifo(path, 0o600); err == nil {
			t.pipe, err = unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		}
	case "socket":
		err = unix.Mknod(path, unix.S_IFSOCK|0o600, 0)
	case "symlink":
		if err = newFile(beside); err == nil {
			err = os.Symlink(beside, path)
		}
	case "hardlink":
		if err = newFile(beside); err == nil {
			err = os.Link(beside, path)
		}
	default:
		err = fmt.Errorf("no such kind: %q", kind)
	}
	if err != nil {
		return t, err
	}
	t.dev, t.ino = idAt(path)
	return t, nil
}

func newFile(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(mine)
		f.Close()
	}
	return err
}

func idAt(path string) (dev, ino uint64) {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return 0, 0
	}
	return uint64(st.Dev), st.Ino
}

func (t thing) isAt(path string) bool {
	dev, ino := idAt(path)
	return dev == t.dev && ino == t.ino
}

// looks says what became of a thing that was put at path: whether it is there or
// set aside, whether somebody wrote into it, and what.
func (a *attack) looks(t thing, path string) {
	at := a.finds(t, path)
	switch {
	case at == "":
		a.failed("removed: " + t.kind)
	case at != path:
		a.failed("set aside: " + t.kind)
	}
	switch t.kind {
	case "fifo":
		if text := a.slurp(t.pipe, glance); len(text) > 0 {
			a.failed("changed: " + t.kind)
			a.got(text)
		}
		unix.Close(t.pipe)
	case "symlink", "hardlink":
		a.looksAt(t.beside)
	case "file":
		if at != "" {
			a.looksAt(at)
		}
	case "directory":
		entries, _ := os.ReadDir(at)
		for _, e := range entries {
			a.looksAt(filepath.Join(at, e.Name()))
		}
		if at != "" && len(entries) != 1 {
			a.failed("changed: " + t.kind)
		}
	}
}

// finds returns where a thing is: at path, or set aside beside it, or nowhere.
func (a *attack) finds(t thing, path string) (at string) {
	found, _ := filepath.Glob(path + ".keepmum-*")
	for _, name := range append([]string{path}, found...) {
		if t.isAt(name) {
			at = name
		}
	}
	return at
}

func (a *attack) looksAt(file string) {
	text, err := os.ReadFile(file)
	if err != nil || string(text) != mine {
		a.failed("changed: " + filepath.Base(file))
		a.got(text)
	}
}

// stands puts a thing at the path, at once or when told to by a file, over what
// is there or only where nothing is, and looks when the input ends.
func (a *attack) stands() {
	kind, over := strings.CutPrefix(a.kind, "over ")
	for a.when != "" && !exists(a.when) && !a.ended.Load() {
		time.Sleep(time.Millisecond)
	}
	a.Tries++
	path := a.path
	if over {
		path += ".new"
	}
	t, err := a.make(kind, path, a.path+".beside")
	a.must(err)
	if over {
		a.must(rename(path, a.path, unix.RENAME_EXCHANGE))
		a.must(os.Remove(path)) // what was there
	}
	a.opened()
	fmt.Println("stands")
	if a.when != "" {
		a.must(os.WriteFile(a.when+".done", nil, 0o600))
	}
	for range a.lines {
	}
	a.looks(t, a.path)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// swaps puts things at the path and takes them back, where nothing is or in
// exchange with what is there, and looks after each whether it is as it was. A
// link that it got in exchange it gives back.
func (a *attack) swaps() {
	kinds := []string{"file", "directory", "fifo", "socket", "symlink", "hardlink"}
	dir, err := os.MkdirTemp(filepath.Dir(a.path), "swap")
	a.must(err)
	defer os.RemoveAll(dir)
	for a.more() {
		side := filepath.Join(dir, "thing")
		t, err := a.make(kinds[rand.IntN(len(kinds))], side, filepath.Join(dir, "beside"))
		a.must(err)
		flags := []uint{unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE}[rand.IntN(2)]
		if err := rename(side, a.path, flags); err == nil {
			a.opened()
			time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
			a.takesBack(t, side, filepath.Join(dir, "theirs"))
		}
		os.RemoveAll(side)
		os.Remove(t.beside)
		time.Sleep(time.Duration(rand.IntN(10000)) * time.Microsecond)
	}
}

// takesBack looks for the thing, and gives back what was there before it.
func (a *attack) takesBack(t thing, side, theirs string) {
	before := exists(side)
	if before {
		a.must(os.Rename(side, theirs))
	}
	var at string
	for range 100 { // it may be on its way back to its name
		at = a.finds(t, a.path)
		if at != "" && rename(at, side, unix.RENAME_NOREPLACE) == nil {
			break
		}
		time.Sleep(100 * time.Microsecond)
	}
	if at == "" || !t.isAt(side) {
		a.failed("removed: " + t.kind)
	} else {
		a.looks(t, side)
	}
	if before && rename(theirs, a.path, unix.RENAME_NOREPLACE) != nil {
		os.Remove(theirs)
	}
}

func rename(from, to string, flags uint) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
}
