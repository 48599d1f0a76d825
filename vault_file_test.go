package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPrivateFiles: what others can reach, or what is not a file, is refused,
// and nothing waits. [FIL-7] [FIL-8] [FIL-9] [FIL-10]
func TestPrivateFiles(t *testing.T) {
	for _, c := range []struct {
		name, want string // "" is accepted
		make       func(path string) error
	}{
		{"file", "", func(path string) error { return os.WriteFile(path, nil, 0o600) }},
		{"read only", "", func(path string) error { return os.WriteFile(path, nil, 0o400) }},
		{"group", "run: chmod 600", mode(0o640)},
		{"others", "run: chmod 600", mode(0o604)},
		{"group writes", "run: chmod 600", mode(0o620)},
		{"others execute", "run: chmod 600", mode(0o601)},
		{"link", "is a symbolic link", func(path string) error { return os.Symlink("/dev/null", path) }},
		{"link to nothing", "is a symbolic link", func(path string) error { return os.Symlink("nothing", path) }},
		{"folder", "not a regular file", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"fifo", "not a regular file", func(path string) error { return unix.Mkfifo(path, 0o600) }},
		{"nothing", "no such file", func(string) error { return nil }},
	} {
		path := filepath.Join(t.TempDir(), "name")
		if err := c.make(path); err != nil {
			t.Fatal(err)
		}
		before, _ := os.Lstat(path)
		f, err := openPrivate(path, os.O_RDONLY)
		if err == nil {
			f.Close()
		}
		if after, _ := os.Lstat(path); before != nil && after.Mode() != before.Mode() {
			t.Errorf("%s: mended silently: %v", c.name, after.Mode())
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	path := filepath.Join(t.TempDir(), "new")
	f, err := openPrivate(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Mode() != 0o600 {
		t.Errorf("a new file has mode %v, %v", info.Mode(), err)
	}
}

// mode returns a maker of a file with this mode, whatever the umask.
func mode(mode fs.FileMode) func(string) error {
	return func(path string) error {
		return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, mode))
	}
}

// TestEnsureHome: made where it is missing, refused and left where others can get
// at it. [FIL-5] [FIL-6] [FIL-10]
func TestEnsureHome(t *testing.T) {
	for _, c := range []struct {
		name, want string
		make       func(path string) error
	}{
		{"new", "", func(string) error { return nil }},
		{"there", "", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"group", "run: chmod 700", func(path string) error {
			return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o750))
		}},
		{"others", "run: chmod 700", func(path string) error {
			return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o701))
		}},
		{"link", "symbolic link", func(path string) error { return os.Symlink(os.TempDir(), path) }},
		{"file", "not a folder", func(path string) error { return os.WriteFile(path, nil, 0o600) }},
	} {
		for _, end := range []string{"", "/"} {
			path := filepath.Join(t.TempDir(), "home")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(path)
			err := ensureHome(path + end)
			if after, _ := os.Lstat(path); before != nil && after.Mode() != before.Mode() {
				t.Errorf("%s: mended silently: %v", c.name, after.Mode())
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
			if info, _ := os.Lstat(path); c.want == "" && info.Mode() != fs.ModeDir|0o700 {
				t.Errorf("%s: mode %v", c.name, info.Mode())
			}
		}
	}
	if err := ensureHome(filepath.Join(t.TempDir(), "no", "parent")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("no parent: %v", err)
	}
}

