package main

// The wire: JSON-RPC 2.0, one message a line, UTF-8. The MCP bridge speaks it
// on stdio and the keeper on its socket (SPEC §4, §9).
//
// encoding/json matches member names without case and keeps the last of two
// equal ones, so "Method" would pass for "method". Every object from outside
// is therefore taken apart by decodeObject, which does neither.

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	lineLimit    = 4 << 20          // bytes a line [MCP-2]: an append of many 64 KiB values
	writeTimeout = 10 * time.Second // for a peer on a socket that does not read
)

// Error codes of JSON-RPC 2.0 §5.1 and of MCP, each with its sentence.
const (
	codeParse          = -32700 // "Invalid JSON was received by the server."
	codeInvalidRequest = -32600 // "The JSON sent is not a valid Request object."
	codeNoMethod       = -32601 // "The method does not exist / is not available."
	codeInvalidParams  = -32602 // "Invalid method parameter(s)."
	codeInternal       = -32603 // "Internal JSON-RPC error."
	codeNoResource     = -32002 // "Resource not found: -32002" (MCP up to 2025-11-25)
	// "If the server does not implement the requested version … it MUST respond
	// with an UnsupportedProtocolVersionError" (MCP 2026-07-28).
	codeVersion = -32022
)

var (
	errLineTooLong = errors.New("line too long")
	errNotJSON     = errors.New("not JSON in UTF-8")
)

// wireError is the error of a JSON-RPC answer. errors.Is compares codes only.
type wireError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

func (e *wireError) Error() string { return e.Message }

func (e *wireError) Is(target error) bool {
	t, ok := target.(*wireError)
	return ok && t.Code == e.Code
}

// wireErrorf makes a wireError.
func wireErrorf(code int, format string, args ...any) *wireError {
	return &wireError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// message is one JSON-RPC message: a request (method and id), a notification
// (method alone) or a response (result or err). The id is kept as it was
// written, to be echoed byte for byte [MCP-23]: a big integer would not survive
// float64.
type message struct {
	id     json.RawMessage
	method string
	params json.RawMessage // an object, or nil
	result json.RawMessage
	err    *wireError
}

// "id: A String, Number, or NULL value"; MCP takes away null and fractions.
var integerID = lazily(`^-?(0|[1-9][0-9]*)$`)

var halfPair = lazily(`\\u[dD][89a-fA-F]`)

// parseMessage reads one line. With an error the message holds what could be
// read of it, so that the answer has the id; a method without an id is then a
// notification, which is never answered. [MCP-20] [MCP-21] It implements *MCP*
// (SPEC §9).
func parseMessage(line []byte) (message, *wireError) {
	var m message
	members, err := decodeObject(line)
	if errors.Is(err, errNotJSON) {
		return m, wireErrorf(codeParse, "parse error: the line is %v", err)
	}
	if err != nil {
		return m, wireErrorf(codeInvalidRequest, "invalid request: %v", err)
	}
	id, hasID := members["id"]
	if hasID && (id[0] == '"' || integerID().Match(id)) {
		m.id = id
	}
	if string(members["jsonrpc"]) != `"2.0"` {
		return m, wireErrorf(codeInvalidRequest, `invalid request: member "jsonrpc" must be "2.0"`)
	}
	if members["method"] == nil && (members["result"] != nil || members["error"] != nil) {
		m.result, m.err = members["result"], parseWireError(members["error"])
		return m, nil
	}
	if hasID && m.id == nil {
		return m, wireErrorf(codeInvalidRequest, "invalid request: id must be string or integer")
	}
	if m.method, err = decodeText(members["method"]); err != nil || m.method == "" {
		return message{id: m.id}, wireErrorf(codeInvalidRequest, "invalid request: no method")
	}
	if p := members["params"]; p != nil && p[0] != '{' {
		return m, wireErrorf(codeInvalidRequest, "invalid request: params must be an object")
	}
	m.params = members["params"]
	return m, nil
}

// parseWireError reads the error member of a response; nil stays nil.
func parseWireError(raw json.RawMessage) *wireError {
	if raw == nil {
		return nil
	}
	e := wireErrorf(codeInternal, "malformed error answer")
	members, err := decodeObject(raw)
	if err != nil || json.Unmarshal(members["code"], &e.Code) != nil {
		return e
	}
	if text, err := decodeText(members["message"]); err == nil {
		e.Message = text
	}
	return e
}

// decodeObject takes a JSON object apart. Names are matched exactly, a repeated
// name and invalid UTF-8 are refused; encoding/json bounds the nesting, and does
// not recurse into raw members. The error never quotes a value. [MCP-25]
// [MCP-26] (SPEC §9.1)
func decodeObject(raw json.RawMessage) (map[string]json.RawMessage, error) {
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return nil, errNotJSON
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	members := make(map[string]json.RawMessage)
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		var value json.RawMessage
		if err != nil || !ok || d.Decode(&value) != nil {
			return nil, errors.New("not a JSON object")
		}
		if members[name] != nil {
			return nil, fmt.Errorf("member %q is there twice", cut(name, 64))
		}
		members[name] = value
	}
	return members, nil
}

