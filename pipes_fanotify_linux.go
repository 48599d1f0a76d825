package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// fanotify counts exactly: the kernel queues an event for every open of every
// process before the descriptor can be used, and merges no two processes'. One
// group, which needs no privilege since Linux 5.13, carries the marks of all
// FIFOs and tells them apart by file handle (SPEC §7.2).
type fanotify struct {
	*queue
	self int32
	live map[string]*instance // by handle
}

// Reads are not asked for: each would wake us while the reader should run.
const fanotifyMask = unix.FAN_OPEN | unix.FAN_CLOSE | unix.FAN_ATTRIB

var _ counter = (*fanotify)(nil)

func newFanotify() (*fanotify, error) {
	const flags = unix.FAN_CLASS_NOTIF | unix.FAN_REPORT_FID | unix.FAN_NONBLOCK | unix.FAN_CLOEXEC
	fd, err := unix.FanotifyInit(flags, 0)
	if err != nil {
		return nil, fmt.Errorf("no fanotify: %v", err)
	}
	q, err := newQueue(fd)
	if err != nil {
		return nil, err
	}
	f := &fanotify{queue: q, self: int32(unix.Getpid()), live: map[string]*instance{}}
	q.parse = f.parseEvents
	return f, nil
}

func (f *fanotify) exact() (bool, string) { return true, "" }

func (f *fanotify) folder(string) error { return nil }

// watch marks the inode behind r, not a name that may lead elsewhere.
func (f *fanotify) watch(i *instance, r int) error {
	key, err := handleOf(r)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	i.key = key
	f.live[key] = i
	err = unix.FanotifyMark(f.fd, unix.FAN_MARK_ADD, fanotifyMask, unix.AT_FDCWD, fdPath(r))
	if err != nil {
		return fmt.Errorf("fanotify cannot mark a pipe here: %v", err)
	}
	return nil
}

// handleOf is the file handle of fd, as events carry it. Some file systems
// have one for identification only, which newer kernels give on request.
func handleOf(fd int) (string, error) {
	const handleFID = 0x200 // AT_HANDLE_FID, Linux 6.5
	h, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH|handleFID)
	if err != nil {
		h, _, err = unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	}
	if err != nil {
		return "", fmt.Errorf("this file system has no file handles: %v", err)
	}
	return handleKey(h.Type(), h.Bytes()), nil
}

func handleKey(kind int32, handle []byte) string {
	return string(binary.NativeEndian.AppendUint32(nil, uint32(kind))) + string(handle)
}

// arm checks that nobody but us has touched i, and that our own opening of the
// write end was reported: where it was not, others' would not be.
func (f *fanotify) arm(i *instance) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drain()
	if !i.tallied.untouched() {
		return errDisturbed
	}
	if i.ours == 0 {
		return errors.New("fanotify does not report the pipes of this file system")
	}
	i.armed = true
	return nil
}

// ends expects the close of a write end of ours. A child that we have just started
// may be the last to close it: it has left our memory, and the lock of forks is
// free, before it lets go of our descriptors. That close is not counted either.
func (f *fanotify) ends(i *instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i.ending++
}

// forget removes the mark, which a hard link would keep for ever.
func (f *fanotify) forget(i *instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fd := max(i.w, i.late)
	if i.key == "" || f.live[i.key] != i {
		return
	}
	delete(f.live, i.key)
	if fd >= 0 {
		unix.FanotifyMark(f.fd, unix.FAN_MARK_REMOVE, fanotifyMask, unix.AT_FDCWD, fdPath(fd))
	}
}

// parseEvents reads event records: struct fanotify_event_metadata, 24 bytes,
// and then, for each object, header (4), file system (8) and file handle.
func (f *fanotify) parseEvents(b []byte) {
	for len(b) >= 24 {
		size := int(binary.NativeEndian.Uint32(b))
		if size < 24 || size > len(b) {
			f.loseAll()
			return
		}
		f.parseEvent(b[:size])
		b = b[size:]
	}
}

func (f *fanotify) parseEvent(b []byte) {
	mask := binary.NativeEndian.Uint64(b[8:])
	if mask&unix.FAN_Q_OVERFLOW != 0 {
		f.loseAll()
		return
	}
	i := f.live[objectOf(b[24:])]
	if i == nil {
		return
	}
	// Without privilege every other process is number 0 here.
	if int32(binary.NativeEndian.Uint32(b[20:])) == f.self {
		i.ours++
		if mask&unix.FAN_CLOSE_WRITE != 0 {
			i.ending = max(i.ending-1, 0)
		}
		return
	}
	has := func(bit uint64) int {
		if mask&bit != 0 {
			return 1
		}
		return 0
	}
	f.note(i, has(unix.FAN_OPEN), has(unix.FAN_CLOSE), has(unix.FAN_ATTRIB), false)
}

// objectOf is the key of the object that an event is about.
func objectOf(b []byte) string {
	for len(b) >= 4 {
		size := int(binary.NativeEndian.Uint16(b[2:]))
		if size < 4 || size > len(b) {
			return ""
		}
		if b[0] == unix.FAN_EVENT_INFO_TYPE_FID && size >= 20 {
			n := int(binary.NativeEndian.Uint32(b[12:]))
			if n < 0 || 20+n > size {
				return ""
			}
			return handleKey(int32(binary.NativeEndian.Uint32(b[16:])), b[20:20+n])
		}
		b = b[size:]
	}
	return ""
}

// loseAll marks every FIFO as one to which anything may have happened.
func (f *fanotify) loseAll() {
	for _, i := range f.live {
		f.note(i, 0, 0, 0, true)
	}
}
