package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// adoptOrphans has no counterpart on macOS: what a process there leaves behind
// is not found by its parent.
func adoptOrphans() error { return nil }

func reapOrphans() {}

// descendants returns the processes below pid that still have their parents.
func descendants(pid int) (all []int) {
	procs, err := unix.SysctlKinfoProcSlice("kern.proc.uid", os.Getuid())
	if err != nil {
		return nil
	}
	children := map[int][]int{}
	for _, p := range procs {
		parent := int(p.Eproc.Ppid)
		children[parent] = append(children[parent], int(p.Proc.P_pid))
	}
	for queue := children[pid]; len(queue) > 0; queue = queue[1:] {
		all = append(all, queue[0])
		queue = append(queue, children[queue[0]]...)
	}
	return all
}
