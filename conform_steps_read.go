package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// doReader starts a reader: reader NAME KIND [PATH] [ARGUMENT]. With "KIND as
// PROGRAM" it is started by a process of that name.
func (r *caseRun) doReader(s caseStep) error {
	w, err := words(s.rest)
	if err != nil || len(w) < 2 {
		return errors.Join(err, faultf("reader needs a name and a kind"))
	}
	name, kind, rest := w[0], w[1], w[2:]
	above := ""
	if len(rest) > 1 && rest[0] == "as" {
		above, rest = rest[1], rest[2:]
	}
	path, arg := r.mounted, ""
	if len(rest) > 0 {
		path = rest[0]
	}
	if len(rest) > 1 {
		arg = rest[1]
	}
	self, err := r.ourselves("reader")
	if err != nil {
		return err
	}
	argv, missing, err := readerCommand(kind, self, path, arg)
	if err != nil {
		return faultf("%v", err)
	}
	if missing != "" {
		return &skipped{missing}
	}
	if above != "" {
		program, err := r.ourselves(above)
		if err != nil {
			return err
		}
		argv = append([]string{program, "conform-relay", "--"}, argv...)
	}
	return r.startReader(name, argv)
}

// startReader runs a reader. What it prints may hold values.
func (r *caseRun) startReader(name string, argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = r.project, append(r.env(), testOnlyEnv...)
	p := newCaseProcess(name, cmd)
	cmd.Stdout, cmd.Stderr, p.private = p.out, p.err, true
	in, err := cmd.StdinPipe() // some readers wait for its end
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return faultf("cannot start %q: %v", argv, err)
	}
	r.note("start %s %q", name, argv)
	r.procs[name] = p
	go func() { p.wait(); in.Close() }()
	return nil
}

// process returns a reader or a command by its name.
func (r *caseRun) process(name string) (*caseProcess, error) {
	if p := r.procs[name]; p != nil {
		return p, nil
	}
	return nil, faultf("there is no process %q", name)
}

// doGets judges what a reader got: gets NAME values ENV, or gets NAME nothing.
func (r *caseRun) doGets(s caseStep) error {
	w, err := s.want(2)
	if err != nil {
		return err
	}
	p, err := r.process(w[0])
	if err != nil {
		return err
	}
	if !p.endsBy(r.until()) {
		return fmt.Errorf("the reader %s does not end; it has %d bytes", w[0], len(p.out.bytes()))
	}
	got := p.out.bytes()
	r.note("%s got %q, and said %q, exit %d", w[0], cut(string(got), 2000), cut(string(p.err.bytes()), 300), p.exit)
	for _, env := range slices.Sorted(maps.Keys(r.values)) {
		times := 0
		if w[1] == "values" && env == w[2] {
			times = 1
		}
		if w[1] == "twice" && env == w[2] {
			times = 2
		}
		for _, name := range slices.Sorted(maps.Keys(r.values[env])) {
			value := r.values[env][name]
			if n := bytes.Count(got, []byte(value)); n != times && (len(value) >= 12 || times > 0 && n < times) {
				return fmt.Errorf("the reader %s has the value of %s %d times, want %d", w[0], name, n, times)
			}
		}
	}
	return nil
}

func (r *caseRun) doEnds(s caseStep) error {
	w, err := s.want(1)
	if err != nil {
		return err
	}
	p, err := r.process(w[0])
	if err != nil {
		return err
	}
	if !p.endsBy(r.until()) {
		return fmt.Errorf("%s does not end", w[0])
	}
	r.note("%s ended with %d: %q %q", w[0], p.exit, cut(string(p.out.bytes()), 500), cut(string(p.err.bytes()), 500))
	if w[1] != "" && w[1] != fmt.Sprint(p.exit) {
		return fmt.Errorf("%s ended with %d, want %s: %s", w[0], p.exit, w[1], last(string(p.err.bytes()), 300))
	}
	return nil
}

func (r *caseRun) doKilled(s caseStep) error {
	p, err := r.process(s.rest)
	if err != nil {
		return err
	}
	p.cmd.Process.Kill()
	if !p.endsBy(r.until()) {
		return fmt.Errorf("%s does not die", s.rest)
	}
	return nil
}

