package main

import (
	"bytes"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// denyTracing closes /proc/PID/fd, /proc/PID/mem, ptrace and pidfd_getfd, and
// refuses to go on under a debugger that was there before (SPEC §4) [KPR-10]
// [KPR-11].
func denyTracing() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err == nil && !bytes.Contains(status, []byte("\nTracerPid:\t0\n")) {
		err = errors.New("a debugger is attached to this process")
	}
	return err
}

// allowTracing takes denyTracing back. [KPR-12]
func allowTracing() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }
