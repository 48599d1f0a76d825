package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const ptyFlags = unix.O_NONBLOCK // so that closing it ends a read that waits

// unlockPTY makes a terminal's other end usable and returns its name.
func unlockPTY(fd int) (name string, err error) {
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("/dev/pts/%d", n), unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
}

// The requests for a terminal's settings.
const (
	ioctlGetTermios = unix.TCGETS
	ioctlSetTermios = unix.TCSETS
)
