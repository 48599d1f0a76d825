package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHomeDir: two variables choose the home, and no other. [FIL-1] [FIL-2] [FIL-4]
func TestHomeDir(t *testing.T) {
	for _, c := range []struct{ keepmum, home, want, refused string }{
		{"/a/b", "/h", "/a/b", ""},
		{"/a/b", "", "/a/b", ""},
		{"", "/h", "/h/.keepmum", ""},
		{"a/b", "/h", "", "not absolute"},
		{".", "/h", "", "not absolute"},
		{"", ".", "", `HOME "." is not absolute`},
		{"", "a/b", "", `HOME "a/b" is not absolute`},
		{"/a/b", "h", "", `HOME "h" is not absolute`},
		{"", "", "", "HOME is not set"},
	} {
		t.Setenv("KEEPMUM_HOME", c.keepmum)
		t.Setenv("HOME", c.home)
		for _, name := range []string{"XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"} {
			t.Setenv(name, "/xdg")
		}
		got, _, err := homeDir()
		if got != c.want || (err == nil) != (c.refused == "") {
			t.Errorf("KEEPMUM_HOME %q, HOME %q: %q, %v", c.keepmum, c.home, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%v, want %q", err, c.refused)
		}
	}
}

// TestFilesOfTheHome: what lies there while a keeper runs, each private, and
// nothing that a project brings. [FIL-3] [FIL-4] [FIL-7] [KPR-1] [SOC-1]
func TestFilesOfTheHome(t *testing.T) {
	w := newWorld(t)
	theirs := filepath.Join(w.project, ".keepmum")
	must(t, os.Mkdir(theirs, 0o700))
	for _, dir := range []string{theirs, w.project} {
		put(t, dir+"/policy.json", "not a policy")
		put(t, dir+"/vault", "not a vault")
	}
	p := w.unlock()
	w.set(p, "acme", "A", "v")
	var names []string
	entries, err := os.ReadDir(w.home)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
		info, err := e.Info()
		must(t, err)
		if info.Mode()&0o077 != 0 || info.Mode().IsRegular() && info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	want := []string{"audit.jsonl", "keeper.lock", "keeper.sock", "run", "vault", "vault.lock"}
	if !slices.Equal(names, want) {
		t.Errorf("the home holds %q, want %q", names, want)
	}
	if info, err := os.Lstat(socketPath(w.home)); err != nil || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("the socket: %v %v", info, err)
	}
	if left, _ := filepath.Glob(theirs + "/*"); len(left) != 2 {
		t.Errorf("the project's folder holds %q", left)
	}
	lock, err := os.Open(filepath.Join(w.home, "keeper.lock"))
	must(t, err)
	defer lock.Close()
	text, _ := os.ReadFile(lock.Name())
	if string(text) != fmt.Sprintf("pid %d\n", p.cmd.Process.Pid) {
		t.Errorf("keeper.lock says %q", text)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Errorf("keeper.lock under a keeper: %v", err)
	}
	w.done(w.command("lock"))
	p.ends()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("keeper.lock after the lock: %v", err)
	}
	if conn, err := net.Dial("unix", socketPath(w.home)); err == nil {
		conn.Close()
		t.Error("somebody listens after the lock") // [KPR-20]
	}
}

// TestSaveRemembersTheLog: the vault knows where the log ends. [VLT-22]
func TestSaveRemembersTheLog(t *testing.T) {
	t.Parallel()
	lowCost(t)
	w := newWorld(t)
	p := w.unlock()
	for _, name := range []string{"A", "B"} {
		w.set(p, "acme", name, "v")
		v, err := openVault(vaultPath(w.home), []byte(testPass))
		must(t, err)
		remembered := v.view().audit
		text, err := os.ReadFile(auditPath(w.home))
		must(t, err)
		lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
		var last struct {
			Number uint64
			MAC    []byte
		}
		must(t, json.Unmarshal(lines[len(lines)-1], &last))
		if remembered.number != last.Number || !bytes.Equal(remembered.mac, last.MAC) {
			t.Errorf("the vault remembers line %d, the last is %d", remembered.number, last.Number)
		}
		v.close()
	}
}

// TestNewPassphrase: twice the same and long enough, after a warning. [KPR-3]
func TestNewPassphrase(t *testing.T) {
	w := newWorld(t)
	p := w.atTerminal("unlock")
	for line := range strings.Lines(p.sees(`There is no vault[\s\S]*cannot be recovered[\s\S]*lost\.`)) {
		if columns(strings.TrimSpace(line)) > 79 {
			t.Errorf("too wide for a terminal: %q", line)
		}
	}
	p.type_("new passphrase: $", "eleven char\r")
	p.sees("at least 12 characters")
	p.type_("new passphrase: $", "twelve chars\r")
	p.type_("the same again: $", "twelve charz\r")
	p.sees("not the same")
	if _, err := os.Lstat(vaultPath(w.home)); err == nil {
		t.Error("a vault was made")
	}
	p.type_("new passphrase: $", "twelve chars\r")
	p.type_("the same again: $", "twelve chars\r")
	p.sees(`Ctrl-C locks\.`)
}

