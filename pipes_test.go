package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// [DLV-13] [DLV-18]
func TestPipesExactText(t *testing.T) {
	for _, n := range []int{7, 1024, 65537, 1 << 20, 1<<20 + 5000} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			bothCounters(t, func(t *testing.T, e *engine) {
				e.keeper.text = testText(max(n, 8))
				e.mustRead(t)
				waitFor(t, "the record", func() bool { return e.keeper.all() == endDelivered })
			})
		})
	}
}

func TestPipesTextIsWiped(t *testing.T) {
	e := newEngine(t, false)
	text := []byte(testText(3000))
	v := make(chan []byte, 1)
	e.pipes.handler = wiped{e.keeper, text}
	got := startHelper(t, "read", e.file).wait()
	waitFor(t, "the record", func() bool { return e.keeper.count(endDelivered) == 1 })
	if got != testText(3000) || !bytes.Equal(text, make([]byte, len(text))) {
		t.Errorf("the text was not wiped or not delivered: %.20q, %.20q", got, text)
	}
	close(v)
}

type wiped struct {
	*keeperStub
	text []byte
}

func (w wiped) approve(context.Context, string, *process) ([]byte, error) { return w.text, nil }

// [DLV-2] [WCH-1]
func TestPipesManyInARow(t *testing.T) {
	n := 300
	if *long {
		n = 10000
	}
	bothCounters(t, func(t *testing.T, e *engine) {
		want := filepath.Join(t.TempDir(), "want")
		os.WriteFile(want, []byte(e.keeper.text), 0o600)
		r := startHelper(t, "loop", e.file, strconv.Itoa(n), want)
		stop, missing := make(chan struct{}), 0
		var watching sync.WaitGroup
		watching.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if st, err := os.Stat(e.file); err != nil || !st.ModTime().Equal(changedTime) {
					missing++
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
		ended := make(chan error, 1)
		go func() { ended <- r.cmd.Wait() }()
		select {
		case <-ended:
		case <-time.After(time.Duration(n) * time.Second):
			t.Fatal("the reader hangs")
		}
		close(stop)
		watching.Wait()
		if r.out.String() != strconv.Itoa(n) {
			t.Errorf("%s of %d reads were exact", r.out.String(), n)
		}
		if missing > 0 {
			t.Errorf("the name was missing or had another time %d times", missing)
		}
	})
}

// [DLV-6]
func TestPipesReadersTogether(t *testing.T) {
	for _, n := range []int{2, 5} {
		for _, gap := range []time.Duration{0, 1, 5, 20} {
			t.Run(fmt.Sprintf("%d readers %d ms apart", n, gap), func(t *testing.T) {
				bothCounters(t, func(t *testing.T, e *engine) {
					together(t, e, n, gap*time.Millisecond)
				})
			})
		}
	}
}

// together lets n readers open at nearly the same time: each gets the text,
// and for each one that does not there is a line; never both, never a part.
func together(t *testing.T, e *engine, n int, gap time.Duration) {
	var readers []*reader
	for range n {
		readers = append(readers, startHelper(t, "gated", e.file))
	}
	for _, r := range readers {
		r.in.Write([]byte("x"))
		time.Sleep(gap)
	}
	refused, lines := 0, 0
	for _, r := range readers {
		got := r.wait()
		if got == e.keeper.text {
			continue
		}
		refused++
		lines += strings.Count(got, lineContested)
		if strings.ReplaceAll(got, lineContested, "") != "" {
			t.Errorf("a reader got %d bytes: %.60q; %s", len(got), got, e.keeper.story())
		}
	}
	// Which of two processes on one pipe takes a line is up to the system.
	if lines != refused {
		t.Errorf("%d lines for %d readers; %s", lines, refused, e.keeper.story())
	}
	waitFor(t, "a record for each open", func() bool {
		return e.keeper.count(endDelivered)+e.keeper.count(endContested) == n
	})
	e.mustRead(t)
}

// [DLV-18]
func TestPipesRefusal(t *testing.T) {
	bothCounters(t, func(t *testing.T, e *engine) {
		e.keeper.decide = func(context.Context, *process) error { return errors.New("no") }
		if got := startHelper(t, "read", e.file).wait(); got != lineRefused {
			t.Errorf("a refused reader got %q", got)
		}
		waitFor(t, "the record", func() bool { return e.keeper.all() == endRefused })
		e.keeper.decide = nil
		e.mustRead(t)
	})
}

// TestPipesNoCommentLine holds back a text whose first line would be a value:
// it would go out before the reader is known to read. [DLV-12]
func TestPipesNoCommentLine(t *testing.T) {
	e := newEngine(t, false)
	for _, text := range []string{"", "#", "# no end", "KEY=value\n"} {
		e.keeper.mu.Lock()
		e.keeper.text = text
		e.keeper.mu.Unlock()
		if got := startHelper(t, "read", e.file).wait(); got != lineRefused {
			t.Errorf("%q: the reader got %q", text, got)
		}
	}
}

// [DLV-18]
func TestPipesOddReaders(t *testing.T) {
	asks := func(e *engine, _ *reader) bool { return e.keeper.questions() != "" }
	taken := func(_ *engine, r *reader) bool { return r.out.String() != "" }
	wait := func(ctx context.Context, _ *process) error { <-ctx.Done(); return ctx.Err() }
	for _, c := range []struct {
		name, helper, arg string
		size              int
		decide            func(context.Context, *process) error
		until             func(*engine, *reader) bool // then it is killed
		want, word        string
	}{
		// [DLV-9]
		{name: "killed while waiting", helper: "read", decide: wait, until: asks, word: endAbandoned},
		// [DLV-14]
		{name: "killed in the middle", helper: "part", arg: "150000", size: 300 << 10, until: taken,
			word: endAbandoned},
		{name: "never reads", helper: "part", arg: "0", word: endAbandoned},
		{name: "reads the comment only", helper: "part", arg: "7", word: endAbandoned},
		{name: "one byte at a time", helper: "slow", want: testText(2000), word: endDelivered},
		{name: "does not wait", helper: "nonblock", want: unix.EAGAIN.Error(), word: endAbandoned},
		{name: "closes at once", helper: "touch", word: endAbandoned},
		// [DLV-8]
		{name: "reads and writes", helper: "readwrite", word: endNotReader},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothCounters(t, func(t *testing.T, e *engine) {
				if c.helper == "part" {
					e.patience = time.Second
				}
				if c.size > 0 {
					e.keeper.text = testText(c.size)
				}
				e.keeper.decide = c.decide
				r := startHelper(t, c.helper, e.file, c.arg)
				if c.until != nil {
					waitFor(t, "the moment", func() bool { return c.until(e, r) })
					r.kill()
				}
				waitFor(t, "the record", func() bool { return e.keeper.all() != "" })
				if c.word == endNotReader && e.keeper.questions() != "" {
					t.Error("somebody was asked")
				}
				if e.keeper.all() != c.word {
					t.Errorf("it ended %q, want %q; %s", e.keeper.all(), c.word, e.keeper.story())
				}
				if r.in.Close(); c.helper != "part" && c.until == nil {
					got := r.wait()
					// Who keeps the pipe open may be taken for one left behind. [DLV-16]
					late := c.word == endNotReader && got == lineRefused
					if got != c.want && !late {
						t.Errorf("the reader got %q, want %q", got, c.want)
					}
				}
				e.keeper.decide = nil
				e.mustRead(t)
			})
		})
	}
}

