package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// questioner is how questions of a subject are read and answered.
type questioner interface {
	next(until time.Time) (conformQuestion, error)
	answer(q conformQuestion, answer string, until time.Time) error
	pending() string // a question that nobody took; empty if there is none
}

// conformQuestion is one question as the person sees it.
type conformQuestion struct{ text, action, number string }

// questionOf reads a question by the subject's pattern.
func questionOf(pattern *regexp.Regexp, groups []string) conformQuestion {
	q := conformQuestion{text: groups[0]}
	if at := pattern.SubexpIndex("action"); at > 0 {
		q.action = groups[at]
	}
	if at := pattern.SubexpIndex("number"); at > 0 {
		q.number = groups[at]
	}
	return q
}

// terminalQuestioner reads the keeper's terminal and presses keys.
type terminalQuestioner struct {
	sub    *subject
	screen *tape
	keys   io.Writer
}

func (a *terminalQuestioner) next(until time.Time) (conformQuestion, error) {
	pattern := regexp.MustCompile(a.sub.Approve.Question)
	groups, err := a.screen.await(pattern, until)
	if err != nil {
		return conformQuestion{}, fmt.Errorf("no question: %w; the terminal shows %q", err,
			last(string(a.screen.rest()), 600))
	}
	return questionOf(pattern, groups), nil
}

func (a *terminalQuestioner) answer(_ conformQuestion, answer string, until time.Time) error {
	return a.press(a.sub.Approve.Answers[answer], until)
}

// press presses a key after the subject's delay, and again where a busy machine
// made it come early. A key that was taken shows something.
func (a *terminalQuestioner) press(key string, until time.Time) error {
	delay, err := time.ParseDuration(a.sub.Approve.Delay)
	if err != nil && a.sub.Approve.Delay != "" {
		return faultf("the delay %q: %v", a.sub.Approve.Delay, err)
	}
	for time.Now().Before(until) {
		time.Sleep(delay) // the subject's own rule: keys that come at once do not count
		if _, err := io.WriteString(a.keys, key); err != nil {
			return err
		}
		_, err := a.screen.await(regexp.MustCompile(`(?s)^.`), time.Now().Add(2*time.Second))
		if err == nil || errors.Is(err, errEnded) {
			return nil
		}
	}
	return errors.New("the terminal takes no answer")
}

func (a *terminalQuestioner) pending() string {
	return string(regexp.MustCompile(a.sub.Approve.Question).Find(a.screen.rest()))
}

// commandQuestioner runs the subject's commands.
type commandQuestioner struct{ r *caseRun }

func (a *commandQuestioner) next(until time.Time) (conformQuestion, error) {
	out, err := a.run(a.r.sub.Approve.Next, "", until)
	if err != nil {
		return conformQuestion{}, fmt.Errorf("no question: %w", err)
	}
	pattern := regexp.MustCompile(a.r.sub.Approve.Question)
	groups := pattern.FindStringSubmatch(out)
	if groups == nil {
		return conformQuestion{}, fmt.Errorf("%q is no question by the pattern of the subject file", out)
	}
	return questionOf(pattern, groups), nil
}

func (a *commandQuestioner) answer(_ conformQuestion, answer string, until time.Time) error {
	_, err := a.run(a.r.sub.Approve.Answer, a.r.sub.Approve.Answers[answer], until)
	return err
}

func (a *commandQuestioner) pending() string {
	if len(a.r.sub.Approve.Pending) == 0 {
		return ""
	}
	out, err := a.run(a.r.sub.Approve.Pending, "", time.Now().Add(5*time.Second))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

func (a *commandQuestioner) run(argv []string, answer string, until time.Time) (string, error) {
	a.r.vars["answer"] = answer
	cmd, err := a.r.subjectCommand(argv)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, a.r.asked), a.r.asked
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return "", err
	}
	late := time.AfterFunc(time.Until(until), func() { cmd.Process.Kill() })
	err = cmd.Wait()
	if inTime := late.Stop(); err != nil && !inTime {
		return "", fmt.Errorf("the command %q did not end within its time", cut(strings.Join(argv, " "), 80))
	}
	if err != nil {
		return "", fmt.Errorf("the command %q: %w: %q", cut(strings.Join(argv, " "), 80), err, last(out.String(), 300))
	}
	return out.String(), nil
}

// manualQuestioner tells a person what to do in a program that nothing else can
// drive, such as one with windows.
type manualQuestioner struct {
	action string
	tell   func(string) error
}

func (a *manualQuestioner) next(time.Time) (conformQuestion, error) {
	return conformQuestion{}, nil // its action is not known
}

func (a *manualQuestioner) answer(_ conformQuestion, answer string, _ time.Time) error {
	return a.tell(fmt.Sprintf("a question about %q should be there: answer it with %q", a.action, answer))
}

func (a *manualQuestioner) pending() string { return "" }

// personFile is the descriptor under which a worker gets the person's terminal.
const personFile = 3

// openPerson opens the terminal of the person who runs the suite. A worker has a
// session of its own, in which /dev/tty is another or none, so it gets this one;
// and on macOS /dev/tty stays what it is in the session that uses it.
func openPerson() (*os.File, error) {
	flags, err := unix.FcntlInt(os.Stdin.Fd(), unix.F_GETFL, 0)
	if err == nil && flags&unix.O_ACCMODE == unix.O_RDWR && term.IsTerminal(int(os.Stdin.Fd())) {
		return os.Stdin, nil
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("this subject needs a person at a terminal: %v", err)
	}
	return tty, nil
}

// tellPerson shows a line on the terminal and waits for Enter; "s" means that it
// could not be done.
func (r *caseRun) tellPerson(text string) error {
	if r.person == nil {
		return faultf("this subject needs a person at a terminal")
	}
	r.note("told the person: %s", text)
	fmt.Fprintf(r.person, "\a>> %s\n   Enter when it is done, s and Enter if it cannot be done: ", cleanLines(text))
	line, err := bufio.NewReader(r.person).ReadString('\n')
	if err != nil {
		return faultf("the person at the terminal has gone: %v", err)
	}
	if strings.TrimSpace(line) == "s" {
		return fmt.Errorf("the person could not do it: %s", text)
	}
	return nil
}

// last is the end of a long text.
func last(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return "…" + text[len(text)-n:]
}

// newQuestioner returns how this subject is answered.
func (r *caseRun) newQuestioner() questioner {
	switch a := r.sub.Approve; {
	case a == nil:
		return nil
	case a.Kind == "terminal" && r.keeper != nil:
		return r.terminalQuestioner()
	case a.Kind == "command":
		return &commandQuestioner{r}
	case a.Kind == "manual":
		return &manualQuestioner{tell: r.tellPerson}
	}
	return nil
}

// terminalQuestioner answers at the keeper's terminal.
func (r *caseRun) terminalQuestioner() *terminalQuestioner {
	return &terminalQuestioner{r.sub, r.keeper.out, r.keeper.terminal}
}

// subjectCommand is a command of the subject's, in the case's surroundings.
func (r *caseRun) subjectCommand(argv []string) (*exec.Cmd, error) {
	var args []string
	for _, arg := range argv {
		text, err := expand(arg, false, r.value)
		if err != nil {
			return nil, err
		}
		args = append(args, text)
	}
	if len(args) == 0 {
		return nil, faultf("an empty command in the subject file")
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = r.project, r.env()
	return cmd, nil
}
