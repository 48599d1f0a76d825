package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openPTY returns a new terminal: what is written to one end is read from the
// other. It does not become our own controlling terminal. For the demonstration
// and the tests (SPEC §11).
func openPTY() (master, slave *os.File, err error) {
	const flags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := unix.Open("/dev/ptmx", flags|ptyFlags, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open a terminal: %v", err)
	}
	end := -1
	name, err := unlockPTY(fd)
	if err == nil {
		end, err = unix.Open(name, flags, 0) // not by os, which would not block
	}
	if err != nil {
		unix.Close(fd)
		return nil, nil, fmt.Errorf("cannot open a terminal: %v", err)
	}
	return os.NewFile(uintptr(fd), "/dev/ptmx"), os.NewFile(uintptr(end), name), nil
}
