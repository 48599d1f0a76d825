package main

// Every open of a mounted file gets a pipe of its own. A FIFO is made aside
// with its write end held and its opens counted; the first open makes the next
// one take over the name, so that the old one has one reader and no name. Who
// reads is found by looking at processes, which can be fooled; that nobody
// else reads is known by the count, which cannot (SPEC §7.2).

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	pendingMax  = 16  // readers of one mount that wait at a time [DLV-3]
	lingerMax   = 256 // finished pipes that are watched for late comers
	spareCount  = 8   // FIFOs made before they are needed, for all mounts
	makeTries   = 16  // a spare that others touched is thrown away
	lingerTicks = 20  // of tickTime
	tickTime    = 100 * time.Millisecond
	closeTime   = 10 * time.Second
)

// pipeHandler answers for the keeper.
type pipeHandler interface {
	// approve decides about one identified reader of a mount and blocks while a
	// person is asked. It returns the whole text to deliver, whose first line is
	// a comment, after writing the audit record; or an error, which is a refusal.
	// ctx ends when the reader closes or dies, or when somebody else opens.
	// The text is wiped by the caller.
	approve(ctx context.Context, mount string, who *process) ([]byte, error)
	// ended is told once for each open how it came out, by one of the words
	// below. who is nil where nobody was identified, and is closed afterwards.
	ended(mount string, who *process, word, detail string)
	// agentKnown tells which process instances are clients of a connected bridge.
	agentKnown(pid int, start uint64) bool
}

// How an open came out. [DLV-18]
const (
	endDelivered = "delivered"
	endRefused   = "refused"
	endAbandoned = "abandoned"    // closed, dead or not reading
	endTainted   = "tainted"      // another process may have the values
	endContested = "contested"    // two opens of one pipe, or strangers
	endUnseen    = "unseen"       // nobody visible, or not to be identified
	endNotReader = "not-a-reader" // opened for writing
	endBroken    = "broken"       // no open: the name could not be put back
)

// tally is what others did to one FIFO.
type tally struct {
	opens, closes, attribs int
	lost                   bool // events were lost: it may have been anything
	gone                   bool // nobody has it open for reading
}

func (t tally) untouched() bool {
	return t.opens == 0 && t.closes == 0 && t.attribs == 0 && !t.lost
}

// counter tells what others do to FIFOs, one implementation for each way that
// a system has.
type counter interface {
	// watch begins to count for i, whose read end is r.
	watch(i *instance, r int) error
	// arm ends the making of i. It fails if somebody else was there meanwhile.
	arm(i *instance) error
	// release lets go of i while it still has its name.
	release(i *instance)
	// ends is told before each end of ours is closed, once i serves nobody more.
	ends(i *instance)
	forget(i *instance)
	// folder is told of each folder in which FIFOs get their names.
	folder(dir string) error
	// tally counts up to this very moment.
	tally(i *instance) tally
	// next waits for instances that were touched; nil ends it.
	next() []*instance
	stop()
	// exact says whether every open is counted, and why not.
	exact() (bool, string)
}

// instance is one FIFO, which serves one open.
type instance struct {
	file     string                 // where it was made
	placed   atomic.Pointer[string] // where it was installed
	dev, ino uint64
	w        int           // the write end, held before the name exists
	late     int           // the inode without an end, for linger
	event    chan struct{} // something happened to it
	mount    *mountPoint   // whose name it has or had; guarded by pipes.mu
	counted                // the counter's
}

// mountPoint is one name at which instances are installed.
type mountPoint struct {
	mount, folder, file string
	changed             time.Time
	gone                chan struct{} // closed when the mount is removed
	installed           *instance
	pending             int
}

// pipes is the engine: all mounts, their spares and the open ones under way.
type pipes struct {
	dir, spareDir string
	handler       pipeHandler
	count         counter
	patience      time.Duration // with a reader that takes nothing
	made          atomic.Int64
	spares        chan *instance
	done          chan struct{}
	lingering     chan struct{}
	visits        sync.WaitGroup // readers being served
	loops         sync.WaitGroup // accept and stock

	mu     sync.Mutex // guards mounts, what is in them, and closed
	mounts map[string]*mountPoint
	closed bool
}

// newPipes makes an engine whose FIFOs live in dir, an existing private
// folder. fallback takes the way of systems that cannot count exactly.
func newPipes(dir string, h pipeHandler, fallback bool) (*pipes, error) {
	spareDir, err := os.MkdirTemp(dir, "spare")
	if err != nil {
		return nil, fmt.Errorf("failed to make a folder for pipes: %v", err)
	}
	s := &pipes{dir: dir, spareDir: spareDir, handler: h, patience: 5 * time.Second,
		spares: make(chan *instance, spareCount), done: make(chan struct{}),
		lingering: make(chan struct{}, lingerMax), mounts: map[string]*mountPoint{}}
	if s.count, err = newCounter(fallback, s.probe); err != nil {
		os.RemoveAll(spareDir)
		return nil, fmt.Errorf("pipes cannot be watched: %v", err)
	}
	s.loops.Add(2)
	go s.accept()
	go s.stock()
	return s, nil
}

