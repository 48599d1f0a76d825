package main

// A save under ptrace, where each of its system calls can be the last one or
// the one that fails. The registers are those of amd64.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The program that saves ends with one of these. One that is killed, or that the
// Go runtime ends, has none of them.
const (
	tornSaved    = 0
	tornRefused  = 10
	tornUnsynced = 11
)

// tornKind is a change of the vault file under test: what opens before and after
// it, as tornState says it.
type tornKind struct {
	name, before, after string
	change              func(v *vault) error // nil makes a vault
}

var tornOther = []byte("another passphrase")

var tornKinds = []tornKind{
	{"update", "OLD", "OLD NEW", func(v *vault) error { return v.update(setting("NEW", "2")) }},
	{"create", "no vault", "an empty vault", nil},
	{"rekey", "OLD", "OLD, other passphrase", func(v *vault) error { return v.rekey(tornOther) }},
}

func init() {
	if os.Getenv("KEEPMUM_TEST_HELPER") == "torn-save" {
		// The main goroutine stays on the main thread, which alone is traced.
		runtime.LockOSThread()
	}
	helpers["torn-save"] = tornSave
}

// tornSave makes one change between two signals to itself, which the tracer
// takes away, and ends with what came of it.
func tornSave() {
	testOnlyMinLn, testOnlyLn = 4, 4
	path := os.Getenv("KEEPMUM_TEST_FOLDER") + "/vault"
	i := slices.IndexFunc(tornKinds, func(k tornKind) bool { return k.name == os.Args[1] })
	change := func() error { _, err := createVault(path, testVaultPass); return err }
	if do := tornKinds[i].change; do != nil {
		v, err := openVault(path, testVaultPass)
		check(err)
		change = func() error { return do(v) }
	}
	check(unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGUSR1))
	err := change()
	check(unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGUSR2))
	if err != nil {
		fmt.Print(err)
	}
	switch {
	case errors.Is(err, errUnsynced):
		os.Exit(tornUnsynced)
	case err != nil:
		os.Exit(tornRefused)
	}
	os.Exit(tornSaved)
}

// tornCall is one system call that was seen.
type tornCall struct {
	number, first, third uint64
	result               int64
}

// tornRun is one run of a change under ptrace.
type tornRun struct {
	kind  tornKind
	at    int        // the call, from 1
	fault unix.Errno // what it returns; 0 kills the program in its place
	short bool       // it is a write of half of the bytes instead

	calls   []tornCall
	reached bool // there was such a call
	done    bool // it was not, and the program was killed after its answer
	exit    int  // -1 if it was killed
	said    string
	hung    bool
}

// start starts the change in folder, stopped ahead of its first instruction.
func (r *tornRun) start(folder string, out *os.File) (pid int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	return syscall.ForkExec(self, []string{self, r.kind.name}, &syscall.ProcAttr{
		Env: []string{"KEEPMUM_TEST_HELPER=torn-save", "KEEPMUM_TEST_FOLDER=" + folder, "GOGC=off",
			"GOTRACEBACK=none", "GODEBUG=asyncpreemptoff=1"},
		Files: []uintptr{out.Fd(), out.Fd(), out.Fd()}, Sys: &syscall.SysProcAttr{Ptrace: true}})
}

// trace runs the change to its end. The thread must be locked: a tracer is a
// thread, not a process.
func (r *tornRun) trace(folder string, out *os.File) error {
	pid, err := r.start(folder, out)
	if err != nil {
		return err
	}
	watch := time.AfterFunc(30*time.Second, func() { unix.Kill(pid, unix.SIGKILL) })
	defer func() { r.hung = !watch.Stop() }()
	inside, entry, pass := false, false, 0
	for first := true; ; first = false {
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err == unix.EINTR {
			continue
		} else if err != nil {
			return err
		}
		if status.Exited() || status.Signaled() {
			r.exit = -1
			if status.Exited() {
				r.exit = status.ExitStatus()
			}
			return nil
		}
		pass = 0
		switch stop := status.StopSignal(); {
		case first:
			err = unix.PtraceSetOptions(pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_EXITKILL)
		case stop == unix.SIGTRAP|0x80:
			entry = !entry
			err = r.stop(pid, entry)
		case stop == unix.SIGUSR1:
			inside = true
		case stop == unix.SIGUSR2:
			inside = false
			if !r.reached && r.fault == 0 { // acknowledged, and killed then
				r.done, err = true, unix.Kill(pid, unix.SIGKILL)
			}
		default:
			pass = int(stop)
		}
		if err == nil && inside {
			err = unix.PtraceSyscall(pid, pass)
		} else if err == nil {
			err = unix.PtraceCont(pid, pass)
		}
		if err != nil && err != unix.ESRCH { // ESRCH: killed
			unix.Kill(pid, unix.SIGKILL)
			return err
		}
	}
}

