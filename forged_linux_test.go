package main

// Who types into the keeper's terminal is not always the person. Here the
// keeper runs in terminals into which a program can type, and everything that
// is typed comes that way; a request about what is sensitive must end with a
// no all the same (SPEC §12).

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// forgery is one way to type into a terminal. A program that types needs no
// keyboard: open starts the keeper and returns its terminal, and how to type.
type forgery struct {
	name  string
	needs []string // programs that users' machines may lack
	warns string   // what the keeper says of it at start; "" where it cannot know
	open  func(w *world) (p *person, forge func(keys string))
	ahead bool // it types before the question
	dead  bool // what it writes is no key
}

var forgeries = []forgery{
	{name: "tmux send-keys", needs: []string{"tmux"}, warns: "tmux (send-keys)", open: inTmux(sendKeys)},
	{name: "tmux paste-buffer", needs: []string{"tmux"}, warns: "tmux (send-keys)", open: inTmux(pasteBuffer)},
	{name: "screen stuff", needs: []string{"screen"}, warns: "screen (stuff)", open: inScreen},
	{name: "TIOCSTI", warns: "TIOCSTI (dev.tty.legacy_tiocsti=1)", open: underStuffer},
	{name: "expect", needs: []string{"expect"}, open: inExpect},
	{name: "script", needs: []string{"script"}, open: inScript},
	{name: "a pty of its own", open: atOwnTerminal},
	{name: "keys typed ahead", open: atOwnTerminal, ahead: true},
	{name: "writes to the terminal device", open: besideDevice, dead: true},
}

// typed are the keys that are forged, in turns: what is offered, what is not,
// and words of somebody who does not know what is asked. None has a v, which
// would silence the tries after it.
var typed = []string{"o", "t\r", "p", "\r", "y", "u\r", "yes\r", "ok\r", "once\r", "timed\r", "oooooooo\r",
	"allow\r", "y\r\r\r", "e", "O", "o\x04", "o\x1b[200~yes\x1b[201~\r", "\x1b[A", "process\r", "o " + testPass[1:] + "\r"}

