package main

// Reading a .env file for import. What the four readers of SPEC §8.2 agree on is
// taken, what they differ on is reported with the number of its line
// (dotenv_differ.go), never guessed. A report names variables and lines, never
// anything of a value [TXT-20]. $ stays as it is [TXT-18].

import (
	"bytes"
	"fmt"
	"slices"
)

// envLine is one variable as read, with the line on which it begins.
type envLine struct {
	name  string
	value secret
	line  int
}

// envProblem is something the person must know. A warning is about a value that
// was taken; any other problem means that a line was not read.
type envProblem struct {
	line    int
	text    string
	warning bool
	twice   string // the name, if that is what it is about
}

// String gives the problem as it is shown.
func (e envProblem) String() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

// envText is a .env text as read. own is the dialect of text that keepmum
// wrote, and empty for anybody else's.
type envText struct {
	lines    []envLine
	problems []envProblem
	comments int // which an import does not keep, those behind values too
	own      dialect
	crlf     bool           // CR LF means LF
	number   int            // of the line at hand
	index    map[string]int // of names, into lines
}

// Around a name and a value all four drop these blanks, not only the first two.
const (
	envBlanks = " \t\v\f\u00a0"
	envBlank  = `[ \t\v\f\x{a0}]`
)

var (
	envTitle = lazily(`^# keepmum(?: ([a-z-]+))?: `)
	envName  = lazily(`^(?:export[ \t]+)?([A-Za-z_]\w*)` +
		`(?:` + envBlank + `*=|(:)[ \t]+)`)
	// envQuoted has for each quote the text in it and, unless it is never
	// closed, the closing quote. 'a'\''b' is how a shell writes a'b.
	envQuoted = lazily(`(?s)^` + envBlank + `*(?:'([^']*(?:'\\''[^']*)*)('?)|` +
		`"((?:[^"\\]|\\.)*)("?)|` + "`([^`]*)(`?))")
	envQuotedJS = lazily(`^[ \t]*(?:'([^']*)('?)|"([^"]*)("?)|` + "`([^`]*)(`?))")
	envNoName   = lazily(`^export` + envBlank + `+=`)
	envComment  = lazily(`[ \t]#`)
	envEscape   = lazily(`(?s)\\.`)
	envEscapeJS = lazily(`\\[nr]`)
)

