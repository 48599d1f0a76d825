package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// ignoredNow has a bit for each signal that we ignore, the lowest for signal 1.
func ignoredNow() uint64 {
	self, err := unix.SysctlKinfoProc("kern.proc.pid", os.Getpid())
	if err != nil {
		return 0
	}
	return uint64(self.Proc.P_sigignore)
}
