package main

// How a keeper is locked from outside (SPEC §4, §11).

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

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
		fmt.Fprintln(c.out, "locked already: "+whoHolds(home))
		return nil
	}
	if errors.Is(err, &wireError{Code: codeBusy}) {
		err = signalKeeper(home)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errNoAnswer
	}
	if err != nil {
		return err
	}
	return awaitLock(ctx, home, c.out)
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

// awaitLock waits until the keeper has let go of its lock file: only then are
// its mounts gone. [CLI-13] (SPEC §11)
func awaitLock(ctx context.Context, home string, out io.Writer) error {
	for {
		lock, err := openPrivate(filepath.Join(home, "keeper.lock"), os.O_RDWR)
		if err != nil {
			return err
		}
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		lock.Close()
		if err == nil {
			fmt.Fprintln(out, "locked")
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the keeper did not end within 10s: look at its terminal")
		case <-time.After(20 * time.Millisecond):
		}
	}
}
