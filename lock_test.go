package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLockRefuses what listens and is no keeper, and a place that nobody can
// listen at: with an error, not a fall. [SOC-2] [CLI-9] [CLI-10]
func TestLockRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		make func(t *testing.T, w *world)
		want string
	}{
		"a home too long for a socket": {func(t *testing.T, w *world) {
			w.home = filepath.Join(w.dir, strings.Repeat("x", 120))
			w.env = append(w.env, "KEEPMUM_HOME="+w.home)
		}, "set KEEPMUM_HOME to a shorter one"},
		"no keeper.lock": {func(t *testing.T, w *world) { listenFake(t, w.home) }, "is no keeper"},
		"an empty keeper.lock that is held": {func(t *testing.T, w *world) {
			listenFake(t, w.home)
			holdLock(t, w.home, "")
		}, `keeper.lock is held by ""`},
		"a keeper.lock that nobody holds": {func(t *testing.T, w *world) {
			listenFake(t, w.home)
			holdLock(t, w.home, fmt.Sprintf("pid %d\n", os.Getpid())).Close()
		}, "nobody holds keeper.lock"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			must(t, os.Mkdir(w.home, 0o700))
			test.make(t, w)
			out, errOut, code := w.done(w.command("lock"))
			if code != 1 || out != "" || !strings.HasPrefix(errOut, "keepmum: error: ") ||
				!strings.Contains(errOut, test.want) {
				t.Errorf("lock: %d %q %q, want %q", code, out, errOut, test.want)
			}
		})
	}
}

// TestLockWithoutASocket: any program of the user can remove it, and the keeper
// serves on. Nobody is told that no keeper runs, and lock ends it. [CLI-13]
// [KPR-2] [SOC-13]
func TestLockWithoutASocket(t *testing.T) {
	t.Parallel()
	w, p, path := mounted(t, "")
	must(t, os.Remove(socketPath(w.home)))
	want := fmt.Sprintf("a keeper holds keeper.lock (pid %d) and cannot be reached", p.cmd.Process.Pid)
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"revoke", "--all"}, {"list"}} {
		out, errOut, code := w.done(w.command(args...))
		if code != 1 || out != "" || !strings.Contains(errOut, want) || !strings.Contains(errOut, "keepmum lock") {
			t.Errorf("%q: %d %q %q, want %q", args, code, out, errOut, want)
		}
	}
	out, errOut, code := w.done(w.command("lock"))
	_, err := os.Lstat(path)
	if code != 0 || out != "locked\n" || !os.IsNotExist(err) {
		t.Errorf("lock: %d %q %q, the mount %v", code, out, errOut, err)
	}
	p.sees("locked: signal")
	p.ends()
	if out, _, code := w.done(w.command("status")); code != 0 || !strings.HasPrefix(out, "locked: no keeper runs") {
		t.Errorf("status after the lock: %d %q", code, out)
	}
}

// TestLockOfAStartingKeeper: one that asks for its passphrase ends, be it of a
// terminal or of a command, and so does one whose scrypt still works. [CLI-13]
func TestLockOfAStartingKeeper(t *testing.T) {
	w := newWorld(t)
	must(t, os.Mkdir(w.home, 0o700))
	v, err := createVault(vaultPath(w.home), []byte(testPass)) // at its real cost
	must(t, err)
	v.close()
	t.Parallel() // from here on, as others make it low for all
	for _, test := range []struct {
		args  []string
		typed string
	}{{[]string{"unlock"}, ""}, {[]string{"list"}, ""}, {[]string{"passwd"}, ""}, {[]string{"unlock"}, testPass + "\r"}} {
		p := w.atTerminal(test.args...)
		p.type_("passphrase: $", test.typed)
		if out, errOut, code := w.done(w.command("lock")); code != 0 || out != "locked\n" {
			t.Errorf("lock of %q: %d %q %q", test.args, code, out, errOut)
		}
		if _, held, err := lockHolder(w.home); held || err != nil {
			t.Errorf("after the lock of %q: held %v, %v", test.args, held, err)
		}
		if p.ends(); test.typed == "" && p.cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%q ended with %v", test.args, p.cmd.ProcessState)
		}
	}
}

