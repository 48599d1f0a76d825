package main

// What a program wrote, on its way to where it was led, and when to stop
// carrying it: what the program has left running may hold that way open.

import (
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lastWords = 50 * time.Millisecond // without output, of what a program left behind
	lastLimit = time.Second
	lastBytes = 128 << 10 // more than a terminal or a pipe holds, so others write
)

// flow is one stream of output.
type flow struct {
	from  *os.File
	moved atomic.Int64 // bytes
	busy  atomic.Bool  // it has some in hand; set before that is read
	done  chan struct{}
}

func newFlow(from *os.File) *flow { return &flow{from: from, done: make(chan struct{})} }

// carry copies output until its end, or until write says that nobody wants it.
func (f *flow) carry(write func([]byte) error) {
	defer close(f.done)
	text := make([]byte, 32<<10)
	for {
		if !readable(f.from, frontPause) {
			continue
		}
		f.busy.Store(true)
		n, err := f.from.Read(text)
		f.moved.Add(int64(max(n, 0)))
		if n > 0 {
			if write(text[:n]) != nil {
				return
			}
		}
		f.busy.Store(false)
		if err != nil {
			return
		}
	}
}

// drain waits for the end of what was written by now. The time of a terminal
// that stands still is not counted, as the program would have waited for it as
// well. It reports whether all is carried.
func (f *flow) drain(enough <-chan struct{}) bool {
	start := f.moved.Load()
	for idle := time.Duration(0); idle < lastLimit && f.moved.Load()-start <= lastBytes; {
		before := f.moved.Load()
		select {
		case <-f.done:
			return true
		case <-enough:
			return false
		case <-time.After(lastWords):
		}
		if readable(f.from, 0) || f.busy.Load() {
			continue
		}
		if f.moved.Load() == before {
			return true
		}
		idle += lastWords
	}
	return true
}

// within waits for what was written by now, for a moment only.
func (f *flow) within() {
	enough := make(chan struct{})
	defer time.AfterFunc(lastLimit, func() { close(enough) }).Stop()
	f.drain(enough)
}

// askedToEnd is closed by a signal that ends us: the program that it would have
// been passed on to has ended. Those that came before are not meant.
func askedToEnd(taken chan os.Signal) <-chan struct{} {
	for len(taken) > 0 {
		<-taken
	}
	enough := make(chan struct{})
	go func() {
		for s := range taken {
			if slices.Contains([]os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT}, s) {
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
	n := 1 // what cannot be polled is read
	control(f, func(fd int) {
		var set unix.FdSet
		set.Set(fd)
		wait := unix.NsecToTimeval(pause.Nanoseconds())
		if got, err := unix.Select(fd+1, &set, nil, nil, &wait); err == nil || err == unix.EINTR {
			n = got
		}
	})
	return n > 0
}
