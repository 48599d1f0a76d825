package main

// The terminal. Rules that this file keeps:
//
//   - it alone opens, reads and writes the person's terminal; standard output
//     stays free for results and for the protocol;
//   - nothing that came from outside is written before clean has seen it: what
//     reaches print is already text for people [ASK-7];
//   - a secret is read unseen [ASK-17], and keys typed before a question are no
//     answer [ASK-9].

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

const (
	keyInterrupt = 0x03 // Ctrl-C
	keyEOF       = 0x04 // Ctrl-D
)

// earlyKey is how long after its question a key is too early to be an answer
// to it (SPEC §5). Tests shorten it.
var earlyKey = 300 * time.Millisecond

// writeLimit is how long the terminal may take what is written. Any program of
// the user can stop one.
const writeLimit = time.Second

// keyEcho is how long the Enter that follows a key by habit may take.
const keyEcho = 50 * time.Millisecond

var (
	errNoTerminal = errors.New("no terminal: run this in a terminal of your own")
	errHangup     = errors.New("the terminal was closed")
	errInterrupt  = errors.New("interrupted")
	errCtrlD      = errors.New("nothing was typed (Ctrl-D): try again")
)

// terminal is the person's terminal in raw mode. One goroutine reads it for as
// long as it is open, so that what was typed ahead can be told from an answer.
type terminal struct {
	dev   *os.File
	state *term.State
	keys  chan byte
	gone  chan struct{} // closed when the terminal hung up

	goesOn chan os.Signal // after a stop
	modes  sync.Mutex     // guards over
	over   bool           // the terminal is given back

	mu sync.Mutex // guards writing
}

// openTerminal opens the controlling terminal, makes it raw, and keeps others
// from opening it meanwhile: they could read what is typed, write over what is
// asked, or stop it. [ASK-1] [ASK-22]
func openTerminal() (*terminal, error) {
	dev, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if errors.Is(err, unix.EBUSY) { // a keepmum was killed here, or another one asks
		for fd := range 3 {
			unix.IoctlSetInt(fd, unix.TIOCNXCL, 0)
		}
		dev, err = os.OpenFile("/dev/tty", os.O_RDWR, 0)
	}
	if err != nil {
		return nil, errNoTerminal
	}
	t := &terminal{dev: dev, keys: make(chan byte, 2*maxValue), gone: make(chan struct{}),
		goesOn: make(chan os.Signal, 1)}
	t.control(func(fd int) {
		if t.state, err = term.MakeRaw(fd); err == nil {
			unix.IoctlSetInt(fd, unix.TIOCEXCL, 0)
		}
	})
	if err != nil || t.state == nil {
		dev.Close()
		return nil, errNoTerminal
	}
	go t.read()
	signal.Notify(t.goesOn, unix.SIGCONT)
	go func() {
		for {
			select {
			case <-t.goesOn:
				t.rawAgain()
			case <-t.gone:
				return
			}
		}
	}()
	return t, nil
}

// rawAgain makes the terminal raw after somebody has stopped us: a shell that lets
// us go on has given it the modes that it had in its own hands. [ASK-17]
func (t *terminal) rawAgain() {
	t.modes.Lock()
	defer t.modes.Unlock()
	if !t.over && foreground(t.dev) {
		t.control(func(fd int) { term.MakeRaw(fd) })
	}
}

// read queues keys. A read blocked in the kernel cannot be interrupted on every
// system: this goroutine may outlive close, and ends with the process.
func (t *terminal) read() {
	defer close(t.gone)
	buf := make([]byte, 256)
	for {
		n, err := t.dev.Read(buf)
		for _, b := range buf[:n] {
			select {
			case t.keys <- b:
			default: // longer than any value: the rest is dropped
			}
		}
		clear(buf)
		if err != nil || n == 0 {
			return
		}
	}
}

// close gives the terminal back as it was found.
func (t *terminal) close() {
	signal.Stop(t.goesOn)
	t.modes.Lock()
	t.over = true
	t.modes.Unlock()
	t.control(func(fd int) {
		unix.IoctlSetInt(fd, unix.TIOCNXCL, 0)
		term.Restore(fd, t.state)
	})
	t.dev.Close()
}

