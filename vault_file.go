package main

// Files of the home: who may have them, and how one is replaced (SPEC §2, §3).

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ensureHome makes the home folder, or another private one, and refuses one
// that others can enter (SPEC §2) [FIL-5] [FIL-6].
func ensureHome(dir string) error {
	// Without a slash at the end, which would follow a symbolic link.
	dir = filepath.Clean(dir)
	if err := unix.Mkdir(dir, 0o700); err != nil && err != unix.EEXIST {
		return fmt.Errorf("failed to make the folder %q: %w", dir, err)
	}
	return checkFolderPrivate(dir)
}

// checkFolderPrivate refuses what is not a folder of ours that is closed to
// others.
func checkFolderPrivate(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fmt.Errorf("failed to look at %q: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return fmt.Errorf("%q is a symbolic link or not a folder: move it away,"+
			" or set KEEPMUM_HOME to a folder", path)
	}
	return checkPrivate(path, &st)
}

// openPrivate opens a file of the home that nobody else may read or change. A
// new one gets mode 0600 (SPEC §2) [FIL-7] [FIL-8].
func openPrivate(path string, flags int) (*os.File, error) {
	f, st, err := openOwn(unix.AT_FDCWD, path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, diskAdvice(err))
	}
	if err := checkPrivate(path, st); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// openOwn opens a regular file of ours at a folder's descriptor, and judges
// what it opened: no symbolic link is followed and a FIFO does not hold us up
// (SPEC §2) [FIL-9].
func openOwn(dir int, name string, flags int, mode uint32) (*os.File, *unix.Stat_t, error) {
	flags |= unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, name, flags, mode)
	if err == unix.ELOOP {
		return nil, nil, fmt.Errorf("%q is a symbolic link: put the file itself there", name)
	} else if err != nil {
		return nil, nil, fmt.Errorf("cannot open %q: %w", name, err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = fmt.Errorf("%q is not a regular file: move it away", name)
	} else if err == nil {
		err = checkOwner(name, &st)
	}
	if err != nil {
		unix.Close(fd)
		return nil, nil, err
	}
	return os.NewFile(uintptr(fd), name), &st, nil
}

func checkOwner(path string, st *unix.Stat_t) error {
	if int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%q belongs to another user: move it away, or run keepmum as its owner", path)
	}
	return nil
}

// checkPrivate refuses what another user owns or can get at, and says what
// mends it (SPEC §2) [FIL-6] [FIL-8] [FIL-10].
func checkPrivate(path string, st *unix.Stat_t) error {
	mode := st.Mode & 0o777
	if err := checkOwner(path, st); err != nil || mode&0o077 == 0 {
		return err
	}
	return fmt.Errorf("%q is open to other users (mode %#o): check what is in it,"+
		" then run: chmod %o %q", path, mode, mode&0o700, path)
}

// bareError drops the path that os puts, unquoted, before the cause.
func bareError(err error) error {
	if cause := errors.Unwrap(err); cause != nil {
		return cause
	}
	return err
}

// diskAdvice is the next step where the place for a file of the home is the
// trouble, as the end of a message, or "".
func diskAdvice(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC):
		return ": its disk has no room, or no inodes (df, df -i): make some, then try again"
	case errors.Is(err, unix.EDQUOT):
		return ": remove files of yours on its disk (quota), then try again"
	case errors.Is(err, unix.EFBIG):
		return ": raise this process's limit for files (ulimit -f), then try again"
	case errors.Is(err, unix.EROFS):
		return ": mount its file system for writing, or set KEEPMUM_HOME to a folder elsewhere"
	case errors.Is(err, unix.EIO):
		return ": its disk fails: copy the vault to another one"
	}
	return ""
}

// saveCalls are what a save asks of the system, so that a test can let each
// fail.
var saveCalls = struct {
	open   func(path string, flags int, mode fs.FileMode) (*os.File, error)
	write  func(*os.File, []byte) (int, error)
	sync   func(*os.File) error
	close  func(*os.File) error
	rename func(from, to string) error
}{os.OpenFile, (*os.File).Write, (*os.File).Sync, (*os.File).Close, os.Rename}

// errUnsynced says that the new file is in its place, but that a power cut could
// still bring back the old one.
var errUnsynced = errors.New("saved, but the folder could not be synced")

// replaceFile puts data at path. Until the rename everything happens to another
// file; the file is synced before, since a rename can reach the disk ahead of
// the data, and the folder after, since a rename is otherwise forgotten in a
// power cut. An error leaves the old file, unless it is errUnsynced. The
// caller holds the lock (SPEC §3.5) [VLT-30] [VLT-34].
func replaceFile(path string, data []byte) error {
	removeStale(path)
	folder, err := saveCalls.open(filepath.Dir(path), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer folder.Close()
	temp := path + ".tmp-" + idText(newID())
	err = writeNew(temp, data)
	if err == nil {
		err = saveCalls.rename(temp, path)
	}
	if err != nil {
		os.Remove(temp)
		return err
	}
	// EINVAL: some network file systems sync no folder, and need not.
	if err = saveCalls.sync(folder); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: %v", errUnsynced, bareError(err))
	}
	return nil
}

// writeNew makes and syncs a file.
func writeNew(path string, data []byte) error {
	f, err := saveCalls.open(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = saveCalls.write(f, data)
	if err == nil {
		err = saveCalls.sync(f)
	}
	// A network file system may tell of a failed write at close only.
	if closing := saveCalls.close(f); err == nil {
		err = closing
	}
	return err
}

var tempSuffix = lazily(`^\.tmp-[a-z2-7]{26}$`)

// removeStale removes what saves that did not end have left beside path, and
// nothing else. It may fail: they are only in the way (SPEC §3.5) [VLT-35].
func removeStale(path string) {
	entries, _ := os.ReadDir(filepath.Dir(path))
	for _, e := range entries {
		suffix, ours := strings.CutPrefix(e.Name(), filepath.Base(path))
		if ours && tempSuffix().MatchString(suffix) && e.Type().IsRegular() {
			os.Remove(filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
}
