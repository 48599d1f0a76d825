//go:build linux

package main

import (
	"encoding/binary"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What is used of io_uring's numbers (linux/io_uring.h).
const (
	ringRegisterFiles = 2
	ringGetEvents     = 1
	ringOpenat        = 18
	ringClose         = 19
	ringRead          = 22
	ringFixedFile     = 1 // a flag: the file is a slot of the ring's

	ringOffSQ   = 0
	ringOffCQ   = 0x8000000
	ringOffSQEs = 0x10000000
)

// ring is an io_uring with room for one request at a time, and one file, which
// is in no process's table of descriptors.
type ring struct {
	fd             int
	sq, cq, sqes   []byte
	sqTail, cqHead *uint32
	cqTail         *uint32
	array, mask    int // offsets into sq and cq
	cqes           int
}

func word(b []byte, at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&b[at])) }

func newRing() (*ring, error) {
	params := make([]byte, 120)
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, pointer(params), 0)
	if errno != 0 {
		return nil, errno
	}
	r := &ring{fd: int(fd)}
	// Offsets into the rings, as io_sqring_offsets and io_cqring_offsets have them.
	sq := func(k int) uint32 { return binary.NativeEndian.Uint32(params[40+4*k:]) }
	cq := func(k int) uint32 { return binary.NativeEndian.Uint32(params[80+4*k:]) }
	var err error
	for _, m := range []struct {
		into *[]byte
		at   int64
	}{{&r.sq, ringOffSQ}, {&r.cq, ringOffCQ}, {&r.sqes, ringOffSQEs}} {
		if *m.into, err = unix.Mmap(r.fd, m.at, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
			return nil, err
		}
	}
	r.sqTail, r.array = word(r.sq, sq(1)), int(sq(6))
	r.cqHead, r.cqTail, r.cqes = word(r.cq, cq(0)), word(r.cq, cq(1)), int(cq(5))
	r.mask = int(*word(r.cq, cq(2)))
	none := []int32{-1}
	_, _, errno = unix.Syscall6(unix.SYS_IO_URING_REGISTER, fd, ringRegisterFiles,
		uintptr(unsafe.Pointer(&none[0])), 1, 0, 0)
	if errno != 0 {
		return nil, errno
	}
	return r, nil
}

// do makes one request and waits for what came of it.
func (r *ring) do(sqe [64]byte) (int, error) {
	copy(r.sqes, sqe[:])
	*word(r.sq, uint32(r.array)) = 0
	atomic.AddUint32(r.sqTail, 1)
	for sent := uintptr(1); ; sent = 0 {
		_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), sent, 1, ringGetEvents, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return 0, errno
		}
		if head := atomic.LoadUint32(r.cqHead); head != atomic.LoadUint32(r.cqTail) {
			cqe := r.cq[r.cqes+int(head)&r.mask*16:]
			result := int32(binary.NativeEndian.Uint32(cqe[8:]))
			atomic.StoreUint32(r.cqHead, head+1)
			if result < 0 {
				return 0, unix.Errno(-result)
			}
			return int(result), nil
		}
	}
}

// request is an entry of the submission queue.
func request(op, flags byte, fd int32, at []byte, size int, slot uint32) (sqe [64]byte) {
	sqe[0], sqe[1] = op, flags
	binary.NativeEndian.PutUint32(sqe[4:], uint32(fd))
	if at != nil {
		binary.NativeEndian.PutUint64(sqe[16:], uint64(pointer(at)))
	}
	binary.NativeEndian.PutUint32(sqe[24:], uint32(size))
	binary.NativeEndian.PutUint32(sqe[44:], slot)
	return sqe
}

// byRing opens into a slot of the ring, reads from it, and frees it.
func (a *attack) byRing() {
	r, err := newRing()
	a.must(err)
	path, buf := append([]byte(a.path), 0), make([]byte, 64<<10)
	var pins runtime.Pinner // the system writes there while we wait
	pins.Pin(&path[0])
	pins.Pin(&buf[0])
	defer pins.Unpin()
	for a.more() {
		if _, err := r.do(request(ringOpenat, 0, unix.AT_FDCWD, path, 0, 1)); err != nil {
			a.failed(err)
			continue
		}
		a.opened()
		var text []byte
		for {
			n, err := r.do(request(ringRead, ringFixedFile, 0, buf, len(buf), 0))
			if err != nil {
				a.failed(err)
			}
			if n <= 0 {
				break
			}
			text = append(text, buf[:n]...)
		}
		a.got(text)
		if _, err := r.do(request(ringClose, 0, 0, nil, 0, 1)); err != nil {
			a.failed(err)
		}
	}
}
