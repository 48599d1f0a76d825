package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// types types at once.
func (p *person) types(keys string) {
	p.w.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.w.t.Fatal(err)
	}
}

// insists types a key until the screen shows what comes of it: a shell gives the
// terminal to a job a moment after it says so, and a command may not have seen yet
// that its program has ended.
func (p *person) insists(key, want string) {
	p.w.t.Helper()
	next := time.Now()
	waitFor(p.w.t, want, func() bool {
		if !time.Now().Before(next) {
			p.types(key)
			next = time.Now().Add(time.Second)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		return regexp.MustCompile(want).Match(p.shown[p.read:])
	})
	p.sees(want)
}

func (p *person) resize(rows, columns uint16) {
	p.w.t.Helper()
	control(p.master, func(fd int) {
		must(p.w.t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}))
	})
}

// cooked reports whether the terminal is as a shell wants it.
func (p *person) cooked() (yes bool) {
	control(p.master, func(fd int) {
		t, err := unix.IoctlGetTermios(fd, ioctlGetTermios)
		yes = err == nil && t.Lflag&unix.ICANON != 0 && t.Lflag&unix.ECHO != 0 && t.Oflag&unix.OPOST != 0
	})
	return yes
}

// shell starts bash as a person does, with keepmum in its PATH.
func (w *world) shell() *person {
	w.t.Helper()
	bin := filepath.Join(w.dir, "bin")
	must(w.t, os.MkdirAll(bin, 0o700))
	os.Symlink(w.command().Path, filepath.Join(bin, "keepmum"))
	cmd := exec.Command("bash", "--norc", "--noprofile", "-i")
	if cmd.Err != nil {
		w.t.Skip("no bash")
	}
	cmd.Dir, cmd.Env = w.project, append(slices.Clone(w.env), "PATH="+bin+":"+os.Getenv("PATH"), "PS1=ready> ", "HISTFILE=",
		"TERM=dumb", "INPUTRC=/dev/null")
	p := w.seat(cmd)
	p.sees(`ready> $`)
	return p
}

// TestRunTerminal: the program has a terminal, of the right size, in which keys
// do what they do; ours is as it was afterwards. [RUN-16] [RUN-18]
func TestRunTerminal(t *testing.T) {
	w, _ := running(t)
	p := w.seat(w.command("run", "--env", "acme", "--", "sh", "-c", `test -t 0 && test -t 1 && test -t 2 && echo terminal
		tty; stty size </dev/tty; trap 'stty size; echo changed' WINCH; echo "a $KEY."; printf '\033[31mred\033[m\n'
		trap 'echo interrupted; exit 5' INT; echo ready; while :; do read line && echo "read $line $KEY"; done`))
	p.sees(`terminal\r\n/dev/\S+\r\n0 0\r\na ` + maskText + `\.\r\n\x1b\[31mred\x1b\[m\r\nready\r\n$`)
	if p.cooked() {
		t.Error("our terminal is not raw")
	}
	p.types("hello\r")
	p.sees(`hello\r\nread hello ` + maskText + `\r\n$`) // one echo, and one of the program
	p.resize(33, 99)
	p.sees(`33 99\r\nchanged\r\n`)
	p.types(testKey + "\r") // the echo of a value is masked as well
	p.sees(maskText + `\r\nread ` + maskText + ` ` + maskText + `\r\n$`)
	p.types("\x03")
	p.sees(`interrupted\r\n`)
	if code := p.ends(); code != 5 || !p.cooked() {
		t.Errorf("ended with %d, cooked %t", code, p.cooked())
	}
	if strings.Contains(string(w.seen()), testKey) {
		t.Error("the value was shown")
	}
}

// TestRunTwoTerminals: what is at another terminal stays there. [RUN-17]
func TestRunTwoTerminals(t *testing.T) {
	w, _ := running(t)
	other := w.seat(exec.Command("sleep", "60"))
	other.resize(33, 99)
	run := w.command("run", "--env", "acme", "--", "sh", "-c",
		`test -t 2 && echo "error $KEY" >&2; stty size <&2 >&2; stty size <&1; echo "output $KEY"; read line; echo "read $line"`)
	shell := exec.Command("sh", append([]string{"-c", `exec "$@" 2>"$0"`, other.slave.Name()}, run.Args...)...)
	shell.Env, shell.Dir = run.Env, run.Dir
	p := w.seat(shell)
	other.sees(`error ` + maskText + `\r\n33 99\r\n$`)
	p.sees(`^0 0\r\noutput ` + maskText + `\r\n$`)
	p.types("hello\r")
	p.sees(`hello\r\nread hello\r\n$`)
	if code := p.ends(); code != 0 {
		t.Errorf("ended with %d", code)
	}
}

