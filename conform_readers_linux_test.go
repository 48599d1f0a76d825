package main

import (
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReadersHold looks at who has the FIFO open while a reader waits for the
// text, for each kind that is about just that; then it gets the text.
func TestReadersHold(t *testing.T) {
	alone := func(found []holder, reader int) bool {
		return len(found) == 1 && found[0].pid == reader && !found[0].writes
	}
	nobody := func(found []holder, _ int) bool { return len(found) == 0 }
	for _, c := range []struct {
		kind, arg string
		held      func(found []holder, reader int) bool
	}{
		{"plain", "", alone},
		{"late", "1", alone},
		{"exec", "1", func(found []holder, reader int) bool {
			return alone(found, reader) && slices.Contains(argsOf(reader), "inherited")
		}},
		{"exec-cat", "1", func(found []holder, reader int) bool {
			return alone(found, reader) && slices.Equal(argsOf(reader), []string{"cat"})
		}},
		{"rdwr", "60000", func(found []holder, reader int) bool {
			return len(found) == 1 && found[0].pid == reader && found[0].writes
		}},
		{"child", "", func(found []holder, reader int) bool {
			return len(found) == 2 && found[1].pid == reader && parentOf(found[0].pid) == reader
		}},
		{"orphan", "", func(found []holder, reader int) bool {
			return len(found) == 1 && left(found[0].pid, reader)
		}},
		{"unshared", "", nobody},
		{"flight", "60000", nobody},
	} {
		t.Run(c.kind, func(t *testing.T) {
			i := ownInstance(t)
			r, errs := startKind(t, c.kind, i.path, c.arg)
			waitFor(t, "the holders", func() bool {
				return hasReader(i.w) && c.held(holders(i.instance, scanTime), r.cmd.Process.Pid)
			})
			if c.arg == "60000" {
				return // which is longer than a test may take
			}
			unix.Write(i.w, []byte(readersText))
			i.close()
			if got := r.wait(); got != readersText {
				t.Errorf("it printed %q: %s", got, errs)
			}
		})
	}
}

// TestReadersLeave: what a reader is not to read stays in the pipe.
func TestReadersLeave(t *testing.T) {
	for kind, reads := range map[string]int{"hold": 0, "probe": 0, "leaver": 0, "size": 0,
		"mmap": 0, "half": len("# three lines\n")} {
		t.Run(kind, func(t *testing.T) {
			i := ownInstance(t)
			fd, err := unix.Open(i.path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd) // keeps the text when the reader has gone
			unix.Write(i.w, []byte(readersText))
			r, errs := startKind(t, kind, i.path, "")
			r.in.Close()
			if got := r.wait(); got != readersText[:reads] {
				t.Errorf("it printed %q: %s", got, errs)
			}
			if n := queued(i.instance); n != len(readersText)-reads {
				t.Errorf("%d bytes are left of %d", n, len(readersText))
			}
		})
	}
}

// ownFIFO is a FIFO of the test, as the engine knows its own.
type ownFIFO struct {
	*instance
	path   string
	closed bool
}

func (i *ownFIFO) close() {
	if !i.closed {
		unix.Close(i.w)
	}
	i.closed = true
}

func ownInstance(t *testing.T) *ownFIFO {
	i := &ownFIFO{instance: &instance{}, path: filepath.Join(t.TempDir(), ".env")}
	i.w = ownPipe(t, i.path)
	var st unix.Stat_t
	if err := unix.Fstat(i.w, &st); err != nil {
		t.Fatal(err)
	}
	i.dev, i.ino = uint64(st.Dev), st.Ino
	t.Cleanup(i.close)
	return i
}

func argsOf(pid int) []string {
	p, err := readProcess(pid)
	if err != nil {
		return nil
	}
	return p.args
}

// left reports whether pid leads a session and does not come from the reader.
func left(pid, reader int) bool {
	p, err := readProcess(pid)
	return err == nil && p.session == pid && pid != reader && !p.hasAncestor(reader)
}
