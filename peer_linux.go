package main

import "golang.org/x/sys/unix"

// peerOfSocket asks SO_PEERCRED and, with Linux 6.5, SO_PEERPIDFD, which a
// reused pid cannot fool (SPEC §4) [SOC-4].
func peerOfSocket(fd int) (peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return peer{}, err
	}
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	if err != nil {
		pidfd = -1
	}
	return peer{pid: int(cred.Pid), uid: int(cred.Uid), pidfd: pidfd}, nil
}
