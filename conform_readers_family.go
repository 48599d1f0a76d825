package main

// The readers that are several processes, one after the other or side by side.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// readByChild keeps the descriptor open as long as the child has it.
func readByChild(r *readerRun) error { return r.openOnce(unix.O_RDONLY, r.childReads) }

func readRestByChild(r *readerRun) error {
	return r.openOnce(unix.O_RDONLY, func(fd int) error {
		if err := drainLine(fd); err != nil {
			return err
		}
		return r.childReads(fd)
	})
}

// childReads has a child read fd, and waits for it.
func (r *readerRun) childReads(fd int) error {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0) // for a file of os
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(copied), r.path)
	defer f.Close()
	cmd, err := innerReader("inherited", r.path)
	if err != nil {
		return err
	}
	cmd.ExtraFiles = []*os.File{f} // the child's descriptor 3
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("child: %v", err)
	}
	return nil
}

// innerReader is another process of this executable, with the same output.
func innerReader(kind, path string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, readerWords(kind, path, "")...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd, nil
}

func readInherited(r *readerRun) error { return drainAll(r.n) }

func readByExec(r *readerRun) error {
	return r.openOnce(unix.O_RDONLY, func(fd int) error {
		r.wait()
		return r.become(fd)
	})
}

func readRestByExec(r *readerRun) error {
	return r.openOnce(unix.O_RDONLY, func(fd int) error {
		if err := drainLine(fd); err != nil {
			return err
		}
		return r.become(fd)
	})
}

// become makes this process a reader of fd: the same executable, another
// command line. It returns on an error only.
func (r *readerRun) become(fd int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0); err != nil {
		return err
	}
	words := readerWords("inherited", r.path, strconv.Itoa(fd))
	return unix.Exec(self, append([]string{self}, words...), os.Environ())
}

// readByCat becomes another executable.
func readByCat(r *readerRun) error {
	cat, err := exec.LookPath("cat")
	if err != nil {
		return err
	}
	return r.openOnce(unix.O_RDONLY, func(fd int) error {
		r.wait()
		if err := asInput(fd); err != nil {
			return err
		}
		return unix.Exec(cat, []string{"cat"}, os.Environ())
	})
}

// readByOrphan starts a process that starts another and ends. The last one,
// which nobody waits for, may read when it hears through its standard input
// that it is an orphan, and says there when it has read: it has no parent to
// which an exit code would go.
func readByOrphan(r *readerRun) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	unix.CloseOnExec(pair[0])
	unix.CloseOnExec(pair[1])
	defer unix.Close(pair[0])
	theirs := os.NewFile(uintptr(pair[1]), "")
	out, err := startAbandon(r.path, theirs)
	theirs.Close()
	if err != nil {
		return err
	}
	defer out.Close()
	if err := unix.Shutdown(pair[0], unix.SHUT_WR); err != nil {
		return err
	}
	if _, err := io.Copy(os.Stdout, out); err != nil {
		return err
	}
	if n, _ := unix.Read(pair[0], make([]byte, 1)); n != 1 {
		return errors.New("the orphan failed")
	}
	return nil
}

// startAbandon runs the process in between, and returns the end of a pipe that
// has what the orphan prints.
func startAbandon(path string, input *os.File) (*os.File, error) {
	out, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	cmd, err := innerReader("abandon", path)
	if err == nil {
		cmd.Stdin, cmd.Stdout = input, w
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		err = cmd.Run()
	}
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("cannot leave an orphan: %v", err)
	}
	return out, nil
}

func readAbandon(r *readerRun) error {
	cmd, err := innerReader("orphaned", r.path)
	if err != nil {
		return err
	}
	cmd.Stdin = os.Stdin
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

func readOrphaned(r *readerRun) error {
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	if err := readPlain(r); err != nil {
		return err
	}
	_, err := os.Stdin.Write([]byte{0})
	return err
}
