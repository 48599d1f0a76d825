package main

// Reading a .env file of somebody else's, for import. What has one meaning in
// the readers in use is taken; what has several is reported with its number
// and left out, never guessed (SPEC §8). A report names variables and lines,
// never anything of a value [TXT-20]. $ stays as it is [TXT-18].

import (
	"bytes"
	"fmt"
	"regexp"
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

var (
	envName = regexp.MustCompile(`^(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=`)
	// envQuoted has for each quote the text in it and, unless it is never
	// closed, the closing quote. 'a'\''b' is how a shell writes a'b.
	envQuoted = regexp.MustCompile(`(?s)^[ \t]*(?:'([^']*(?:'\\''[^']*)*)('?)|` +
		`"((?:[^"\\]|\\.)*)("?)|` + "`([^`]*)(`?))")
	envEscape  = regexp.MustCompile(`(?s)\\.`)
	envComment = regexp.MustCompile(`[ \t]#`)
)

// envEscapes is what a backslash in double quotes may stand before. Before
// anything else the readers differ: some drop it, some keep it.
var envEscapes = map[string]string{`\n`: "\n", `\r`: "\r", `\t`: "\t",
	`\\`: `\`, `\"`: `"`, `\$`: `$`, "\\`": "`"}

// parseEnv reads the text of a .env file. It implements *The .env text*
// (SPEC §8).
func parseEnv(text []byte) (lines []envLine, problems []envProblem) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	// A file with CR LF throughout means LF by it, in quotes too. Where one
	// line ends otherwise, each CR in quotes was meant. [TXT-11]
	if n := bytes.Count(text, []byte("\r\n")); n > 0 && n == bytes.Count(text, []byte("\n")) {
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
		defer clear(text)
	}
	number := 1
	for line := range bytes.Lines(text) {
		if !utf8.Valid(line) || bytes.IndexByte(line, 0) >= 0 {
			return nil, []envProblem{{line: number, // [TXT-12]
				text: "NUL, or text that is not UTF-8; nothing of the file was read"}}
		}
		number++
	}
	number = 1
	index := make(map[string]int) // of names, into lines
	for len(text) > 0 {
		name, value, fault, rest := parseVariable(bytes.TrimLeft(text, " \t"))
		i, again := index[name]
		switch {
		case fault != "":
			problems = append(problems, envProblem{line: number, text: fault})
		case again: // the later one counts, at the place of the first [TXT-19]
			problems = append(problems, envProblem{number, fmt.Sprintf("%.60q is on line %d too; "+
				"the later one counts", name, lines[i].line), true})
			lines[i] = envLine{name, value, number}
		case name != "":
			index[name] = len(lines)
			lines = append(lines, envLine{name, value, number})
		}
		number += bytes.Count(text[:len(text)-len(rest)], []byte("\n"))
		text = rest
	}
	return lines, problems
}

// parseVariable reads one variable, or a comment or an empty line, which has no
// name. rest is what follows it. [TXT-13] (SPEC §8)
func parseVariable(text []byte) (name string, value secret, fault string, rest []byte) {
	line, rest := cutLine(text)
	if len(line) == 0 || line[0] == '#' {
		return "", nil, "", rest
	}
	m := envName.FindSubmatch(text)
	if m == nil {
		return "", nil, "not of the form NAME=value", rest
	}
	value, fault, rest = parseValue(text[len(m[0]):])
	return string(m[1]), value, fault, rest
}

// cutLine returns the line that text begins with, and what follows it.
func cutLine(text []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(text, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}

// parseValue reads what stands after the equals sign, and the rest of the line
// (SPEC §8).
func parseValue(text []byte) (value secret, fault string, rest []byte) {
	m := envQuoted.FindSubmatch(text)
	if m == nil {
		bare, rest := cutLine(text)
		if at := envComment.FindIndex(bare); at != nil { // [TXT-14]
			bare = bare[:at[0]]
		}
		if bytes.IndexByte(bare, '\r') >= 0 {
			return nil, "a carriage return outside quotes", rest
		}
		return append(secret{}, bytes.Trim(bare, " \t")...), "", rest
	}
	after, rest := cutLine(text[len(m[0]):])
	comment := bytes.TrimLeft(after, " \t")
	switch {
	case len(m[2])+len(m[4])+len(m[6]) == 0:
		return nil, "a quote is never closed; nothing from here on was read", nil // [TXT-17]
	case m[1] != nil:
		value = bytes.ReplaceAll(m[1], []byte(`'\''`), []byte("'")) // [TXT-15]
	case m[3] != nil:
		value = envEscape.ReplaceAllFunc(m[3], func(escape []byte) []byte {
			if envEscapes[string(escape)] == "" { // [TXT-16]
				fault = "a backslash in double quotes before something that readers differ on"
			}
			return []byte(envEscapes[string(escape)])
		})
	default:
		value = m[5]
	}
	// [TXT-17]: readers differ on what follows a quote
	if fault == "" && len(comment) > 0 && (comment[0] != '#' || len(comment) == len(after)) {
		fault = "text after the closing quote"
	}
	if fault != "" {
		return nil, fault, rest
	}
	return append(secret{}, value...), "", rest
}
