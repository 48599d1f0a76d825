package main

import (
	"bufio"
	"io"
	"os"
	"testing"

	"golang.org/x/term"
)

func TestOpenPTY(t *testing.T) {
	tty, before := os.Open("/dev/tty")
	if before == nil {
		tty.Close()
	}
	master, slave, err := openPTY()
	must(t, err)
	defer master.Close()
	if !term.IsTerminal(int(slave.Fd())) {
		t.Error("the other end is no terminal")
	}
	if tty, after := os.Open("/dev/tty"); (after == nil) != (before == nil) {
		tty.Close()
		t.Errorf("our controlling terminal changed: %v, then %v", before, after)
	}
	if _, err := io.WriteString(master, "typed\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(slave).ReadString('\n'); line != "typed\n" {
		t.Errorf("read %q, %v", line, err)
	}
	if _, err := io.WriteString(slave, "shown\n"); err != nil {
		t.Fatal(err)
	}
	shown := bufio.NewReader(master)
	for _, want := range []string{"typed\r\n", "shown\r\n"} { // the echo first
		if line, err := shown.ReadString('\n'); line != want {
			t.Errorf("shown %q, %v, want %q", line, err, want)
		}
	}
	must(t, slave.Close())
	if _, err := shown.ReadByte(); err == nil {
		t.Error("the terminal has no end")
	}
}
