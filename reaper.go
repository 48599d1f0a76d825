package main

// What keeps a killed keeper from leaving FIFOs behind that hang their readers
// (SPEC §4): a child that waits for its pipe to close, and a take-over at the
// next unlock of what even that child left. Both remove only FIFOs of ours in a
// private run folder, that folder, and links that still lead into it.

import (
	"bufio"
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
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	reaperPauseMin = 100 * time.Millisecond // before a dead reaper is started again,
	reaperPauseMax = time.Minute            // doubled each time up to this
	reaperPatience = 2 * time.Second        // for it to take a line, or to end
	runLockName    = "lock"                 // in a run folder, locked by its living keeper
)

// testOnlyReaperEnv makes the test binary a reaper.
var testOnlyReaperEnv []string

// reapLine is one line of the pipe: the folder, a link to know, or a link to
// forget.
type reapLine struct {
	Dir    string `json:"dir,omitempty"`
	Dev    uint64 `json:"dev,omitempty"`
	Ino    uint64 `json:"ino,omitempty"`
	Link   string `json:"link,omitempty"`
	Target string `json:"target,omitempty"`
	Unlink string `json:"unlink,omitempty"`
}

// reaper is the keeper's side of the child.
type reaper struct {
	mu    sync.Mutex // guards all below, and the order of lines
	cmd   *exec.Cmd
	pipe  *os.File
	dir   reapLine
	links map[string]string // path to target

	done, gone chan struct{} // stop was called; the watcher has ended
}

// startReaper starts the child for the run folder dir (SPEC §4).
func startReaper(dir string) (*reaper, error) {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return nil, fmt.Errorf("cannot look at run folder %q: %v", dir, err)
	}
	r := &reaper{links: map[string]string{}, done: make(chan struct{}), gone: make(chan struct{}),
		dir: reapLine{Dir: dir, Dev: uint64(st.Dev), Ino: uint64(st.Ino)}}
	if err := r.start(); err != nil {
		return nil, err
	}
	go r.watch()
	return r, nil
}

// start runs a child and tells it everything. A session of its own keeps the
// terminal's signals from it; it gets no environment, which may hold secrets.
func (r *reaper) start() error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find our own program: %v", err)
	}
	in, out, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("cannot make the reaper's pipe: %v", err)
	}
	defer in.Close()
	cmd := exec.Command(exe, "reaper")
	cmd.Dir, cmd.Stdin, cmd.Env = "/", in, append([]string{"LC_ALL=C"}, testOnlyReaperEnv...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		out.Close()
		return fmt.Errorf("cannot start the reaper: %v", err)
	}
	r.cmd, r.pipe = cmd, out
	err = r.tell(r.dir) // a child that takes no line is dead: the watcher starts another
	for link, target := range r.links {
		if err == nil {
			err = r.tell(reapLine{Link: link, Target: target})
		}
	}
	return nil
}

// tell writes one line. A child that does not take it is killed, never left
// with half a line: seeing the pipe closed it would clean up a living keeper.
func (r *reaper) tell(line reapLine) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	r.pipe.SetWriteDeadline(time.Now().Add(reaperPatience))
	if _, err := r.pipe.Write(append(text, '\n')); err != nil {
		r.cmd.Process.Kill()
		return fmt.Errorf("the reaper does not answer, another is being started: try again")
	}
	return nil
}

// watch starts another child when one has died, ever more slowly.
func (r *reaper) watch() {
	defer close(r.gone)
	for pause := reaperPauseMin; ; pause = min(2*pause, reaperPauseMax) {
		r.mu.Lock()
		cmd, since := r.cmd, time.Now()
		r.mu.Unlock()
		cmd.Wait()
		if time.Since(since) > reaperPauseMax {
			pause = reaperPauseMin
		}
		select {
		case <-r.done:
			return
		case <-time.After(pause):
		}
		if !r.again() {
			return
		}
	}
}

// again replaces the dead child, unless stop was called meanwhile.
func (r *reaper) again() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.done:
		return false
	default:
	}
	r.pipe.Close()
	r.start() // an error shows at the next add, and in the next round
	return true
}

// add has the child remove link, when the keeper dies, if it then still leads
// to target. On an error the next child is told all the same.
func (r *reaper) add(link, target string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.links[link] = target
	return r.tell(reapLine{Link: link, Target: target})
}