func (r *caseRun) doHolds(s caseStep) error {
	p, err := r.process(s.rest)
	if err != nil {
		return err
	}
	select {
	case <-p.ended:
		return fmt.Errorf("%s has ended and should wait; it has %q", s.rest, cut(string(p.out.bytes()), 200))
	default:
		return nil
	}
}

// runConformRelay is a process between: it starts another and passes its streams
// on, so that a client or an agent is a process of its own.
func runConformRelay(c *cli, argv []string) error {
	if err := c.want(argv, 1, -1); err != nil {
		return err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitError(exit.ExitCode() & 0xff)
	}
	return err
}

// runConformReader is one of the readers that are built in.
func runConformReader(c *cli, args []string) error {
	if err := c.want(args, 2, 3); err != nil {
		return err
	}
	return exitError(runReader(args[0], args[1], append(args, "")[2]))
}

// doFile makes a file: file PATH TEXT [MODE].
func (r *caseRun) doFile(s caseStep) error {
	w, err := s.want(2)
	if err != nil {
		return err
	}
	mode := os.FileMode(0o600)
	if w[2] != "" {
		if _, err := fmt.Sscanf(w[2], "%o", &mode); err != nil {
			return faultf("mode %q: %v", w[2], err)
		}
	}
	r.made[w[0]] = true
	if err := os.WriteFile(w[0], []byte(w[1]), mode); err != nil {
		return faultf("%v", err)
	}
	return asFault(os.Chmod(w[0], mode))
}

func asFault(err error) error {
	if err != nil {
		return faultf("%v", err)
	}
	return nil
}

func (r *caseRun) doFolder(s caseStep) error {
	w, err := s.want(1)
	if err != nil {
		return err
	}
	mode := os.FileMode(0o700)
	if w[1] != "" {
		fmt.Sscanf(w[1], "%o", &mode)
	}
	r.made[w[0]] = true
	return errors.Join(asFault(os.MkdirAll(w[0], mode)), asFault(os.Chmod(w[0], mode)))
}

// doLink makes a symbolic link: link TARGET PATH.
func (r *caseRun) doLink(s caseStep) error {
	w, err := s.want(2)
	if err != nil {
		return err
	}
	r.made[w[1]] = true
	return asFault(os.Symlink(w[0], w[1]))
}

func (r *caseRun) doFIFO(s caseStep) error {
	r.made[s.rest] = true
	return asFault(syscall.Mkfifo(s.rest, 0o600))
}

func (r *caseRun) doRemove(s caseStep) error { return asFault(os.RemoveAll(s.rest)) }

// doKeep says that a file which the subject makes is expected.
func (r *caseRun) doKeep(s caseStep) error {
	r.made[s.rest] = true
	return nil
}

func (r *caseRun) doRename(s caseStep) error {
	w, err := s.want(2)
	if err != nil {
		return err
	}
	r.made[w[1]] = true
	return asFault(os.Rename(w[0], w[1]))
}

// doRun runs a program of the system in the project, such as git.
func (r *caseRun) doRun(s caseStep) error {
	w, err := words(s.rest)
	if err != nil || len(w) == 0 {
		return errors.Join(err, faultf("run needs a program"))
	}
	if _, err := exec.LookPath(w[0]); err != nil {
		return &skipped{w[0] + " is not installed"}
	}
	cmd := exec.Command(w[0], w[1:]...)
	cmd.Dir, cmd.Env = r.project, r.env()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%q: %v: %s", w, err, out)
	}
	return nil
}

// doIs looks at what a path is: is PATH link|fifo|file|folder|absent.
func (r *caseRun) doIs(s caseStep) error {
	w, err := s.want(2)
	if err != nil {
		return err
	}
	look := os.Lstat
	if w[1] == "fifo" {
		look = os.Stat
	}
	info, err := look(w[0])
	got := "absent"
	switch {
	case err != nil:
	case info.Mode()&os.ModeSymlink != 0:
		got = "link"
	case info.Mode()&os.ModeNamedPipe != 0:
		got = "fifo"
	case info.IsDir():
		got = "folder"
	case info.Mode().IsRegular():
		got = "file"
	}
	if got != w[1] {
		return fmt.Errorf("%s is %s, want %s", filepath.Base(w[0]), got, w[1])
	}
	return nil
}

