package main

// The rules that this file enforces (SPEC §7.1):
//   - a path is absolute, clean, and resolved once; what was resolved is held as
//     a descriptor, and everything after happens at that descriptor [MNT-3];
//   - nothing foreign is ever replaced or removed: what is taken away is moved
//     aside or exchanged first, looked at again, and put back if it is not ours
//     [MNT-5].

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

const importMax = 1 << 20 // bytes of an imported file: an Environment's limit (SPEC §3)

// What occupant calls the three cases that a mount can live with. Every other
// kind is a noun phrase for a refusal.
const (
	placeEmpty = "nothing"
	placeOurs  = "our own link"
	placeFile  = "a regular file"
)

// testOnlyBetween runs between a check and the change that follows it.
var testOnlyBetween = func() {}

// place is where a mount's link goes: a folder held open, and a name in it
// (SPEC §7.1).
type place struct {
	path string   // resolved; what is shown and remembered
	dir  *os.File // the parent folder
	base string
}

// fileID says which file, and which state of it, was read.
type fileID struct {
	dev, ino    uint64
	size, mtime int64 // bytes, nanoseconds
	names       uint64
}

// idOf returns the identity of what st describes.
func idOf(st *unix.Stat_t) fileID {
	return fileID{uint64(st.Dev), uint64(st.Ino), st.Size, st.Mtim.Nano(), uint64(st.Nlink)}
}

// checkPath refuses every spelling of a path but the one that names it plainly
// (SPEC §7.1). [MNT-4]
func checkPath(path string) error {
	switch clean := filepath.Clean(path); {
	case !utf8.ValidString(path) || strings.ContainsFunc(path, unicode.IsControl):
		return fmt.Errorf("path %q holds control characters or is not UTF-8: rename the folder", path)
	case !filepath.IsAbs(path):
		return fmt.Errorf("path %q is not absolute: give it from the root, such as %q",
			path, "/home/you/app/.env")
	case path != clean:
		return fmt.Errorf("path %q is not clean: use %q", path, clean)
	case path == "/":
		return fmt.Errorf("path %q names a folder: add a file name, such as %q", path, "/app/.env")
	}
	return nil
}

// openPlace resolves path's folder once, checks it, and holds it. Folders in
// closed, keepmum's own, are refused with all that is below them (SPEC §7.1).
// [MNT-3] [MNT-4]
func openPlace(path string, closed ...string) (*place, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("folder %q does not exist: create it first", filepath.Dir(path))
	} else if err != nil {
		return nil, fmt.Errorf("folder %q cannot be used: %v", filepath.Dir(path), err)
	}
	p := &place{path: filepath.Join(parent, filepath.Base(path)), base: filepath.Base(path)}
	// The link in the folder's name may lead to a name that no JSON carries.
	if err := checkPath(p.path); err != nil {
		return nil, err
	}
	if p.dir, err = openFolder(parent, closed...); err != nil {
		return nil, err
	}
	if err := checkFolder(p.dir); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// openFolder opens a resolved path one name at a time and follows no symbolic