// TestPipesCommentFirst: until the comment was read, nothing else is there.
// [DLV-12]
func TestPipesCommentFirst(t *testing.T) {
	bothCounters(t, func(t *testing.T, e *engine) {
		if got := startHelper(t, "first", e.file).wait(); got != "# test\n" {
			t.Errorf("the first read of the file gave %.40q", got)
		}
	})
}

// TestPipesLookOnly: who has closed the file again is not asked about. [DLV-5]
func TestPipesLookOnly(t *testing.T) {
	bothCounters(t, func(t *testing.T, e *engine) {
		e.mu.Lock() // the open is handled when the process has ended
		startHelper(t, "touch", e.file).wait()
		e.mu.Unlock()
		waitFor(t, "the record", func() bool { return e.keeper.all() != "" })
		if e.keeper.all() != endAbandoned || e.keeper.questions() != "" {
			t.Errorf("it ended %q, asked about %q", e.keeper.all(), e.keeper.questions())
		}
		e.mustRead(t)
	})
}

// [DLV-3]
func TestPipesTooManyReaders(t *testing.T) {
	e := newEngine(t, false)
	release := make(chan struct{})
	e.keeper.decide = func(ctx context.Context, _ *process) error {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	var readers []*reader
	for k := range pendingMax {
		readers = append(readers, startHelper(t, "read", e.file))
		waitFor(t, "the question", func() bool { return len(strings.Fields(e.keeper.questions())) == k+1 })
	}
	if got := startHelper(t, "read", e.file).wait(); got != lineRefused {
		t.Errorf("one reader too many got %q", got)
	}
	close(release)
	for _, r := range readers {
		if got := r.wait(); got != e.keeper.text {
			t.Errorf("a waiting reader got %.40q; %s", got, e.keeper.story())
		}
	}
}

// [MNT-13] [DLV-18]
func TestPipesRemoveAndClose(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(e *engine)
	}{
		{"remove", func(e *engine) { e.remove("/project/.env") }},
		{"close", func(e *engine) { e.close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothCounters(t, func(t *testing.T, e *engine) {
				e.keeper.decide = func(ctx context.Context, _ *process) error { <-ctx.Done(); return ctx.Err() }
				r := startHelper(t, "read", e.file)
				waitFor(t, "the question", func() bool { return e.keeper.questions() != "" })
				c.end(e)
				if got := r.wait(); got != lineRefused {
					t.Errorf("the reader that waited got %q", got)
				}
				if _, err := os.Lstat(filepath.Dir(e.file)); !os.IsNotExist(err) {
					t.Errorf("the folder is still there: %v", err)
				}
				waitFor(t, "the record", func() bool { return e.keeper.all() == endRefused })
			})
		})
	}
}