// envEscapes are those in double quotes.
var envEscapes = map[string]string{`\n`: "\n", `\r`: "\r",
	`\\`: `\`, `\"`: `"`, `\$`: `$`, "\\`": "`"}

// parseEnv reads the text of a .env file. It implements *The .env text*
// (SPEC §8).
func parseEnv(text []byte) (lines []envLine, problems []envProblem) {
	t := readEnv(text)
	return t.lines, t.problems
}

// readEnv is parseEnv with all that is known of the text (SPEC §8.2).
func readEnv(text []byte) *envText {
	t := &envText{number: 1, index: make(map[string]int)}
	text, marked := bytes.CutPrefix(text, []byte("\ufeff")) // [TXT-11]
	if line, fault := envUnreadable(text); fault != "" {
		t.problems = []envProblem{{line: line, text: fault + "; nothing of the file was read"}}
		return t
	}
	if m := envTitle().FindSubmatch(text); m != nil { // [TXT-22]
		t.own = orPortable(string(m[1]))
		if !slices.Contains(dialects, t.own) {
			t.fault("a dialect that this version does not know; nothing of the file was read")
			return t
		}
	}
	if marked && t.own == "" { // [TXT-26]
		t.warn("a byte order mark: godotenv reads nothing of such a file, python-dotenv " +
			"takes it for part of the name; it is dropped")
	}
	// keepmum writes a CR as it is where it was meant, but ends no line by one:
	// CR LF throughout comes from an editor. [TXT-11]
	crlf := bytes.Count(text, []byte("\r\n"))
	t.crlf = t.own == "" || crlf == bytes.Count(text, []byte("\n"))
	for len(text) > 0 {
		rest := t.variable(bytes.TrimLeft(text, envBlanks))
		t.number += bytes.Count(text[:len(text)-len(rest)], []byte("\n"))
		text = rest
	}
	return t
}

func (t *envText) fault(text string) {
	t.problems = append(t.problems, envProblem{line: t.number, text: text})
}

// warn reports what other readers make of the line. keepmum's own text has one
// meaning, whatever they do.
func (t *envText) warn(text string) {
	if t.own == "" {
		t.problems = append(t.problems, envProblem{line: t.number, text: text, warning: true})
	}
}

// variable reads one variable, or a comment or an empty line, and returns what
// follows it. [TXT-13] (SPEC §8.2)
func (t *envText) variable(text []byte) (rest []byte) {
	line, rest := cutLine(text)
	m := envName().FindSubmatch(text)
	switch {
	case len(line) == 0:
		return rest
	case line[0] == '#':
		if t.own == "" || t.number > 1 { // keepmum's own title is nobody's comment
			t.comments++
		}
		t.check('#', line)
		return rest
	case m == nil || m[2] != nil && len(m[0]) >= len(line) || envNoName().Match(m[0]):
		t.fault(envHint(line))
		return rest
	}
	before := len(t.problems)
	if m[2] != nil { // [TXT-23]
		if text[len(m[0])] == '#' { // [TXT-25]
			t.fault("a comment right after a colon: write NAME='' before it, or the value in quotes")
			return rest
		}
		t.warn("a colon for =, which python-dotenv and shells do not read")
	}
	value, rest := t.value(text[len(m[0]):])
	for _, problem := range t.problems[before:] {
		if !problem.warning { // one is enough: nothing of the line was read
			t.problems = append(t.problems[:before], problem)
			return rest
		}
	}
	t.add(envLine{string(m[1]), value, t.number})
	return rest
}

// add takes one variable. Of a name that is there twice the later one counts,
// at the place of the first. [TXT-19] (SPEC §8.2)
func (t *envText) add(l envLine) {
	i, again := t.index[l.name]
	if !again {
		t.index[l.name] = len(t.lines)
		t.lines = append(t.lines, l)
		return
	}
	t.problems = append(t.problems, envProblem{line: l.line, warning: true, twice: l.name,
		text: fmt.Sprintf("%.60q is on line %d too; the later one counts", l.name, t.lines[i].line)})
	wipe(t.lines[i].value)
	t.lines[i] = l
}

// cutLine returns the line that text begins with, and what follows it.
func cutLine(text []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(text, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}

// value reads what stands after the equals sign, and the rest of the line
// (SPEC §8.2).
func (t *envText) value(text []byte) (value secret, rest []byte) {
	js := t.own == dialectJS || t.own == dialectJSExpand
	quoted := envQuoted
	if js {
		quoted = envQuotedJS
	}
	m := quoted().FindSubmatch(text)
	line, after := cutLine(text)
	switch {
	case t.own == dialectRaw:
		return append(secret{}, line...), after
	case m == nil || m[5] != nil && len(m[6]) == 0: // for all four a backtick alone is no quote
		value, rest = t.bare(line), after
	case len(m[2])+len(m[4])+len(m[6]) == 0: // [TXT-17]
		t.fault("a quote is never closed; nothing from here on was read")
		return nil, nil
	default:
		value, rest = t.quoted(m[1], m[3], m[5], js), t.behind(text, len(m[0]))
	}
	if t.own == dialectJSExpand {
		value = append(secret{}, bytes.ReplaceAll(value, []byte(`\$`), []byte("$"))...)
	}
	return value, rest
}

// bare reads a value without quotes. [TXT-14] (SPEC §8.2)
func (t *envText) bare(line []byte) secret {
	t.check(' ', line)
	if at := envComment().FindIndex(line); at != nil {
		t.comments++
		line = line[:at[0]]
	}
	return append(secret{}, bytes.Trim(line, envBlanks)...)
}

// quoted decodes what stands in one of three quotes; two of these are nil.
// [TXT-15] [TXT-16] (SPEC §8.2)
func (t *envText) quoted(single, double, backtick []byte, js bool) secret {
	quote, text, escape := byte('`'), backtick, envEscape
	switch {
	case single != nil:
		quote, text = '\'', single
	case double != nil:
		quote, text = '"', double
	}
	if !js {
		t.check(quote, text)
	}
	if t.crlf {
		text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	}
	switch quote {
	case '\'':
		text = bytes.ReplaceAll(text, []byte(`'\''`), []byte("'"))
	case '"':
		if js {
			escape = envEscapeJS
		}
		text = escape().ReplaceAllFunc(text, func(found []byte) []byte {
			return []byte(envEscapes[string(found)])
		})
	}
	return append(secret{}, text...)
}

// behind returns what follows the line of a closing quote. [TXT-17] (SPEC §8.2)
func (t *envText) behind(text []byte, at int) (rest []byte) {
	after, rest := cutLine(text[at:])
	comment := bytes.TrimLeft(after, envBlanks)
	n := bytes.Count(text[:at], []byte("\n"))
	switch {
	case len(comment) == 0:
	case comment[0] == '#':
		t.comments++
		t.check('#', comment)
	case n > 0:
		t.fault(fmt.Sprintf("text after the closing quote, which is on line %d", t.number+n))
	default:
		t.fault("text after the closing quote")
	}
	return rest
}
