package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

// talk gives a bridge all of the input at once and returns what it wrote. The
// home has no keeper.
func talk(t testing.TB, input string) string {
	t.Helper()
	out := new(lockedBuffer)
	err := tapedBridge(t)(context.Background(), strings.NewReader(input), out, io.Discard, t.TempDir())
	if err != nil {
		t.Errorf("serveMCP = %v, want nil at the end of the input", err)
	}
	return out.String()
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const (
	notJSON    = `{"jsonrpc":"2.0","error":{"code":-32700,"message":"parse error: the line is not JSON in UTF-8"}}` + "\n"
	noMethod   = `"error":{"code":-32600,"message":"invalid request: no method"}}` + "\n"
	badID      = `{"jsonrpc":"2.0","error":{"code":-32600,"message":"invalid request: id must be string or integer"}}` + "\n"
	badVersion = `"error":{"code":-32600,"message":"invalid request: member \"jsonrpc\" must be \"2.0\""}}` + "\n"
	badArray   = `{"jsonrpc":"2.0","error":{"code":-32600,"message":"invalid request: an array; only revision 2025-03-26 has them, of 1 to 256 messages"}}` + "\n"
	paramsID   = `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"invalid request: params must be an object"}}` + "\n"
	tooLong    = `{"jsonrpc":"2.0","error":{"code":-32600,"message":"invalid request: line too long"}}` + "\n"
	pong       = `{"jsonrpc":"2.0","id":1,"result":{}}` + "\n"
	ping       = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
)

// Every line here is a whole session; the answer is literal, and after an error
// the next line has its own.
func TestMCPMalformed(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		// [MCP-2]
		{"blank lines", "\n\r\n \t\n" + ping + "\n", pong},
		{"carriage return", ping + "\r\n", pong},
		{"last line without end", ping, pong},
		{"last line cut off", ping[:20], ""},
		{"two in one write", ping + "\n" + ping + "\n", pong + pong},
		// [MCP-20]
		{"not JSON", "hello\n", notJSON},
		{"goes on after it", "hello\n" + ping + "\n", notJSON + pong},
		{"one byte", "{\n", notJSON},
		{"two objects", ping + ping + "\n", notJSON},
		{"comma at the end", `{"jsonrpc":"2.0","id":1,"method":"ping",}` + "\n", notJSON},
		{"byte order mark", "\uFEFF" + ping + "\n", notJSON},
		{"NUL", `{"jsonrpc":"2.0","id":1,"method":"ping` + "\x00" + `"}` + "\n", notJSON},
		{"invalid UTF-8", `{"jsonrpc":"2.0","id":1,"method":"ping` + "\xff" + `"}` + "\n", notJSON},
		{"array cut off", "[\n", notJSON},
		{"nested too deep", strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000) + "\n", notJSON},
		{"nested deep", strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000) + "\n", notVersion2("")},
		// [MCP-21], an array without a revision [MCP-13]
		{"number", "1\n", `{"jsonrpc":"2.0","error":{"code":-32600,"message":"invalid request: not a JSON object"}}` + "\n"},
		{"null", "null\n", `{"jsonrpc":"2.0","error":{"code":-32600,"message":"invalid request: not a JSON object"}}` + "\n"},
		{"empty object", "{}\n", notVersion2("")},
		{"empty array", "[]\n", badArray},
		{"array before initialize", "[" + ping + "]\n", badArray},
		{"jsonrpc missing", `{"id":1,"method":"ping"}` + "\n", notVersion2(`"id":1,`)},
		{"jsonrpc 1.0", `{"jsonrpc":"1.0","id":1,"method":"ping"}` + "\n", notVersion2(`"id":1,`)},
		{"jsonrpc number", `{"jsonrpc":2.0,"id":1,"method":"ping"}` + "\n", notVersion2(`"id":1,`)},
		// [MCP-25] [MCP-26]
		{"method of other case", `{"jsonrpc":"2.0","id":1,"Method":"ping"}` + "\n", `{"jsonrpc":"2.0","id":1,` + noMethod},
		{"method twice", `{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}` + "\n",
			`{"jsonrpc":"2.0","error":{"code":-32600,"message":"invalid request: member \"method\" is there twice"}}` + "\n"},
		// [MCP-21]
		{"method number", `{"jsonrpc":"2.0","id":1,"method":1}` + "\n", `{"jsonrpc":"2.0","id":1,` + noMethod},
		{"method empty", `{"jsonrpc":"2.0","id":1,"method":""}` + "\n", `{"jsonrpc":"2.0","id":1,` + noMethod},
		{"method missing", `{"jsonrpc":"2.0","id":1}` + "\n", `{"jsonrpc":"2.0","id":1,` + noMethod},
		{"id null", `{"jsonrpc":"2.0","id":null,"method":"ping"}` + "\n", badID},
		{"id float", `{"jsonrpc":"2.0","id":1.0,"method":"ping"}` + "\n", badID},
		{"id exponent", `{"jsonrpc":"2.0","id":1e3,"method":"ping"}` + "\n", badID},
		{"id object", `{"jsonrpc":"2.0","id":{},"method":"ping"}` + "\n", badID},
		{"id boolean", `{"jsonrpc":"2.0","id":true,"method":"ping"}` + "\n", badID},
		{"params null", `{"jsonrpc":"2.0","id":1,"method":"ping","params":null}` + "\n", paramsID},
		{"params array", `{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}` + "\n", paramsID},
		// [MCP-26]
		{"params with a repeated member", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1,"a":2}}` + "\n",
			`{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params or _meta: member \"a\" is there twice"}}` + "\n"},
		{"_meta number", `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":1}}` + "\n",
			`{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"invalid params or _meta: not a JSON object"}}` + "\n"},
		// [MCP-27]
		{"notification", `{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n", ""},
		{"unknown notification", `{"jsonrpc":"2.0","method":"no/such"}` + "\n", ""},
		{"notification of a request's method", `{"jsonrpc":"2.0","method":"ping"}` + "\n", ""},
		{"malformed notification", `{"jsonrpc":"2.0","method":"ping","params":[]}` + "\n", ""},
		{"response", `{"jsonrpc":"2.0","id":1,"result":{}}` + "\n", ""},
		{"error response", `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}` + "\n", ""},
		{"error response without id", `{"jsonrpc":"2.0","error":{"code":-32600,"message":"x"}}` + "\n", ""},
		{"error response with null id", `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"x"}}` + "\n", ""},
		{"cancel of unknown", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}` + "\n", ""},
		{"cancel malformed", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{}}}` + "\n", ""},
		{"cancel without params", `{"jsonrpc":"2.0","method":"notifications/cancelled"}` + "\n", ""},
		// [MCP-2] [MCP-22]
		{"line at the limit", paddedLine(lineLimit) + "\n", pong},
		{"line over the limit", paddedLine(lineLimit+1) + "\n" + ping + "\n", tooLong + pong},
		{"line far over the limit", strings.Repeat("x", 3*lineLimit) + "\n" + ping + "\n", tooLong + pong},
		{"64 KiB", paddedLine(64<<10) + "\n", pong},
		{"64 KiB and one", paddedLine(64<<10+1) + "\n", pong},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := talk(t, test.in); got != test.want {
				t.Errorf("%.80q\n got %q\nwant %q", test.in, got, test.want)
			}
		})
	}
}

func notVersion2(id string) string { return `{"jsonrpc":"2.0",` + id + badVersion }

// paddedLine is a ping of that many bytes.
func paddedLine(size int) string {
	const head, tail = `{"jsonrpc":"2.0","id":1,"method":"ping","x":"`, `"}`
	return head + strings.Repeat("x", size-len(head)-len(tail)) + tail
}

// TestIDsAreEchoedByteForByte: a client compares what it has written. [MCP-23]
func TestIDsAreEchoedByteForByte(t *testing.T) {
	for _, id := range []string{`0`, `-1`, `"0"`, `""`, `"listen:0"`, `9007199254740993`,
		`123456789012345678901234567890`, `"\u0041<&>"`, `"é\/"`} {
		got := talk(t, `{"jsonrpc":"2.0", "id" : `+id+` ,"method":"ping"}`+"\n")
		if want := `{"jsonrpc":"2.0","id":` + id + `,"result":{}}` + "\n"; got != want {
			t.Errorf("id %s: got %q, want %q", id, got, want)
		}
	}
}

// TestDecodeObject: case counts [MCP-25], and nothing is there twice [MCP-26].
func TestDecodeObject(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{`{"a": 1 , "b":null}`, `map[a:1 b:null]`},
		{`{"a":1,"A":2}`, `map[A:2 a:1]`},
		{`{}`, `map[]`},
		{`{"a":1,"a":1}`, `member "a" is there twice`},
		{`{"a":null,"a":null}`, `member "a" is there twice`},
		{`{"a":1,"\u0061":1}`, `member "a" is there twice`},
		{`{"a":1}{}`, `not JSON in UTF-8`},
		{`[]`, `not a JSON object`},
		{`null`, `not a JSON object`},
		{``, `not JSON in UTF-8`},
	} {
		members, err := decodeObject(json.RawMessage(test.in))
		got := fmt.Sprintf("%s", members)
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("decodeObject(%s) = %s, want %s", test.in, got, test.want)
		}
	}
}

func TestDecodeText(t *testing.T) {
	for _, test := range []struct {
		in, want string
		ok       bool
	}{
		{`"a\u00e9\ud83d\ude00"`, "aé😀", true},
		{`"\uFFFD"`, "\uFFFD", true},
		{"\"\uFFFD\"", "\uFFFD", true},
		{`"\ud83d"`, "", false},
		{`"\udc00x"`, "", false},
		{`1`, "", false},
		{`null`, "", false},
		{``, "", false},
	} {
		got, err := decodeText(json.RawMessage(test.in))
		if got != test.want || (err == nil) != test.ok {
			t.Errorf("decodeText(%s) = %q, %v, want %q, ok %v", test.in, got, err, test.want, test.ok)
		}
	}
}

func TestLineReaderTakesAnySplit(t *testing.T) {
	input := "one\r\n\n" + strings.Repeat("x", 50) + "\ntwo\n{\"last\":1}"
	for name, in := range map[string]io.Reader{"whole": strings.NewReader(input),
		"byte by byte": iotest.OneByteReader(strings.NewReader(input))} {
		r, got := newLineReader(in, 20), []string{}
		for {
			line, err := r.next()
			if errors.Is(err, errLineTooLong) {
				line, err = []byte("long"), nil
			}
			if err != nil {
				got = append(got, err.Error())
				break
			}
			got = append(got, string(line))
		}
		if g, want := strings.Join(got, "|"), `one|long|two|{"last":1}|EOF`; g != want {
			t.Errorf("%s: %s, want %s", name, g, want)
		}
	}
}

// TestLineReaderKeepsNothingCutOff: what a broken connection leaves is no line.
func TestLineReaderKeepsNothingCutOff(t *testing.T) {
	in := io.MultiReader(strings.NewReader(`{"a":1}`), iotest.ErrReader(io.ErrUnexpectedEOF))
	if line, err := newLineReader(in, 100).next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("next = %q, %v, want the error", line, err)
	}
}

// countingWriter fails after some writes, and notes them.
type countingWriter struct {
	writes []string
	left   int
}

func (c *countingWriter) Write(p []byte) (int, error) {
	if c.left--; c.left < 0 {
		return len(p) / 2, io.ErrShortWrite
	}
	c.writes = append(c.writes, string(p))
	return len(p), nil
}

func TestLineWriterWritesLinesWhole(t *testing.T) {
	out := &countingWriter{left: 100}
	w := &lineWriter{out: out}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() { w.write(&message{method: "a\n\u2028b"}) })
	}
	all.Wait()
	for _, line := range out.writes {
		if line != `{"jsonrpc":"2.0","method":"a\n\u2028b"}`+"\n" {
			t.Fatalf("one write was %q", line)
		}
	}
	if len(out.writes) != 100 {
		t.Fatalf("%d writes, want 100", len(out.writes))
	}
}

// TestLineWriterStopsAfterFailure: half a line may be out, nothing may follow it.
func TestLineWriterStopsAfterFailure(t *testing.T) {
	out := &countingWriter{left: 0}
	w := &lineWriter{out: out}
	first := w.write(&message{method: "a"})
	out.left = 10
	if second := w.write(&message{method: "b"}); first == nil || second == nil || len(out.writes) != 0 {
		t.Errorf("errors %v and %v, writes %q", first, second, out.writes)
	}
}

func TestWireErrorIsItsCode(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", wireErrorf(codeScope, "one"))
	if !errors.Is(err, wireErrorf(codeScope, "another")) || errors.Is(err, wireErrorf(codeLocked, "one")) {
		t.Error("errors.Is must compare codes and nothing else")
	}
}

func TestResponsesAreRead(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{`{"jsonrpc":"2.0","id":1,"result":{"a":1}}`, `{"a":1} <nil>`},
		{`{"jsonrpc":"2.0","id":1,"error":{"code":4,"message":"no"}}`, ` no`},
		{`{"jsonrpc":"2.0","id":1,"error":{"message":"no"}}`, ` malformed error answer`},
		{`{"jsonrpc":"2.0","id":1,"error":null}`, ` malformed error answer`},
		{`{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":4,"message":"no"}}`, `{} no`},
	} {
		m, bad := parseMessage([]byte(test.in))
		if got := fmt.Sprintf("%s %v", m.result, m.err); bad != nil || got != test.want {
			t.Errorf("%s: %s, %v, want %s", test.in, got, bad, test.want)
		}
	}
}
