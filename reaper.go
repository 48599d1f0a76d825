package main

// What keeps a killed keeper from leaving FIFOs behind that hang their readers
// (SPEC §4): a child that waits for its pipe to close, and a take-over at the
// next unlock of what even that child left. Both remove only FIFOs of ours in a
// private run folder, that folder, and links that still lead into it.

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	reaperPause    = 500 * time.Millisecond // between two starts of a reaper
	reaperPatience = 2 * time.Second        // for it to take a line, or to end
	runLockName    = "lock"                 // in a run folder, locked by its living keeper
)

// testOnlyEnv makes the test binary this program again.
var testOnlyEnv []string

// reapList is one line of the pipe: all that the child is to remove. A later
// line takes the place of an earlier one. The run folder's name is bytes, which
// JSON would change in a string that is not UTF-8; a mount's path always is.
type reapList struct {
	Dir      []byte
	Dev, Ino uint64            // of the run folder
	Links    map[string][]byte // path to target
}

// reaper is the keeper's side of the child.
type reaper struct {
	mu      sync.Mutex // guards all below, and the order of lines
	cmd     *exec.Cmd
	pipe    *os.File
	list    reapList
	stopped bool
	broken  error // why there is no child

	program func() (string, error) // where the child's program is
	say     func(format string, args ...any)
	gone    chan struct{} // closed when the watcher has ended
}

// startReaper starts the child for the run folder dir; say tells the person
// where there can be none any more (SPEC §4) [KPR-23].
func startReaper(dir string, say func(format string, args ...any)) (*reaper, error) {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return nil, fmt.Errorf("cannot look at run folder %q: %v", dir, err)
	}
	r := &reaper{list: reapList{[]byte(dir), uint64(st.Dev), uint64(st.Ino), map[string][]byte{}},
		program: ownProgram, say: say, gone: make(chan struct{})}
	if err := r.start(); err != nil {
		return nil, fmt.Errorf("cannot start the reaper: %v", err)
	}
	go r.watch()
	return r, nil
}

// start runs a child and tells it everything. A session of its own keeps the
// terminal's signals from it; it gets no environment, which may hold secrets
// (SPEC §4) [KPR-24]. Its file may be gone since we were started, in an update.
func (r *reaper) start() error {
	exe, err := r.program()
	if err != nil {
		return err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	cmd := exec.Command(exe, "reaper")
	cmd.Args[0] = os.Args[0] // for who lists processes
	cmd.Dir, cmd.Stdin, cmd.Env = "/", in, append([]string{"LC_ALL=C"}, testOnlyEnv...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		out.Close()
		return err
	}
	r.cmd, r.pipe = cmd, out
	r.tell() // a child that takes no line is killed: the watcher starts another
	return nil
}

// tell writes the list. A child that does not take it is killed, never left
// with an old list: seeing the pipe closed it would clean up a living keeper.
func (r *reaper) tell() error {
	r.pipe.SetWriteDeadline(time.Now().Add(reaperPatience))
	if err := json.NewEncoder(r.pipe).Encode(r.list); err != nil {
		r.cmd.Process.Kill()
		return fmt.Errorf("the reaper does not answer, another is being started: try again")
	}
	return nil
}

// watch starts another child when one has died, until stop is called (SPEC §4)
// [KPR-25].
func (r *reaper) watch() {
	defer close(r.gone)
	for cmd := r.cmd; ; time.Sleep(reaperPause) {
		cmd.Wait()
		r.mu.Lock()
		if r.stopped {
			r.mu.Unlock()
			return
		}
		r.pipe.Close()
		err := r.start()
		if err != nil && r.broken == nil { // else it was said
			r.warn(err)
		}
		r.broken, cmd = err, r.cmd
		r.mu.Unlock()
	}
}

// warn tells the person what nobody would notice until it hangs.
func (r *reaper) warn(err error) {
	r.say("   WARNING: no child can be started that cleans up if this keeper is killed:\n"+
		"   what reads a mount would hang then. It is tried again and again: %s\n", clean(err.Error(), 200))
}

// add has the child remove link, when the keeper dies, if it then still leads
// to target. On an error the next child is told all the same; where there can
// be none, the person is told.
func (r *reaper) add(link, target string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list.Links[link] = []byte(target)
	err := r.tell()
	if err != nil && r.broken != nil {
		r.warn(r.broken)
	}
	return err
}

// remove has the child forget link.
func (r *reaper) remove(link string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.list.Links, link)
	r.tell() // a child that missed it is dead; the next gets the list
}

