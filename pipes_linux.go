package main

import (
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// counted is what Linux keeps with an instance; guarded by queue.mu.
type counted struct {
	tallied tally
	armed   bool   // made: what happens from now on is others' doing
	ours    int    // opens of our own that were seen
	ending  int    // ends of ours that are closed, but were not seen to be closed by us
	key     string // the file handle by which fanotify names it
	watched int    // the watch by which inotify names it
}

// queue is the queue of events that fanotify and inotify have in common. Any
// goroutine may drain it, so that a tally is exact at its moment.
type queue struct {
	fd, bell int // bell wakes next
	parse    func(b []byte)

	mu      sync.Mutex // guards the rest and every instance's counted
	buf     []byte
	fresh   []*instance // touched for the first time
	stopped bool
}

// newQueue takes over fd.
func newQueue(fd int) (*queue, error) {
	bell, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &queue{fd: fd, bell: bell, buf: make([]byte, 64<<10)}, nil
}

// next sleeps until instances were touched; nil is the end, which closes the
// queue: nobody may use it then.
func (q *queue) next() []*instance {
	for {
		q.mu.Lock()
		q.drain()
		fresh, stopped := q.fresh, q.stopped
		q.fresh = nil
		q.mu.Unlock()
		if stopped {
			unix.Close(q.fd)
			unix.Close(q.bell)
			return nil
		}
		if len(fresh) > 0 {
			return fresh
		}
		fds := []unix.PollFd{{Fd: int32(q.fd), Events: unix.POLLIN},
			{Fd: int32(q.bell), Events: unix.POLLIN}}
		unix.Poll(fds, -1)
		if fds[1].Revents != 0 {
			unix.Read(q.bell, make([]byte, 8))
		}
	}
}

func (q *queue) ring() { unix.Write(q.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.ring()
}

// drain takes in all that has happened; mu is held.
func (q *queue) drain() {
	for {
		n, err := unix.Read(q.fd, q.buf)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return
		}
		q.parse(q.buf[:n])
	}
}

// note adds what one event says about i; mu is held.
func (q *queue) note(i *instance, opens, closes, attribs int, lost bool) {
	was := i.tallied.untouched()
	i.tallied.opens += opens
	i.tallied.closes += closes
	i.tallied.attribs += attribs
	i.tallied.lost = i.tallied.lost || lost
	if was && i.armed && !i.tallied.untouched() {
		q.fresh = append(q.fresh, i)
		q.ring() // whoever drained, it is next that handles it
	}
	select {
	case i.event <- struct{}{}:
	default:
	}
}

// tally counts up to this moment: an open is in the queue before whoever
// opened can use it.
func (q *queue) tally(i *instance) tally {
	gone := !hasReader(i.w)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drain()
	t := i.tallied
	t.closes -= i.ending
	t.gone = gone
	return t
}

// release has nothing to free here.
func (q *queue) release(*instance) {}

// ends matters only where all closes are counted.
func (q *queue) ends(*instance) {}

// newCounter prefers fanotify; try says whether one works here.
func newCounter(fallback bool, try func(counter) error) (counter, error) {
	why := "it was told to"
	if !fallback {
		f, err := newFanotify()
		if err == nil {
			if err = try(f); err == nil {
				return f, nil
			}
			f.stop()
			f.next()
		}
		why = err.Error()
	}
	n, err := newInotify(why)
	if err != nil {
		return nil, err
	}
	if err := try(n); err != nil {
		n.stop()
		n.next()
		return nil, err
	}
	return n, nil
}

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// reopen opens the FIFO behind fd, whatever its name leads to now.
func reopen(fd int, _ string, flags int) (int, error) {
	return unix.Open(fdPath(fd), flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
}

// readEnd opens a read end to take back what was not read.
func readEnd(i *instance) (int, error) { return reopen(i.w, "", unix.O_RDONLY) }

// inodeOf is a descriptor that keeps the inode but is neither reader nor writer.
func inodeOf(fd int) int {
	late, err := unix.Open(fdPath(fd), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return late
}

// sizePipe lets a pipe hold n bytes where the limits allow it.
func sizePipe(w, n int) { unix.FcntlInt(uintptr(w), unix.F_SETPIPE_SZ, n) }

// queued is how much of what was written has not been read.
func queued(i *instance) int {
	n, err := unix.IoctlGetInt(i.w, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}
