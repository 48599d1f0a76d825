package main

// The readers that are built in. They make their system calls themselves:
// Go's files would open a FIFO their own way, without blocking.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ownReaders are this executable. Where MS is taken, it is a time in
// milliseconds. A kind that opens several times prints a line of "--" between
// what it got. Nothing is printed by probe, leaver, hold and writer, and by
// size where the file's size is 0; mmap fails on a FIFO.
var ownReaders = []readerKind{
	// One open, one process.
	{name: "plain", what: "reads of 4 KiB to the end", run: readPlain},
	{name: "byte", what: "one byte at a time", run: readByte},
	{name: "slow", what: "one byte each MS", run: readSlow, arg: "MS", usual: 10},
	{name: "nonblock", what: "opens without blocking and polls", run: readNonblock},
	{name: "pread-fallback", what: "tries lseek and pread, then reads", run: readFallback},
	{name: "mmap", what: "maps the file into memory", run: readMapped},
	{name: "size", what: "reads as many bytes as the file is said to have", run: readSize},
	{name: "half", what: "reads one line, and closes", run: readHalf},
	{name: "probe", what: "opens and closes at once", run: readProbe},
	{name: "leaver", what: "opens, closes after MS without a read",
		run: readLeaver, arg: "MS", usual: 200},
	{name: "hold", what: "opens and reads nothing until its standard input ends", run: readHold},
	{name: "late", what: "finds the FIFO's folder, opens the FIFO in it after MS",
		run: readLate, arg: "MS"},

	// Opens that are none of a reader, or come by another way.
	{name: "rdwr", what: "opens for reading and writing, reads to the end or for MS",
		run: readReadWrite, arg: "MS", usual: 5000},
	{name: "writer", what: `opens for writing, waits for a reader up to MS, writes "FORGED=1"`,
		run: readWriter, arg: "MS", usual: 10_000},
	{name: "hardlink", what: "links the FIFO into FOLDER, reads it there and removes it",
		run: readHardLink, arg: "FOLDER"},
	{name: "opath", what: "holds the FIFO without opening it, opens it after MS",
		run: readPathOnly, arg: "MS", system: "linux"},
	{name: "hidden", what: "protects itself against being looked at, then reads",
		run: readHidden, lacks: rootSees},
	{name: "unshared", what: "a thread with a table of descriptors of its own reads",
		run: readUnshared, system: "linux"},
	{name: "flight", what: "sends the descriptor to itself and takes it back after MS",
		run: readFlight, arg: "MS"},

	// Several opens.
	{name: "twice", what: "reads to the end, and once more", run: readAgain, usual: 2},
	{name: "again", what: "reads to the end TIMES times",
		run: readAgain, arg: "TIMES", usual: 3},
	{name: "together", what: "TIMES threads open at the same moment",
		run: readTogether, arg: "TIMES", usual: 2},

	// Several processes.
	{name: "child", what: "opens; a child inherits the descriptor and reads", run: readByChild},
	{name: "fork-after", what: "reads one line; a child reads the rest", run: readRestByChild},
	{name: "exec", what: "opens; after MS becomes another reader, of the same executable",
		run: readByExec, arg: "MS"},
	{name: "exec-after", what: "reads one line; becomes another reader, which reads the rest",
		run: readRestByExec},
	{name: "exec-cat", what: "opens; after MS becomes cat, another executable",
		run: readByCat, arg: "MS", system: "linux"},
	{name: "orphan", what: "a process that its parent left behind, in a session of its own, reads",
		run: readByOrphan},
	{name: "inherited", what: "reads the descriptor FD", run: readInherited,
		arg: "FD", usual: 3, inner: true},
	{name: "abandon", what: "starts an orphan and leaves it", run: readAbandon, inner: true},
	{name: "orphaned", what: "reads when its standard input has ended",
		run: readOrphaned, inner: true},
}

// readerRun is one run of a built-in reader.
type readerRun struct {
	path   string
	folder string // ARG as a path
	n      int    // ARG as a number
}

