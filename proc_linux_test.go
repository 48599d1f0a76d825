package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() {
	helpers["named"] = func() { // calls itself something that looks like a stat line
		os.WriteFile("/proc/self/comm", []byte(") R 1 1 1"), 0)
		fmt.Println("ready")
		os.Stdin.Read(make([]byte, 1))
		syscall.Exec(os.Args[1], os.Args[1:], nil)
	}
	helpers["sleep"] = func() {
		fmt.Println("ready")
		io.Copy(io.Discard, os.Stdin)
	}
}

// [WHO-1]
func TestLookupSelf(t *testing.T) {
	p, err := lookup(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	exe, _ := os.Executable()
	dir, _ := os.Getwd()
	if p.exe != exe || p.dir != dir || p.uid != os.Geteuid() || p.parent != os.Getppid() ||
		!slices.Equal(p.args, os.Args) || !p.alive() {
		t.Errorf("lookup of this process = %+v", p)
	}
	if err := p.same(); err != nil {
		t.Errorf("this process is not the same: %v", err)
	}
	if len(p.ancestors) == 0 || !unbroken(p.chain()) {
		t.Errorf("the ancestors are incomplete: %+v", p.ancestors)
	}
}

// [WHO-1] [DLV-10]
func TestLookupChild(t *testing.T) {
	r := startHelper(t, "named", "", "/bin/cat", "-u")
	r.firstLine()
	p, err := lookup(r.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if p.parent != os.Getpid() || len(p.ancestors) == 0 || p.ancestors[0].pid != os.Getpid() {
		t.Errorf("the parent of the child is %d, want %d", p.parent, os.Getpid())
	}
	r.in.Write([]byte("x"))
	waitFor(t, "exec to be noticed", func() bool { return p.same() != nil })
	if !p.alive() {
		t.Error("exec ended the process")
	}
	r.kill()
	if p.alive() || p.same() == nil {
		t.Error("an ended process is alive or the same")
	}
	if _, err := lookup(r.cmd.Process.Pid); err == nil {
		t.Error("an ended process was looked up")
	}
	p.close()
	p.close()
}

// [WHO-1]
func TestLookupDeletedExecutable(t *testing.T) {
	b, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Skip(err)
	}
	exe := filepath.Join(t.TempDir(), "sleeper")
	if err := os.WriteFile(exe, b, 0o700); err != nil {
		t.Fatal(err)
	}
	var cmd *exec.Cmd
	waitFor(t, "the program to start", func() bool { // not while a fork has it open for writing
		cmd = exec.Command(exe, "60")
		return cmd.Start() == nil
	})
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	var st unix.Stat_t
	if err := unix.Stat(exe, &st); err != nil {
		t.Fatal(err)
	}
	var p *process
	waitFor(t, "exec", func() bool {
		p, err = lookup(cmd.Process.Pid)
		return err == nil && p.exeIno == st.Ino
	})
	os.Remove(exe)
	os.WriteFile(exe, b, 0o700) // another file of the same name
	if err := p.same(); err != nil {
		t.Errorf("the process whose file was deleted: %v", err)
	}
	again, err := lookup(cmd.Process.Pid)
	if err != nil || again.exeIno != st.Ino || !strings.HasSuffix(again.exe, " (deleted)") {
		t.Errorf("lookup = %+v, %v", again, err)
	}
}

// [WHO-4]
func TestLookupRefuses(t *testing.T) {
	long := startHelper(t, "sleep", "", strings.Repeat("x", argsBytesMax))
	many := startHelper(t, "sleep", "", make([]string, argsMax+1)...)
	long.firstLine()
	many.firstLine()
	for _, pid := range []int{0, -1, 1 << 30, long.cmd.Process.Pid, many.cmd.Process.Pid} {
		if p, err := lookup(pid); err == nil {
			t.Errorf("lookup(%d) = %+v", pid, p.exe)
		}
	}
}

// TestLookupDuringExec: a record is of one program, never of the shell's file
// with cat's arguments. [WHO-2]
func TestLookupDuringExec(t *testing.T) {
	shell, _ := filepath.EvalSymlinks("/bin/sh")
	cat, _ := filepath.EvalSymlinks("/bin/cat")
	for range 60 {
		cmd := exec.Command("/bin/sh", "-c", "read x; exec /bin/cat")
		in, err := cmd.StdinPipe()
		must(t, err)
		must(t, cmd.Start())
		fmt.Fprintln(in)
		for exe := ""; exe != cat; {
			p, err := lookup(cmd.Process.Pid)
			if err != nil {
				continue
			}
			exe = p.exe
			if exe == cat && p.args[0] != "/bin/cat" || exe == shell && p.args[0] != "/bin/sh" {
				t.Errorf("%q runs %q", exe, p.args)
			}
			p.close()
		}
		in.Close()
		cmd.Wait()
	}
}

// [WHO-3]
func TestParseStat(t *testing.T) {
	const rest = " S 7 8 9 34817 8 4194304 1 2 3 4 5 6 7 8 20 0 1 0 12345 0"
	for _, c := range []struct {
		name, line string
		ok         bool
	}{
		{"plain", "5 (sh)" + rest, true},
		{"parenthesis", "5 (a) R 1 1 1 1)" + rest, true},
		{"newline", "5 (a\n) R 1)" + rest, true},
		{"short", "5 (sh) S 7 8 9", false},
		{"no name", "", false},
		{"zombie", "5 (sh)" + strings.Replace(rest, "S", "Z", 1), false},
		{"no number", "5 (sh)" + strings.Replace(rest, "12345", "x", 1), false},
	} {
		st, err := parseStat(c.line)
		want := statLine{state: "S", parent: 7, session: 9, tty: 34817, start: 12345}
		if (err == nil) != c.ok || c.ok && st != want {
			t.Errorf("%s: %+v, %v", c.name, st, err)
		}
	}
}

func TestTerminalName(t *testing.T) {
	for nr, want := range map[int]string{0: "", 0x8800: "/dev/pts/0", 0x8800 | 3: "/dev/pts/3", 0x100000 | 0x8800 | 1: "/dev/pts/257", 0x401: "/dev/tty1",
		0x501: "terminal 5:1"} {
		if got := terminalName(nr); got != want {
			t.Errorf("terminalName(%#x) = %q, want %q", nr, got, want)
		}
	}
}

// FuzzStat: a process that names itself chooses nothing but its name. [WHO-3]
func FuzzStat(f *testing.F) {
	const rest = " S 7 8 9 34817 8 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 2600960 220"
	for _, name := range []string{"sh", "", ") R 1 1 1 1 1", "a b", "((", "))\n5 (x) S 1 1", strings.Repeat(")", 300)} {
		f.Add(name, rest)
	}
	f.Add("sh", "")
	f.Fuzz(func(t *testing.T, name, tail string) {
		want := statLine{state: "S", parent: 7, session: 9, tty: 34817, start: 12345}
		if st, err := parseStat("5 (" + name + ")" + rest); err != nil || st != want {
			t.Errorf("named %q: %+v, %v", name, st, err)
		}
		parseStat("5 (" + name + ")" + tail)
	})
}
