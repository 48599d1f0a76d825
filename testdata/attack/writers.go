//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// planted is what no keeper ever wrote.
const planted = "PLANTED=forged\n"

// plants opens the mount for writing, in one of these ways, and writes:
//
//	write      by its name
//	readwrite  by its name, for both, which needs no reader
//	linked     by a hard link of its own
//	held       by O_PATH, once another reader has opened it
//	join       by the descriptor of reader -pid
//	after      by that too, while the reader is stopped with its text read
//	hold       by that too, and stays, so that the reader comes to no end
//	stay       by its name, for both, and stays
func (a *attack) plants() {
	link := a.path + ".link" + strconv.Itoa(os.Getpid())
	defer unix.Unlink(link)
	for a.more() {
		switch a.kind {
		case "write": // which needs a reader that is there already
			for range 1000 {
				if fd, err := unix.Open(a.path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
					a.openedPipe(fd)
					a.plantIn(fd, glance)
					break
				}
			}
		case "readwrite":
			a.plantAt(a.path, unix.O_RDWR, glance)
		case "linked":
			unix.Unlink(link)
			unix.Linkat(unix.AT_FDCWD, a.path, unix.AT_FDCWD, link, unix.AT_SYMLINK_FOLLOW)
			a.plantAt(link, unix.O_RDWR, glance)
		case "held":
			a.plantHeld()
		case "join":
			a.plantAll(a.nextPipe(a.pid, readTime))
		case "after":
			a.nextPipe(a.pid, readTime)
			a.stop(a.pid)
			a.plantAll(pipesOf(a.pid))
			a.goOn(a.pid)
		case "hold":
			for _, path := range a.nextPipe(a.pid, 1) {
				a.plantAt(path, unix.O_WRONLY, a.limit)
			}
		case "stay":
			a.plantAt(a.path, unix.O_RDWR, a.limit)
		}
	}
}

// plantAll writes into pipes, also those that keepmum has closed to others.
func (a *attack) plantAll(paths []string) {
	for _, path := range paths {
		unix.Chmod(path, 0o600)
		a.plantAt(path, unix.O_WRONLY, 0)
	}
}

func (a *attack) plantAt(path string, flags int, stay time.Duration) {
	if fd, ok := a.open(path, flags|unix.O_NONBLOCK); ok {
		a.plantIn(fd, stay)
	}
}

// plantIn writes into a pipe, and keeps it open for a while.
func (a *attack) plantIn(fd int, stay time.Duration) {
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(planted)); err != nil {
		a.failed(err)
	}
	if stay == a.limit {
		fmt.Println("stays")
	}
	for end := time.Now().Add(stay); time.Now().Before(end) && (stay == glance || !a.ended.Load()); {
		time.Sleep(100 * time.Microsecond)
	}
	if a.kind == "readwrite" { // and what it takes from the pipe itself
		a.got(a.slurp(fd, glance))
	}
}

func (a *attack) plantHeld() {
	fd, err := unix.Open(a.path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		a.failed(err)
		return
	}
	defer unix.Close(fd)
	a.untilTaken(fd)
	a.plantAt(fdPath(fd), unix.O_WRONLY, glance)
}
