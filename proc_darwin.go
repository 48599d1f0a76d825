package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls and structures of proc_info(2), which libproc wraps (xnu,
// bsd/sys/proc_info.h). A process cannot be held here; its unique id is never
// given again, which tells instances apart (SPEC §7.3).
const (
	procListPids    = 1 // calls
	procPidInfo     = 2
	procFdInfo      = 3
	pidsOfUser      = 4 // PROC_UID_ONLY
	pidFds          = 1 // flavors: PROC_PIDLISTFDS
	pidBSD          = 3
	pidVnodePaths   = 9
	pidPath         = 11
	pidUnique       = 17
	fdVnode         = 1 // PROC_PIDFDVNODEINFO; also the type of a descriptor
	statusStopped   = 4 // SSTOP
	statusZombie    = 5 // SZOMB
	noTerminal      = 0xffffffff
	vnodePathOffset = 152 // in struct vnode_info_path
)

// procInfo fills buf and returns the part that was filled.
func procInfo(call, pid, flavor, arg int, buf []byte) ([]byte, error) {
	n, _, errno := syscall.Syscall6(unix.SYS_PROC_INFO, uintptr(call), uintptr(pid), uintptr(flavor),
		uintptr(arg), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	if errno != 0 {
		return nil, errno
	}
	return buf[:min(int(n), len(buf))], nil
}

// procStruct is procInfo for a structure of a known size.
func procStruct(call, pid, flavor, arg, size int) ([]byte, error) {
	b, err := procInfo(call, pid, flavor, arg, make([]byte, size))
	if err == nil && len(b) < size {
		err = errors.New("the system knows too little of it")
	}
	return b, err
}

// lookup identifies the running process pid, with its ancestors. The unique id
// is read first and again at the end, so that the record belongs to one
// process (SPEC §7.3).
func lookup(pid int) (*process, error) {
	id, err := uniqueID(pid)
	if err != nil {
		return nil, fmt.Errorf("process %d cannot be identified: %v", pid, err)
	}
	p, err := readProcess(pid)
	if err != nil {
		return nil, err
	}
	p.handle = id
	p.ancestors = readAncestors(p)
	if !p.alive() {
		return nil, fmt.Errorf("process %d has ended", pid)
	}
	return p, nil
}

func uniqueID(pid int) (int, error) {
	b, err := procStruct(procPidInfo, pid, pidUnique, 0, 56)
	if err != nil {
		return 0, err
	}
	return int(binary.NativeEndian.Uint64(b[16:])), nil
}

// alive reports whether the process that was looked up still runs.
func (p *process) alive() bool {
	handles.RLock()
	defer handles.RUnlock()
	id, err := uniqueID(p.pid)
	return err == nil && id == p.handle && id != 0
}

// state is T (stopped) or S; whether it runs is told of threads only, and nothing
// of one that has ended.
func (p *process) state() string {
	b, err := procStruct(procPidInfo, p.pid, pidBSD, 0, 136)
	if err != nil || binary.NativeEndian.Uint32(b[4:]) == statusZombie {
		return ""
	}
	if binary.NativeEndian.Uint32(b[4:]) == statusStopped {
		return "T"
	}
	return "S"
}

// close lets go of the process, which does not count as alive any more.
func (p *process) close() {
	handles.Lock()
	defer handles.Unlock()
	p.handle = 0
}

// readProcess reads what the system shows of pid; what cannot be read is an
// error, since it could not be approved.
func readProcess(pid int) (*process, error) {
	a, b, err := readStep(pid)
	if err != nil {
		return nil, fmt.Errorf("process %d cannot be identified: %v", pid, err)
	}
	p := &process{pid: pid, parent: a.parent, session: a.session, start: a.start, exe: a.exe,
		exeDev: a.exeDev, exeIno: a.exeIno, args: a.args, uid: int(binary.NativeEndian.Uint32(b[20:]))}
	ruid, svuid := int(binary.NativeEndian.Uint32(b[28:])), int(binary.NativeEndian.Uint32(b[36:]))
	if p.exe == "" || len(p.args) == 0 || ruid != p.uid || svuid != p.uid {
		return nil, fmt.Errorf("process %d cannot be identified: program, command line or user", pid)
	}
	if len(p.args) > argsMax || len(strings.Join(p.args, " ")) > argsBytesMax {
		return nil, fmt.Errorf("process %d has a command line too long to be shown", pid)
	}
	if dev := binary.NativeEndian.Uint32(b[108:]); dev != noTerminal {
		p.tty = fmt.Sprintf("terminal %d:%d", dev>>24, dev&0xffffff)
		if dev>>24 == 16 {
			p.tty = fmt.Sprintf("/dev/ttys%03d", dev&0xffffff)
		}
	}
	var st unix.Stat_t
	if unix.Stat(p.exe, &st) == nil {
		p.exeChanged = st.Ctim.Nano()
	}
	dirs, err := procStruct(procPidInfo, pid, pidVnodePaths, 0, 2352)
	if err != nil {
		return nil, fmt.Errorf("process %d has no directory to be seen: %v", pid, err)
	}
	p.dir = cString(dirs[vnodePathOffset : vnodePathOffset+1024])
	return p, nil
}

// readStep reads what is known of any process, with its struct proc_bsdinfo.
func readStep(pid int) (a ancestor, b []byte, err error) {
	if b, err = procStruct(procPidInfo, pid, pidBSD, 0, 136); err != nil {
		return a, nil, err
	}
	if binary.NativeEndian.Uint32(b[4:]) == statusZombie {
		return a, nil, errors.New("it has ended")
	}
	a.pid, a.parent = pid, int(binary.NativeEndian.Uint32(b[16:]))
	a.start = binary.NativeEndian.Uint64(b[120:])*1e6 + binary.NativeEndian.Uint64(b[128:])
	if a.session, err = unix.Getsid(pid); err != nil {
		return a, nil, err
	}
	path := make([]byte, 4096)
	if _, err := procInfo(procPidInfo, pid, pidPath, 0, path); err == nil {
		var st unix.Stat_t
		if exe := cString(path); unix.Stat(exe, &st) == nil {
			a.exe, a.exeDev, a.exeIno = exe, uint64(st.Dev), st.Ino
		}
	}
	a.args = readArgs(pid)
	return a, b, nil
}

func cString(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// readArgs reads kern.procargs2: a count, the path that was executed, padding,
// and then the arguments, each ended by a zero byte.
func readArgs(pid int) (args []string) {
	b, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil || len(b) < 4 {
		return nil
	}
	n := int(binary.NativeEndian.Uint32(b))
	_, b, _ = bytes.Cut(b[4:], []byte{0})
	b = bytes.TrimLeft(b, "\x00")
	for arg := []byte(nil); len(args) < n && len(b) > 0; {
		arg, b, _ = bytes.Cut(b, []byte{0})
		args = append(args, string(arg))
	}
	return args
}

// readAncestors follows the parents of p. A step counts only if the child
// still had that parent afterwards, so that the number cannot have changed
// hands meanwhile.
func readAncestors(p *process) (chain []ancestor) {
	child := ancestor{pid: p.pid, parent: p.parent, start: p.start}
	for child.parent != 0 && len(chain) < ancestorsMax {
		a, _, err := readStep(child.parent)
		if err != nil || a.start > child.start {
			break
		}
		a.args = a.args[:min(len(a.args), ancestorArgs)]
		b, err := procStruct(procPidInfo, child.pid, pidBSD, 0, 136)
		if err != nil || int(binary.NativeEndian.Uint32(b[16:])) != a.pid {
			break
		}
		chain = append(chain, a)
		child = a
	}
	return chain
}

// lookupHidden is lookup: proc_info names the program of every process of ours.
func lookupHidden(pid int) (*process, error) { return lookup(pid) }
