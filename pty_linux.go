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
	// Non-blocking, so that closing it ends a read that waits.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open a terminal: %v", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	name := fmt.Sprintf("/dev/pts/%d", n)
	var end int
	if err == nil {
		end, err = unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		unix.Close(fd)
		return nil, nil, fmt.Errorf("cannot open a terminal: %v", err)
	}
	return os.NewFile(uintptr(fd), "/dev/ptmx"), os.NewFile(uintptr(end), name), nil
}
