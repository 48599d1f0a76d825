package main

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// openHeld takes hold of the FIFO without an open, which nobody can see, and
// opens what it holds after the wait.
func openHeld(path string, wait func()) (int, error) {
	held, err := openAt(unix.AT_FDCWD, path, unix.O_PATH)
	if err != nil {
		return -1, err
	}
	defer unix.Close(held)
	wait()
	return openAt(unix.AT_FDCWD, fdPath(held), unix.O_RDONLY)
}

// asStranger runs f on a thread that has a copy of the table of descriptors for
// itself. That is not the first thread, whose table /proc/PID/fd shows.
func asStranger(f func() error) error {
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // and the thread ends with the goroutine
		if unix.Gettid() == os.Getpid() {
			ended <- asStranger(f) // while this one is locked, on another
			return
		}
		if err := unix.Unshare(unix.CLONE_FILES); err != nil {
			ended <- err
			return
		}
		ended <- f()
	}()
	return <-ended
}

// asInput makes fd the standard input of the program that comes. It gets an
// alarm of the system's, which outlives an exec, for ours does not.
func asInput(fd int) error {
	left := unix.Itimerval{Value: unix.NsecToTimeval(testOnlyReaderAlarm.Nanoseconds())}
	if _, err := unix.Setitimer(unix.ITIMER_REAL, left); err != nil {
		return err
	}
	return unix.Dup3(fd, 0, 0)
}
