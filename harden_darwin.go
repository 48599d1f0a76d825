package main

import "golang.org/x/sys/unix"

// denyTracing makes the system refuse debuggers.
func denyTracing() error { return unix.PtraceDenyAttach() }