// decodeText reads a JSON string. Half of a surrogate pair is refused, since
// encoding/json would store U+FFFD in its place and a value would change.
func decodeText(raw json.RawMessage) (string, error) {
	var text string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return "", errors.New("not a string")
	}
	if strings.ContainsRune(text, utf8.RuneError) && halfPair().Match(raw) {
		return "", errors.New("not a string of whole characters")
	}
	return text, nil
}

// encodeJSON writes v on one line. Raw JSON inside keeps its bytes; a string of
// ours has U+2028 escaped, which clients reading lines with Node need. What
// cannot be encoded (a secret) is a fault of the program and panics.
func encodeJSON(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// encode writes the message as it travels, without the newline. A result may
// hold values: it is copied into one piece of memory, which the writer wipes,
// and not by encoding/json, which keeps what it wrote. [RUN-9]
func (m *message) encode() []byte {
	if m.result != nil && m.id != nil && m.err == nil {
		const start, middle = `{"jsonrpc":"2.0","id":`, `,"result":`
		line := make([]byte, 0, len(start)+len(m.id)+len(middle)+len(m.result)+len("}\n"))
		line = append(append(line, start...), m.id...)
		line = append(append(line, middle...), m.result...)
		return append(line, '}')
	}
	return encodeJSON(struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id,omitempty"`
		Method  string          `json:"method,omitempty"`
		Params  json.RawMessage `json:"params,omitempty"`
		Result  json.RawMessage `json:"result,omitempty"`
		Error   *wireError      `json:"error,omitempty"`
	}{"2.0", m.id, m.method, m.params, m.result, m.err})
}

// lineReader reads lines of at most limit bytes. bufio.Scanner would end the
// session at the first long one.
type lineReader struct {
	in    *bufio.Reader
	limit int
}

func newLineReader(in io.Reader, limit int) *lineReader {
	return &lineReader{bufio.NewReader(in), limit}
}

// next returns the next line that is not blank, without its end. A line too
// long is skipped and reported as errLineTooLong; reading may go on. A last
// line without newline counts if it is whole JSON, else it was cut off.
// [MCP-2] [MCP-22] (SPEC §9)
func (l *lineReader) next() ([]byte, error) {
	var line []byte
	for tooLong := false; ; {
		part, err := l.in.ReadSlice('\n')
		if tooLong = tooLong || len(line)+len(part) > l.limit+1; tooLong {
			line = nil
		} else {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err == nil && tooLong {
			return nil, errLineTooLong
		}
		line = bytes.Trim(line, " \t\r\n")
		if len(line) > 0 && (err == nil || errors.Is(err, io.EOF) && json.Valid(line)) {
			return line, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// lineWriter writes messages whole, one a line, each with one Write. After a
// failed write part of a line may be out, so nothing follows it.
type lineWriter struct {
	mu     sync.Mutex // held for the whole of a line
	out    io.Writer
	failed error
}

func (w *lineWriter) write(m *message) error {
	line := m.encode()
	defer wipe(line)
	return w.writeLine(line)
}

// writeLine adds the newline and writes. A peer on a socket has writeTimeout to
// take it, so that one that does not read holds nobody up for ever.
func (w *lineWriter) writeLine(line []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		return w.failed
	}
	if conn, ok := w.out.(net.Conn); ok {
		conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	}
	_, w.failed = w.out.Write(append(line, '\n'))
	return w.failed
}

// cut shortens what came from outside before it is quoted.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return text[:limit] + "…"
}
