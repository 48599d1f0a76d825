package main

// keeper.lock: who takes it, who holds it, and how its holder is made to let go
// (SPEC §4, §11).

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockPath is the file that a keeper holds for life. [KPR-1]
func lockPath(home string) string { return filepath.Join(home, "keeper.lock") }

// takeHome makes the home ready and takes keeper.lock, which a keeper holds
// for life. A second one learns who runs (SPEC §4) [KPR-1] [KPR-2].
func takeHome(home string) (*os.File, error) {
	if err := ensureHome(home); err != nil {
		return nil, err
	}
	lock, err := openPrivate(lockPath(home), os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err := flockSoon(lock); err != nil {
		lock.Close()
		return nil, whoHolds(home)
	}
	if err := unserved(home); err != nil {
		lock.Close()
		return nil, err
	}
	if err := signLock(lock); err != nil {
		lock.Close()
		return nil, fmt.Errorf("cannot write keeper.lock: %w%s", bareError(err), diskAdvice(err))
	}
	return lock, nil
}

// signature is what the keeper.lock of this process says.
func signature() string { return fmt.Sprintf("pid %d\n", os.Getpid()) }

// signLock says who holds it: a keeper that it does not name is reached by nobody.
// [SOC-2]
func signLock(lock *os.File) error {
	if err := lock.Truncate(0); err != nil {
		return err
	}
	if _, err := lock.WriteAt([]byte(signature()), 0); err != nil {
		return err
	}
	return lock.Sync() // some file systems tell of a full disk only then
}

// flockSoon takes a lock that others hold for moments: who only looks whether a
// keeper holds it.
func flockSoon(lock *os.File) (err error) {
	for range 10 {
		if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// unserved looks, for who has got keeper.lock, whether a keeper listens all the
// same, since somebody has removed that file under it. [KPR-2]
func unserved(home string) (err error) {
	for range 5 { // one that is being killed listens for a moment more
		if err = nobodyListens(socketPath(home)); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// nobodyListens names the process of ours that does. A socket that is left of one
// that has ended, or that is of another user, is in nobody's way.
func nobodyListens(path string) error {
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if errors.Is(err, unix.EAGAIN) { // more wait than the system holds
		return errors.New("a keeper serves already, and has lost keeper.lock: lock it in its terminal")
	}
	if err != nil {
		return nil
	}
	defer conn.Close()
	p, err := peerOf(conn.(*net.UnixConn))
	if err != nil {
		return nil
	}
	if p.pidfd >= 0 {
		defer unix.Close(p.pidfd)
	}
	if p.uid != os.Getuid() || p.ended() || unix.Kill(p.pid, 0) == unix.ESRCH {
		return nil
	}
	return fmt.Errorf("process %d serves %q already, and does not hold keeper.lock: "+
		"lock that keeper in its terminal, or end the process if it is none", p.pid, path)
}

// lockHolder reports whether somebody holds keeper.lock, and what it says of who.
func lockHolder(home string) (who string, held bool, err error) {
	lock, err := openPrivate(lockPath(home), os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	defer lock.Close()
	// Shared, so that two who look at once do not take each other for a keeper.
	if err = unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		return "", false, err
	}
	text := make([]byte, 64)
	n, _ := lock.ReadAt(text, 0)
	who = clean(strings.TrimSpace(string(text[:n])), 40)
	return cmp.Or(who, "pid unknown"), true, nil
}

// unreached is the error of who finds nobody at the socket, while somebody holds
// keeper.lock: one that asks for a passphrase, is about to end, or serves and has
// had its socket removed. Where no keeper runs it is nil. [KPR-2]
func unreached(home string) error {
	who, held, err := lockHolder(home)
	if err != nil || !held {
		return err
	}
	return fmt.Errorf("a keeper holds keeper.lock (%s) and cannot be reached: "+
		"type the passphrase in its terminal if it asks, or end it with keepmum lock", who)
}

// whoHolds is the error of who found keeper.lock taken. [KPR-2]
func whoHolds(home string) error {
	who, held, err := lockHolder(home)
	if err != nil {
		return err
	}
	if !held {
		return errors.New("keeper.lock was held until just now: try again")
	}
	client, err := dialKeeper(home)
	if errors.Is(err, errNoKeeper) {
		return unreached(home)
	}
	if err == nil {
		client.close()
	}
	return fmt.Errorf("a keeper runs already (%s): use its terminal, or end it with keepmum lock", who)
}

// watchLock locks once keeper.lock is no longer what this keeper holds: nobody can
// reach it then, and another could start beside it. It has a goroutine of its own,
// since the file system may not answer. [KPR-16]
func (k *keeper) watchLock(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !k.holdsLock() {
				k.stop("keeper.lock was moved, removed or changed")
			}
		}
	}
}

// holdsLock reports whether keeper.lock is the file that we hold, and names us.
// What cannot be told is no reason to lock.
func (k *keeper) holdsLock() bool {
	ours, err := k.lock.Stat()
	if err != nil {
		return true
	}
	named, err := os.Lstat(lockPath(k.home))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	text := make([]byte, 64)
	n, err := k.lock.ReadAt(text, 0)
	return os.SameFile(ours, named) && (string(text[:n]) == signature() || err != nil && err != io.EOF)
}

func runLock(c *cli, args []string) error {
	if err := c.want(args, 0, 0); err != nil {
		return err
	}
	home, _, err := homeDir()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err = askToLock(ctx, home)
	if errors.Is(err, errNoKeeper) {
		_, held, unknown := lockHolder(home)
		if unknown == nil && !held {
			fmt.Fprintln(c.out, "locked already: no keeper runs")
			return nil
		}
	}
	if errors.Is(err, errNoKeeper) || errors.Is(err, &wireError{Code: codeBusy}) ||
		errors.Is(err, context.DeadlineExceeded) {
		err = signalHolder(home)
	}
	if err != nil {
		return err
	}
	return awaitLock(home, c.out)
}

// askToLock has the keeper lock that listens. An error that is errNoKeeper says
// that nobody does; what listens there and is no keeper is told nothing. [SOC-2]
func askToLock(ctx context.Context, home string) error {
	client, err := dialKeeper(home)
	if err != nil {
		return err
	}
	defer client.close()
	_, err = client.start("lock", requestParams(nil, "")).wait(ctx)
	// One that says it is locked is ending, and one that ended before it answered
	// has locked.
	if errors.Is(err, errNoKeeper) || errors.Is(err, errLost) && !client.alive() {
		return nil
	}
	return err
}

// signalHolder is for a keeper that cannot be asked. One that lets go meanwhile has
// locked.
func signalHolder(home string) error {
	err := signalKeeper(home)
	if _, held, unknown := lockHolder(home); unknown == nil && !held {
		return nil
	}
	return err
}

// awaitLock waits until the keeper has let go of its lock file: only then are
// its mounts gone. [CLI-13] (SPEC §11)
func awaitLock(home string, out io.Writer) error {
	const limit = lockLimit + 5*time.Second // the keeper ends itself at the former [KPR-30]
	end := time.After(limit)
	for {
		_, held, err := lockHolder(home)
		if err != nil {
			return err
		}
		if !held {
			fmt.Fprintln(out, "locked")
			return nil
		}
		select {
		case <-end:
			return fmt.Errorf("the keeper did not end within %v: look at its terminal", limit)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