// stop looks at one end of a system call, and spoils the one that it should.
func (r *tornRun) stop(pid int, entry bool) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(pid, &regs); err != nil {
		return err
	}
	if entry {
		r.calls = append(r.calls, tornCall{regs.Orig_rax, regs.Rdi, regs.Rdx, 0})
	} else {
		r.calls[len(r.calls)-1].result = int64(regs.Rax)
	}
	if len(r.calls) != r.at || !entry && r.short {
		return nil
	}
	r.reached = true
	switch {
	case r.short && regs.Orig_rax == unix.SYS_WRITE:
		regs.Rdx = (regs.Rdx + 1) / 2
	case r.short:
		return nil
	case entry:
		regs.Orig_rax = ^uint64(0) // no call at all
		if r.fault == 0 {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil {
				return err
			}
		}
	default:
		regs.Rax = uint64(-int64(r.fault))
	}
	return unix.PtraceSetRegs(pid, &regs)
}

// tornState says what a vault file holds.
func tornState(path string) string {
	other := ""
	v, err := openVault(path, testVaultPass)
	if errors.Is(err, errPassphrase) {
		other = ", other passphrase"
		v, err = openVault(path, tornOther)
	}
	if errors.Is(err, os.ErrNotExist) {
		return "no vault"
	} else if err != nil {
		return err.Error()
	}
	defer v.close()
	if len(v.view().environments) == 0 {
		return "an empty vault" + other
	}
	return names(v) + other
}

// check judges what a run left: the old state or the new one, the new one if it
// was acknowledged, the old one if it was refused, and a next save that
// works and leaves nothing lying about.
func (r *tornRun) check(path string) error {
	state := tornState(path)
	switch {
	case state != r.kind.before && state != r.kind.after:
		return fmt.Errorf("a third state: %s", state)
	case (r.done || r.exit == tornSaved || r.exit == tornUnsynced) && state != r.kind.after:
		return fmt.Errorf("acknowledged (%d), and there is %s", r.exit, state)
	case r.exit == tornRefused && state != r.kind.before:
		return fmt.Errorf("refused (%s), and there is %s", r.said, state)
	case (r.exit == tornRefused || r.exit == tornUnsynced) &&
		(r.said == "" || strings.Contains(r.said, "\n") || strings.Contains(r.said, ".tmp-")):
		return fmt.Errorf("the error is unclear: %q", r.said)
	case r.hung:
		return errors.New("it hangs")
	}
	pass := testVaultPass
	if strings.HasSuffix(state, "other passphrase") {
		pass = tornOther
	}
	next := func() (*vault, error) { return openVault(path, pass) }
	if state == "no vault" {
		next = func() (*vault, error) { return createVault(path, pass) }
	}
	v, err := next()
	if err != nil {
		return fmt.Errorf("the next save: %v", err)
	}
	defer v.close()
	if err := v.update(func(d *vaultData) error { d.remember["next"] = "1"; return nil }); err != nil {
		return fmt.Errorf("the next save: %v", err)
	}
	if !aloneIn(filepath.Dir(path)) {
		return errors.New("the next save leaves other files beside the vault")
	}
	return nil
}

var errTrace = errors.New("failed to trace")

// tornBench is a folder in which one thread makes run after run.
type tornBench struct {
	dir      string
	template []byte
	out      *os.File
	ends     map[string]int // how the runs ended
}

