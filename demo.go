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
	out           io.Writer
	dir, mount    string
	values        map[string]string // typed at the prompt; the demo alone knows them
	keeper, agent *exec.Cmd
	screen        screen // the keeper's terminal
	said          screen // by the agent
	failed        []string
}

// act is one part of the story: something is started, the person answers, and
// then it must be as told.
type act struct {
	title string
	start func() error
	steps []step
	check func() error
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
	if err := os.Mkdir(filepath.Join(dir, "project"), 0o700); err != nil {
		return err
	}
	d := &demo{out: c.out, dir: dir, mount: filepath.Join(dir, "project", ".env"),
		values: map[string]string{}, screen: screen{out: c.out, prefix: "  | "},
		said: screen{out: c.out}}
	for _, name := range demoNames {
		d.values[name] = "demo's $" + name + ": " + rand.Text()
	}
	if err := d.tell(); err != nil {
		return fmt.Errorf("%v; the keeper's screen so far:\n%s", err, d.screen.text())
	}
	if len(d.failed) > 0 {
		return fmt.Errorf("not as told: %s", strings.Join(d.failed, "; "))
	}
	fmt.Fprintln(d.out, "\nEverything was as told, and nothing is left behind.")
	return nil
}

// tell plays the acts in order.
func (d *demo) tell() error {
	d.keeper, d.agent = d.command("unlock"), d.command("demo-agent")
	defer func() {
		if d.keeper.Process != nil {
			d.keeper.Process.Kill()
		}
	}()
	d.agent.Stdout, d.agent.Stderr = &d.said, &d.said
	goOn, err := d.agent.StdinPipe()
	if err != nil {
		return err
	}
	var read bytes.Buffer
	reader := d.command("demo-reader", d.mount)
	reader.Stdout = &read
	for _, a := range []act{
		{"== A person runs keepmum unlock in a terminal of their own (shown after |)",
			d.startKeeper, []step{{"new passphrase: ", demoPass + "\r"},
				{"the same again: ", demoPass + "\r"}, {"Ctrl-C locks.", ""}},
			func() error { return nil }},
		{"\n== An agent asks for what it needs, over MCP (-> asked, <- answered)",
			d.agent.Start, d.setUp(), d.checkAgent},
		{"\n== The project's program reads .env; the person allows it once",
			reader.Start, []step{asked("read", "o"), {"read by", ""}},
			func() error { return d.checkReader(reader.Wait(), read.Bytes()) }},
		{"\n== The agent runs cat .env; the person presses Enter, which is no",
			goOn.Close, []step{asked(`read[\s\S]*AI agent`, "\r"), {"NO VALUES.*", ""}},
			d.checkThief},
		{"\n== Ctrl-C locks", func() error { return nil },
			[]step{{"", string(rune(keyInterrupt))}}, d.checkLock},
	} {
		d.say("%s", a.title)
		if err := a.start(); err != nil {
			return err
		}
		if err := d.screen.play(a.steps...); err != nil {
			return err
		}
		if err := a.check(); err != nil {
			return err
		}
	}
	return nil
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

// again is this program once more. Without a name for it, it does not start.
func again(args ...string) *exec.Cmd {
	self, _ := os.Executable()
	return exec.Command(self, args...)
}

// command is this program again, in the demo's surroundings.
func (d *demo) command(args ...string) *exec.Cmd {
	cmd := again(args...)
	cmd.Dir = filepath.Join(d.dir, "project")
	cmd.Env = append(os.Environ(), "HOME="+d.dir, "TERM=dumb", "XDG_RUNTIME_DIR=",
		"KEEPMUM_HOME="+filepath.Join(d.dir, "home"))
	return cmd
}

// startKeeper starts "keepmum unlock" in a terminal of its own.
func (d *demo) startKeeper() error {
	master, slave, err := openPTY()
	if err != nil {
		return err
	}
	defer slave.Close()
	d.keeper.Stdin, d.keeper.Stdout, d.keeper.Stderr = slave, slave, slave
	d.keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	d.screen.to = master
	if err := d.keeper.Start(); err != nil {
		return err
	}
	go io.Copy(&d.screen, master) // ends with the keeper
	return nil
}

// asked is a question of the keeper's, which waits for a key.
func asked(what, key string) step { return step{what + `[\s\S]*> $`, key} }

// setUp is what the person answers while an agent sets the project up.
func (d *demo) setUp() []step {
	steps := []step{asked("connect", "p"), asked("create", "o"), asked("append", "e")}
	for _, name := range demoNames {
		steps = append(steps, step{name + ` \(not shown.*: $`, d.values[name] + "\r"})
	}
	return append(steps, asked("mount", "o"), asked("list", "o"))
}

func (d *demo) checkAgent() error {
	if err := d.said.await(`<- \{.*"id":6`); err != nil {
		return err
	}
	d.check(!d.leaks(d.said.text()), "the agent has seen names and no value")
	info, err := os.Stat(d.mount)
	d.check(err == nil && info.Mode().Type() == fs.ModeNamedPipe,
		".env is a pipe: nothing was written to disk")
	return nil
}

// checkReader compares what a program that the person started has read.
func (d *demo) checkReader(failed error, text []byte) error {
	lines, problems := parseEnv(text)
	right := len(problems) == 0 && len(lines) == len(demoNames)
	for _, l := range lines {
		same := d.values[l.name] == string(l.value)
		right = right && same
		d.say("  %s=%s  (%d characters, as typed: %v)", l.name, strings.Repeat("*", 8),
			len(l.value), same)
	}
	d.check(right, fmt.Sprintf("the program got all %d values exactly", len(demoNames)))
	return failed
}

// checkThief looks at what the agent got, which reads the mount by cat.
func (d *demo) checkThief() error {
	err := d.agent.Wait()
	said := d.said.text()
	d.check(bytes.Contains(said, []byte("# keepmum: not approved")) && !d.leaks(said),
		"the agent got one comment line, and no value")
	return err
}

// checkLock looks at what is left when the keeper has gone.
func (d *demo) checkLock() error {
	late := time.AfterFunc(demoWait, func() { d.keeper.Process.Kill() })
	defer late.Stop()
	d.check(d.keeper.Wait() == nil, "the keeper ended by itself")
	_, err := os.Lstat(d.mount)
	d.check(errors.Is(err, fs.ErrNotExist), "the mount is gone")
	log, err := d.command("log").Output()
	d.say("\n== The audit log\n%s", bytes.TrimSuffix(log, []byte("\n")))
	d.check(err == nil && bytes.Count(log, []byte("\n")) >= 9, "the log has every step")
	d.check(!d.leaks(log), "the log has no value")
	inClear := false
	filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			text, err := os.ReadFile(path)
			inClear = inClear || err != nil || d.leaks(text)
		}
		return nil
	})
	d.check(!inClear, "no file holds a value in clear")
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
	seen   int // how far steps have matched

	mu    sync.Mutex // guards what follows
	all   []byte
	shown int // how far lines were shown
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
	end := bytes.LastIndexByte(s.all, '\n') + 1
	for line := range bytes.Lines(s.all[s.shown:max(end, s.shown)]) {
		fmt.Fprintf(s.out, "%s%s\n", s.prefix, cut(string(line[:len(line)-1]), 400))
		s.shown += len(line)
	}
	return len(b), nil
}

func (s *screen) text() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.all)
}

// play waits for each step in turn and types its keys.
func (s *screen) play(steps ...step) error {
	for _, st := range steps {
		err := s.await(st.want)
		if err == nil && len(st.keys) == 1 {
			err = s.press(st.keys)
		} else if err == nil {
			_, err = io.WriteString(s.to, st.keys)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// press types an answer. Within the first moment of its question it would be
// thrown away, so it pauses as a person does, and does it again where nothing
// came of it: on a busy machine that moment may end late.
func (s *screen) press(key string) error {
	for range 5 {
		time.Sleep(earlyKey + 100*time.Millisecond)
		before := len(s.text())
		if _, err := io.WriteString(s.to, key); err != nil {
			return err
		}
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if len(s.text()) > before {
				return nil
			}
		}
	}
	return errors.New("the keeper took no answer")
}

// await returns once the unseen part matches.
func (s *screen) await(pattern string) error {
	want := regexp.MustCompile(pattern)
	for end := time.Now().Add(demoWait); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if at := want.FindIndex(s.text()[s.seen:]); at != nil {
			s.seen += at[1]
			return nil
		}
	}
	return fmt.Errorf("never saw %q", pattern)
}
