package main

import (
	"net"

	"golang.org/x/sys/unix"
)

// peer is the process at the other end of a Unix socket, as the kernel tells it.
// pidfd is -1 where the kernel gives none; who asked for the peer closes it.
type peer struct{ pid, uid, pidfd int }

// peerOf asks the kernel who is at the other end (SO_PEERCRED, and with Linux
// 6.5 SO_PEERPIDFD, which a reused pid cannot fool). It implements *Keeper and
// socket* (SPEC §4).
func peerOf(conn *net.UnixConn) (peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	p, failed := peer{pidfd: -1}, error(nil)
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); failed != nil {
			return
		}
		p.pid, p.uid = int(cred.Pid), int(cred.Uid)
		if pidfd, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD); err == nil {
			p.pidfd = pidfd
		}
	})
	if err != nil {
		return peer{}, err
	}
	if failed != nil {
		return peer{}, failed
	}
	return p, nil
}
