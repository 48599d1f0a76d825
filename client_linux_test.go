package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDialRefusesAnotherUser: the socket is ours, who listens on it is not. The
// kernel notes the user when listen is called, so one thread calls it as nobody.
// [SOC-2]
func TestDialRefusesAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can act as another user")
	}
	home := shortHome(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(home, "keeper.sock")}); err != nil {
		t.Fatal(err)
	}
	listenAs(t, fd, 65534)
	_, err = dialKeeper(home)
	if !errors.Is(err, &wireError{Code: codeFailed}) || !strings.Contains(err.Error(), "of user 65534") {
		t.Errorf("dialKeeper = %v, want a refusal that names the user", err)
	}
}

// listenAs calls listen with another effective user in this thread alone. The
// kernel makes the process non-dumpable at such a change, which is put back.
func listenAs(t *testing.T, fd, uid int) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	keep := ^uintptr(0)
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, keep, uintptr(uid), keep); e != 0 {
		t.Fatal(e)
	}
	err = unix.Listen(fd, 1)
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, keep, 0, keep); e != 0 {
		panic(e) // the thread must not go on as somebody else
	}
	if err := errors.Join(err, unix.Prctl(unix.PR_SET_DUMPABLE, uintptr(dumpable), 0, 0, 0)); err != nil {
		t.Fatal(err)
	}
}