// TestRunTerminalEnds: by a signal, by what cannot be started, with more output
// than a terminal holds, and with a program left running. [RUN-13] [RUN-16]
// [RUN-14]
func TestRunTerminalEnds(t *testing.T) {
	w, _ := running(t)
	bad := filepath.Join(w.project, "bad")
	must(t, os.WriteFile(bad, []byte("#!/nowhere/interpreter\n"), 0o700))
	for _, c := range []struct {
		script, want string
		code         int
		signal       syscall.Signal
	}{
		{script: "kill -TERM $$", signal: unix.SIGTERM},
		{script: "kill -KILL $$", signal: unix.SIGKILL},
		{script: "kill -SEGV $$", code: 139},
		{script: "exit 3", code: 3},
		{script: "seq 100000; echo last", want: `99999\r\n100000\r\nlast\r\n`},
		{script: "trap '' HUP; sleep 60 & echo $! > left; echo over", want: `over\r\n`},
	} {
		p := w.seat(w.command("run", "--env", "acme", "--", "sh", "-c", c.script))
		if c.want != "" {
			p.sees(c.want)
		}
		code := p.ends()
		status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
		if c.signal != 0 && (!status.Signaled() || status.Signal() != c.signal) || c.signal == 0 && code != c.code {
			t.Errorf("%s: ended with %v", c.script, p.cmd.ProcessState)
		}
		if !p.cooked() {
			t.Errorf("%s: the terminal is not as it was", c.script)
		}
	}
	var left int
	text, err := os.ReadFile(filepath.Join(w.project, "left"))
	must(t, err)
	fmt.Sscan(string(text), &left)
	if err := unix.Kill(left, unix.SIGTERM); err != nil {
		t.Errorf("what the program has left running: %v", err)
	}
	p := w.seat(w.command("run", "--env", "acme", "--", bad))
	p.sees(`cannot run .*: what it names as its interpreter is not there`)
	if code := p.ends(); code != 127 || !p.cooked() {
		t.Errorf("a bad interpreter: %d", code)
	}
}

// TestRunJobControl: Ctrl-Z, fg and bg of a real shell. [RUN-16]
func TestRunJobControl(t *testing.T) {
	t.Parallel()
	w, _ := running(t)
	p := w.shell()
	p.types("keepmum run --env acme -- sh -c 'echo on; read a; echo got $a $KEY'\r")
	p.sees(`on\r\n$`)
	p.types("\x1a")
	p.sees(`Stopped[\s\S]*ready> $`)
	p.types("echo $((40+2))\r")
	p.sees(`\r\n42\r\n[\s\S]*ready> $`)
	p.types("fg\r")
	p.sees(`fg\r\nkeepmum run[^\r]*\r\n`)
	waitFor(t, "the terminal to be taken", func() bool { return !p.cooked() })
	p.types("line\r")
	p.sees(`got line ` + maskText + `\r\n[\s\S]*ready> $`)
	// In the background it leaves the terminal alone, and takes it when it is
	// brought to the front.
	p.types("keepmum run --env acme -- sh -c 'echo behind $KEY; read a; echo got $a; exit 4' &\r")
	p.sees(`behind ` + maskText)
	p.types("echo $((40+3))\r")
	p.sees(`\r\n43\r\n[\s\S]*ready> $`)
	p.types("fg\r")
	p.sees(`fg\r\nkeepmum run[^\r]*\r\n`)
	waitFor(t, "the terminal to be taken", func() bool { return !p.cooked() })
	p.types("more\r")
	p.sees(`got more\r\n[\s\S]*ready> $`)
	p.types("echo status $?\r")
	p.sees(`\r\nstatus 4\r\n[\s\S]*ready> $`)
	// A program that stops itself, as editors do, and then runs on behind.
	p.types("keepmum run --env acme -- sh -c 'kill -TSTP $$; echo on behind; sleep 60'\r")
	p.sees(`Stopped[\s\S]*ready> $`)
	p.types("bg\r")
	p.sees(`on behind`)
	p.types("fg\r")
	p.sees(`fg\r\nkeepmum run[^\r]*\r\n`)
	waitFor(t, "the terminal to be taken", func() bool { return !p.cooked() })
	p.types("\x03")
	p.sees(`ready> $`)
	p.types("echo status $?\r")
	p.sees(`\r\nstatus 130\r\n[\s\S]*ready> $`)
	// Its program has ended, and something that this left running holds the pipe.
	p.types("keepmum run --env acme -- sh -c 'sleep 60 & echo $$ >over' | cat\r")
	waitFor(t, "the program's end", func() bool {
		text, err := os.ReadFile(filepath.Join(w.project, "over"))
		pid, bad := strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil && bad == nil && unix.Kill(pid, 0) != nil
	})
	p.insists("\x1a", `Stopped[\s\S]*ready> $`)
	p.types("fg\r")
	p.sees(`fg\r\nkeepmum run[^\r]*\r\n`)
	p.insists("\x03", `ready> $`)
	p.types("exit\r")
	p.ends()
}

