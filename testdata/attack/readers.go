//go:build linux

package main

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	glance   = time.Millisecond      // of who must not be seen
	nobody   = 65534                 // another user, where root may become one
	flight   = 60 * time.Millisecond // a keeper has looked by then
	readTime = 20 * time.Millisecond // about as long as a read takes, with no question
	maxText  = 8 << 20
)

// open opens a file and counts it.
func (a *attack) open(path string, flags int) (fd int, ok bool) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		switch err {
		case nil:
			a.openedPipe(fd)
			return fd, true
		case unix.EINTR:
		default:
			a.failed(err)
			return -1, false
		}
	}
}

// slurp reads to the end, or for a while.
func (a *attack) slurp(fd int, patience time.Duration) (text []byte) {
	buf := make([]byte, 64<<10)
	for end := time.Now().Add(patience); len(text) < maxText; {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		unix.Poll(fds, max(int(time.Until(end)/time.Millisecond), 0))
		n, err := 0, error(unix.EAGAIN)
		if fds[0].Revents != 0 {
			n, err = readNow(fd, buf)
		}
		switch {
		case n > 0:
			text = append(text, buf[:n]...)
		case n == 0 && err == nil:
			return text
		case err != unix.EAGAIN && err != unix.EINTR:
			a.failed(err)
			return text
		case time.Now().After(end):
			if patience > glance {
				a.failed("no end")
			}
			return text
		}
	}
	return text
}

func readNow(fd int, buf []byte) (int, error) {
	n, err := unix.Read(fd, buf)
	if err != nil {
		return 0, err
	}
	return n, nil
}

// reads is the plain attack. An open that blocks is one that the keeper does not
// answer, and ends with the limit.
func (a *attack) reads() {
	for a.more() {
		a.readOnce(a.path)
	}
}

func (a *attack) readOnce(path string) {
	if fd, ok := a.open(path, unix.O_RDONLY); ok {
		a.got(a.slurp(fd, a.limit))
		unix.Close(fd)
	}
}

func (a *attack) glances() {
	for a.more() {
		a.glanceAt(a.path)
	}
}

func (a *attack) glanceAt(path string) {
	if fd, ok := a.open(path, unix.O_RDONLY|unix.O_NONBLOCK); ok {
		a.got(a.slurp(fd, glance))
		unix.Close(fd)
	}
}

// hides has the system refuse everybody of its user who looks. Root may look all
// the same, so root becomes another user once it has opened.
func (a *attack) hides() {
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	root := os.Getuid() == 0
	for a.more() {
		fd, ok := a.open(a.path, unix.O_RDONLY)
		if root {
			a.must(unix.Setresuid(nobody, nobody, 0))
		}
		if ok {
			a.got(a.slurp(fd, a.limit))
			unix.Close(fd)
		}
		if root {
			a.must(unix.Setresuid(0, 0, 0))
		}
	}
}

// inThread reads in a thread whose descriptors are not those of its process.
func (a *attack) inThread() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		a.must(unix.Unshare(unix.CLONE_FILES))
		a.reads()
	}()
	<-done
}

// inFlight has the open pipe in a socket, where no process holds it.
func (a *attack) inFlight() {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	a.must(err)
	for a.more() {
		fd, ok := a.open(a.path, unix.O_RDONLY)
		if !ok {
			continue
		}
		a.must(unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fd), nil, 0))
		unix.Close(fd)
		time.Sleep(flight)
		rights := make([]byte, unix.CmsgSpace(4))
		_, n, _, _, err := unix.Recvmsg(pair[1], make([]byte, 1), rights, unix.MSG_CMSG_CLOEXEC)
		a.must(err)
		all, err := unix.ParseSocketControlMessage(rights[:n])
		a.must(err)
		fds, err := unix.ParseUnixRights(&all[0])
		a.must(err)
		a.got(a.slurp(fds[0], a.limit))
		unix.Close(fds[0])
	}
}

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// inodeAt is the inode that a path leads to, 0 where there is none.
func inodeAt(path string) uint64 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

