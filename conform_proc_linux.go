package main

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// adoptOrphans makes this process the parent of every descendant whose own
// parent ends, so that no process of a case can get away.
func adoptOrphans() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// processParents maps each process that runs to its parent.
func processParents() map[int]int {
	entries, _ := os.ReadDir("/proc")
	parents := make(map[int]int, len(entries))
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if st, err := readStat(pid); err == nil {
				parents[pid] = st.parent
			}
		}
	}
	return parents
}
