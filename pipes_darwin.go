package main

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// counted is what macOS keeps with an instance.
type counted struct {
	r       atomic.Int64 // read end plus one, taken when a reader came
	ended   atomic.Bool
	waiting chan struct{} // closed when the goroutine in open has returned
}

// opener waits for readers in a blocking open, since macOS has no event for
// it, and counts by looking at processes: best effort, not exact (SPEC §7.2).
type opener struct {
	opened chan *instance
	done   chan struct{}
	once   sync.Once
}

var _ counter = (*opener)(nil)

// newCounter has one way here, whether or not the fallback is asked for.
func newCounter(_ bool, try func(counter) error) (counter, error) {
	o := &opener{opened: make(chan *instance, 64), done: make(chan struct{})}
	return o, try(o)
}

func (o *opener) exact() (bool, string) {
	return false, "macOS does not report opens: readers are found by looking at processes"
}

func (o *opener) folder(string) error { return nil }

func (o *opener) watch(*instance, int) error { return nil }

func (o *opener) ends(*instance) {}

// arm sends a goroutine to wait in open until there is a reader. It takes a
// read end then, while a name leads to the FIFO, which shows what is queued.
func (o *opener) arm(i *instance) error {
	i.waiting = make(chan struct{})
	go func() {
		defer close(i.waiting)
		w, err := unix.Open(i.file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil || i.ended.Load() {
			unix.Close(w)
			return
		}
		if r, err := openSame(i); err == nil {
			i.r.Store(int64(r) + 1)
		}
		unix.Close(w)
		select {
		case o.opened <- i:
		case <-o.done:
		}
	}()
	return nil
}

// openSame opens the read end by whichever name i has now.
func openSame(i *instance) (int, error) {
	names := []string{i.file}
	if at := i.placed.Load(); at != nil {
		names = []string{*at}
	}
	for _, name := range names {
		fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Ino == i.ino && uint64(st.Dev) == i.dev {
			return fd, nil
		}
		unix.Close(fd)
	}
	return -1, errors.New("the pipe has no name any more")
}

// release frees the goroutine in open, by a reader of our own. Where somebody
// else has taken the name away it stays there until we end.
func (o *opener) release(i *instance) {
	i.ended.Store(true)
	if i.waiting == nil {
		return
	}
	if fd, err := openSame(i); err == nil {
		<-i.waiting
		unix.Close(fd)
	}
}

func (o *opener) forget(i *instance) {
	o.release(i)
	if r := i.r.Swap(0); r > 0 {
		unix.Close(int(r) - 1)
	}
}

// tally looks at the processes that have i open. Holders whose parent holds it
// too share one open, as far as can be told.
func (o *opener) tally(i *instance) (t tally) {
	if i.r.Load() == 0 {
		t.gone = !hasReader(i.w)
		if !t.gone {
			t.opens = 1
		}
		return t
	}
	hs := holders(i, scanTime)
	pids := map[int]bool{}
	for _, h := range hs {
		pids[h.pid] = true
	}
	for _, h := range hs {
		if a, _, err := readStep(h.pid); err != nil || !pids[a.parent] {
			t.opens++
		}
	}
	t.gone = len(hs) == 0
	t.opens = max(t.opens, 1)
	return t
}

func (o *opener) next() []*instance {
	select {
	case i := <-o.opened:
		return []*instance{i}
	case <-o.done:
		return nil
	}
}

func (o *opener) stop() { o.once.Do(func() { close(o.done) }) }

// holders lists the processes of our user that have i open. All are looked at:
// there is no exact count that would say that nobody else has it.
func holders(i *instance, _ time.Duration) (found []holder) {
	list, err := procInfo(procListPids, pidsOfUser, unix.Geteuid(), 0, make([]byte, 64<<10))
	for ; err == nil && len(list) >= 4 && len(found) < holdersMax; list = list[4:] {
		pid := int(binary.NativeEndian.Uint32(list))
		if pid == os.Getpid() || pid == 0 {
			continue
		}
		if h, ok := holds(pid, i); ok {
			found = append(found, h)
		}
	}
	return found
}

// holds looks through the descriptors of one process: struct proc_fdinfo, and
// for each file struct vnode_fdinfo (openflags at 0, device at 24, inode at 32).
func holds(pid int, i *instance) (h holder, found bool) {
	h.pid = pid
	fds, err := procInfo(procPidInfo, pid, pidFds, 0, make([]byte, 64<<10))
	for ; err == nil && len(fds) >= 8; fds = fds[8:] {
		if binary.NativeEndian.Uint32(fds[4:]) != fdVnode {
			continue
		}
		fd := int(binary.NativeEndian.Uint32(fds))
		b, err := procStruct(procFdInfo, pid, fdVnode, fd, 176)
		if err != nil || binary.NativeEndian.Uint64(b[32:]) != i.ino ||
			uint64(int32(binary.NativeEndian.Uint32(b[24:]))) != i.dev {
			continue
		}
		const forWriting = 2 // FWRITE
		found = true
		h.writes = h.writes || binary.NativeEndian.Uint32(b)&forWriting != 0
	}
	return h, found
}

// reopen opens the FIFO by its name; a descriptor cannot be opened again here.
func reopen(fd int, file string, flags int) (int, error) {
	if file == "" {
		return -1, errors.ErrUnsupported
	}
	var want, st unix.Stat_t
	again, err := unix.Open(file, flags|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if unix.Fstat(fd, &want) != nil || unix.Fstat(again, &st) != nil || want.Ino != st.Ino {
		unix.Close(again)
		return -1, errDisturbed
	}
	return again, nil
}

// readEnd is a descriptor to take back what was not read.
func readEnd(i *instance) (int, error) {
	if r := i.r.Load(); r > 0 {
		return unix.FcntlInt(uintptr(r-1), unix.F_DUPFD_CLOEXEC, 0)
	}
	return -1, errors.ErrUnsupported
}

// inodeOf has no counterpart here.
func inodeOf(int) int { return -1 }

// sizePipe has no counterpart here: a pipe holds 8 KiB.
func sizePipe(int, int) {}

// queued is how much of what was written has not been read; without a read end
// it is unknown, which counts as not read.
func queued(i *instance) int {
	r := i.r.Load()
	if r == 0 {
		return 1
	}
	const fionread = 0x4004667f // FIONREAD
	n, err := unix.IoctlGetInt(int(r-1), fionread)
	if err != nil {
		return 1
	}
	return n
}
