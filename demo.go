package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	demoWait = 20 * time.Second // for any one step
	demoPass = "correct horse battery staple"
)

// demoNames are the variables of the story.
var demoNames = []string{"DATABASE_URL", "API_KEY", "SESSION_SECRET"}

// demo is the whole story in a throw-away home: a real keeper on a real
// pseudo-terminal, a real bridge, real readers. It implements `demo` of
// *Command line* (SPEC §11).
type demo struct {
	out    io.Writer
	dir    string
	env    []string
	values map[string]string // typed at the prompt; the demo alone knows them
	screen *screen           // the keeper's
	failed []string

	agent     *exec.Cmd
	toAgent   io.Closer
	agentSaid *screen
}

// runDemo tells the story and ends with 1 if anything was not as told.
func runDemo(c *cli, args []string) error {
	if err := c.want(args, 0, 0); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "keepmum-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	d := &demo{out: c.out, dir: dir, values: map[string]string{}}
	for _, name := range demoNames {
		random := make([]byte, 12)
		rand.Read(random)
		d.values[name] = "demo's $" + name + ": " + hex.EncodeToString(random)
	}
	d.env = append(os.Environ(), "HOME="+dir, "TERM=dumb", "KEEPMUM_HOME="+filepath.Join(dir, "home"),
		"XDG_RUNTIME_DIR=")
	if err := d.tell(); err != nil {
		return err
	}
	if len(d.failed) > 0 {
		return fmt.Errorf("not as told: %s", strings.Join(d.failed, "; "))
	}
	fmt.Fprintln(d.out, "\nEverything was as told, and nothing is left behind.")
	return nil
}

// tell plays the acts in order.
func (d *demo) tell() error {
	if err := os.Mkdir(filepath.Join(d.dir, "project"), 0o700); err != nil {
		return err
	}
	keeper, err := d.startKeeper()
	if err != nil {
		return err
	}
	defer keeper.Process.Kill()
	acts := []func() error{d.actVault, d.actAgent, d.actReader, d.actThief}
	for _, act := range acts {
		if err := act(); err != nil {
			return fmt.Errorf("%v; the keeper's screen so far:\n%s", err, d.screen.text())
		}
	}
	return d.actLock(keeper)
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// check notes what was not as told.
func (d *demo) check(ok bool, what string) {
	mark := "ok "
	if !ok {
		mark = "NOT"
		d.failed = append(d.failed, what)
	}
	d.say("  %s %s", mark, what)
}

// command is this program again, in the demo's surroundings.
func (d *demo) command(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	cmd := exec.Command(self, args...)
	cmd.Env, cmd.Dir = d.env, filepath.Join(d.dir, "project")
	return cmd
}

// startKeeper starts "keepmum unlock" in a terminal of its own.
func (d *demo) startKeeper() (*exec.Cmd, error) {
	master, slave, err := openPTY()
	if err != nil {
		return nil, err
	}
	defer slave.Close()
	cmd := d.command("unlock")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	d.screen = newScreen(d.out, "  | ")
	d.screen.to = master
	d.say("== A person runs keepmum unlock in a terminal of their own (shown after |)")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go io.Copy(d.screen, master) // ends with the keeper
	return cmd, nil
}

func (d *demo) actVault() error {
	return d.screen.play(
		step{"new passphrase: ", demoPass + "\r"}, step{"the same again: ", demoPass + "\r"},
		step{"Ctrl-C locks.", ""})
}

// actAgent lets an agent set the project up. Each step waits for a key.
func (d *demo) actAgent() error {
	d.say("\n== An agent asks for what it needs, over MCP (-> asked, <- answered)")
	if err := d.startAgent(); err != nil {
		return err
	}
	steps := []step{{`connect[\s\S]*> $`, "p"}, {`create[\s\S]*> $`, "o"}, {`append[\s\S]*> $`, "e"}}
	for _, name := range demoNames {
		steps = append(steps, step{name + ` \(not shown.*: $`, d.values[name] + "\r"})
	}
	steps = append(steps, step{`mount[\s\S]*> $`, "o"}, step{`list[\s\S]*> $`, "o"})
	if err := d.screen.play(steps...); err != nil {
		return err
	}
	if err := d.agentSaid.await(`<- \{.*"id":6`); err != nil {
		return err
	}
	d.check(!d.leaks(d.agentSaid.text()), "the agent has seen names and no value")
	info, err := os.Stat(filepath.Join(d.dir, "project", ".env"))
	d.check(err == nil && info.Mode().Type() == fs.ModeNamedPipe, ".env is a pipe: nothing was written to disk")
	return nil
}

// startAgent runs the agent, showing what it says.
func (d *demo) startAgent() (err error) {
	d.agent = d.command("demo-agent")
	if d.toAgent, err = d.agent.StdinPipe(); err != nil {
		return err
	}
	d.agentSaid = newScreen(d.out, "")
	d.agent.Stdout, d.agent.Stderr = d.agentSaid, d.agentSaid
	return d.agent.Start()
}

// actReader reads the mount as a program that the person started.
func (d *demo) actReader() error {
	d.say("\n== The project's program reads .env; the person allows it once")
	var out bytes.Buffer
	cmd := d.command("demo-reader", filepath.Join(d.dir, "project", ".env"))
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := d.screen.play(step{`read[\s\S]*> $`, "o"}, step{`read by`, ""}); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return err
	}
	lines, problems := parseEnv(out.Bytes())
	right := len(problems) == 0 && len(lines) == len(demoNames)
	for _, l := range lines {
		same := d.values[l.name] == string(l.value)
		right = right && same
		d.say("  %s=%s  (%d characters, as typed: %v)", l.name, strings.Repeat("*", 8), len(l.value), same)
	}
	d.check(right, fmt.Sprintf("the program got all %d values exactly", len(demoNames)))
	return nil
}