// follow shows what a program wrote, as watch does.
func (p *person) follow(out io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := out.Read(buf)
		p.w.Write(buf[:n])
		p.mu.Lock()
		p.shown = append(p.shown, buf[:n]...)
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// typist is a person whose every key is forged.
func (w *world) typist(out io.Reader, forge func(keys string)) *person {
	w.t.Helper()
	keys, master, err := os.Pipe()
	must(w.t, err)
	p := &person{w: w, master: master}
	go p.follow(out)
	go func() {
		for buf := make([]byte, 4096); ; {
			n, err := keys.Read(buf)
			if err != nil {
				return
			}
			forge(string(buf[:n]))
		}
	}()
	t := w.t
	t.Cleanup(func() {
		master.Close()
		if t.Failed() {
			t.Logf("the screen:\n%s", p.shown)
		}
	})
	return p
}

// unlocks makes the vault and waits for the keeper.
func (p *person) unlocks() *person {
	p.w.t.Helper()
	p.type_("new passphrase: $", testPass+"\r")
	p.type_("the same again: $", testPass+"\r")
	p.sees(`Ctrl-C locks\.`)
	return p
}

// tail reads a file that grows, for ever.
type tail struct{ *os.File }

func (f tail) Read(b []byte) (int, error) {
	for {
		if n, err := f.File.Read(b); err != io.EOF {
			return n, err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// growing makes a file to be written by another program, and reads it.
func (w *world) growing(name string) (path string, out io.Reader) {
	w.t.Helper()
	path = filepath.Join(w.dir, name)
	f, err := os.Create(path)
	must(w.t, err)
	w.t.Cleanup(func() { f.Close() })
	return path, tail{f}
}

// helps runs a program that must work.
func (w *world) helps(env []string, name string, args ...string) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(w.env, env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Errorf("%s %q: %v %s", name, args, err, out)
	}
}

// start starts the keeper under a program of the way, with pipes.
func (w *world) start(name string, args ...string) (in io.WriteCloser, out io.Reader) {
	w.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir, cmd.SysProcAttr = w.env, w.project, &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	must(w.t, err)
	out, err = cmd.StdoutPipe()
	must(w.t, err)
	must(w.t, cmd.Start())
	w.t.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	return in, out
}

// held is a shell that becomes the keeper once somebody types a line.
func held(w *world) []string {
	return []string{"sh", "-c", `read -r _; exec "$0" unlock`, w.command().Path}
}

// sendKeys and pasteBuffer are the two ways of tmux.
func sendKeys(keys string) (commands [][]string) {
	all := []string{"send-keys", "-H"}
	for _, b := range []byte(keys) {
		all = append(all, hex.EncodeToString([]byte{b}))
	}
	return [][]string{all}
}

func pasteBuffer(keys string) (commands [][]string) {
	return [][]string{{"set-buffer", "--", keys}, {"paste-buffer", "-r", "-d"}}
}

func inTmux(way func(keys string) [][]string) func(*world) (*person, func(string)) {
	return func(w *world) (*person, func(string)) {
		log, out := w.growing("screen.log")
		tmux := func(args ...string) {
			w.helps([]string{"TERM=xterm"}, "tmux", append([]string{"-S", filepath.Join(w.dir, "s"), "-f", "/dev/null"}, args...)...)
		}
		tmux(append([]string{"new-session", "-d", "-x", "80", "-y", "24"}, held(w)...)...)
		w.t.Cleanup(func() { tmux("kill-server") })
		tmux("pipe-pane", "exec cat >>"+log)
		tmux("send-keys", "Enter")
		forge := func(keys string) {
			for _, args := range way(keys) {
				tmux(args...)
			}
		}
		return w.typist(out, forge).unlocks(), forge
	}
}

func inScreen(w *world) (*person, func(string)) {
	log, out := w.growing("screen.log")
	rc, dir := filepath.Join(w.dir, "rc"), filepath.Join(w.dir, "s")
	put(w.t, rc, "deflog on\nlogfile "+log+"\nlogfile flush 0\nstartup_message off\n")
	must(w.t, os.Mkdir(dir, 0o700))
	screen := func(args ...string) {
		w.helps([]string{"TERM=xterm", "SCREENDIR=" + dir}, "screen", append([]string{"-c", rc, "-S", "km"}, args...)...)
	}
	screen(append([]string{"-d", "-m"}, held(w)...)...)
	w.t.Cleanup(func() { screen("-X", "quit") })
	forge := func(keys string) {
		stuff := ""
		for _, b := range []byte(keys) {
			stuff += fmt.Sprintf("\\%03o", b)
		}
		screen("-X", "stuff", stuff)
	}
	forge("\r")
	return w.typist(out, forge).unlocks(), forge
}

func init() {
	// It starts the keeper in its own terminal, and types there what comes by a
	// pipe: the right to is that of any program of the session.
	helpers["stuffer"] = func() {
		cmd := exec.Command(os.Args[0], "unlock")
		cmd.Env = append(os.Environ(), "KEEPMUM_TEST_HELPER=main")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if cmd.Start() != nil {
			os.Exit(1)
		}
		keys := os.NewFile(3, "keys")
		for key := make([]byte, 1); ; {
			if _, err := keys.Read(key); err != nil {
				cmd.Process.Kill()
				cmd.Wait()
				return
			}
			// Little-endian or not, the one byte is taken from where it stands.
			unix.Syscall(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&key[0])))
		}
	}
}

func underStuffer(w *world) (*person, func(string)) {
	if b, err := os.ReadFile("/proc/sys/dev/tty/legacy_tiocsti"); err == nil && b[0] == '0' {
		w.t.Skip("the kernel refuses TIOCSTI (dev.tty.legacy_tiocsti=0)")
	}
	master, slave, err := openPTY()
	must(w.t, err)
	defer slave.Close()
	keys, in, err := os.Pipe()
	must(w.t, err)
	defer keys.Close()
	cmd := w.command()
	cmd.Env = append(w.env, "KEEPMUM_TEST_HELPER=stuffer")
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = slave, slave, slave, []*os.File{keys}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(w.t, cmd.Start())
	w.t.Cleanup(func() { in.Close(); cmd.Wait(); master.Close() })
	forge := func(keys string) { io.WriteString(in, keys) }
	return w.typist(master, forge).unlocks(), forge
}

func inExpect(w *world) (*person, func(string)) {
	const text = `set timeout -1
spawn -noecho {*}$argv
expect_background -re .+ {}
fileevent stdin readable {if {[gets stdin line] < 0} exit; send -- [binary format H* $line]}
vwait forever
`
	path := filepath.Join(w.dir, "type.exp")
	put(w.t, path, text)
	in, out := w.start("expect", path, w.command().Path, "unlock")
	forge := func(keys string) { fmt.Fprintf(in, "%x\n", keys) }
	return w.typist(out, forge).unlocks(), forge
}

func inScript(w *world) (*person, func(string)) {
	in, out := w.start("script", "-q", "-f", "-c", "exec "+w.command().Path+" unlock", "/dev/null")
	forge := func(keys string) { io.WriteString(in, keys) }
	return w.typist(out, forge).unlocks(), forge
}

func atOwnTerminal(w *world) (*person, func(string)) {
	p := w.unlock()
	return p, func(keys string) { io.WriteString(p.master, keys) }
}

// besideDevice writes to the device file of the keeper's terminal, and to its
// descriptors where these can be opened.
func besideDevice(w *world) (*person, func(string)) {
	p := w.unlock()
	n, err := unix.IoctlGetInt(int(p.master.Fd()), unix.TIOCGPTN)
	must(w.t, err)
	must(w.t, unix.SetNonblock(int(p.master.Fd()), true)) // Fd made it blocking
	return p, func(keys string) {
		for _, path := range []string{"/dev/pts/" + strconv.Itoa(n), fmt.Sprintf("/proc/%d/fd/0", p.cmd.Process.Pid)} {
			if dev, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOCTTY, 0); err == nil {
				io.WriteString(dev, keys)
				dev.Close()
			}
		}
	}
}