// TestLockThatCannot: who holds keeper.lock names no process, or may not be seen.
func TestLockThatCannot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	must(t, os.Mkdir(w.home, 0o700))
	held := holdLock(t, w.home, "")
	if out, errOut, code := w.done(w.command("lock")); code != 1 || out != "" || !strings.Contains(errOut, "does not answer") {
		t.Errorf("nobody named: %d %q %q", code, out, errOut)
	}
	must(t, held.Chmod(0o644))
	for _, args := range []string{"lock", "status"} {
		if out, errOut, code := w.done(w.command(args)); code != 1 || out != "" || !strings.Contains(errOut, "chmod 600") {
			t.Errorf("%s, open to others: %d %q %q", args, code, out, errOut)
		}
	}
}

// limited is a keeper whose files must not get longer than so many blocks.
func (w *world) limited(blocks string) *person {
	cmd := w.command("unlock")
	sh := exec.Command("sh", append([]string{"-c", `ulimit -f "$0"; exec "$@"`, blocks}, cmd.Args...)...)
	sh.Env, sh.Dir = cmd.Env, cmd.Dir
	return w.seat(sh)
}

// TestUnlockThatCannotWrite: a keeper that keeper.lock does not name is reached by
// nobody, and one that is in no log delivers nothing. [KPR-1] [AUD-17]
func TestUnlockThatCannotWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "A", "v")
	w.done(w.command("lock"))
	p.ends()
	p = w.limited("0")
	p.sees("keepmum: error: cannot write keeper.lock: file too large: raise this process's limit")
	if code := p.ends(); code != 1 {
		t.Errorf("keeper.lock cannot be written: %d", code)
	}
	p = w.limited("1") // enough for keeper.lock
	p.type_("passphrase: $", testPass+"\r")
	p.sees("keepmum: error: not unlocked: cannot write the audit log: ")
	if code := p.ends(); code != 1 {
		t.Errorf("the log cannot be written: %d", code)
	}
	if strings.Contains(p.screen(), "Ctrl-C locks") {
		t.Error("it served")
	}
}

// TestSecondKeeperWithoutTheLock: with keeper.lock removed under a keeper, another
// gets it, and finds that the first serves; which locks when it sees what it has
// lost. [KPR-2] [KPR-16]
func TestSecondKeeperWithoutTheLock(t *testing.T) {
	t.Parallel()
	w, p, path := mounted(t, "")
	must(t, p.cmd.Process.Signal(unix.SIGSTOP)) // so that it sees nothing yet
	must(t, os.Remove(lockPath(w.home)))
	for _, args := range []string{"unlock", "passwd"} {
		second := w.atTerminal(args)
		second.sees(fmt.Sprintf("keepmum: error: process %d serves .* already", p.cmd.Process.Pid))
		if code := second.ends(); code != 1 {
			t.Errorf("%s beside a keeper: %d", args, code)
		}
	}
	if info, err := os.Lstat(socketPath(w.home)); err != nil || info.Mode().Type() != os.ModeSocket {
		t.Errorf("the socket of the first: %v, %v", info, err)
	}
	must(t, p.cmd.Process.Signal(unix.SIGCONT))
	p.sees(`locked: keeper\.lock was moved, removed or changed`)
	p.ends()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the mount: %v", err)
	}
	w.unlock()
}

// TestChangedLock: a keeper that keeper.lock no longer names is reached by nobody,
// and locks. [KPR-16]
func TestChangedLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	must(t, os.Truncate(lockPath(w.home), 0))
	p.sees(`locked: keeper\.lock was moved, removed or changed`)
	p.ends()
}

// TestSocketOfAnother stays where a keeper ends.
func TestSocketOfAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	must(t, os.Rename(socketPath(w.home), socketPath(w.home)+".away"))
	listenFake(t, w.home)
	must(t, p.cmd.Process.Signal(unix.SIGTERM))
	p.sees("locked: signal")
	p.ends()
	if _, err := os.Lstat(socketPath(w.home)); err != nil {
		t.Error(err)
	}
}
