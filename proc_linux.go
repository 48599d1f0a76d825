package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lookup identifies the running process pid, with its ancestors. Everything in
// the record was read while one pidfd was alive, so it belongs to one process
// and not to a later one of the same number (SPEC §7.3). [WHO-2] [WHO-4]
func lookup(pid int) (*process, error) {
	p, err := lookupHidden(pid)
	if err == nil && p.exe == "" {
		p.close()
		return nil, fmt.Errorf("process %d cannot be identified: its program cannot be read", pid)
	}
	return p, err
}

// lookupHidden is lookup for a process that may protect itself: where the
// system does not let us read program and directory, they are empty. [WHO-5]
func lookupHidden(pid int) (*process, error) {
	handle, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d cannot be held: %v", pid, err)
	}
	p, err := readProcess(pid)
	if err != nil {
		unix.Close(handle)
		return nil, err
	}
	p.handle = handle
	p.ancestors = readAncestors(p)
	if !p.alive() {
		p.close()
		return nil, fmt.Errorf("process %d has ended", pid)
	}
	return p, nil
}

// alive reports whether the process that was looked up still runs.
func (p *process) alive() bool {
	handles.RLock()
	defer handles.RUnlock()
	return p.handle > 0 && pollNow(p.handle, unix.POLLIN) == 0
}

// state is R (runs), D (runs in the system), S (waits) or T (stopped by a signal;
// t by a debugger), of the first thread; nothing is known of one that has ended.
func (p *process) state() string {
	st, _ := readStat(p.pid)
	return st.state
}

// close gives the handle back; the process does not count as alive any more.
func (p *process) close() {
	handles.Lock()
	defer handles.Unlock()
	if p.handle > 0 {
		unix.Close(p.handle)
	}
	p.handle = 0
}

// readProcess reads what /proc shows of pid. The executable is read again at
// the end: an exec in between would mix two programs in one record. [WHO-2]
func readProcess(pid int) (*process, error) {
	for range 3 {
		p, err := readOnce(pid)
		if err != nil {
			return nil, fmt.Errorf("process %d cannot be identified: %v", pid, err)
		}
		exe, st, _ := readExe(pid)
		if exe == p.exe && st.Dev == p.exeDev && st.Ino == p.exeIno {
			return p, nil
		}
	}
	return nil, fmt.Errorf("process %d changes too fast to be identified", pid)
}

// readOnce reads the record of pid; what cannot be read is an error, since it
// could not be approved.
func readOnce(pid int) (*process, error) {
	stat, err := readStat(pid)
	if err != nil {
		return nil, err
	}
	p := &process{pid: pid, parent: stat.parent, session: stat.session, start: stat.start,
		tty: terminalName(stat.tty)}
	if p.uid, err = readUser(pid); err != nil {
		return nil, err
	}
	exe, st, err := readExe(pid)
	if err != nil && !errors.Is(err, os.ErrPermission) {
		return nil, err
	}
	p.exe, p.exeDev, p.exeIno, p.exeChanged = exe, st.Dev, st.Ino, st.Ctim.Nano()
	if p.args, err = readArgs(pid); err != nil {
		return nil, err
	}
	if p.dir, err = os.Readlink(procPath(pid, "cwd")); errors.Is(err, os.ErrPermission) {
		return p, nil
	}
	return p, err
}

func procPath(pid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + name
}

// statLine is what is used of /proc/PID/stat.
type statLine struct {
	state                string
	parent, session, tty int
	start                uint64
}

func readStat(pid int) (statLine, error) {
	b, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return statLine{}, err
	}
	return parseStat(string(b))
}

// parseStat reads a line of /proc/PID/stat. It is split at the last
// parenthesis: a process names itself, and may call itself ") R 1 1 1". [WHO-3]
func parseStat(line string) (st statLine, err error) {
	f := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(f) < 20 {
		return st, errors.New("malformed stat line")
	}
	if f[0] == "Z" || f[0] == "X" {
		return st, errors.New("it has ended")
	}
	var errs [4]error
	st.state = f[0]
	st.parent, errs[0] = strconv.Atoi(f[1])
	st.session, errs[1] = strconv.Atoi(f[3])
	st.tty, errs[2] = strconv.Atoi(f[4])
	st.start, errs[3] = strconv.ParseUint(f[19], 10, 64)
	return st, errors.Join(errs[:]...)
}