// stop ends the child after the keeper removed all itself. What the keeper
// could not remove is tried once more.
func (r *reaper) stop() {
	r.mu.Lock()
	r.stopped = true
	r.pipe.Close()
	cmd := r.cmd
	r.mu.Unlock()
	select {
	case <-r.gone:
	case <-time.After(reaperPatience):
		cmd.Process.Kill()
		<-r.gone
	}
}

// runReaper is the child: it reads lists until the pipe closes, which is the
// keeper's end however it came, and cleans up by the last (SPEC §4) [KPR-23].
func runReaper(stdin io.Reader) {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	var list, next reapList
	for in := json.NewDecoder(stdin); in.Decode(&next) == nil; next = (reapList{}) {
		list = next
	}
	var st unix.Stat_t
	dir := string(list.Dir)
	err := unix.Lstat(dir, &st)
	if err == nil && uint64(st.Dev) == list.Dev && uint64(st.Ino) == list.Ino {
		removeRunDir(dir)
	}
	for path, target := range list.Links {
		if within(string(target), dir) {
			removeLink(path, string(target))
		}
	}
}

// removeLink removes the symbolic link at path if it still leads to target
// (SPEC §4) [KPR-27].
func removeLink(path, target string) error {
	dir, err := openFolder(filepath.Dir(path))
	if err != nil {
		return err
	}
	p := &place{path: path, dir: dir, base: filepath.Base(path)}
	defer p.close()
	return p.unlink(target)
}

// removeRunDir removes the FIFOs in a run folder of ours, the lock, and the
// folder. Anything else in it stays, and then so does the folder (SPEC §4)
// [KPR-27].
func removeRunDir(path string) error {
	if err := checkFolderPrivate(path); err != nil {
		return err
	}
	var folders []string
	filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
		case d.IsDir():
			folders = append(folders, name)
		case d.Type() == fs.ModeNamedPipe, name == filepath.Join(path, runLockName):
			os.Remove(name)
		}
		return nil
	})
	var err error
	for _, folder := range slices.Backward(folders) {
		err = unix.Rmdir(folder)
	}
	return err
}

// runRoot returns the folder in which keepers make their run folders, made
// where it is missing, resolved (SPEC §7.1).
func runRoot(home string) (string, error) {
	root := filepath.Join(home, "run")
	if xdg := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(xdg) && checkFolderPrivate(xdg) == nil {
		root = filepath.Join(xdg, "keepmum")
	}
	if err := ensureHome(root); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(root)
}

// makeRunDir makes a keeper's private folder under root and locks it for the
// keeper's life. It fails where a sweep by another keeper takes the folder away
// before it is locked. [MNT-1]
func makeRunDir(root string) (dir string, unlock func(), err error) {
	dir = filepath.Join(root, "keepmum-"+rand.Text())
	if err := unix.Mkdir(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("cannot make the run folder %q: %v", dir, err)
	}
	lock, err := lockRunDir(dir)
	if err != nil {
		return "", nil, err
	}
	return dir, func() { lock.Close() }, nil
}

