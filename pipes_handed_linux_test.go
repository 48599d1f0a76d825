package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	// takes a descriptor from the socket that it was started with, says so, and
	// reads all that comes once its input has ended.
	helpers["takes"] = func() {
		room, some := make([]byte, unix.CmsgSpace(4)), make([]byte, 1)
		_, n, _, _, err := unix.Recvmsg(3, some, room, 0)
		if err != nil {
			fmt.Println(err)
			return
		}
		all, _ := unix.ParseSocketControlMessage(room[:n])
		fds, _ := unix.ParseUnixRights(&all[0])
		fmt.Println("taken")
		os.Stdin.Read(some)
		text := make([]byte, 1<<16)
		n, _ = unix.Read(fds[0], text)
		fmt.Print(string(text[:max(n, 0)]))
	}
}

// TestPipesHandedOn: a process that was there before, and gets the descriptor of the
// reader while the person is asked, is seen before values go out. [DLV-10]
func TestPipesHandedOn(t *testing.T) {
	bothCounters(t, func(t *testing.T, e *engine) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
		defer ours.Close()
		self, err := os.Executable()
		must(t, err)
		sister := &reader{t: t, cmd: exec.Command(self)}
		sister.cmd.Env = append(os.Environ(), "KEEPMUM_TEST_HELPER=takes", "GORACE=atexit_sleep_ms=0")
		sister.cmd.ExtraFiles, sister.cmd.Stdout = []*os.File{theirs}, &sister.out
		sister.in, err = sister.cmd.StdinPipe()
		must(t, err)
		must(t, sister.cmd.Start())
		theirs.Close()
		t.Cleanup(func() { sister.cmd.Process.Kill(); sister.cmd.Wait() })

		asked, yes := make(chan int, 1), make(chan error)
		e.keeper.decide = func(_ context.Context, who *process) error { asked <- who.pid; return <-yes }
		victim := startHelper(t, "read", e.file)
		pid := <-asked
		held := heldFile(t, pid)
		pidfd, err := unix.PidfdOpen(pid, 0)
		must(t, err)
		defer unix.Close(pidfd)
		number, _ := strconv.Atoi(filepath.Base(held))
		fd, err := unix.PidfdGetfd(pidfd, number, 0)
		if err != nil {
			close(yes)
			t.Skipf("no descriptor can be taken here: %v", err)
		}
		conn, err := net.FileConn(ours)
		must(t, err)
		defer conn.Close()
		_, _, err = conn.(*net.UnixConn).WriteMsgUnix([]byte{0}, unix.UnixRights(fd), nil)
		must(t, err)
		unix.Close(fd)
		waitFor(t, "the other to have it", func() bool { return strings.Contains(sister.out.String(), "taken") })
		yes <- nil
		if got := victim.wait(); strings.Contains(got, "KEY") {
			t.Errorf("the reader got %.40q", got)
		}
		sister.in.Close()
		sister.cmd.Wait()
		if got := sister.out.String(); strings.Contains(got, "KEY") {
			t.Errorf("the other got %.40q", got)
		}
		if word := e.keeper.all(); word != endRefused {
			t.Errorf("it ended %s", e.keeper.story())
		}
	})
}

// TestPipesInstalledAgain: a name that could not be put back is, once that can be
// done, and is not called served meanwhile. [MNT-12]
func TestPipesInstalledAgain(t *testing.T) {
	bothCounters(t, func(t *testing.T, e *engine) {
		folder := filepath.Dir(e.file)
		must(t, os.Rename(folder, folder+"-aside"))
		put(t, folder, "in the way")
		r := startHelper(t, "read", filepath.Join(folder+"-aside", ".env"))
		waitFor(t, "the mount to be broken", func() bool { return e.keeper.count(endBroken) == 1 })
		if e.serves("/project/.env") {
			t.Error("a mount without a pipe is called served")
		}
		r.wait()
		must(t, os.Remove(folder))
		waitFor(t, "the pipe to be back", func() bool { return e.serves("/project/.env") })
		e.mustRead(t)
	})
}

// told is a counter that has one answer.
type told struct {
	counter
	t tally
}

func (c told) tally(*instance) tally { return c.t }

// TestPipeIsClean: each thing that must be so directly before a piece is written. [DLV-11]
func TestPipeIsClean(t *testing.T) {
	for name, c := range map[string]struct {
		named bool
		mode  uint32
		tally tally
		want  string
	}{
		"clean":      {tally: tally{opens: 1}},
		"a name":     {named: true, tally: tally{opens: 1}, want: endRefused},
		"a mode":     {mode: 0o400, tally: tally{opens: 1}, want: endRefused},
		"attributes": {tally: tally{opens: 1, attribs: 1}, want: endRefused},
		"two opens":  {tally: tally{opens: 2}, want: endContested},
		"a close":    {tally: tally{opens: 1, closes: 1}, want: endContested},
		"lost count": {tally: tally{opens: 1, lost: true}, want: endContested},
		"gone":       {tally: tally{opens: 1, closes: 1, gone: true}, want: endAbandoned},
	} {
		i := ownInstance(t)
		must(t, unix.Fchmod(i.w, c.mode))
		if !c.named {
			must(t, os.Remove(i.path))
		}
		v := &visit{pipes: &pipes{count: told{t: c.tally}}, i: i.instance, m: &mountPoint{gone: make(chan struct{})}}
		got := ""
		if bad := v.clean(); bad != nil {
			got = bad.word
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// Who came late has not been counted yet, as one whose open takes long on a busy
// machine. [DLV-16]
func TestPipesLateOneLine(t *testing.T) {
	bothCounters(t, func(t *testing.T, e *engine) {
		i, err := e.newInstance()
		if err != nil {
			t.Fatal(err)
		}
		r, err := reopen(i.w, "", unix.O_RDONLY)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(r)
		(&visit{pipes: e.pipes, i: i}).retire()
		uncount(e.count, i)
		e.linger(&mountPoint{}, i, 1)
		buf := make([]byte, 1000)
		n, _ := unix.Read(r, buf)
		if got := string(buf[:max(n, 0)]); got != lineRefused {
			t.Errorf("who had not read got %q", got)
		}
		if n, err := unix.Read(r, buf); n != 0 || err != nil {
			t.Errorf("then %d, %v, want the end", n, err)
		}
	})
}

// uncount forgets the last open of i.
func uncount(c counter, i *instance) {
	var q *queue
	switch c := c.(type) {
	case *fanotify:
		q = c.queue
	case *inotify:
		q = c.queue
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drain()
	i.tallied = tally{opens: 2, closes: 2}
}