func newTornBench(t *testing.T) *tornBench {
	t.Helper()
	v := newVault(t)
	must(t, v.update(setting("OLD", "1")))
	template, err := os.ReadFile(v.path)
	must(t, err)
	b := &tornBench{dir: t.TempDir(), template: template, ends: map[string]int{}}
	b.out, err = os.OpenFile(b.dir+"/out", os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	must(t, err)
	t.Cleanup(func() { b.out.Close() })
	return b
}

// run makes one run in a fresh home, in which an earlier save was interrupted.
func (b *tornBench) run(r *tornRun) error {
	home := filepath.Join(b.dir, "home")
	path := filepath.Join(home, "vault")
	err := errors.Join(os.RemoveAll(home), os.Mkdir(home, 0o700), b.out.Truncate(0),
		os.WriteFile(path+".tmp-"+idText(newID()), b.template[:700], 0o600))
	if r.kind.change != nil {
		err = errors.Join(err, os.WriteFile(path, b.template, 0o600))
	}
	if err != nil {
		return err
	}
	if err := r.trace(home, b.out); err != nil {
		return fmt.Errorf("%w: %w", errTrace, err)
	}
	said, err := io.ReadAll(io.NewSectionReader(b.out, 0, 1<<20))
	if err != nil {
		return err
	}
	r.said = string(said)
	ends := map[int]string{tornSaved: "saved", tornRefused: "refused", tornUnsynced: "saved, unsynced", -1: "killed"}
	end := ends[r.exit]
	if end == "" {
		end = "ended by the Go runtime"
	}
	b.ends[end]++
	return r.check(path)
}

// sweep makes a run for each system call, until a run has no such call. It
// returns how many there are.
func (b *tornBench) sweep(kind tornKind, fault unix.Errno, short bool) (calls int, err error) {
	for at := 1; ; at++ {
		r := &tornRun{kind: kind, at: at, fault: fault, short: short}
		if err := b.run(r); err != nil {
			last := tornCall{}
			if len(r.calls) >= at {
				last = r.calls[at-1]
			}
			return 0, fmt.Errorf("%s, call %d (number %d), fault %v: %w", kind.name, at, last.number, fault, err)
		}
		if !r.reached {
			return len(r.calls), r.faultless()
		}
	}
}

// faultless is for the run in which no call was spoiled.
func (r *tornRun) faultless() error {
	if r.fault != 0 && r.exit != tornSaved {
		return fmt.Errorf("%s without a fault ends with %d: %s", r.kind.name, r.exit, r.said)
	}
	if got := r.order(); got != "make write sync close rename sync" {
		return fmt.Errorf("%s makes the calls %q", r.kind.name, got)
	}
	return nil
}

// order is what a save does with the new file and the folder, from the new
// file's making on. [VLT-34]
func (r *tornRun) order() string {
	var did []string
	made := int64(-1)
	for _, c := range r.calls {
		what := ""
		switch {
		case c.number == unix.SYS_OPENAT && c.third&unix.O_EXCL != 0:
			what, made = "make", c.result
		case made < 0:
		case c.number == unix.SYS_WRITE && int64(c.first) == made:
			what = "write"
		case c.number == unix.SYS_FSYNC:
			what = "sync"
		case c.number == unix.SYS_CLOSE && int64(c.first) == made:
			what, made = "close", 1<<32
		case c.number == unix.SYS_RENAME, c.number == unix.SYS_RENAMEAT, c.number == unix.SYS_RENAMEAT2:
			what = "rename"
		}
		if what != "" && (what != "write" || did[len(did)-1] != "write") {
			did = append(did, what)
		}
	}
	return strings.Join(did, " ")
}

// tornSweep is one way to interrupt one kind of change at each of its calls.
type tornSweep struct {
	kind  tornKind
	fault unix.Errno
	short bool
}

// tornSweeps are those of the short form, or all.
func tornSweeps() (list []tornSweep) {
	if !*long {
		return []tornSweep{{tornKinds[0], 0, false}, {tornKinds[0], unix.EIO, false}}
	}
	for _, kind := range tornKinds {
		for _, fault := range []unix.Errno{0, unix.EIO, unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EINTR} {
			list = append(list, tornSweep{kind, fault, false})
		}
		list = append(list, tornSweep{kind, 1, true})
	}
	return list
}

// TestVaultTornAtEachCall kills a save at the entry of each of its system calls,
// and lets each of them fail: the old vault or the new one opens, no third
// state, and nothing is left that hinders the next save. [VLT-30] [VLT-34]
// [VLT-35]
func TestVaultTornAtEachCall(t *testing.T) {
	lowCost(t)
	var wg sync.WaitGroup
	var untraced atomic.Bool
	work, benches := make(chan tornSweep), []*tornBench{newTornBench(t), newTornBench(t)}
	for _, b := range benches {
		wg.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends here
			for s := range work {
				calls, err := b.sweep(s.kind, s.fault, s.short)
				if errors.Is(err, errTrace) && errors.Is(err, unix.EPERM) {
					untraced.Store(true)
				} else if err != nil || calls < 20 {
					t.Errorf("%d calls: %v", calls, err)
				}
				t.Logf("%s, fault %d, short writes %v: %d calls", s.kind.name, s.fault, s.short, calls)
			}
		})
	}
	for _, s := range tornSweeps() {
		work <- s
	}
	close(work)
	wg.Wait()
	if untraced.Load() {
		t.Skip("this system lets nobody be traced")
	}
	for end, n := range benches[1].ends {
		benches[0].ends[end] += n
	}
	t.Logf("the runs ended thus: %v", benches[0].ends)
}