// holds keeps what has the name, which is no open and wakes nobody, and opens it
// once somebody else has.
func (a *attack) holds() {
	for a.more() {
		fd, err := unix.Open(a.path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			a.failed(err)
			continue
		}
		a.untilTaken(fd)
		for range 3 {
			a.glanceAt(fdPath(fd))
		}
		unix.Close(fd)
	}
}

// untilTaken waits until another has opened what fd holds, as its name tells, or
// for some moments.
func (a *attack) untilTaken(fd int) {
	mine := inodeAt(fdPath(fd))
	for end := time.Now().Add(20 * time.Millisecond); inodeAt(a.path) == mine && time.Now().Before(end); {
		runtime.Gosched()
	}
}

// links gives the pipe a second name, which outlives the first.
func (a *attack) links() {
	link := a.path + ".link" + strconv.Itoa(os.Getpid())
	defer unix.Unlink(link)
	for a.more() {
		unix.Unlink(link)
		if err := unix.Linkat(unix.AT_FDCWD, a.path, unix.AT_FDCWD, link, unix.AT_SYMLINK_FOLLOW); err != nil {
			a.failed(err)
			continue
		}
		for range 3 {
			a.glanceAt(link)
		}
	}
}

// pipesOf lists the pipes that a process has open.
func pipesOf(pid int) (paths []string) {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	for n := range 16 {
		path := filepath.Join(dir, strconv.Itoa(n))
		var st unix.Stat_t
		if n > 2 && unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO {
			paths = append(paths, path)
		}
	}
	return paths
}

// nextPipe waits for a process to have a pipe open, another one than the last
// time, and then for some moment within a time.
func (a *attack) nextPipe(pid int, within time.Duration) (paths []string) {
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		paths = pipesOf(pid)
		if len(paths) > 0 && handleOf(paths[0]) != a.lastPipe {
			a.lastPipe = handleOf(paths[0])
			break
		}
	}
	time.Sleep(time.Duration(rand.Int64N(int64(within))))
	return paths
}

// handleOf tells a file from a later one with the same inode.
func handleOf(path string) string {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return strconv.FormatUint(inodeAt(path), 10)
	}
	return string(h.Bytes())
}

// joins opens what another reader has open, whatever its name leads to. What
// keepmum has closed to others it opens again first, as its owner may.
func (a *attack) joins() {
	for a.more() {
		for _, path := range a.nextPipe(a.pid, readTime) {
			if a.kind == "chmod" {
				unix.Chmod(path, 0o600)
			}
			a.glanceAt(path)
		}
	}
}

// robsKeeper opens what the keeper has open, and asks for its descriptors.
func (a *attack) robsKeeper() {
	keeper, err := unix.PidfdOpen(a.pid, 0)
	a.must(err)
	for a.more() {
		for n := range 64 {
			path := "/proc/" + strconv.Itoa(a.pid) + "/fd/" + strconv.Itoa(n)
			if fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
				a.opened()
				a.got(a.slurp(fd, glance))
				unix.Close(fd)
			} else {
				a.failed(err)
			}
			if fd, err := unix.PidfdGetfd(keeper, n, 0); err == nil {
				a.opened()
				a.glanceAt(fdPath(fd))
				unix.Close(fd)
			} else {
				a.failed(err)
			}
		}
	}
}

// waits is the best prepared reader: it holds the pipe by a descriptor that is no
// open and cannot be seen, is told of every write, and opens at once. The first
// write is the comment; the values come with the second. It may also hold up the
// reader -victim, which is then late to take them: by a signal (-kind stop), or by
// the system's scheduler (-kind starve).
func (a *attack) waits() {
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	runtime.LockOSThread()
	if a.kind == "starve" {
		a.starves()
	}
	for a.more() {
		fd, err := unix.Open(a.path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			a.failed(err)
			continue
		}
		a.pounce(fd)
		unix.Close(fd)
	}
}