// TestRunPipeline: a pipe stays a pipe, and the terminal is left to who else
// reads it. [RUN-16] [RUN-17]
func TestRunPipeline(t *testing.T) {
	t.Parallel()
	w, _ := running(t)
	p := w.shell()
	kinds := `test -t 0 && printf 0; test -t 1 && printf 1; test -t 2 && printf 2; echo " $KEY"`
	for _, c := range []struct{ line, keys, want string }{
		{"echo | keepmum run --env acme -- sh -c '" + kinds + "'", "", "12 " + maskText},
		{"keepmum run --env acme -- sh -c '" + kinds + "' | cat", "", "02 " + maskText},
		{"keepmum run --env acme -- sh -c '" + kinds + "' 2>err", "", "01 " + maskText},
		{"keepmum run --env acme -- sh -c '" + kinds + "; echo E $KEY >&2' 2>&1 | cat", "",
			"0 " + maskText + `\r\nE ` + maskText},
		// Ctrl-C reaches the whole group: it is not sent a second time.
		{`keepmum run --env acme -- sh -c 'trap "echo int >&2" INT; echo on >&2; ` +
			`while [ $((i+=1)) -lt 2000000 ]; do :; done; echo over >&2' | cat`, "\x03", `\^Cint\r\nover`},
		// The last of a pipeline has the keys, also while ours runs.
		{`keepmum run --env acme -- sh -c 'echo on >&2; sleep 1' | sh -c 'read x </dev/tty; echo "has $x"'`, "key\r", "has key"},
		// Ours reads the keys, though its standard input is a pipe.
		{`echo | keepmum run --env acme -- sh -c 'echo on; read x </dev/tty; echo "has $x"'`, "key\r", "has key"},
	} {
		p.types(c.line + "\r")
		if c.keys != "" {
			p.type_(`\non\r\n`, c.keys)
		}
		p.sees(`(?:^|\n)` + c.want + `\r\n`)
		p.sees(`ready> $`)
	}
	p.types("exit\r")
	p.ends()
}

// TestRunWithoutKeeper: the passphrase is the yes, and the terminal is the
// program's afterwards. [KPR-28] [RUN-16]
func TestRunWithoutKeeper(t *testing.T) {
	w, keeper := running(t)
	w.done(w.command("lock"))
	keeper.ends()
	for _, flags := range [][]string{nil, {"--no-masking"}} {
		args := slices.Concat([]string{"run", "--env", "acme"}, flags, []string{"--", "sh", "-c", "echo on; read a; echo got $a $KEY"})
		p := w.seat(w.command(args...))
		p.type_("passphrase: $", testPass+"\r")
		p.sees(`on\r\n$`)
		p.types("line\r")
		want := maskText
		if flags != nil {
			want = testKey
		}
		p.sees(`got line ` + want + `\r\n`)
		if p.ends() != 0 || !p.cooked() {
			t.Error("ended badly")
		}
	}
	cmd := w.command("run", "--env", "acme", "--", "touch", "started")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if _, errOut, code := w.done(cmd); code != 1 || !strings.Contains(errOut, "no terminal to ask for the passphrase") {
		t.Errorf("without a terminal: %d %q", code, errOut)
	}
	if _, err := os.Stat(filepath.Join(w.project, "started")); err == nil {
		t.Error("it was started")
	}
}
