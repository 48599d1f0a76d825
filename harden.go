package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// callersMask is the file mask that we were started with, which a program that
// run starts gets back; -1 before limitFiles. [RUN-12]
var callersMask = -1

// limitFiles keeps secrets out of core files, and files from others (SPEC §4)
// [KPR-9].
func limitFiles() error {
	if before := unix.Umask(0o077); callersMask < 0 {
		callersMask = before
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("failed to switch core files off: %v", err)
	}
	return nil
}

// harden also keeps other processes of the same user out of our memory and our
// descriptors. It comes before anything else in a keeper, since a child that
// execs has lost it again. A bridge or a command cannot have it: the keeper, a
// process of the same user, must see who they are. It implements *Keeper and
// socket* (SPEC §4) [KPR-10] [KPR-12].
func harden() error {
	if err := limitFiles(); err != nil {
		return err
	}
	if err := denyTracing(); err != nil {
		return fmt.Errorf("failed to keep other processes out: %v", err)
	}
	return nil
}
