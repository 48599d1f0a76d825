package main

import (
	"net"

	"golang.org/x/sys/unix"
)

// peer is the process at the other end of a Unix socket, as the kernel tells it.
// macOS has no pidfd, so that member is always -1.
type peer struct{ pid, uid, pidfd int }

// peerOf asks the kernel who is at the other end (LOCAL_PEERCRED and
// LOCAL_PEERPID). It implements *Keeper and socket* (SPEC §4).
func peerOf(conn *net.UnixConn) (peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	p, failed := peer{pidfd: -1}, error(nil)
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Xucred
		if cred, failed = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED); failed != nil {
			return
		}
		p.uid = int(cred.Uid)
		p.pid, failed = unix.GetsockoptInt(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	})
	if err != nil {
		return peer{}, err
	}
	if failed != nil {
		return peer{}, failed
	}
	return p, nil
}