// forgedSum is what came of the tries of one way.
type forgedSum struct{ tries, sensitive, plain, plainTries int }

// TestForgedAnswers: no key and no word that a program types approves a request
// about what is sensitive, wherever it types, and of the terminals that are
// known to be open to others the keeper has warned. [ASK-16] [KPR-7]
func TestForgedAnswers(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	sums := map[string]forgedSum{}
	t.Run("ways", func(t *testing.T) {
		for i, f := range forgeries {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				for _, program := range f.needs {
					if _, err := exec.LookPath(program); err != nil {
						t.Skipf("there is no %s here", program)
					}
				}
				sum := f.try(t, i)
				mu.Lock()
				sums[f.name] = sum
				mu.Unlock()
			})
		}
	})
	for _, f := range forgeries {
		if sum, ran := sums[f.name]; ran {
			t.Logf("%s: %d tries, %d approved; of a key for what is not sensitive: %d of %d approved", f.name,
				sum.tries, sum.sensitive, sum.plain, sum.plainTries)
		}
	}
}

// try asks for what is sensitive and forges the answers. Then it forges for
// what is not, and types the passphrase, which shows that the keys arrive.
func (f forgery) try(t *testing.T, nth int) (sum forgedSum) {
	w := newWorld(t)
	w.policy(forgedPolicy)
	p, forge := f.open(w)
	said := string(w.seen())
	if _, by, _ := strings.Cut(said, "can type into this terminal, by"); !strings.Contains(by, f.warns) {
		t.Errorf("the keeper did not warn of %s:\n%s", f.warns, said)
	}
	path, open := w.sensitive(p)
	tries := 3
	if *long {
		tries = 15 * len(typed)
	}
	for n := range tries {
		what := []string{"read", "mount", "delete"}[n%3]
		sum.tries++
		if f.forges(w, p, forge, what, path, typed[(n/3+nth)%len(typed)]) {
			sum.sensitive++
			t.Errorf("%s was approved by %q", what, typed[(n/3+nth)%len(typed)])
		}
	}
	for range max(1, tries/20) {
		sum.plainTries++
		if f.forges(w, p, forge, "read", open, "o") {
			sum.plain++
		}
	}
	if reached := sum.plain > 0; reached == (f.dead || f.ahead) {
		t.Errorf("%d of %d forged keys were taken for what is not sensitive", sum.plain, sum.plainTries)
	}
	f.control(w, p, path)
	return sum
}

// forgedPolicy asks for what is tried, and not for what only prepares it.
const forgedPolicy = `{"sensitive":["prod"], "rules":[
	{"environment":"prod","action":["append"],"decision":"allow"},
	{"environment":"prod","action":["append"],"decision":"allow","agent":true},
	{"environment":"acme","action":["append","mount"],"decision":"allow"},
	{"environment":"acme","action":["append","mount"],"decision":"allow","agent":true}]}`