// readUser returns the user that the process is, if it is one only. The owner
// of /proc/PID is no answer: it is root for every process that is protected.
// [WHO-4]
func readUser(pid int) (int, error) {
	b, err := os.ReadFile(procPath(pid, "status"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(b, []byte("\nUid:"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	ids := strings.Fields(string(line))
	if len(ids) != 4 || len(slices.Compact(ids)) != 1 {
		return 0, errors.New("it runs as more than one user")
	}
	return strconv.Atoi(ids[0])
}

// readExe returns the executable and its inode. The inode is that of the file
// that runs, also where the name was deleted or given to another file. The name
// is what the process itself sees: in a namespace of its own it can have put any
// file there. [WHO-9]
func readExe(pid int) (exe string, st unix.Stat_t, err error) {
	path := procPath(pid, "exe")
	if exe, err = os.Readlink(path); err != nil {
		return "", st, err
	}
	if st, err = statHeld(unix.AT_FDCWD, path); err != nil {
		return "", st, err
	}
	var here unix.Stat_t
	if strings.HasSuffix(exe, deletedFile) {
		return exe, st, nil
	}
	if unix.Stat(exe, &here) != nil || here.Dev != st.Dev || here.Ino != st.Ino {
		exe += anotherFile
	}
	return exe, st, nil
}

// statHeld tells which file a link of /proc leads to, and when it changed last. Any
// program may have one on a file system that does not answer: that is not asked.
func statHeld(dir int, path string) (st unix.Stat_t, err error) {
	var now unix.Statx_t
	err = unix.Statx(dir, path, unix.AT_STATX_DONT_SYNC, unix.STATX_INO|unix.STATX_CTIME, &now)
	st.Dev, st.Ino = unix.Mkdev(now.Dev_major, now.Dev_minor), now.Ino
	st.Ctim = unix.Timespec{Sec: now.Ctime.Sec, Nsec: int64(now.Ctime.Nsec)}
	return st, err
}

// readArgs reads the command line. It is empty for a moment during exec, so an
// empty one is read again a few times. [WHO-2]
func readArgs(pid int) ([]string, error) {
	for range 20 {
		b, err := os.ReadFile(procPath(pid, "cmdline"))
		if err != nil {
			return nil, err
		}
		args := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
		if len(b) > argsBytesMax || len(args) > argsMax {
			return nil, errors.New("its command line is too long to be shown")
		}
		if len(b) > 0 {
			return args, nil
		}
		time.Sleep(time.Millisecond)
	}
	return nil, errors.New("it has no command line")
}

// terminalName names the controlling terminal by its device number.
func terminalName(nr int) string {
	major, minor := nr>>8&0xfff, nr&0xff|nr>>12&0xfff00
	switch {
	case nr == 0:
		return ""
	case major >= 136 && major <= 143:
		return "/dev/pts/" + strconv.Itoa((major-136)<<20|minor)
	case major == 4 && minor < 64:
		return "/dev/tty" + strconv.Itoa(minor)
	}
	return fmt.Sprintf("terminal %d:%d", major, minor)
}

// readAncestors follows the parents of p. A step counts only if the child
// still had that parent after the parent was read: an ended parent would have
// been replaced, so the number cannot have changed hands. A chain that ends
// early has a last parent that is not 0, which agentOf notices.
func readAncestors(p *process) (chain []ancestor) {
	child := ancestor{pid: p.pid, parent: p.parent, start: p.start}
	for child.parent != 0 && len(chain) < ancestorsMax {
		st, err := readStat(child.parent)
		if err != nil || st.start > child.start {
			break
		}
		a := ancestor{pid: child.parent, parent: st.parent, session: st.session, start: st.start}
		exe, file, _ := readExe(a.pid)
		a.exe, a.exeDev, a.exeIno = exe, file.Dev, file.Ino
		a.args, _ = readArgs(a.pid)
		a.args = a.args[:min(len(a.args), ancestorArgs)]
		again, err := readStat(child.pid)
		if err != nil || again.parent != a.pid || again.start != child.start {
			break
		}
		chain = append(chain, a)
		child = a
	}
	return chain
}