func (a *attack) pounce(fd int) {
	told, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	a.must(err)
	defer unix.Close(told)
	if _, err := unix.InotifyAddWatch(told, fdPath(fd), unix.IN_MODIFY|unix.IN_ACCESS); err != nil {
		a.failed(err)
		return
	}
	mine, events, writes := inodeAt(fdPath(fd)), make([]byte, 4096), 0
	var taken, stopped time.Time // when another has taken its name, and the reader was stopped
	victim, _ := strconv.Atoi(a.victim)
	defer a.goOn(victim)
	for writes < 2 {
		n, _ := readNow(told, events)
		for at := 0; at < n; at += unix.SizeofInotifyEvent {
			switch {
			case binary.NativeEndian.Uint32(events[at+4:])&unix.IN_MODIFY != 0:
				writes++
			case a.kind == "stop":
				a.stop(victim) // it has read the comment
				stopped = time.Now()
			}
		}
		switch {
		case a.ended.Load(), !taken.IsZero() && time.Since(taken) > 50*time.Millisecond:
			return // nobody was served by it
		case !stopped.IsZero() && time.Since(stopped) > time.Second:
			return // it had read everything
		case taken.IsZero() && inodeAt(a.path) != mine:
			taken = time.Now()
		}
	}
	unix.Chmod(fdPath(fd), 0o600)
	a.glanceAt(fdPath(fd))
}

// starves leaves the victim next to no time of a processor.
func (a *attack) starves() {
	victim, err := strconv.Atoi(a.victim)
	a.must(err)
	var one, rest unix.CPUSet
	a.must(unix.SchedGetaffinity(0, &rest))
	for cpu := range 1024 {
		if rest.IsSet(cpu) {
			one.Set(cpu)
			rest.Clear(cpu)
			break
		}
	}
	if rest.Count() > 0 {
		a.must(unix.SchedSetaffinity(0, &rest))
	}
	a.must(unix.SchedSetaffinity(victim, &one))
	const idle = 5
	unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, uintptr(victim), idle, pointer(make([]byte, 4)))
	go func() {
		runtime.LockOSThread()
		a.must(unix.SchedSetaffinity(0, &one))
		for !a.ended.Load() {
		}
	}()
}

// freezes makes the moment between the keeper's last look and its write long, if
// it happens to hit it: it joins the reader in there. Before the delivery, which
// shows by the mode of the pipe, there would be nothing to gain.
func (a *attack) freezes() {
	victim, err := strconv.Atoi(a.victim)
	a.must(err)
	for a.more() {
		a.nextPipe(victim, readTime)
		a.stop(a.pid)
		a.waitStopped()
		var fds []int
		for _, path := range pipesOf(victim) {
			var st unix.Stat_t
			if unix.Stat(path, &st) != nil || st.Mode&0o777 != 0 && a.kind != "any" {
				continue
			}
			unix.Chmod(path, 0o600)
			if fd, ok := a.open(path, unix.O_RDONLY|unix.O_NONBLOCK); ok {
				fds = append(fds, fd)
			}
		}
		a.goOn(a.pid)
		for _, fd := range fds {
			a.got(a.slurp(fd, glance))
			unix.Close(fd)
		}
	}
}

// waitStopped waits until the keeper has stopped: the signal takes a moment.
func (a *attack) waitStopped() {
	for range 1000 {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(a.pid) + "/stat")
		if at := lastParenthesis(stat); err != nil || at > 0 && stat[at+2] == 'T' {
			return
		}
	}
	a.failed("the keeper does not stop")
}

// lastParenthesis is where the name of a process ends in its stat line.
func lastParenthesis(stat []byte) (at int) {
	for i := range stat {
		if stat[i] == ')' && i+2 < len(stat) {
			at = i
		}
	}
	return at
}

// pointer is the address of a slice, for the calls that have no wrapper.
func pointer(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }
