package main

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// TestRunTerminalStill: all that the program wrote arrives at a terminal that
// stands still for longer than any limit. [RUN-18]
func TestRunTerminalStill(t *testing.T) {
	master, slave, err := openPTY()
	must(t, err)
	defer master.Close()
	f := newFlow(master)
	still, got := make(chan struct{}), new(strings.Builder)
	go f.carry(func(text []byte) error { <-still; got.Write(text); return nil })
	want := strings.Repeat("x", 3000)
	_, err = io.WriteString(slave, want)
	must(t, err)
	slave.Close()
	drained := make(chan bool)
	go func() { drained <- f.drain(nil) }()
	select {
	case <-drained:
		t.Error("it did not wait")
	case <-time.After(2 * lastLimit):
	}
	close(still)
	if !<-drained || got.String() != want {
		t.Errorf("%d bytes of %d arrived", got.Len(), len(want))
	}
}

// TestRunDrainEnds: what goes on writing is not waited for. [RUN-16]
func TestRunDrainEnds(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer w.Close()
	go io.Copy(w, endless{})
	f := newFlow(r)
	go f.carry(func([]byte) error { return nil })
	drained := make(chan bool)
	go func() { drained <- f.drain(nil) }()
	select {
	case <-drained:
	case <-time.After(20 * time.Second):
		t.Error("it waits for ever")
	}
}

type endless struct{}

func (endless) Read(text []byte) (int, error) { return len(text), nil }
