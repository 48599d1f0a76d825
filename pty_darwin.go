package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const ptyFlags = 0

// unlockPTY makes a terminal's other end usable and returns its name.
func unlockPTY(fd int) (name string, err error) {
	var buf [128]byte // as long as sys/ttycom.h has it
	for _, request := range []uintptr{unix.TIOCPTYGRANT, unix.TIOCPTYUNLK, unix.TIOCPTYGNAME} {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request,
			uintptr(unsafe.Pointer(&buf)))
		if errno != 0 {
			return "", errno
		}
	}
	return unix.ByteSliceToString(buf[:]), nil
}

// The requests for a terminal's settings.
const (
	ioctlGetTermios = unix.TIOCGETA
	ioctlSetTermios = unix.TIOCSETA
)