// lockRunDir takes the lock of a run folder, and fails where it is held or was
// removed while we took it.
func lockRunDir(dir string) (*os.File, error) {
	lock, err := openPrivate(filepath.Join(dir, runLockName), os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = errors.Join(unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB),
		unix.Fstat(int(lock.Fd()), &st))
	if err != nil || st.Nlink == 0 {
		lock.Close()
		return nil, fmt.Errorf("run folder %q is another keeper's: %v", dir, err)
	}
	return lock, nil
}

// runInside matches the start of what follows the root in a link's target.
var runInside = lazily(`^/keepmum-[A-Z2-7]{26}/`)

// runDirOf returns the run folder under root that a link's target lies in, or
// "" where the target is not ours: the test for a link of ours.
func runDirOf(root, target string) string {
	rest, ok := strings.CutPrefix(target, root)
	name := runInside().FindString(rest)
	if !ok || name == "" || filepath.Clean(target) != target {
		return ""
	}
	return filepath.Join(root, name)
}

// forbidden are the folders where nothing is mounted or imported from.
func (k *keeper) forbidden() []string {
	return append([]string{k.home}, k.runRoots...)
}

// ourTarget recognizes a link of ours by where it points.
func (k *keeper) ourTarget(target string) bool {
	return k.pipes != nil && slices.ContainsFunc(k.runRoots, func(root string) bool {
		return runDirOf(root, target) != ""
	})
}

// sweep takes over what dead keepers left: their run folders under root, and of
// the links at paths those that lead into a run folder which is gone. It returns
// what it removed (SPEC §4) [KPR-26] [KPR-27].
func sweep(root string, paths []string) (removed []string) {
	return append(sweepFolders(root), sweepLinks(root, paths)...)
}

func sweepFolders(root string) (removed []string) {
	entries, _ := os.ReadDir(root)
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		if !runInside().MatchString("/"+e.Name()+"/") || checkFolderPrivate(dir) != nil {
			continue
		}
		if lock, err := lockRunDir(dir); err == nil { // else its keeper lives
			if removeRunDir(dir) == nil {
				removed = append(removed, dir)
			}
			lock.Close()
		}
	}
	return removed
}

func sweepLinks(root string, paths []string) (removed []string) {
	for _, path := range paths {
		target, _ := os.Readlink(path)
		dir := runDirOf(root, target)
		if dir == "" {
			continue
		}
		_, err := os.Lstat(dir)
		if errors.Is(err, fs.ErrNotExist) && removeLink(path, target) == nil {
			removed = append(removed, path)
		}
	}
	return removed
}

// sweepLeft does that in the root to which each link at paths leads: a keeper
// with another XDG_RUNTIME_DIR has left it. Such a link may be anybody's word,
// so folders are removed only where nobody else can exchange what is on the way.
// [KPR-26] [MNT-13]
func sweepLeft(paths []string) (removed []string) {
	for _, path := range paths {
		target, _ := os.Readlink(path)
		m := leftTarget().FindStringSubmatch(target)
		if m == nil || m[2] != filepath.Base(path) {
			continue
		}
		if onlyOurs(m[1]) {
			removed = append(removed, sweepFolders(m[1])...)
		}
		removed = append(removed, sweepLinks(m[1], []string{path})...)
	}
	return removed
}

// leftTarget matches the target of a link of ours, with any root. [MNT-2]
var leftTarget = lazily(`(?s)^(/.+)/keepmum-[A-Z2-7]{26}/m[0-9]+/([^/]+)$`)

// onlyOurs reports whether path is a private folder of ours, and nobody else can
// put another in its place or in that of a folder on the way to it.
func onlyOurs(path string) bool {
	ours := checkFolderPrivate(path) == nil && filepath.Clean(path) == path
	for dir := path; ours; dir = filepath.Dir(dir) {
		var st unix.Stat_t
		err := unix.Lstat(dir, &st)
		ours = err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR &&
			(int(st.Uid) == os.Geteuid() || st.Uid == 0) &&
			(st.Mode&0o022 == 0 || st.Mode&unix.S_ISVTX != 0)
		if dir == "/" {
			break
		}
	}
	return ours
}