// TestForeignOwner needs root to give files away. [FIL-6] [FIL-8]
func TestForeignOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a file of another user's")
	}
	dir := t.TempDir()
	path, home := filepath.Join(dir, "vault"), filepath.Join(dir, "home")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Mkdir(home, 0o700),
		os.Chown(path, 12345, -1), os.Chown(home, 12345, -1)); err != nil {
		t.Fatal(err)
	}
	_, err := openPrivate(path, os.O_RDONLY)
	for name, err := range map[string]error{"file": err, "home": ensureHome(home)} {
		if err == nil || !strings.Contains(err.Error(), "belongs to another user") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// failSave lets the nth call of a save fail until restore is called, which
// returns how many calls there were. before is run ahead of every call.
func failSave(t *testing.T, n int, cause error, before func(call string)) (restore func() int) {
	calls, real := 0, saveCalls
	restore = func() int { saveCalls = real; return calls }
	t.Cleanup(func() { restore() })
	fails := func(call string) error {
		before(call)
		if calls++; calls == n {
			return cause
		}
		return nil
	}
	saveCalls.open = func(path string, flags int, mode fs.FileMode) (*os.File, error) {
		if err := fails("open"); err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		return real.open(path, flags, mode)
	}
	saveCalls.write = func(f *os.File, b []byte) (int, error) {
		if err := fails("write"); err != nil {
			n, _ := real.write(f, b[:len(b)/2]) // as on a full disk
			return n, err
		}
		return real.write(f, b)
	}
	saveCalls.sync = func(f *os.File) error { return errors.Join(fails("sync"), real.sync(f)) }
	saveCalls.close = func(f *os.File) error { return errors.Join(real.close(f), fails("close")) }
	saveCalls.rename = func(from, to string) error {
		if err := fails("rename"); err != nil {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
		return real.rename(from, to)
	}
	return restore
}

// TestVaultInterrupted lets each call of a save fail in turn, and opens a copy
// of the file, as a crash would leave it, ahead of each. [VLT-30] [VLT-34]
func TestVaultInterrupted(t *testing.T) {
	const calls = 7 // open folder, open, write, sync, close, rename, sync folder
	for n := 1; n <= calls+1; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			v := newVault(t)
			if err := v.update(setting("OLD", "1")); err != nil {
				t.Fatal(err)
			}
			restore := failSave(t, n, unix.ENOSPC, func(call string) {
				if crashed := openAgain(t, v); names(crashed) != "OLD" && names(crashed) != "OLD NEW" {
					t.Errorf("ahead of %s a crash leaves %s", call, names(crashed))
				}
			})
			err := v.update(setting("NEW", "2"))
			made := restore()
			inMemory, inFile, want := names(v), names(openAgain(t, v)), "OLD"
			if n >= calls {
				want = "OLD NEW"
			}
			if inMemory != want || inFile != want || listing(t, v) != "vault vault.lock" {
				t.Errorf("memory %s, file %s, want %s; folder %s", inMemory, inFile, want, listing(t, v))
			}
			if (err == nil) != (n > calls) || errors.Is(err, errUnsynced) != (n == calls) {
				t.Errorf("call %d: %v", n, err)
			}
			if err != nil && (strings.Contains(err.Error(), ".tmp-") || strings.Count(err.Error(), "\n") > 0) {
				t.Errorf("unclear message: %v", err)
			}
			if n > calls && made != calls {
				t.Errorf("a save makes %d calls, want %d", made, calls)
			}
			if err := v.update(setting("LATER", "3")); err != nil || names(v) != want+" LATER" {
				t.Errorf("the next save: %v, %s", err, names(v))
			}
		})
	}
}

// TestVaultFolderSync: a file system without this call is not an error.
func TestVaultFolderSync(t *testing.T) {
	v := newVault(t)
	failSave(t, 7, unix.EINVAL, func(string) {})
	if err := v.update(setting("A", "1")); err != nil {
		t.Error(err)
	}
}

// TestVaultStaleFiles: what a crashed save left goes, everything else stays.
// [VLT-35]
func TestVaultStaleFiles(t *testing.T) {
	v := newVault(t)
	stale := v.path + ".tmp-" + idText(newID())
	keep := []string{v.path + ".tmp-", v.path + ".tmp-short", v.path + ".bak", stale + "x", "x" + filepath.Base(stale)}
	for i, path := range append(keep, stale) {
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(v.path), path)
			keep[i] = path
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link, folder := v.path+".tmp-"+idText(newID()), v.path+".tmp-"+idText(newID())
	if err := errors.Join(os.Symlink(v.path, link), os.Mkdir(folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := v.update(setting("A", "1")); err != nil {
		t.Fatal(err)
	}
	for _, path := range append(keep, link, folder) {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stale file is still there (%v)", err)
	}
}
