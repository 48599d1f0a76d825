package main

import "golang.org/x/sys/unix"

// denyTracing makes the system refuse debuggers (SPEC §4) [KPR-10].
func denyTracing() error { return unix.PtraceDenyAttach() }

// allowTracing has no counterpart: here a keeper sees who is closed to debuggers.
func allowTracing() error { return nil }
