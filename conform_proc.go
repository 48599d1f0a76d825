package main

// The processes of a case. A keeper has a terminal and thus a session of its
// own, so that a process group does not hold them all; parentage does.

import (
	"slices"
	"syscall"
	"time"
)

const (
	endPause    = 2 * time.Millisecond // between two looks for processes
	endPatience = 5 * time.Second      // for killed processes to be gone
)

// descendantsOf returns the processes below pid that run. Those in leave and
// what is below them are left out.
func descendantsOf(pid int, leave map[int]bool) (found []int) {
	children := map[int][]int{}
	for child, parent := range processParents() {
		if !leave[child] {
			children[parent] = append(children[parent], child)
		}
	}
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		found = append(found, children[queue[0]]...)
		queue = append(queue, children[queue[0]]...)
	}
	slices.Sort(found)
	return found
}

// endDescendants kills what runs below pid, and what that starts meanwhile.
func endDescendants(pid int, leave map[int]bool) {
	for end := time.Now().Add(endPatience); time.Now().Before(end); time.Sleep(endPause) {
		found := descendantsOf(pid, leave)
		if len(found) == 0 {
			return
		}
		for _, p := range found {
			syscall.Kill(p, syscall.SIGKILL)
			syscall.Wait4(p, nil, syscall.WNOHANG, nil) // only ours, an orphan
		}
	}
}

// endFamily kills a worker with all that it started. The worker is stopped
// first: it adopts orphans, so while it stands nobody below it gets away.
func endFamily(pid int) {
	syscall.Kill(pid, syscall.SIGSTOP)
	endDescendants(pid, nil)
	syscall.Kill(-pid, syscall.SIGKILL) // where parents cannot be seen
	syscall.Kill(pid, syscall.SIGKILL)
}