// remove has the child forget link.
func (r *reaper) remove(link string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.links, link)
	r.tell(reapLine{Unlink: link}) // a child that missed it is dead; the next gets the list
}

// stop ends the child after the keeper removed all itself. What the keeper
// could not remove is tried once more.
func (r *reaper) stop() {
	r.mu.Lock()
	close(r.done)
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

// runReaper is the child: it reads lines until the pipe closes, which is the
// keeper's end however it came, and cleans up (SPEC §4).
func runReaper(stdin io.Reader) {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	var dir reapLine
	links := map[string]string{}
	for lines := bufio.NewScanner(stdin); lines.Scan(); {
		var l reapLine
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			continue
		}
		switch {
		case l.Dir != "":
			dir = l
		case l.Link != "":
			links[l.Link] = l.Target
		default:
			delete(links, l.Unlink)
		}
	}
	var st unix.Stat_t
	err := unix.Lstat(dir.Dir, &st)
	if err == nil && uint64(st.Dev) == dir.Dev && uint64(st.Ino) == dir.Ino {
		removeRunDir(dir.Dir)
	}
	for path, target := range links {
		if dir.Dir != "" && within(target, dir.Dir) {
			removeLink(path, target)
		}
	}
}

// removeLink removes the symbolic link at path if it still leads to target.
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
// folder. Anything else in it stays, and then so does the folder.
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
	if err := os.Mkdir(root, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("cannot make the run folder: %v", err)
	}
	if err := checkFolderPrivate(root); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(root)
}

// checkFolderPrivate refuses what is not a folder of ours that is closed to
// others.
func checkFolderPrivate(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("cannot look at %q: %v", path, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%q is not a folder: move it away", path)
	}
	return checkPrivate(path, info)
}

// makeRunDir makes a keeper's private folder under root and locks it for the
// keeper's life. A sweep by another keeper may take the folder away before it is
// locked; then it is made anew.
func makeRunDir(root string) (dir string, unlock func(), err error) {
	for range 5 {
		dir = filepath.Join(root, "keepmum-"+rand.Text())
		if err = os.Mkdir(dir, 0o700); err != nil {
			break
		}
		var lock *os.File
		if lock, err = lockRunDir(dir, unix.O_EXCL); err == nil {
			return dir, func() { lock.Close() }, nil
		}
	}
	return "", nil, fmt.Errorf("cannot make a run folder in %q: %v", root, err)
}

// lockRunDir takes the lock of a run folder, and fails where it is held or was
// removed while we took it.
func lockRunDir(dir string, flags int) (*os.File, error) {
	lock, _, err := openOwn(unix.AT_FDCWD, filepath.Join(dir, runLockName),
		unix.O_RDWR|unix.O_CREAT|flags, 0o600)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = unix.Fstat(int(lock.Fd()), &st)
	}
	if err == nil && st.Nlink == 0 {
		err = fs.ErrNotExist
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// runInside matches the start of what follows the root in a link's target.
var runInside = regexp.MustCompile(`^/keepmum-[A-Z2-7]{26}/`)

// runDirOf returns the run folder under root that a link's target lies in, or
// "" where the target is not ours: the test for a link of ours.
func runDirOf(root, target string) string {
	rest, ok := strings.CutPrefix(target, root)
	name := runInside.FindString(rest)
	if !ok || name == "" || filepath.Clean(target) != target {
		return ""
	}
	return filepath.Join(root, name)
}

// sweep takes over what dead keepers left: their run folders under root, and of
// the links at paths those that lead into a run folder which is gone. It returns
// what it removed (SPEC §4).
func sweep(root string, paths []string) (removed []string) {
	entries, _ := os.ReadDir(root)
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		if !runInside.MatchString("/"+e.Name()+"/") || checkFolderPrivate(dir) != nil {
			continue
		}
		lock, err := lockRunDir(dir, 0)
		if err != nil {
			continue // its keeper lives
		}
		if removeRunDir(dir) == nil {
			removed = append(removed, dir)
		}
		lock.Close()
	}
	for _, path := range paths {
		target, err := os.Readlink(path)
		if err != nil || runDirOf(root, target) == "" {
			continue
		}
		_, err = os.Lstat(runDirOf(root, target))
		if errors.Is(err, fs.ErrNotExist) && removeLink(path, target) == nil {
			removed = append(removed, path)
		}
	}
	return removed
}
