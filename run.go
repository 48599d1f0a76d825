package main

// run and export: the two commands that are given values (SPEC §11.1).

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// What a shell says of a program that cannot be started. [RUN-13]
const (
	exitNotExecutable = 126
	exitNotFound      = 127
	exitSignal        = 128 // and the signal's number
)

// job is one program to be run, with its whole environment.
type job struct {
	program   string // absolute
	args, env []string
	mask      *patterns
	lost      error // why output did not get to where it was led
}

// runRun runs a program with the variables of Environments. [RUN-3]
func runRun(c *cli, args []string) error {
	if c.before != 0 || len(args) == 0 || len(c.opt.envs) == 0 {
		return &usageError{c.command, "use: keepmum run " + c.command.args}
	}
	program, err := findProgram(args[0])
	if err != nil {
		return c.failed(args[0], err)
	}
	if err := showable(os.Args); err != nil {
		return err
	}
	vars, err := c.askForValues("run", map[string]any{"environmentNames": c.opt.envs, "path": program})
	if err != nil {
		return err
	}
	p, left := masksFor(vars)
	c.note("without a value, so not set", placeholders(vars))
	j := &job{program: program, args: args, env: over(os.Environ(), vars), mask: p}
	for _, v := range vars {
		wipe(v.value)
	}
	if c.opt.noMasking || p.empty() {
		return c.failed(args[0], j.inPlace())
	}
	c.note("not masked, too short or too common", left)
	status, err := j.masked()
	if err != nil {
		return c.failed(args[0], err)
	}
	if j.lost != nil { // the program may have been told nothing, and end well
		fmt.Fprintf(c.err, "keepmum: error: output of %q is lost: %v\n", cut(args[0], 200), j.lost)
		if status == 0 {
			return errSilent
		}
	}
	return endAs(status)
}

// note names variables on standard error.
func (c *cli) note(what string, names []string) {
	if len(names) > 0 {
		fmt.Fprintf(c.err, "keepmum: note: %s: %s\n", what, strings.Join(names, ", "))
	}
}

// askForValues makes the request and reads its answer. What the keeper said is
// wiped; the values are the caller's to wipe.
func (c *cli) askForValues(method string, args map[string]any) (vars []*variable, err error) {
	var raw json.RawMessage
	if err := c.withKeeper(method, args, &raw); err != nil {
		return nil, err
	}
	defer wipe(raw)
	var out struct {
		Variables []struct {
			Name      string
			Value     *[]byte
			Concealed bool
		}
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, errors.New("malformed answer of the keeper")
	}
	for _, v := range out.Variables {
		one := &variable{name: v.Name, concealed: v.Concealed, placeholder: v.Value == nil}
		if v.Value != nil {
			one.value = *v.Value
		}
		vars = append(vars, one)
	}
	return vars, nil
}

func placeholders(vars []*variable) (names []string) {
	for _, v := range vars {
		if v.placeholder {
			names = append(names, v.name)
		}
	}
	return names
}

// over returns an environment with variables put over it. [RUN-12]
func over(env []string, vars []*variable) []string {
	var values []string
	for _, v := range vars {
		if v.placeholder {
			continue
		}
		env = slices.DeleteFunc(env, func(old string) bool { return strings.HasPrefix(old, v.name+"=") })
		values = append(values, v.name+"="+string(v.value))
	}
	return append(env, values...)
}

// findProgram finds what a shell would run, by the PATH that we have: the
// prompt shows it before there are other variables. [RUN-3]
func findProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return "", err
	}
	return filepath.Abs(path)
}

// failed says why a program was not started, and ends as a shell would.
// [RUN-13]
func (c *cli) failed(name string, err error) error {
	var errno syscall.Errno
	code, text := exitNotExecutable, err.Error()
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		code, text = exitNotFound, "no such program"
		if _, err := findProgram(name); err == nil { // as a script's first line may be
			text = "what it names as its interpreter is not there"
		}
	case errors.Is(err, syscall.E2BIG):
		text = "arguments and environment are too long for the system"
	case errors.As(err, &errno):
		text = errno.Error()
	}
	fmt.Fprintf(c.err, "keepmum: error: cannot run %q: %s\n", cut(name, 200), clean(text, 200))
	return exitError(code)
}

// inPlace becomes the program. It returns only if that fails. [RUN-15]
func (j *job) inPlace() error {
	unix.Umask(callersMask)
	return syscall.Exec(j.program, j.args, j.env)
}

