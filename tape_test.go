package main

// What every bridge in a test reads and writes is kept on a tape. After the test
// each line of the bridge is held against the schema of its revision, whatever
// the test itself has looked at (SPEC §9).

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
)

// tapesVariable names the folder in which a bridge that is a process of its own
// leaves its tape.
const tapesVariable = "KEEPMUM_TEST_TAPES"

var verdictFile = flag.String("verdicts", "", "write each message of a bridge and the verdict on it to this file")

// taped counts what has been checked since the tests began.
var taped struct {
	tests, bridges, messages, faults atomic.Int64
	names                            sync.Map
}

// wireTape is what one bridge has read and written, line by line in the marks of
// replaySession, and in the order in which it came: a line is on the tape before
// the bridge reads it, or before the client can.
type wireTape struct {
	mu      sync.Mutex
	out     io.Writer
	unended []byte // what was read of a line
}

// note writes one line. Nothing may be cut off by the end of a process, so
// each is one write.
func (t *wireTape) note(mark string, line []byte) {
	t.out.Write(slices.Concat([]byte(mark+" "), line, []byte("\n")))
}

// tapedInput is a bridge's input.
type tapedInput struct {
	*wireTape
	in io.Reader
}

func (t tapedInput) Read(p []byte) (int, error) {
	n, err := t.in.Read(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unended = append(t.unended, p[:n]...)
	for {
		line, rest, whole := bytes.Cut(t.unended, []byte("\n"))
		if !whole {
			break
		}
		t.note(">", line)
		t.unended = rest
	}
	if err != nil && len(t.unended) > 0 {
		t.note(">", t.unended)
		t.unended = nil
	}
	return n, err
}

// tapedOutput is a bridge's output. A line is one write, so what is not a whole
// line, or more than one, is marked as wrong.
type tapedOutput struct {
	*wireTape
	to io.Writer
}

func (t tapedOutput) Write(p []byte) (int, error) {
	t.mu.Lock()
	if bytes.IndexByte(p, '\n') == len(p)-1 {
		t.note("<", p[:len(p)-1])
	} else {
		t.note("!", fmt.Appendf(nil, "%q", p))
	}
	t.mu.Unlock()
	return t.to.Write(p)
}

// tapedBridge makes a bridge of this process; what it returns is serveMCP. The
// test's end looks at the tape.
func tapedBridge(t testing.TB) func(context.Context, io.Reader, io.Writer, io.Writer, string) error {
	kept := new(lockedBuffer)
	t.Cleanup(func() { checkTapes(t, map[string]string{"the bridge": kept.String()}) })
	tape := &wireTape{out: kept}
	return func(ctx context.Context, in io.Reader, out, log io.Writer, home string) error {
		return serveMCP(ctx, tapedInput{tape, in}, tapedOutput{tape, out}, log, home, "test")
	}
}

// tapeProcess puts a tape between this process, which is to be a bridge, and its
// client. A test that starts one without a folder for tapes cannot be checked.
func tapeProcess(c *cli) {
	file, err := os.CreateTemp(os.Getenv(tapesVariable), "bridge-*")
	if os.Getenv(tapesVariable) == "" || err != nil {
		fmt.Fprintln(os.Stderr, "a bridge without a folder for its tape:", err)
		os.Exit(3)
	}
	read, write, err := os.Pipe() // since the input of a command is a file
	if err != nil {
		os.Exit(3)
	}
	tape := &wireTape{out: file}
	in := tapedInput{tape, c.in}
	c.in, c.out = read, tapedOutput{tape, c.out}
	go func() {
		io.Copy(write, in)
		write.Close()
	}()
}

// foundTapes reads the tapes of processes. The last line of a process that was
// killed may be cut off.
func foundTapes(t testing.TB, folder string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "bridge-*"))
	if err != nil {
		t.Fatal(err)
	}
	tapes := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tapes[filepath.Base(file)] = string(text[:bytes.LastIndexByte(text, '\n')+1])
	}
	return tapes
}

// checkTapes fails a test in which a bridge wrote what it may not, or was asked
// and wrote nothing.
func checkTapes(t testing.TB, tapes map[string]string) {
	t.Helper()
	if len(tapes) > 0 {
		if _, again := taped.names.LoadOrStore(t.Name(), true); !again {
			taped.tests.Add(1)
		}
	}
	for name, text := range tapes {
		messages, err := checkTape(text)
		taped.bridges.Add(1)
		taped.messages.Add(int64(messages))
		if err != nil {
			taped.faults.Add(1)
			t.Errorf("%s: %v", name, err)
		}
		if *verdictFile != "" {
			noteVerdicts(text)
		}
	}
}

// checkTape returns how many messages of the bridge are on a tape, and what is
// wrong with them. (SPEC §9)
func checkTape(text string) (messages int, err error) {
	c := newMessageCheck()
	_, faults := replaySession(c, text)
	asks := 0
	for line := range strings.Lines(text) {
		switch mark, rest, _ := strings.Cut(line, " "); mark {
		case "<":
			messages += len(partsOf(rest))
		case "!":
			faults = append(faults, fmt.Errorf("a write that is not one line: %s", rest))
		case ">":
			if m, bad := parseMessage([]byte(strings.TrimSpace(rest))); bad == nil && m.id != nil && m.method != "" {
				asks++
			}
		}
	}
	if asks > 0 && messages == 0 {
		faults = append(faults, fmt.Errorf("%d requests, and not a message to check", asks))
	}
	return messages, errors.Join(faults...)
}