// open opens the path, and keeps it from children that are not to have it.
func (r *readerRun) open(flags int) (int, error) {
	return openAt(unix.AT_FDCWD, r.path, flags)
}

// openAt opens a name at a folder, however often a signal comes between.
func openAt(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		if err == nil {
			return fd, nil
		}
		if err != unix.EINTR {
			return -1, fmt.Errorf("cannot open %q: %v", name, err)
		}
	}
}

// openOnce opens for reading, lets read have the descriptor and closes it.
func (r *readerRun) openOnce(flags int, read func(fd int) error) error {
	fd, err := r.open(flags)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return read(fd)
}

func (r *readerRun) wait() { time.Sleep(time.Duration(r.n) * time.Millisecond) }

// drain copies what fd gives, in reads of a size, to its end.
func drain(fd, size int, out io.Writer) error {
	buf := make([]byte, size)
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("cannot read: %w", err)
		case n == 0:
			return nil
		}
		if _, err := out.Write(buf[:n]); err != nil {
			return err
		}
	}
}

// drainPolled does the same to a descriptor that does not block, until end.
func drainPolled(fd int, end time.Time) error {
	for {
		err := drain(fd, 4096, os.Stdout)
		left := time.Until(end).Milliseconds()
		switch {
		case !errors.Is(err, unix.EAGAIN):
			return err
		case left <= 0:
			return nil
		}
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left))
	}
}

// drainLine copies one line, byte by byte, so that the rest stays where it is.
func drainLine(fd int) error {
	var line bytes.Buffer
	for buf := []byte{0}; buf[0] != '\n'; {
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("cannot read: %v", err)
		}
		line.Write(buf[:n])
		if n == 0 {
			break
		}
	}
	_, err := os.Stdout.Write(line.Bytes())
	return err
}

func drainAll(fd int) error { return drain(fd, 4096, os.Stdout) }

func readPlain(r *readerRun) error { return r.openOnce(unix.O_RDONLY, drainAll) }

func readByte(r *readerRun) error {
	return r.openOnce(unix.O_RDONLY, func(fd int) error { return drain(fd, 1, os.Stdout) })
}

func readSlow(r *readerRun) error {
	return r.openOnce(unix.O_RDONLY, func(fd int) error { return drain(fd, 1, slowly{r}) })
}

// slowly is standard output to a reader that takes its time.
type slowly struct{ r *readerRun }

func (s slowly) Write(b []byte) (int, error) {
	defer s.r.wait()
	return os.Stdout.Write(b)
}

func readNonblock(r *readerRun) error {
	return r.openOnce(unix.O_RDONLY|unix.O_NONBLOCK, func(fd int) error {
		return drainPolled(fd, time.Now().Add(2*testOnlyReaderAlarm))
	})
}

// readFallback does what libraries do that would rather not read in order.
func readFallback(r *readerRun) error {
	return r.openOnce(unix.O_RDONLY, func(fd int) error {
		if _, err := unix.Seek(fd, 0, io.SeekEnd); err == nil {
			return errors.New("it could seek: that is no FIFO")
		}
		if _, err := unix.Pread(fd, make([]byte, 4096), 0); err != unix.ESPIPE {
			return fmt.Errorf("pread, which no FIFO has: %v", err)
		}
		return drainAll(fd)
	})
}

func readMapped(r *readerRun) error {
	return r.openOnce(unix.O_RDONLY, func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		text, err := unix.Mmap(fd, 0, max(int(st.Size), 4096), unix.PROT_READ, unix.MAP_PRIVATE)
		if err != nil {
			return fmt.Errorf("cannot map %q: %v", r.path, err)
		}
		_, err = os.Stdout.Write(text[:st.Size])
		return err
	})
}

func readSize(r *readerRun) error {
	return r.openOnce(unix.O_RDONLY, func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		text := make([]byte, st.Size)
		n, err := unix.Read(fd, text)
		os.Stdout.Write(text[:max(n, 0)])
		return err
	})
}

func readHalf(r *readerRun) error { return r.openOnce(unix.O_RDONLY, drainLine) }