// doLook keeps what can be seen of a path without opening it: look NAME PATH
// sets NAME.target, where a link leads to, and of what is there NAME.mode in
// octal and NAME.modified and NAME.accessed in nanoseconds.
func (r *caseRun) doLook(s caseStep) error {
	w, err := s.want(2)
	if err != nil {
		return err
	}
	target, _ := os.Readlink(w[1])
	var st unix.Stat_t
	if err := unix.Stat(w[1], &st); err != nil {
		return fmt.Errorf("cannot look at %s: %v", filepath.Base(w[1]), err)
	}
	r.vars[w[0]+".target"] = target
	r.vars[w[0]+".mode"] = fmt.Sprintf("%04o", st.Mode&0o7777)
	r.vars[w[0]+".modified"] = fmt.Sprint(st.Mtim.Nano())
	r.vars[w[0]+".accessed"] = fmt.Sprint(st.Atim.Nano())
	return nil
}

func (r *caseRun) doSame(s caseStep) error {
	w, err := s.want(2)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(w[0])
	if err == nil && string(text) != w[1] {
		err = fmt.Errorf("%s holds %q, want %q", filepath.Base(w[0]), cut(string(text), 300), w[1])
	}
	return err
}

// logLines are the lines of the subject's log.
func (r *caseRun) logLines() ([]string, error) {
	path, err := expand(r.sub.Audit, false, r.value)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n"), nil
}

// doLog waits for a line after the last that matched.
func (r *caseRun) doLog(s caseStep) error {
	if !json.Valid([]byte(s.rest)) {
		return faultf("log needs a pattern: %s", s.rest)
	}
	for until := r.until(); ; time.Sleep(10 * time.Millisecond) {
		lines, err := r.logLines()
		if err != nil {
			return err
		}
		for i := min(r.logged, len(lines)); i < len(lines); i++ {
			if lines[i] != "" && matchJSON(s.rest, json.RawMessage(lines[i])) == nil {
				r.logged = i + 1
				return nil
			}
		}
		if time.Now().After(until) {
			return fmt.Errorf("the log has no line like %s after line %d; it has %s", s.rest, r.logged,
				last(strings.Join(lines[min(r.logged, len(lines)):], ""), 1500))
		}
	}
}

func (r *caseRun) doNoLog(s caseStep) error {
	lines, err := r.logLines()
	if err != nil {
		return err
	}
	for _, line := range lines {
		if line != "" && matchJSON(s.rest, json.RawMessage(line)) == nil {
			return fmt.Errorf("the log has %s", line)
		}
	}
	return nil
}

// doEdit changes a file as an attacker would: edit PATH OLD NEW.
func (r *caseRun) doEdit(s caseStep) error {
	w, err := s.want(3)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(w[0])
	if err != nil {
		return err
	}
	if !bytes.Contains(text, []byte(w[1])) {
		return fmt.Errorf("%s does not hold %q", filepath.Base(w[0]), w[1])
	}
	return os.WriteFile(w[0], bytes.Replace(text, []byte(w[1]), []byte(w[2]), 1), 0o600)
}

// doMatch compares a text with a pattern: match TEXT REGEX.
func (r *caseRun) doMatch(s caseStep) error { return r.compare(s, true) }

func (r *caseRun) doLacks(s caseStep) error { return r.compare(s, false) }

func (r *caseRun) compare(s caseStep, want bool) error {
	var text string
	after := ""
	d := json.NewDecoder(strings.NewReader(s.rest))
	if strings.HasPrefix(s.rest, `"`) && d.Decode(&text) == nil {
		after = s.rest[d.InputOffset():]
	} else {
		text, after, _ = strings.Cut(s.rest, " ")
	}
	text, err := expand(text, false, r.value)
	if err != nil {
		return err
	}
	if after, err = expand(strings.TrimSpace(after), false, r.value); err != nil {
		return err
	}
	re, err := compilePattern(after)
	if err == nil && re.MatchString(text) != want {
		err = fmt.Errorf("%q: want %s %q", cut(text, 500), s.verb, re)
	}
	return err
}

func (r *caseRun) doLet(s caseStep) error {
	name, text, _ := strings.Cut(s.rest, " ")
	if w, err := words(text); err == nil && strings.HasPrefix(text, `"`) {
		text = w[0]
	}
	r.vars[name] = text
	return nil
}
