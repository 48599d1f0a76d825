package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stepPatience is how long one step waits. A case with a longer limit than the
// common one may wait as long as that.
const stepPatience = 10 * time.Second

// caseRun is one case in one revision: a folder, the subject's processes, and
// all that they said.
type caseRun struct {
	c          *conformCase
	sub        *subject
	revision   string
	server     []string
	dir        string
	project    string
	home       string
	vars       map[string]string
	values     map[string]map[string]string // of each seeded Environment
	allowed    map[string]bool              // values that went through the client
	keeper     *caseProcess
	questioner questioner
	question   conformQuestion
	clients    map[string]*conformClient
	procs      map[string]*caseProcess
	mounted    string // the path mounted last
	logged     int    // lines of the log that were matched
	forgiven   bool   // the keeper was killed, so what it leaves is not judged
	made       map[string]bool
	copy       string // of this executable, for the whole run
	asked      *tape  // what the commands of an questioner printed
	person     *os.File
	mu         sync.Mutex
	transcript bytes.Buffer
	failures   []string
}

// caseProcess is a process of a case, and what it wrote.
type caseProcess struct {
	name     string
	cmd      *exec.Cmd
	terminal *os.File // the other end of its terminal
	out, err *tape
	copied   chan struct{} // closed when all of its terminal was read
	private  bool          // a reader: values in its output are no leak
	ended    chan struct{}
	exit     int
}

func newCaseProcess(name string, cmd *exec.Cmd) *caseProcess {
	return &caseProcess{name: name, cmd: cmd, out: newTape(), err: newTape(), ended: make(chan struct{})}
}

// wait takes the end of the process. It is called once.
func (p *caseProcess) wait() {
	p.cmd.Wait()
	p.exit = p.cmd.ProcessState.ExitCode()
	if p.copied != nil {
		select {
		case <-p.copied:
		case <-time.After(time.Second): // somebody else holds the terminal
		}
	}
	p.out.end()
	p.err.end()
	close(p.ended)
}

// endsBy waits for the end.
func (p *caseProcess) endsBy(until time.Time) bool {
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	select {
	case <-p.ended:
		return true
	case <-late.C:
		return false
	}
}

// newCaseRun makes the folders of a case.
func newCaseRun(c *conformCase, sub *subject, revision, dir string, server []string) (*caseRun, error) {
	r := &caseRun{c: c, sub: sub, revision: revision, server: server, dir: dir,
		project: filepath.Join(dir, "project"), home: filepath.Join(dir, "home"),
		values: map[string]map[string]string{}, allowed: map[string]bool{},
		clients: map[string]*conformClient{}, procs: map[string]*caseProcess{},
		made: map[string]bool{}, asked: newTape()}
	for _, name := range []string{"", "project", "home", "run", "tmp", "bin"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
	}
	r.vars = map[string]string{"dir": dir, "project": r.project, "home": r.home, "pass": "correct horse battery staple",
		"server": server[0], "revision": revision}
	for i, arg := range server {
		r.vars[fmt.Sprintf("server.%d", i)] = arg
	}
	return r, nil
}

// env is what a process of the case gets: little, as from a client.
func (r *caseRun) env() []string {
	env := []string{"HOME=" + r.home, "PATH=" + os.Getenv("PATH"), "TERM=xterm", "LANG=C.UTF-8",
		"TMPDIR=" + filepath.Join(r.dir, "tmp"), "XDG_RUNTIME_DIR=" + filepath.Join(r.dir, "run")}
	for name, value := range r.sub.Env {
		if text, err := expand(value, false, r.value); err == nil {
			env = append(env, name+"="+text)
		}
	}
	return env
}

// value is a variable of the case.
func (r *caseRun) value(name string) (string, bool) {
	if text, ok := r.vars[name]; ok {
		return text, true
	}
	if name == "meta" && r.revision != stateless {
		return "{}", true
	}
	if name == "meta" {
		return string((&conformClient{}).meta()), true
	}
	switch {
	case name == "question":
		return r.question.text, true
	case name == "number":
		return r.question.number, true
	case name == "suite":
		self, err := os.Executable()
		return filepath.Base(self), err == nil
	case name == "policy" && r.sub.Policy != "":
		path, err := expand(r.sub.Policy, false, r.value)
		return path, err == nil
	case name == "audit" && r.sub.Audit != "":
		path, err := expand(r.sub.Audit, false, r.value)
		return path, err == nil
	}
	kind, rest, _ := strings.Cut(name, ".")
	if kind == "tool" && toolNamed(rest) != nil {
		return r.sub.tool(rest).Name, true
	}
	if kind == "value" {
		for _, values := range r.values {
			if v, ok := values[rest]; ok {
				return v, true
			}
		}
	}
	if p := r.procs[kind]; p != nil {
		switch rest {
		case "out":
			return string(p.out.bytes()), true
		case "err":
			return string(p.err.bytes()), true
		case "exit":
			return fmt.Sprint(p.exit), true
		case "pid":
			return fmt.Sprint(p.cmd.Process.Pid), true
		}
	}
	return "", false
}

// patience is how long a step waits.
func (r *caseRun) patience() time.Duration {
	if r.c.limit > caseLimit {
		return r.c.limit
	}
	return stepPatience
}