func readProbe(r *readerRun) error {
	return r.openOnce(unix.O_RDONLY, func(int) error { return nil })
}

func readLeaver(r *readerRun) error {
	return r.openOnce(unix.O_RDONLY, func(int) error { r.wait(); return nil })
}

func readHold(r *readerRun) error {
	return r.openOnce(unix.O_RDONLY, func(int) error {
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	})
}

// readLate keeps the FIFO's folder: its name may be gone by then, or lead to
// another FIFO.
func readLate(r *readerRun) error {
	path, err := filepath.EvalSymlinks(r.path)
	if err != nil {
		return err
	}
	dir, err := openAt(unix.AT_FDCWD, filepath.Dir(path), folderFlags)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	r.wait()
	fd, err := openAt(dir, filepath.Base(path), unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return drainAll(fd)
}

// readReadWrite never sees an end of file, being a writer itself, except from
// what is no FIFO.
func readReadWrite(r *readerRun) error {
	return r.openOnce(unix.O_RDWR|unix.O_NONBLOCK, func(fd int) error {
		return drainPolled(fd, time.Now().Add(time.Duration(r.n)*time.Millisecond))
	})
}

// readWriter forges a line for whoever reads.
func readWriter(r *readerRun) error {
	patience := time.Duration(r.n) * time.Millisecond
	alarm := readerAlarm(patience, 1, `reader "writer": nobody opened it for reading`)
	return r.openOnce(unix.O_WRONLY, func(fd int) error {
		alarm.Stop()
		_, err := unix.Write(fd, []byte("FORGED=1\n"))
		return err
	})
}

// readHardLink gives the FIFO a second name, which leads to it when the first
// leads elsewhere.
func readHardLink(r *readerRun) error {
	name := filepath.Join(r.folder, "linked")
	err := unix.Linkat(unix.AT_FDCWD, r.path, unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return fmt.Errorf("cannot link %q to %q: %v", r.path, name, err)
	}
	defer os.Remove(name)
	return readPlain(&readerRun{path: name})
}

func readPathOnly(r *readerRun) error {
	fd, err := openHeld(r.path, r.wait)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return drainAll(fd)
}

// rootSees says why there is no hidden reader: a keeper that is root looks at
// it all the same, and may find who it is.
func rootSees(string) string {
	if os.Geteuid() == 0 {
		return "nothing is hidden from root"
	}
	return ""
}

func readHidden(r *readerRun) error {
	if err := denyTracing(); err != nil {
		return fmt.Errorf("cannot hide: %v", err)
	}
	return readPlain(r)
}

// readUnshared opens and reads where a look at the process's own list of
// descriptors does not find it.
func readUnshared(r *readerRun) error {
	return asStranger(func() error { return readPlain(r) })
}

// readFlight has the descriptor, for a time, in no process's table.
func readFlight(r *readerRun) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	err = r.openOnce(unix.O_RDONLY, func(fd int) error {
		return unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fd), nil, 0)
	})
	if err != nil {
		return err
	}
	r.wait()
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[1], []byte{0}, control, 0)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("the descriptor did not come back: %v", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return err
	}
	return drainAll(fds[0])
}

func readAgain(r *readerRun) error {
	for i := range r.n {
		if i > 0 {
			os.Stdout.WriteString(readerSeparator)
		}
		if err := readPlain(r); err != nil {
			return err
		}
	}
	return nil
}

// readTogether lets all threads go at once and prints what each got when all
// have ended.
func readTogether(r *readerRun) error {
	texts, errs := make([]bytes.Buffer, r.n), make([]error, r.n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range r.n {
		all.Go(func() {
			runtime.LockOSThread() // and it ends with its thread
			<-start
			errs[i] = r.openOnce(unix.O_RDONLY, func(fd int) error {
				return drain(fd, 4096, &texts[i])
			})
		})
	}
	close(start)
	all.Wait()
	for i := range texts {
		if i > 0 {
			os.Stdout.WriteString(readerSeparator)
		}
		os.Stdout.Write(texts[i].Bytes())
	}
	return errors.Join(errs...)
}
