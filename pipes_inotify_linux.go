package main

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// inotify counts where fanotify is not to be had, not exactly: equal events in
// a row become one. Watching the folder too puts a different event between two
// opens, unless both happen at the same moment (SPEC §7.2).
type inotify struct {
	*queue
	why  string
	live map[int]*instance // by watch
}

// Only readers' closes: our own write end is closed too.
const inotifyMask = unix.IN_OPEN | unix.IN_CLOSE_NOWRITE

var _ counter = (*inotify)(nil)

func newInotify(why string) (*inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("no inotify: %v", err)
	}
	q, err := newQueue(fd)
	if err != nil {
		return nil, err
	}
	n := &inotify{queue: q, why: why, live: map[int]*instance{}}
	q.parse = n.parseEvents
	return n, nil
}

// exact says why not. [DLV-20]
func (n *inotify) exact() (bool, string) {
	return false, "opens are counted by inotify, which may miss one: " + n.why
}

func (n *inotify) folder(dir string) error {
	_, err := unix.InotifyAddWatch(n.fd, dir, unix.IN_OPEN|unix.IN_ONLYDIR)
	return err
}

func (n *inotify) watch(i *instance, r int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	watch, err := unix.InotifyAddWatch(n.fd, fdPath(r), inotifyMask)
	if err != nil {
		return fmt.Errorf("inotify cannot watch a pipe: %v", err)
	}
	i.watched = watch
	n.live[watch] = i
	return nil
}

// arm expects our own open of the write end and our own close of the read end,
// which look like anybody's here, and nothing else.
func (n *inotify) arm(i *instance) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drain()
	if i.tallied != (tally{opens: 1, closes: 1}) {
		return errDisturbed
	}
	i.tallied = tally{}
	i.armed = true
	return nil
}

func (n *inotify) forget(i *instance) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.live[i.watched] == i {
		delete(n.live, i.watched)
		unix.InotifyRmWatch(n.fd, uint32(i.watched))
	}
}

// parseEvents reads struct inotify_event: watch, mask, cookie, length, name.
func (n *inotify) parseEvents(b []byte) {
	for len(b) >= 16 {
		watch := int(int32(binary.NativeEndian.Uint32(b)))
		mask := binary.NativeEndian.Uint32(b[4:])
		size := 16 + int(binary.NativeEndian.Uint32(b[12:]))
		b = b[min(size, len(b)):]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			for _, i := range n.live {
				n.note(i, 0, 0, 0, true)
			}
		}
		i := n.live[watch]
		switch {
		case i == nil:
		case mask&unix.IN_OPEN != 0:
			n.note(i, 1, 0, 0, false)
		case mask&unix.IN_CLOSE_NOWRITE != 0:
			n.note(i, 0, 1, 0, false)
		}
	}
}