// masked runs the program with its output masked. What writes to a terminal
// gets one of its own, whose keys are those of ours; else each stream is what
// it was, and the terminal is left to the others of a pipeline. [RUN-16]
// [RUN-17]
func (j *job) masked() (syscall.WaitStatus, error) {
	if !term.IsTerminal(int(os.Stdout.Fd())) || otherTerminal(os.Stdin) || otherTerminal(os.Stderr) {
		return j.onStreams()
	}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		return j.onTerminal(os.Stdin)
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return j.onStreams()
	}
	defer tty.Close()
	return j.onTerminal(tty)
}

// otherTerminal reports whether a stream is at another terminal than standard
// output is. What is open as /dev/tty may be any.
func otherTerminal(f *os.File) bool {
	var theirs, ours, unnamed unix.Stat_t
	if unix.Fstat(int(f.Fd()), &theirs) != nil || unix.Fstat(int(os.Stdout.Fd()), &ours) != nil ||
		!term.IsTerminal(int(f.Fd())) {
		return false
	}
	unix.Stat("/dev/tty", &unnamed)
	return theirs.Rdev != ours.Rdev && theirs.Rdev != unnamed.Rdev && ours.Rdev != unnamed.Rdev
}

// endAs ends as the program did. A shell's loop ends by a signal only if it
// sees one; the signals for which Go would print its own stack come as a
// number. [RUN-14]
func endAs(status syscall.WaitStatus) error {
	if !status.Signaled() {
		if code := status.ExitStatus(); code != 0 {
			return exitError(code)
		}
		return nil
	}
	s := status.Signal()
	if slices.Contains(heeded(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGKILL), os.Signal(s)) {
		signal.Reset(s)
		unix.Kill(os.Getpid(), s)
		select {} // it is on its way
	}
	return exitError(exitSignal + int(s))
}

// dialect is the flag of that name, portable without it. [CLI-10]
func (c *cli) dialect() (dialect, error) {
	d := orPortable(c.opt.dialect)
	if !slices.Contains(dialects, d) {
		return "", &usageError{c.command, fmt.Sprintf("--dialect %q: one of %s", c.opt.dialect,
			dialectNames())}
	}
	return d, nil
}

// runExport prints an Environment. [RUN-23] [RUN-24]
func runExport(c *cli, args []string) error {
	if err := c.want(args, 1, 1); err != nil {
		return err
	}
	d, err := c.dialect()
	if err != nil {
		return err
	}
	out, ok := c.out.(*os.File)
	screen := ok && term.IsTerminal(int(out.Fd()))
	if !screen && !c.opt.force {
		return &usageError{c.command,
			"standard output is no terminal: --force writes the values to it all the same"}
	}
	vars, err := c.askForValues("export", map[string]any{"environmentName": args[0]})
	if err != nil {
		return err
	}
	text, err := encodeEnv(d, args[0], vars)
	defer wipe(text)
	lost := notIn(text, vars)
	for _, v := range vars {
		wipe(v.value)
	}
	if err != nil {
		return err
	}
	if screen { // a value may come from somebody else
		_, err = io.WriteString(c.out, cleanScreen(string(text)))
	} else {
		_, err = c.out.Write(text)
	}
	if err == nil && len(lost) > 0 {
		err = fmt.Errorf("the dialect %s cannot carry %s: the text has no line of it, or another value;"+
			" try another --dialect", d, strings.Join(lost, ", "))
	}
	return err
}

// notIn names the variables that the text of an export does not carry as they are.
// [RUN-24]
func notIn(text []byte, vars []*variable) (lost []string) {
	read, _ := parseEnv(text)
	defer wipeLines(read)
	values := make(map[string][]byte, len(read))
	for _, l := range read {
		values[l.name] = l.value
	}
	for _, v := range vars {
		value, there := values[v.name]
		if !v.placeholder && !(there && bytes.Equal(value, v.value)) {
			lost = append(lost, v.name)
		}
	}
	return lost
}

// cleanScreen shows what no terminal may get, line by line. [RUN-24]
func cleanScreen(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		parts := strings.Split(line, "\t")
		for k, part := range parts {
			parts[k] = strings.Join(pieces(part), "")
		}
		lines[i] = strings.Join(parts, "\t")
	}
	return strings.Join(lines, "\n")
}