func (r *caseRun) until() time.Time { return time.Now().Add(r.patience()) }

// note writes a line of the transcript.
func (r *caseRun) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.transcript.Len() < 1<<20 {
		fmt.Fprintf(&r.transcript, format+"\n", args...)
	}
}

// fails notes a failure; the case goes on where it can.
func (r *caseRun) fails(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.note("FAIL %s", text)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.failures, text) && len(r.failures) < 20 {
		r.failures = append(r.failures, text)
	}
}

// ourselves returns this executable under another name: a link to the copy that
// the run has made, which is another file than a server of ours.
func (r *caseRun) ourselves(name string) (string, error) {
	path := filepath.Join(r.dir, "bin", name)
	if _, err := os.Stat(path); err == nil || r.copy != "" && os.Link(r.copy, path) == nil {
		return path, nil
	}
	return path, copyOurselves(path)
}

// copyOurselves copies this executable.
func copyOurselves(path string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	in, err := os.Open(self)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// start runs a process of the case.
func (r *caseRun) start(name string, cmd *exec.Cmd) (*caseProcess, error) {
	p := newCaseProcess(name, cmd)
	cmd.Stdout, cmd.Stderr = p.out, p.err
	if err := cmd.Start(); err != nil {
		return nil, faultf("cannot start %q: %v", cmd.Path, err)
	}
	r.note("start %s %q", name, cmd.Args)
	r.procs[name] = p
	go p.wait()
	return p, nil
}

// startAtTerminal runs a process in a terminal of its own.
func (r *caseRun) startAtTerminal(name string, cmd *exec.Cmd) (*caseProcess, error) {
	master, slave, err := openPTY()
	if err != nil {
		return nil, err
	}
	defer slave.Close()
	p := newCaseProcess(name, cmd)
	p.terminal = master
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		return nil, faultf("cannot start %q: %v", cmd.Path, err)
	}
	r.note("start %s %q in a terminal", name, cmd.Args)
	r.procs[name] = p
	p.copied = make(chan struct{})
	go func() {
		io.Copy(p.out, master)
		close(p.copied)
	}()
	go p.wait()
	return p, nil
}

// startKeeper starts the process that asks, and talks it through its start.
func (r *caseRun) startKeeper(dialog []dialogStep) error {
	k := r.sub.Keeper
	if k == nil {
		r.questioner = r.newQuestioner()
		return nil
	}
	if k.Manual != "" {
		r.questioner = r.newQuestioner()
		return r.tellPerson(k.Manual)
	}
	cmd, err := r.subjectCommand(k.Command)
	if err != nil {
		return err
	}
	start := r.start
	if k.Terminal {
		start = r.startAtTerminal
	}
	if r.keeper, err = start("keeper", cmd); err != nil {
		return err
	}
	r.questioner = r.newQuestioner()
	for _, d := range dialog {
		if err := r.typed(d.See, d.Type); err != nil {
			return err
		}
	}
	return nil
}

// ready waits until the keeper is ready.
func (r *caseRun) ready() error {
	if r.keeper == nil {
		return nil
	}
	_, err := r.screenShows(r.sub.Keeper.Ready)
	return err
}

// typed waits for a text on the keeper's terminal and types another.
func (r *caseRun) typed(see, keys string) error {
	if _, err := r.screenShows(see); err != nil {
		return err
	}
	text, err := expand(keys, false, r.value)
	if err != nil {
		return err
	}
	return r.type_(text)
}

func (r *caseRun) type_(text string) error {
	if r.keeper == nil || r.keeper.terminal == nil {
		return faultf("there is no keeper with a terminal")
	}
	_, err := io.WriteString(r.keeper.terminal, text)
	return err
}

// screenShows waits for a text on the keeper's terminal.
func (r *caseRun) screenShows(pattern string) ([]string, error) {
	if r.keeper == nil {
		return nil, faultf("there is no keeper")
	}
	re, err := compilePattern(pattern)
	if err != nil {
		return nil, err
	}
	groups, err := r.keeper.out.await(re, r.until())
	if err != nil {
		return nil, fmt.Errorf("the keeper never showed %q: %w; it shows %q", pattern, err,
			last(string(r.keeper.out.rest()), 600))
	}
	return groups, nil
}

// lockKeeper ends the keeper by the subject's way.
func (r *caseRun) lockKeeper() error {
	k := r.sub.Keeper
	switch {
	case k == nil || r.keeper == nil && k.Manual == "":
		return nil
	case k.Manual != "":
		return r.tellPerson("lock the product now")
	case k.LockKeys != "":
		if err := r.type_(k.LockKeys); err != nil {
			return err
		}
	default:
		cmd, err := r.subjectCommand(k.Lock)
		if err != nil {
			return err
		}
		p, err := r.start("lock", cmd)
		if err != nil {
			return err
		}
		if !p.endsBy(r.until()) {
			p.cmd.Process.Kill()
			return errors.New("the command that locks does not end")
		}
		if p.exit != 0 {
			return fmt.Errorf("the command that locks ended with %d: %s", p.exit, last(string(p.err.bytes()), 300))
		}
	}
	if !r.keeper.endsBy(r.until()) {
		return errors.New("the keeper does not end when it is locked")
	}
	r.keeper = nil
	return nil
}
