package main

import "golang.org/x/sys/unix"

// adoptOrphans has no counterpart here: an orphan belongs to process 1.
func adoptOrphans() error { return nil }

// processParents maps each process that runs to its parent.
func processParents() map[int]int {
	const zombie = 5 // SZOMB
	all, _ := unix.SysctlKinfoProcSlice("kern.proc.all")
	parents := make(map[int]int, len(all))
	for _, p := range all {
		if p.Proc.P_stat != zombie {
			parents[int(p.Proc.P_pid)] = int(p.Eproc.Ppid)
		}
	}
	return parents
}