// link, so that nothing swapped in on the way is entered. A folder in closed is
// known by device and inode, however it is spelled.
func openFolder(path string, closed ...string) (*os.File, error) {
	fd, err := unix.Open("/", folderFlags, 0)
	for name := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' }) {
		if err != nil {
			break
		}
		up := fd
		fd, err = unix.Openat(up, name, folderFlags|unix.O_NOFOLLOW, 0)
		unix.Close(up)
		if err == nil && isOneOf(fd, closed) {
			unix.Close(fd)
			return nil, fmt.Errorf("%q is inside keepmum's own folder: choose a project's folder", path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%q is not a folder that can be used: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// isOneOf reports whether fd is one of the folders.
func isOneOf(fd int, folders []string) bool {
	var a, b unix.Stat_t
	for _, f := range folders {
		if unix.Stat(f, &b) == nil && unix.Fstat(fd, &a) == nil && a.Dev == b.Dev && a.Ino == b.Ino {
			return true
		}
	}
	return false
}

// checkFolder refuses a folder in which somebody else could put another thing
// in the place of the link (SPEC §7.1). [MNT-4]
func checkFolder(dir *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return fmt.Errorf("cannot look at folder %q: %v", dir.Name(), err)
	}
	shared := st.Mode&0o022 != 0
	switch {
	case int(st.Uid) != os.Geteuid() && st.Uid != 0:
		return fmt.Errorf("folder %q belongs to user %d: choose a folder of your own",
			dir.Name(), st.Uid)
	case shared && st.Mode&unix.S_ISVTX != 0:
		return fmt.Errorf("folder %q is shared and writable by others: use a folder of your own",
			dir.Name())
	case shared:
		return fmt.Errorf("folder %q is writable by others: run chmod go-w on it first", dir.Name())
	}
	return nil
}

// mayWrite refuses a folder in which no link can be made. [MNT-4] [REQ-4]
func (p *place) mayWrite() error {
	if err := unix.Faccessat(p.fd(), ".", unix.W_OK|unix.X_OK, 0); err != nil {
		return fmt.Errorf("folder %q cannot be written (%v): choose another", p.dir.Name(), err)
	}
	return nil
}

// fd returns the folder's descriptor.
func (p *place) fd() int { return int(p.dir.Fd()) }

// close lets go of the folder.
func (p *place) close() { p.dir.Close() }

// kinds names what else can stand at a path.
var kinds = map[uint32]string{unix.S_IFREG: placeFile, unix.S_IFDIR: "a directory",
	unix.S_IFIFO: "a FIFO", unix.S_IFSOCK: "a socket", unix.S_IFBLK: "a device",
	unix.S_IFCHR: "a device"}

// occupant says what stands at the name: placeEmpty, placeOurs, placeFile, or
// what else it is. The callback ours decides about a link's target.
func (p *place) occupant(ours func(target string) bool) (kind string, err error) {
	st, target, err := p.look(p.base)
	switch {
	case err == unix.ENOENT:
		return placeEmpty, nil
	case err != nil:
		return "", fmt.Errorf("cannot look at %q: %v", p.path, err)
	case target == "":
		return kinds[uint32(st.Mode)&unix.S_IFMT], nil
	case int(st.Uid) == os.Geteuid() && ours(target):
		return placeOurs, nil
	}
	return fmt.Sprintf("a symbolic link to %q", target), nil
}

// look returns what is called name and, if it is a symbolic link, its target.
func (p *place) look(name string) (st unix.Stat_t, target string, err error) {
	err = unix.Fstatat(p.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return st, "", err
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(p.fd(), name, buf)
	return st, string(buf[:max(n, 0)]), err
}

// link makes the name a symbolic link to target where there is nothing, or a
// link of ours that is left over. symlinkat is exclusive by itself, so whoever
// comes first keeps the name (SPEC §7.1). [MNT-5]
func (p *place) link(target string, ours func(target string) bool) error {
	kind, err := p.occupant(ours)
	if err != nil {
		return err
	}
	testOnlyBetween()
	switch kind {
	case placeEmpty:
	case placeOurs:
		_, old, err := p.look(p.base)
		if err != nil || !ours(old) {
			return fmt.Errorf("%q changed at this moment: nothing was replaced, try again", p.path)
		}
		if err := p.unlink(old); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%q is %s: move it away or choose another path", p.path, kind)
	}
	if err := unix.Symlinkat(target, p.fd(), p.base); err != nil {
		return fmt.Errorf("cannot make the link %q: %v", p.path, err)
	}
	return nil
}

// isLink refuses anything at name but a link of ours to target.
func (p *place) isLink(name, target string) error {
	st, got, err := p.look(name)
	if err != nil || got != target || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%q is not keepmum's link: it is left as it is", p.path)
	}
	return nil
}

// isFile refuses anything at name but the regular file want, unchanged.
func (p *place) isFile(name string, want fileID) error {
	st, _, err := p.look(name)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || idOf(&st) != want {
		return fmt.Errorf("%q changed since it was read: it is left as it is, import it again", p.path)
	}
	return nil
}

// tempName returns a new name beside the link's own. It starts with the same
// letters, so that a pattern such as .env* hides it from Git as well.
func (p *place) tempName() string { return p.base + asideMark + rand.Text() }

// asideMark is what a temporary name has behind the mount's own.
const asideMark = ".keepmum-"

// swapFile puts the link in the place of the file want, which an import has
// read. The two are exchanged, so the file keeps existing, as aside, until it is
// known to be the right one; on any difference it goes back (SPEC §9.2). [MNT-5]
// [TUL-18]
func (p *place) swapFile(target string, want fileID) (aside string, err error) {
	if err := p.isFile(p.base, want); err != nil {
		return "", err
	}
	testOnlyBetween()
	aside = p.tempName()
	if err := unix.Symlinkat(target, p.fd(), aside); err != nil {
		return "", fmt.Errorf("cannot make a link beside %q: %v", p.path, err)
	}
	if err := renameExchange(p.fd(), aside, p.base); err != nil {
		p.drop(aside, target)
		return "", fmt.Errorf("cannot exchange %q with a link: %v: import it without mounting,"+
			" move it away, then mount", p.path, err)
	}
	if wrong := p.isFile(aside, want); wrong != nil {
		return "", p.swapBack(aside, target, wrong)
	}
	return aside, nil
}

// swapBack gives what swapFile set aside its name back, and returns why.
func (p *place) swapBack(aside, target string, why error) error {
	if renameExchange(p.fd(), aside, p.base) != nil {
		return fmt.Errorf("%v, but is now named %q: move it back", why, aside)
	}
	p.drop(aside, target)
	return why
}

// remove takes away the file want, which swapFile set aside. How many names it
// has does not count any more: another may have gone with an earlier file of the
// same import. [TUL-18]
func (p *place) remove(aside string, want fileID) error {
	if st, _, err := p.look(aside); err == nil {
		want.names = uint64(st.Nlink)
	}
	if err := p.isFile(aside, want); err != nil {
		return err
	}
	if err := unix.Unlinkat(p.fd(), aside, 0); err != nil {
		return fmt.Errorf("cannot remove %q: %w", p.path, err)
	}
	return nil
}

// leftovers are files that a killed import has set aside and could not remove.
func (p *place) leftovers() (paths []string) {
	entries, _ := os.ReadDir(filepath.Dir(p.path))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), p.base+asideMark) && e.Type().IsRegular() {
			paths = append(paths, filepath.Join(filepath.Dir(p.path), e.Name()))
		}
	}
	return paths
}

