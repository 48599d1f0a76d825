package main

// What a program wrote, on its way to where it was led, and when to stop
// carrying it: what the program has left running may hold that way open.

import (
	"errors"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lastLook  = 25 * time.Millisecond // between two looks
	lastLooks = 2                     // without output, of what a program left behind
	lastLimit = time.Second
	lastBytes = 128 << 10 // more than a terminal or a pipe holds, so others write
)

// flow is one stream of output.
type flow struct {
	from          *os.File
	out           *masker
	deaf          bool // it goes on where nobody takes anything: the program's end is what counts
	read, written atomic.Int64
	done          chan struct{}
	lost          error // why output was, once done
}

func newFlow(from *os.File, out *masker, deaf bool) *flow {
	return &flow{from: from, out: out, deaf: deaf, done: make(chan struct{})}
}

// carry copies output until its end, or until nobody wants it.
func (f *flow) carry() {
	defer close(f.done)
	text := make([]byte, 32<<10)
	for {
		n, err := f.from.Read(text)
		f.read.Add(int64(n))
		if n > 0 {
			if _, failed := f.out.Write(text[:n]); failed != nil && !f.deaf {
				break
			}
		}
		f.written.Add(int64(n))
		if err != nil { // a terminal's end is one
			break
		}
	}
	if err := f.out.flush(); !errors.Is(err, unix.EPIPE) { // that nobody wanted
		f.lost = err
	}
}

// drain waits until what was written by now has arrived. The time that somebody
// takes to take it does not count, since the program would have waited as well;
// but what others write, for ever perhaps, is not waited for.
func (f *flow) drain(enough <-chan struct{}) {
	start, quiet := f.read.Load(), 0
	for spent := time.Duration(0); spent < lastLimit && quiet < lastLooks && f.read.Load()-start <= lastBytes; {
		before := f.read.Load()
		select {
		case <-f.done:
			return
		case <-enough:
			return
		case <-time.After(lastLook):
		}
		switch {
		case f.written.Load() != f.read.Load() || readable(f.from, 0):
			quiet = 0
			continue
		case f.read.Load() == before:
			quiet++
		default:
			quiet = 0
		}
		spent += lastLook
	}
	f.flush(enough)
}

// flush writes what is held back, since nothing may follow.
func (f *flow) flush(enough <-chan struct{}) {
	flushed := make(chan struct{})
	go func() { f.out.flush(); close(flushed) }()
	select {
	case <-flushed:
	case <-enough:
	}
}

// finish waits for the end of a stream that is no terminal's: what holds it open
// may have more to write. Somebody who wants an end gets what is there.
func (f *flow) finish(enough <-chan struct{}) {
	select {
	case <-f.done:
	case <-enough:
		f.settle()
	}
}

// settle is drain for a moment only.
func (f *flow) settle() {
	moment := make(chan struct{})
	defer time.AfterFunc(lastLimit, func() { close(moment) }).Stop()
	f.drain(moment)
}

// why says why output was lost, if that is known.
func (f *flow) why() error {
	select {
	case <-f.done:
		return f.lost
	default:
		return nil
	}
}

// askedToEnd is closed by a signal that ends us: the program that it would have
// been passed on to has ended. One that stops us does.
func askedToEnd(taken chan os.Signal) <-chan struct{} {
	enough := make(chan struct{})
	go func() {
		for s := range taken {
			if s == unix.SIGTSTP {
				stopHere(unix.Getpid())
			} else if slices.Contains([]os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT}, s) {
				close(enough)
				return
			}
		}
	}()
	return enough
}

// readable waits for something to read, for so long. Not every system can poll
// a terminal.
func readable(f *os.File, pause time.Duration) bool {
	n := 0
	control(f, func(fd int) {
		var set unix.FdSet
		set.Set(fd)
		wait := unix.NsecToTimeval(pause.Nanoseconds())
		n, _ = unix.Select(fd+1, &set, nil, nil, &wait)
	})
	return n > 0
}
