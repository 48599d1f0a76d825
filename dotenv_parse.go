package main

// Reading a .env file of somebody else's, for import. What has one meaning in
// the readers in use is taken; what has several is reported with its number
// and left out, never guessed (SPEC §8). A report names variables and lines,
// never anything of a value. $ stays as it is.

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// envLine is one variable as read, with the line on which it begins.
type envLine struct {
	name  string
	value secret
	line  int
}

// envProblem is something the person must know. A warning lost nothing; any
// other problem means that a line was not read.
type envProblem struct {
	line    int
	text    string
	warning bool
}

// String gives the problem as it is shown.
func (e envProblem) String() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

// envParser is the state of one reading: text[at:] is still to be read, and
// start is the line on which the present variable begins.
type envParser struct {
	text     []byte
	at       int
	counted  int // up to here newlines are counted in start
	start    int
	lines    []envLine
	index    map[string]int // into lines
	problems []envProblem
}

// envEscapes is what a backslash in double quotes may stand before. Before
// anything else the readers differ: some drop it, some keep it.
var envEscapes = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t',
	'\\': '\\', '"': '"', '$': '$', '`': '`'}

// parseEnv reads the text of a .env file. It implements *The .env text*
// (SPEC §8).
func parseEnv(text []byte) ([]envLine, []envProblem) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	// A file with CR LF throughout means LF by it, in quotes too. Where one
	// line ends otherwise, each CR in quotes was meant.
	if n := bytes.Count(text, []byte("\r\n")); n > 0 && n == bytes.Count(text, []byte("\n")) {
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
		defer clear(text)
	}
	p := &envParser{text: text, start: 1, index: make(map[string]int)}
	if at := badEnvByte(text); at >= 0 {
		p.at = at
		p.begin()
		p.complain("NUL, or text that is not UTF-8; nothing of the file was read")
		return nil, p.problems
	}
	for p.at < len(p.text) {
		p.begin()
		p.variable()
	}
	return p.lines, p.problems
}

// badEnvByte returns where the first NUL or invalid UTF-8 is, or -1 (SPEC §8).
func badEnvByte(text []byte) int {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == 0 || r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// begin notes that a variable begins here.
func (p *envParser) begin() {
	p.start += bytes.Count(p.text[p.counted:p.at], []byte("\n"))
	p.counted = p.at
}

func (p *envParser) complain(text string) {
	p.problems = append(p.problems, envProblem{line: p.start, text: text})
}

// take reads while the bytes are among chars.
func (p *envParser) take(chars string) []byte {
	rest := p.text[p.at:]
	taken := rest[:len(rest)-len(bytes.TrimLeft(rest, chars))]
	p.at += len(taken)
	return taken
}

// peek returns the next byte, or NUL at the end; the text has none.
func (p *envParser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

// restOfLine reads to the end of the line and past it.
func (p *envParser) restOfLine() []byte {
	rest, _, _ := bytes.Cut(p.text[p.at:], []byte("\n"))
	p.at = min(p.at+len(rest)+1, len(p.text))
	return bytes.TrimSuffix(rest, []byte("\r"))
}

// variable reads one variable, comment or empty line (SPEC §8).
func (p *envParser) variable() {
	p.take(" \t")
	begin := p.at
	if line := p.restOfLine(); len(line) == 0 || line[0] == '#' {
		return
	}
	p.at = begin
	name := p.take(envNames)
	if string(name) == "export" && len(p.take(" \t")) > 0 && p.peek() != '=' {
		name = p.take(envNames)
	}
	p.take(" \t")
	if !isEnvName(name) || p.peek() != '=' {
		p.complain("not of the form NAME=value")
		p.restOfLine()
		return
	}
	p.at++
	value, fault := p.value()
	if fault != "" {
		p.complain(fault)
		return
	}
	p.add(envLine{string(name), value, p.start})
}

// add keeps the last of two lines with one name, at the place of the first.
// It implements *The .env text* (SPEC §8).
func (p *envParser) add(line envLine) {
	i, again := p.index[line.name]
	if !again {
		p.index[line.name] = len(p.lines)
		p.lines = append(p.lines, line)
		return
	}
	text := fmt.Sprintf("%.60q is on line %d too; the later one counts", line.name, p.lines[i].line)
	p.problems = append(p.problems, envProblem{line.line, text, true})
	p.lines[i] = line
}

// value reads what stands after the equals sign, and the rest of the line.
// (SPEC §8).
func (p *envParser) value() (value secret, fault string) {
	begin := p.at
	p.take(" \t")
	if quote := p.peek(); quote == '\'' || quote == '"' || quote == '`' {
		return p.quoted(quote)
	}
	p.at = begin
	bare := p.restOfLine()
	for i, b := range bare {
		if b == '#' && i > 0 && (bare[i-1] == ' ' || bare[i-1] == '\t') {
			bare = bare[:i]
			break
		}
	}
	if bytes.IndexByte(bare, '\r') >= 0 {
		return nil, "a carriage return outside quotes"
	}
	return append(secret{}, bytes.Trim(bare, " \t")...), ""
}

// quoted reads a value in quotes, of single quotes also several with \' in
// between, which is how a shell writes one (SPEC §8).
func (p *envParser) quoted(quote byte) (value secret, fault string) {
	value = secret{}
	for again := true; again; {
		for p.at++; p.peek() != quote; p.at++ {
			b := p.peek()
			if b == '\\' && quote == '"' {
				p.at++
				if b = envEscapes[p.peek()]; b == 0 {
					fault = "a backslash in double quotes before something that readers differ on"
				}
			}
			if p.at >= len(p.text) {
				p.at = len(p.text)
				return nil, "a quote is never closed; nothing from here on was read"
			}
			value = append(value, b)
		}
		p.at++
		if again = quote == '\'' && bytes.HasPrefix(p.text[p.at:], []byte(`\''`)); again {
			value = append(value, '\'')
			p.at += len(`\'`)
		}
	}
	rest := p.restOfLine()
	after := bytes.TrimLeft(rest, " \t")
	if fault == "" && len(after) > 0 && (after[0] != '#' || len(after) == len(rest)) {
		fault = "text after the closing quote"
	}
	if fault != "" {
		return nil, fault
	}
	return value, ""
}