// exact says whether opens are counted exactly, and if not, why.
func (s *pipes) exact() (bool, string) { return s.count.exact() }

// probe makes one instance to see whether c works in this folder.
func (s *pipes) probe(c counter) error {
	s.count = c
	err := c.folder(s.spareDir)
	if err == nil {
		var i *instance
		if i, err = s.newInstance(); err == nil {
			s.discard(i)
		}
	}
	return err
}

// add installs a FIFO of the name base for a mount and returns its path.
func (s *pipes) add(mount, base string, changed time.Time) (string, error) {
	if base != filepath.Base(base) || base == "." || base == ".." || base == "/" {
		return "", fmt.Errorf("%q is no file name", base)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.mounts[mount] != nil {
		return "", fmt.Errorf("%q is mounted already", mount)
	}
	folder, err := os.MkdirTemp(s.dir, "m")
	if err != nil {
		return "", fmt.Errorf("failed to make a folder for %q: %v", mount, err)
	}
	m := &mountPoint{mount: mount, folder: folder, file: filepath.Join(folder, base),
		changed: changed, gone: make(chan struct{})}
	if err := errors.Join(s.count.folder(folder), s.install(m)); err != nil {
		os.Remove(m.file)
		os.Remove(folder)
		return "", fmt.Errorf("failed to install a pipe for %q: %v", mount, err)
	}
	s.mounts[mount] = m
	return m.file, nil
}

// touch gives the pipes of a mount the time at which their content changed, so
// that a read does not look like an edit and an edit does (SPEC §7.4). [WCH-2]
func (s *pipes) touch(mount string, changed time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.mounts[mount]; m != nil {
		m.changed = changed
		stamp(m.file, changed)
	}
}

// stamp sets constant times. The access time is the later one: some watchers
// take a file for changed otherwise. [WCH-1]
func stamp(file string, changed time.Time) { os.Chtimes(file, changed.Add(time.Second), changed) }

// remove takes the name of a mount away; readers that wait get their end.
func (s *pipes) remove(mount string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mounts[mount]
	if m == nil {
		return
	}
	delete(s.mounts, mount)
	close(m.gone)
	i := m.installed
	m.installed = nil
	if i != nil {
		s.count.release(i)
	}
	os.Remove(m.file)
	os.Remove(m.folder)
	if i != nil {
		s.start(m, i)
	}
}

// close removes all mounts and returns when every reader has its end, or after
// closeTime, which only a handler that does not heed its context can reach.
func (s *pipes) close() {
	s.mu.Lock()
	was, mounts := s.closed, slices.Collect(maps.Keys(s.mounts))
	s.closed = true // add adds no more
	s.mu.Unlock()
	if was {
		return
	}
	for _, mount := range mounts {
		s.remove(mount)
	}
	close(s.done)
	ended := make(chan struct{})
	go func() { s.visits.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(closeTime):
	}
	s.count.stop()
	s.loops.Wait()
	os.RemoveAll(s.spareDir)
}

// accept is the loop that sees opens. It does nothing but put a spare in the
// place of what was opened: every other reader's pipe waits for it.
func (s *pipes) accept() {
	defer s.loops.Done()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for touched := s.count.next(); touched != nil; touched = s.count.next() {
		for _, i := range touched {
			s.replace(i)
		}
	}
}

// replace puts a spare over the name of i at once, if i has one, and hands i
// to a goroutine of its own (SPEC §7.2). [DLV-2]
func (s *pipes) replace(i *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := i.mount
	if m == nil || m.installed != i {
		return // a spare; it is thrown away when its turn comes
	}
	err := s.install(m)
	if err != nil {
		m.installed = nil
		os.Remove(m.file)
		go s.handler.ended(m.mount, nil, endBroken, err.Error())
		go s.reinstall(m)
	}
	s.start(m, i)
}

// reinstall tries until the name has a pipe again: the system may have had no room,
// or somebody may have touched all that were made. [MNT-12]
func (s *pipes) reinstall(m *mountPoint) {
	for {
		select {
		case <-time.After(10 * tickTime):
		case <-m.gone:
			return
		}
		s.mu.Lock()
		if isClosed(m.gone) || s.install(m) == nil {
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
	}
}

// serves reports whether a mount has a pipe.
func (s *pipes) serves(mount string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mounts[mount]
	return m != nil && m.installed != nil
}

// install gives m's name to a spare that nobody has touched.
func (s *pipes) install(m *mountPoint) error {
	for range makeTries {
		i, err := s.spare()
		if err != nil {
			return err
		}
		stamp(i.file, m.changed)
		if !s.count.tally(i).untouched() {
			s.discard(i)
			continue
		}
		i.mount = m
		if err := os.Rename(i.file, m.file); err != nil {
			os.Mkdir(m.folder, 0o700) // somebody may have taken the folder away
			if err = os.Rename(i.file, m.file); err != nil {
				s.discard(i)
				return err
			}
		}
		i.placed.Store(&m.file)
		m.installed = i
		return nil
	}
	return errDisturbed
}

// start serves one opened instance; it is called with mu held.
func (s *pipes) start(m *mountPoint, i *instance) {
	m.pending++
	v := &visit{pipes: s, m: m, i: i, crowded: m.pending > pendingMax}
	s.visits.Add(1)
	go func() {
		defer s.visits.Done()
		recorded := v.serve()
		s.mu.Lock()
		m.pending--
		s.mu.Unlock()
		s.linger(m, i, recorded)
	}()
}

// spare takes a FIFO that was made before, or makes one in a rush.
func (s *pipes) spare() (*instance, error) {
	select {
	case i := <-s.spares:
		return i, nil
	default:
		return s.newInstance()
	}
}

// stock keeps spares ready until close.
func (s *pipes) stock() {
	defer s.loops.Done()
	for {
		i, err := s.newInstance()
		next, again := s.spares, (<-chan time.Time)(nil)
		if err != nil {
			next, again = nil, time.After(tickTime) // out of descriptors, for a moment
		}
		select {
		case next <- i:
		case <-again:
		case <-s.done:
			if err == nil {
				s.discard(i)
			}
			for len(s.spares) > 0 { // nobody else takes any: all mounts are gone
				s.discard(<-s.spares)
			}
			return
		}
	}
}

// errDisturbed tells that somebody else had a FIFO open before it was ready.
var errDisturbed = errors.New("another process keeps opening the pipes while they are made")

// newInstance makes FIFOs until one was left alone.
func (s *pipes) newInstance() (*instance, error) {
	for range makeTries {
		i, err := s.tryInstance()
		if !errors.Is(err, errDisturbed) {
			return i, err
		}
	}
	return nil, errDisturbed
}

// tryInstance makes one FIFO aside, holds its write end and counts from then
// on. An attacker may have opened it before it was counted: then there is a
// writer while we hold none, or a reader when we hold none (SPEC §7.2). [DLV-1]
func (s *pipes) tryInstance() (*instance, error) {
	i := &instance{w: -1, late: -1, event: make(chan struct{}, 1),
		file: filepath.Join(s.spareDir, strconv.FormatInt(s.made.Add(1), 10))}
	if err := unix.Mkfifo(i.file, 0o600); err != nil {
		return nil, fmt.Errorf("failed to make a pipe: %v", err)
	}
	// A child of ours holds copies of our descriptors between fork and exec.
	syscall.ForkLock.RLock()
	err := s.open(i)
	syscall.ForkLock.RUnlock()
	if err == nil && !hasReader(i.w) {
		err = s.count.arm(i)
	} else if err == nil {
		err = errDisturbed
	}
	if err != nil {
		s.discard(i)
		return nil, err
	}
	return i, nil
}

// open opens the write end of i, which takes a read end for a moment.
func (s *pipes) open(i *instance) error {
	r, err := unix.Open(i.file, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("failed to open a pipe: %v", err)
	}
	defer unix.Close(r)
	var st unix.Stat_t
	if err := unix.Fstat(r, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO || st.Nlink != 1 {
		return errDisturbed
	}
	i.dev, i.ino = uint64(st.Dev), st.Ino
	if err := s.count.watch(i, r); err != nil {
		return err
	}
	if n, err := unix.Read(r, make([]byte, 1)); n != 0 || err != nil {
		return errDisturbed
	}
	if i.w, err = reopen(r, i.file, unix.O_WRONLY); err != nil {
		return fmt.Errorf("failed to open a pipe: %v", err)
	}
	sizePipe(i.w, 1) // waiting pipes must not use up what the user may have
	return nil
}

// hasReader reports whether anybody has the other end of w open.
func hasReader(w int) bool {
	return pollNow(w, 0)&(unix.POLLERR|unix.POLLHUP) == 0
}

// pollNow asks for the state of fd. A signal, which Go sends to its threads all
// the time, is no answer.
func pollNow(fd int, events int16) int16 {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		switch _, err := unix.Poll(fds, 0); err {
		case nil:
			return fds[0].Revents
		case unix.EINTR:
		default:
			return unix.POLLERR // nobody counts as there, nobody as alive
		}
	}
}

// discard throws away a FIFO that was never installed.
func (s *pipes) discard(i *instance) {
	s.count.forget(i)
	closeEnd(i)
	os.Remove(i.file)
}

// closeEnd closes the write end: end of file for whoever reads. It waits for a
// fork of ours, whose child would keep the end open until it has exec'ed.
func closeEnd(i *instance) {
	if i.w >= 0 {
		syscall.ForkLock.RLock()
		unix.Close(i.w)
		syscall.ForkLock.RUnlock()
		i.w = -1
	}
}