// control works on the descriptor. Fd would make it blocking, and a terminal
// that somebody has stopped could then hold us for ever.
func (t *terminal) control(f func(fd int)) {
	if conn, err := t.dev.SyscallConn(); err == nil {
		conn.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// size returns the columns and rows of the terminal, 80 and 24 where it does not
// say.
func (t *terminal) size() (columns, rows int) {
	columns, rows = 80, screenRows
	t.control(func(fd int) {
		if w, h, err := term.GetSize(fd); err == nil && w > 0 && h > 0 {
			columns, rows = w, h
		}
	})
	return columns, rows
}

// print writes text, which is for people and already clean. An error tells that
// not all of it was taken.
func (t *terminal) print(format string, args ...any) error {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\r\n")
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dev.SetWriteDeadline(time.Now().Add(writeLimit)) // no deadline on some systems
	_, err := io.WriteString(t.dev, text)
	return err
}

// key waits for one key. It returns errInterrupt for Ctrl-C.
func (t *terminal) key(ctx context.Context) (byte, error) {
	select {
	case b := <-t.keys:
		if b == keyInterrupt {
			return 0, errInterrupt
		}
		return b, nil
	case <-t.gone:
		return 0, errHangup
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// settle throws away what is typed until there was silence for a moment: who is
// typing something else has not seen the question yet (SPEC §5). [ASK-9]
func (t *terminal) settle(ctx context.Context, moment time.Duration) error {
	for {
		quiet, cancel := context.WithTimeout(ctx, moment)
		_, err := t.key(quiet)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			return nil
		case err != nil:
			return err
		}
	}
}

// pastes makes the terminal mark what is pasted, so that a value of many lines
// can be told from many lines typed. [ASK-18]
func (t *terminal) pastes() (done func()) {
	t.print("\x1b[?2004h")
	return func() { t.print("\x1b[?2004l") }
}

// secret asks for a line that is not shown; a marked paste may be many lines.
// The caller wipes what it gets.
func (t *terminal) secret(ctx context.Context, prompt string) ([]byte, error) {
	t.rawAgain()
	t.print("%s", prompt)
	line, err := term.NewTerminal(&keyReader{ctx: ctx, t: t}, "").ReadPassword("")
	t.print("\n")
	if err == io.EOF { // [CLI-9]
		err = errCtrlD
	}
	if err != nil && !errors.Is(err, term.ErrPasteIndicator) {
		return nil, err
	}
	if utf8.RuneCountInString(line) >= typedMax { // [ASK-19]
		return nil, errors.New("too long to be typed: use keepmum set, with the value on standard input")
	}
	return []byte(strings.ReplaceAll(line, pastedLine, "\n")), nil
}

const (
	typedMax   = 4096         // characters that the line editor takes
	pastedLine = "\U000EFFFD" // stands for a line end inside a paste: private use

	pasteBegins = "\x1b[200~"
	pasteEnds   = "\x1b[201~"
)

// keyReader is the terminal's keys for the line editor of x/term, which writes
// nothing of its own since a secret is not echoed.
type keyReader struct {
	ctx   context.Context
	t     *terminal
	last  []byte // the latest keys, to find the marks of a paste
	paste bool
	left  []byte // of pastedLine
}

// Read returns the next key. The line editor takes Ctrl-C as a character, and
// would end the line at the first line end of a paste.
func (r *keyReader) Read(p []byte) (int, error) {
	if len(r.left) > 0 {
		n := copy(p, r.left)
		r.left = r.left[n:]
		return n, nil
	}
	b, err := r.t.key(r.ctx)
	if err != nil {
		return 0, err
	}
	r.last = append(r.last[max(0, len(r.last)-len(pasteEnds)+1):], b)
	switch {
	case string(r.last) == pasteBegins:
		r.paste = true
	case string(r.last) == pasteEnds:
		r.paste = false
	case (b == '\n' || b == '\r') && r.paste:
		n := copy(p, pastedLine)
		r.left = []byte(pastedLine[n:])
		return n, nil
	case b == '\n': // a scripted line end
		b = '\r'
	}
	p[0] = b
	return 1, nil
}

// Write drops what the line editor would draw.
func (r *keyReader) Write(p []byte) (int, error) { return len(p), nil }

// terminalRisks says which known ways other programs of the same user have to
// type into this terminal (SPEC §5). An empty answer promises nothing.
func terminalRisks(getenv func(string) string) []string {
	var risks []string
	for _, known := range [][2]string{{"TMUX", "tmux (send-keys)"}, {"STY", "screen (stuff)"},
		{"ZELLIJ", "zellij (write-chars)"}, {"KITTY_LISTEN_ON", "kitty (remote control)"},
		{"WEZTERM_PANE", "wezterm (send-text)"}, {"INSIDE_EMACS", "Emacs"},
		{"VSCODE_IPC_HOOK_CLI", "VS Code and its extensions"}} {
		if getenv(known[0]) != "" {
			risks = append(risks, known[1])
		}
	}
	if risk := injectionRisk("/proc/sys/dev/tty/legacy_tiocsti"); risk != "" {
		risks = append(risks, risk)
	}
	return risks
}

// injectionRisk says whether TIOCSTI types for every program of the session, by
// the switch that Linux has for it since 6.2. Older ones and macOS allow it.
func injectionRisk(path string) string {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "TIOCSTI (this system has no switch for it)"
	case bytes.HasPrefix(b, []byte("1")):
		return "TIOCSTI (dev.tty.legacy_tiocsti=1)"
	}
	return ""
}
