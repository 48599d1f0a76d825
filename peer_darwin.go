package main

import "golang.org/x/sys/unix"

// peerOfSocket asks LOCAL_PEERCRED and LOCAL_PEERPID. macOS has no pidfd
// (SPEC §4).
func peerOfSocket(fd int) (peer, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return peer{}, err
	}
	pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, unix.LOCAL_PEERPID)
	return peer{pid: pid, uid: int(cred.Uid), pidfd: -1}, err
}