// TestStateLine: at the start, and again at a key. [KPR-6] [KPR-8]
func TestStateLine(t *testing.T) {
	const line = `\d\d:\d\d:\d\d  unlocked: 1 Environment, 1 variable, 1 mount served; idle lock 30m\r\n`
	w, p, _ := mounted(t, "")
	p.type_("allowed", "x")
	p.sees(line)
	w.done(w.command("lock"))
	p.ends()
	p = w.atTerminal("unlock")
	p.type_("passphrase: $", testPass+"\r")
	p.sees(`keepmum \S+  ~/home\r\n` + line + `[\s\S]*Requests appear here\. Ctrl-C locks\.`)
}

// TestSignOfThePerson: only the person's own yes puts the idle lock off.
// [KPR-17]
func TestSignOfThePerson(t *testing.T) {
	self, err := lookup(os.Getpid())
	must(t, err)
	defer self.close()
	k := &keeper{policy: mergePolicy(nil, nil)}
	r := &request{actor: self, via: viaMCP, action: actList}
	before := k.idleSince()
	for _, by := range []string{"~/.keepmum/policy.json:7", "grant 2"} {
		k.remember(r, answer{word: answerOnce, by: by}, testTime)
		if k.idleSince() != before {
			t.Errorf("%s counts as a sign of the person", by)
		}
	}
	k.remember(r, answer{word: answerOnce, by: "person: once"}, testTime)
	if k.idleSince() != testTime {
		t.Error("the person's yes does not count")
	}
}

// TestIdleLockWaits: for a question, which may be answered any moment. [KPR-18]
func TestIdleLockWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy(`{"idleLock":"5s","promptTimeout":"7s"}`)
	p := w.unlock()
	cmd := w.command("list")
	must(t, cmd.Start())
	p.asked("list")
	if text := p.sees(`refused: no answer|locked: nothing`); !strings.HasPrefix(text, "refused") {
		t.Errorf("locked over an open question: %q", text)
	}
	cmd.Wait()
	p.sees("locked: nothing was approved")
}

// TestNothingIsApprovedInALock: not even by a key that was pressed before.
// [KPR-19]
func TestNothingIsApprovedInALock(t *testing.T) {
	self, err := lookup(os.Getpid())
	must(t, err)
	defer self.close()
	v := newVault(t)
	k, err := newKeeper(filepath.Dir(v.path), "", v, mergePolicy(nil, nil))
	must(t, err)
	defer k.audit.close()
	k.asker = ownYes{}
	ask := func() error {
		_, err := k.allow(t.Context(), &request{actor: self, via: viaCommand, action: actList})
		return err
	}
	must(t, ask())
	k.locked.Store(true)
	if err := ask(); !errors.Is(err, &wireError{Code: codeLocked}) {
		t.Errorf("a yes as the keeper locks: %v", err)
	}
}

// TestNewImageAfterAnIdleLock: the same process runs a program that starts
// anew. [KPR-22]
func TestNewImageAfterAnIdleLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy(`{"idleLock":"1s"}`)
	p := w.unlock()
	cmdline := func() string {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.cmd.Process.Pid))
		return string(text)
	}
	if before := cmdline(); before == "" {
		t.Skip("no /proc")
	} else if p.sees("press Enter to unlock again"); cmdline() == before {
		t.Errorf("still %q", before)
	}
	p.type_("", "\r")
	p.type_("passphrase: $", testPass+"\r")
	p.sees(`Ctrl-C locks\.`)
}

// TestNothingOutlivesALock: neither a grant nor a never. [KPR-20]
func TestNothingOutlivesALock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	for range 2 {
		cmd := w.command("list")
		must(t, cmd.Start())
		p.answers("list", "t")
		must(t, cmd.Wait())
		if _, errOut, code := w.done(w.command("list")); code != 0 {
			t.Errorf("under the grant: %s", errOut)
		}
		cmd = w.command("env", "create", "acme")
		must(t, cmd.Start())
		p.answers("create", "v")
		cmd.Wait()
		if _, errOut, _ := w.done(w.command("env", "create", "acme")); !strings.Contains(errOut, "never, until locked") {
			t.Errorf("after the never: %s", errOut)
		}
		p.nothingAsked()
		w.done(w.command("lock"))
		p.ends()
		p = w.unlock()
	}
}

// TestOwnKeeperServesNothing: what it mounts waits for the next unlock. [KPR-29]
func TestOwnKeeperServesNothing(t *testing.T) {
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "A", "v")
	w.done(w.command("lock"))
	p.ends()
	path := filepath.Join(w.project, ".env")
	p = w.atTerminal("mount", "acme", path)
	p.sees("passphrase: $")
	if _, err := os.Lstat(socketPath(w.home)); err == nil {
		t.Error("there is a socket")
	}
	second := w.atTerminal("unlock") // keeper.lock is held [KPR-28]
	second.sees(regexp.QuoteMeta(fmt.Sprintf("a keeper holds keeper.lock (pid %d) and cannot be reached: "+
		"type the passphrase in its terminal if it asks, or end it with keepmum lock", p.cmd.Process.Pid)))
	p.master.WriteString(testPass + "\r")
	p.sees(`is mounted at \S+ from the next keepmum unlock on`)
	if p.ends() != 0 {
		t.Error("the mount failed")
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the mount is served")
	}
	p = w.unlock()
	p.showed("1 mount served")
	if log, _ := os.ReadFile(auditPath(w.home)); bytes.Count(log, []byte(`"event":"mount"`)) != 1 {
		t.Errorf("the log of the command:\n%s", log)
	}
}