// settle removes what was moved aside as temp, or gives it its name back if it
// was not what should go.
func (p *place) settle(temp string, wrong error) error {
	if wrong == nil {
		if wrong = unix.Unlinkat(p.fd(), temp, 0); wrong == nil {
			return nil
		}
	}
	if renameExclusive(p.fd(), temp, p.base) != nil {
		return fmt.Errorf("%v, but is now named %q: move it back", wrong, temp)
	}
	return wrong
}

// drop removes the temporary link, and only that.
func (p *place) drop(temp, target string) {
	if p.isLink(temp, target) == nil {
		unix.Unlinkat(p.fd(), temp, 0)
	}
}

// unlink removes the link if it is ours and leads to target. It is moved aside
// and looked at again first: the name may hold another thing by then, which
// gets its name back. [MNT-5]
func (p *place) unlink(target string) error {
	if err := p.isLink(p.base, target); err != nil {
		return err
	}
	testOnlyBetween()
	temp := p.tempName()
	if err := renameExclusive(p.fd(), p.base, temp); err != nil {
		return fmt.Errorf("cannot remove the link %q: %v", p.path, err)
	}
	return p.settle(temp, p.isLink(temp, target))
}

// touch gives the link the time at which its content changed: a watcher of the
// folder is told of nothing else (SPEC §7.4). [WCH-2]
func (p *place) touch(target string, changed time.Time) {
	if p.isLink(p.base, target) != nil {
		return
	}
	ts := unix.NsecToTimespec(changed.UnixNano())
	unix.UtimesNanoAt(p.fd(), p.base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

// readImport reads a .env file that is to be imported, and says which file that
// was before it was read, for swapFile (SPEC §9.2).
func (p *place) readImport() (text []byte, id fileID, err error) {
	path := p.path
	// Looked at before it is opened: opening a mounted .env would be a read.
	switch kind, err := p.occupant(func(string) bool { return false }); {
	case err != nil:
		return nil, fileID{}, err
	case kind == placeEmpty:
		return nil, fileID{}, fmt.Errorf("no file at %q: check the path", path)
	case kind != placeFile:
		return nil, fileID{}, fmt.Errorf("%q is %s, not a regular file: is it a mounted .env already?",
			path, kind)
	}
	f, st, err := openOwn(p.fd(), p.base, unix.O_RDONLY, 0)
	if err != nil {
		return nil, fileID{}, fmt.Errorf("%v: name a regular file of your own", err)
	}
	defer f.Close()
	text, err = io.ReadAll(io.LimitReader(f, importMax+1))
	if err != nil {
		err = fmt.Errorf("cannot read %q: %v", path, err)
	} else if len(text) > importMax {
		err = fmt.Errorf("%q is too large: more than %d bytes, split it", path, importMax)
	}
	if err != nil {
		wipe(text)
		return nil, fileID{}, err
	}
	return text, idOf(st), nil
}