// actThief reads the mount as the agent does.
func (d *demo) actThief() error {
	d.say("\n== The agent runs cat .env; the person presses Enter, which is no")
	d.toAgent.Close()
	if err := d.screen.play(step{`read[\s\S]*AI agent[\s\S]*> $`, "\r"}, step{`NO VALUES.*`, ""}); err != nil {
		return err
	}
	if err := d.agent.Wait(); err != nil {
		return err
	}
	said := d.agentSaid.text()
	d.check(bytes.Contains(said, []byte("# keepmum: not approved")) && !d.leaks(said),
		"the agent got one comment line, and no value")
	return nil
}

// actLock locks, and looks at what is left.
func (d *demo) actLock(keeper *exec.Cmd) error {
	d.say("\n== Ctrl-C locks")
	d.screen.to.Write([]byte{keyInterrupt})
	ended := make(chan error, 1)
	go func() { ended <- keeper.Wait() }()
	select {
	case err := <-ended:
		d.check(err == nil, "the keeper ended by itself")
	case <-time.After(demoWait):
		return errors.New("the keeper did not end")
	}
	_, err := os.Lstat(filepath.Join(d.dir, "project", ".env"))
	d.check(errors.Is(err, fs.ErrNotExist), "the mount is gone")
	log, err := d.command("log").Output()
	d.say("\n== The audit log")
	d.out.Write(log)
	d.check(err == nil && bytes.Count(log, []byte("\n")) >= 9, "the log has every step")
	d.check(!d.leaks(log), "the log has no value")
	clear := ""
	filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if text, err := os.ReadFile(path); err != nil || d.leaks(text) {
				clear = path
			}
		}
		return nil
	})
	d.check(clear == "", "no file holds a value in clear")
	return nil
}

// leaks looks for a value, also as base64 and hexadecimal.
func (d *demo) leaks(text []byte) bool {
	for _, v := range d.values {
		for _, form := range []string{v, v[len(v)-24:], hex.EncodeToString([]byte(v)),
			base64.StdEncoding.EncodeToString([]byte(v))} {
			if bytes.Contains(text, []byte(form)) {
				return true
			}
		}
	}
	return false
}

// step is something to wait for on the screen, and what to type then.
type step struct{ want, keys string }

// screen is what a process has written, shown line by line.
type screen struct {
	to     io.Writer // its terminal, to type into
	out    io.Writer
	prefix string

	mu    sync.Mutex
	news  *sync.Cond
	all   []byte
	shown int // how far lines were shown
	seen  int // how far steps have matched
}

func newScreen(out io.Writer, prefix string) *screen {
	s := &screen{out: out, prefix: prefix}
	s.news = sync.NewCond(&s.mu)
	return s
}

// Write takes what the process wrote and shows whole lines.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range b {
		if c != '\r' && c != '\a' {
			s.all = append(s.all, c)
		}
	}
	if end := bytes.LastIndexByte(s.all, '\n') + 1; end > s.shown {
		for line := range bytes.Lines(s.all[s.shown:end]) {
			fmt.Fprintf(s.out, "%s%s", s.prefix, line)
		}
		s.shown = end
	}
	s.news.Broadcast()
	return len(b), nil
}

func (s *screen) text() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.all)
}

// play waits for each step in turn and types its keys. An answer within the
// first moment of its question would be thrown away, so it pauses as a person
// does.
func (s *screen) play(steps ...step) error {
	for _, st := range steps {
		if err := s.await(st.want); err != nil {
			return err
		}
		if len(st.keys) == 1 {
			time.Sleep(earlyKey + 100*time.Millisecond)
		}
		if _, err := io.WriteString(s.to, st.keys); err != nil {
			return err
		}
	}
	return nil
}

// await returns once the unseen part matches.
func (s *screen) await(pattern string) error {
	want, late := regexp.MustCompile(pattern), false
	timer := time.AfterFunc(demoWait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		late = true
		s.news.Broadcast()
	})
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !late {
		if at := want.FindIndex(s.all[s.seen:]); at != nil {
			s.seen += at[1]
			return nil
		}
		s.news.Wait()
	}
	return fmt.Errorf("never saw %q", pattern)
}