// sensitive makes and mounts prod, which is, and acme, which is not.
func (w *world) sensitive(p *person) (secret, open string) {
	w.t.Helper()
	w.put("prod", "KEY", "canary-prod")
	w.put("acme", "KEY", "canary-acme")
	secret, open = filepath.Join(w.project, ".env"), filepath.Join(w.project, "open", ".env")
	must(w.t, os.Mkdir(filepath.Dir(open), 0o700))
	if _, errOut, code := w.done(w.command("mount", "acme", open)); code != 0 {
		w.t.Fatal(errOut)
	}
	mount := w.command("mount", "prod", secret)
	must(w.t, mount.Start())
	p.answers("mount", "o")
	p.type_("yes costs: $", testPass+"\r")
	must(w.t, mount.Wait())
	return secret, open
}

// forges asks once, forges keys until the request has ended, and reports
// whether it was approved.
func (f forgery) forges(w *world, p *person, forge func(string), what, path, keys string) bool {
	w.t.Helper()
	var out bytes.Buffer
	other := filepath.Join(w.project, "other", ".env")
	os.Mkdir(filepath.Dir(other), 0o700)
	cmd := map[string]*exec.Cmd{"read": exec.Command("cat", path), "mount": w.command("mount", "prod", other),
		"delete": w.command("env", "delete", "prod")}[what]
	cmd.Dir, cmd.Stdout, cmd.Stderr = w.project, &out, w
	if f.ahead {
		forge(strings.Repeat(keys, 20))
	}
	must(w.t, cmd.Start())
	p.asked(what)
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	for n := range 30 {
		if p.last("yes costs: ") == 0 {
			time.Sleep(testEarlyKey + 20*time.Millisecond) // the rule under test, not luck
		}
		before := p.last("")
		switch {
		case p.last("refused") > 0: // the next question is not this one's
		case f.ahead, f.dead && n > 0:
			io.WriteString(p.master, "\r") // the person comes back
		default:
			forge(keys)
		}
		if n == 0 {
			keys += "\r" // a passphrase ends with Enter
		}
		for end := time.Now().Add(150 * time.Millisecond); p.last("") == before && time.Now().Before(end); {
			select {
			case <-ended:
				p.sees(`refused|allowed`)
				return cmd.ProcessState.Success() && (what != "read" || strings.Contains(out.String(), "KEY="))
			case <-time.After(2 * time.Millisecond):
			}
		}
	}
	w.t.Fatalf("%s: %q did not end it", what, keys)
	return false
}

// last tells where, in what was not yet looked at, a text ends after which
// there is nothing but spaces; 0 if it does not.
func (p *person) last(text string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	rest := strings.TrimRight(string(p.shown[p.read:]), " \r\n")
	if !strings.HasSuffix(rest, strings.TrimRight(text, " ")) {
		return 0
	}
	return len(rest)
}

// control approves with the passphrase, by the same keys: what was refused was
// refused for the want of it.
func (f forgery) control(w *world, p *person, path string) {
	w.t.Helper()
	cmd, out := w.reads(path)
	p.answers("read", "o")
	p.type_("yes costs: $", testPass+"\r")
	if cmd.Wait(); !strings.Contains(out.String(), "canary-prod") {
		w.t.Errorf("the passphrase did not approve: %q", out)
	}
}

// TestForgedUnlock: a program that starts the keeper itself, in a terminal of
// its own, has the terminal and not the passphrase. [KPR-5]
func TestForgedUnlock(t *testing.T) {
	w, p := newWorld(t), (*person)(nil)
	w.policy(forgedPolicy)
	w.unlock()
	w.put("prod", "KEY", "canary-prod")
	w.done(w.command("lock"))
	tries := 1
	if *long {
		tries = len(typed)
	}
	for n := range tries {
		p = w.atTerminal("unlock")
		for k := range maxTries {
			p.type_("passphrase: $", strings.TrimRight(typed[(n+k)%len(typed)], "\r\x04")+"\r")
		}
		if code := p.ends(); code != 1 {
			t.Errorf("it ended with %d", code)
		}
		p.showed("incorrect passphrase")
		if out, _, _ := w.done(w.command("status")); !strings.Contains(out, "locked: no keeper runs") {
			t.Errorf("afterwards: %s", out)
		}
	}
	if bytes.Contains(w.seen(), []byte("canary-prod")) {
		t.Error("a value was shown")
	}
	t.Logf("%d keepers, %d passphrases: 0 unlocked", tries, tries*maxTries)
}