// partsOf takes a batch apart.
func partsOf(line string) []any {
	value, _ := decodeExact([]byte(line))
	if parts, ok := value.([]any); ok {
		return parts
	}
	return []any{value}
}

// tapedSummary says after all tests what their bridges wrote.
func tapedSummary() string {
	return fmt.Sprintf("%d messages of %d bridges in %d tests held against the schemas, %d tapes at fault",
		taped.messages.Load(), taped.bridges.Load(), taped.tests.Load(), taped.faults.Load())
}

// TestTapes is the control: what may be on a tape, and what may not.
func TestTapes(t *testing.T) {
	const list, answer = `> {"jsonrpc":"2.0","id":1,"method":"tools/list"}` + "\n",
		`< {"jsonrpc":"2.0","id":1,"result":{"tools":[]}}` + "\n"
	for _, tt := range []struct {
		name, tape string
		messages   int
		want       string
	}{
		{"nothing", "", 0, ""},
		{"a notification alone", `> {"jsonrpc":"2.0","method":"x"}` + "\n", 0, ""},
		{"an answer", sessionOf("2025-06-18") + list + answer, 2, ""},
		{"a batch", sessionOf(batching) + "> [" + list[2:len(list)-1] + "]\n< [" + answer[2:len(answer)-1] + "]\n", 2, ""},
		{"no answer at all", list, 0, "1 requests, and not a message to check"},
		{"not JSON", "< keepmum is ready\n", 1, "not JSON in UTF-8"},
		{"a result without its members", sessionOf("2025-06-18") + list + strings.ReplaceAll(answer, `"tools":[]`, ""), 2,
			"no valid ListToolsResult of revision 2025-06-18"},
		{"one of another revision", sessionAsking(modern, "tools/list", "") + answer, 1, "no valid ListToolsResult of revision " + modern},
		{"an error without a message", list + `< {"jsonrpc":"2.0","id":1,"error":{"code":-32601}}` + "\n", 1, "no valid JSONRPCErrorResponse"},
		{"an unknown notification", sessionOf("2025-11-25") + `< {"jsonrpc":"2.0","method":"notifications/x"}` + "\n", 2, `notifications/x`},
		{"an answer to nothing", answer, 1, "an id that was not requested"},
		{"two answers", sessionOf("2025-06-18") + list + answer + answer, 3, "has been answered"},
		{"half a line", "! \"{\"\n", 0, "a write that is not one line"},
	} {
		messages, err := checkTape(tt.tape)
		if messages != tt.messages || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %d messages, %v, want %d and %q", tt.name, messages, err, tt.messages, tt.want)
		}
	}
}

// TestTapeOrder: lines are on the tape whole, whatever the reads were, and
// before what answers them.
func TestTapeOrder(t *testing.T) {
	kept := new(lockedBuffer)
	tape := &wireTape{out: kept}
	in := tapedInput{tape, iotest.OneByteReader(strings.NewReader("a\n\nb c"))}
	out := tapedOutput{tape, io.Discard}
	if _, err := io.ReadFull(in, make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	out.Write([]byte("d\n"))
	out.Write([]byte("e"))
	out.Write([]byte("f\ng\n"))
	if _, err := io.ReadAll(in); err != nil {
		t.Fatal(err)
	}
	if want := "> a\n< d\n! \"e\"\n! \"f\\ng\\n\"\n> \n> b c\n"; kept.String() != want {
		t.Errorf("tape\n%swant\n%s", kept, want)
	}
}

// TestTapeOfProcess: a bridge that is a process leaves its tape, also when it is
// killed, and does not start where that cannot be.
func TestTapeOfProcess(t *testing.T) {
	w := newWorld(t)
	w.client()
	tapes := foundTapes(t, w.dir)
	for _, text := range tapes {
		if messages, err := checkTape(text); messages != 1 || err != nil || !strings.HasPrefix(text, `> {"id":1,"jsonrpc"`) {
			t.Errorf("%d messages, %v, on the tape %s", messages, err, text)
		}
		if _, err := checkTape(strings.ReplaceAll(text, `"serverInfo"`, `"server"`)); err == nil {
			t.Error("an initialize without serverInfo is not seen")
		}
	}
	if len(tapes) != 1 {
		t.Errorf("%d tapes of one bridge", len(tapes))
	}
	untaped := w.command("mcp")
	untaped.Env = slices.DeleteFunc(slices.Clone(w.env), func(v string) bool { return strings.HasPrefix(v, tapesVariable) })
	if _, errOut, code := w.done(untaped); code != 3 || !strings.Contains(errOut, "without a folder for its tape") {
		t.Errorf("a bridge without a tape: %d %q", code, errOut)
	}
}

// TestEveryBridgeIsTaped: no test starts a bridge past the tape.
func TestEveryBridgeIsTaped(t *testing.T) {
	starts := regexp.MustCompile(`\b(serveMCP|runMCP)\([^)]|&bridge\{`)
	var found []string
	for _, file := range goFiles(t, true) {
		if !strings.HasSuffix(file, "_test.go") {
			continue
		}
		for range starts.FindAllString(readDoc(t, file), -1) {
			found = append(found, file)
		}
	}
	if !slices.Equal(found, []string{"tape_test.go"}) {
		t.Errorf("bridges are started in %q, want one place, in tape_test.go", found)
	}
}