// [WCH-1] [WCH-2]
func TestPipesTimes(t *testing.T) {
	bothCounters(t, func(t *testing.T, e *engine) {
		check := func(when string, want time.Time) {
			t.Helper()
			st, err := os.Stat(e.file)
			if err != nil || !st.ModTime().Equal(want) || st.Mode() != os.ModeNamedPipe|0o600 {
				t.Errorf("%s: %v, %v, want %v", when, st, err, want)
			}
			var times unix.Stat_t
			if err := unix.Stat(e.file, &times); err != nil || times.Atim.Nano() != want.Add(time.Second).UnixNano() {
				t.Errorf("%s: accessed at %v, %v, want a second after %v", when, times.Atim, err, want)
			}
		}
		check("at first", changedTime)
		e.mustRead(t)
		check("after a read", changedTime)
		later := changedTime.Add(time.Hour)
		e.touch("/project/.env", later)
		e.mustRead(t)
		check("after a change", later)
	})
}

func TestPipesAdd(t *testing.T) {
	e := newEngine(t, false)
	for _, base := range []string{"", ".", "..", "/", "a/b", "../x"} {
		if _, err := e.add("/other", base, changedTime); err == nil {
			t.Errorf("add took %q for a name", base)
		}
	}
	if _, err := e.add("/project/.env", ".env", changedTime); err == nil {
		t.Error("add took a mount twice")
	}
	e.remove("/project/.env")
	e.remove("/never")
	var err error
	if e.file, err = e.add("/project/.env", ".env", changedTime); err != nil {
		t.Fatal(err)
	}
	e.mustRead(t)
}

func TestPipesManyMounts(t *testing.T) {
	n := 200
	if *long {
		n = 1000
	}
	bothCounters(t, func(t *testing.T, e *engine) {
		var last string
		for k := range n {
			var err error
			if last, err = e.add(fmt.Sprint(k), ".env", changedTime); err != nil {
				t.Fatalf("mount %d: %v", k, err)
			}
		}
		e.mustRead(t)
		e.file = last
		e.mustRead(t)
	})
}

func TestPipesLeaveNothing(t *testing.T) {
	for _, fallback := range []bool{false, true} {
		dir, keeper := t.TempDir(), &keeperStub{text: testText(2000)}
		before, routines := openFiles(), runtime.NumGoroutine()
		s, err := newPipes(dir, keeper, fallback)
		if err != nil {
			t.Fatal(err)
		}
		for k := range 5 {
			file, err := s.add(fmt.Sprint(k), ".env", changedTime)
			if err != nil {
				t.Fatal(err)
			}
			e := &engine{pipes: s, keeper: keeper, file: file}
			e.mustRead(t)
		}
		s.close()
		s.close()
		waitFor(t, "goroutines and descriptors to go", func() bool {
			return runtime.NumGoroutine() <= routines && openFiles() <= before
		})
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("files are left: %v", left)
		}
	}
}

func openFiles() int {
	names, err := os.ReadDir("/dev/fd")
	if err != nil {
		return -1
	}
	return len(names)
}
