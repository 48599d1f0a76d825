package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// harden keeps other processes of the same user out of our memory and our
// descriptors, and secrets out of core files and of files that others may
// read. It comes before anything else in main, since a child that execs has
// lost it again. It implements *Keeper and socket* (SPEC §4).
func harden() error {
	unix.Umask(0o077)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("failed to switch core files off: %v", err)
	}
	if err := denyTracing(); err != nil {
		return fmt.Errorf("failed to keep other processes out: %v", err)
	}
	return nil
}
