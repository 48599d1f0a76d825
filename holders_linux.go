package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// holders lists the processes of our user that have i open, newest first.
// It goes on for limit to find strangers; without one it stops at the first and
// its ancestors. Threads with a table of their own, protected processes and
// descriptors in flight are not seen: the count of opens is what says that nobody
// else reads (SPEC §7.3).
func holders(i *instance, limit time.Duration) (found []holder) {
	seen := map[int]bool{os.Getpid(): true}
	look := func(pid int) bool {
		if seen[pid] {
			return false
		}
		seen[pid] = true
		h, ok := holds(pid, i)
		if ok && len(found) < holdersMax {
			found = append(found, h)
		}
		return ok
	}
	var end time.Time
	for _, pid := range newestFirst() {
		if !end.IsZero() && time.Now().After(end) {
			break
		}
		if !look(pid) {
			continue
		}
		for up, k := parentOf(pid), 0; up > 1 && k < ancestorsMax; up, k = parentOf(up), k+1 {
			look(up)
		}
		if limit == 0 {
			break
		}
		if end.IsZero() {
			end = time.Now().Add(limit)
		}
	}
	return found
}

func parentOf(pid int) int {
	st, _ := readStat(pid)
	return st.parent
}

// newestFirst lists all processes, beginning with the last number given out
// and going round: a reader is nearly always young.
func newestFirst() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	load, _ := os.ReadFile("/proc/loadavg")
	_, number, _ := strings.Cut(string(load), "/") // 0.1 0.2 0.3 1/234 5678
	_, number, _ = strings.Cut(number, " ")
	last, _ := strconv.Atoi(strings.TrimSpace(number))
	k, _ := slices.BinarySearch(pids, last+1)
	slices.Reverse(pids[:k])
	slices.Reverse(pids[k:])
	return pids
}

// holds looks through the descriptors of one process. The mode of the link in
// /proc/PID/fd is what the descriptor was opened for; one opened by O_PATH has
// none and is no open.
func holds(pid int, i *instance) (holder, bool) {
	h := holder{pid: pid}
	var st unix.Stat_t
	path := procPath(pid, "fd")
	if unix.Stat(path, &st) != nil || int(st.Uid) != unix.Geteuid() {
		return h, false
	}
	dir, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return h, false
	}
	defer unix.Close(dir)
	var fds []int
	buf := make([]byte, 8<<10)
	for n, _ := unix.Getdents(dir, buf); n > 0; n, _ = unix.Getdents(dir, buf) {
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if st, err := statHeld(dir, name); err != nil || st.Ino != i.ino || st.Dev != i.dev {
				continue
			}
			if unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Mode&0o600 == 0 {
				continue
			}
			writes, reads := st.Mode&0o200 != 0, st.Mode&0o400 != 0
			if !reads && name == strconv.Itoa(i.w) && parentOf(pid) == os.Getpid() {
				continue // a child of ours that has not exec'ed yet, with our own end
			}
			fd, _ := strconv.Atoi(name)
			fds = append(fds, fd)
			h.writes = h.writes || writes
		}
	}
	h.twice = slices.ContainsFunc(fds, func(fd int) bool { return !sameOpen(pid, fds[0], fd) })
	if len(fds) > 0 {
		st, _ := readStat(pid)
		h.moves = st.state == "R" || st.state == "D" // in vfork and in exec it is D
	}
	return h, len(fds) > 0
}

// sameOpen reports whether two descriptors of a process come from one open, by
// dup or a fork: the opens of one process that come at the same moment are
// counted as one.
func sameOpen(pid, a, b int) bool {
	const kcmpFile = 0
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(pid), uintptr(pid), kcmpFile,
		uintptr(a), uintptr(b), 0)
	return a == b || errno == 0 && order == 0
}
