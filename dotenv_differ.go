package main

// What readers of .env files differ on (SPEC §8.2). Where one way to read it
// loses nothing, import takes that with a warning; else it is a fault.

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// envDiffer is one thing that readers differ on.
type envDiffer struct {
	in    string                // quotes that it counts in; a blank is none, # a comment
	found func() *regexp.Regexp // in the text between the quotes, or behind the =
	text  string
}

// differ returns a row about what is found in these quotes.
func differ(in, found, text string) envDiffer {
	return envDiffer{in: in, found: lazily(`(?s)` + found), text: text}
}

// otherBlank is a blank that only some readers drop; \x1c to \x1f are none but for
// python-dotenv.
const otherBlank = `[\x{1c}-\x{1f}\x{85}\x{feff}\x{1680}\x{2000}-\x{200a}` +
	`\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]`

// envFaults are never taken [TXT-25]; envForeignFaults are what only keepmum
// itself writes. envWarnings are taken, with a warning [TXT-26].
var (
	envFaults = []envDiffer{
		// Before anything else the readers drop or keep a backslash, or
		// decode it, each as it likes.
		differ(`"`, `^(?:[^\\]|\\.)*\\[^nr\\"$`+"`]", "a backslash in double quotes "+
			"before something that readers differ on"),
		// For three of the four this comment is the value.
		differ(` `, `^`+envBlank+`+#`, "a comment right after =: write NAME='' before it, "+
			"or the value in quotes"),
		differ(` `, `^`+envBlank+`*`+otherBlank+`|`+otherBlank+envBlank+`*(?:#|$)|[\v\f\x{a0}]#`,
			"a blank that is no space beside the value: take it out, or put the value in quotes"),
		differ(` `, `\r`, "a carriage return inside the line"),
	}
	envForeignFaults = []envDiffer{
		differ(`"`, `^(?:[^\\]|\\.)*\\`+"`", "a backslash in double quotes before a backtick"),
		// Two of the four end the line there.
		differ("#'\"`", `\r(?:[^\n]|$)`, "a carriage return without a line feed"),
	}
	envWarnings = []envDiffer{
		differ(` `, `^(?:[^#]*[^# \t])?#`, "dotenv ends the value at #; here it is part of it"),
		differ(` `, `^(?:[^#]|[^ \t]#)*\t#`,
			"docker compose takes a comment after a tab for part of the value"),
		differ(` `, `[ \t]#.*[ \t]#`, "godotenv lets the comment begin at the last #"),
		differ(` #`, `[\x{2028}\x{2029}]`, "dotenv takes U+2028 and U+2029 for line ends where "+
			"it looks for quotes and comments; here they are none"),
		differ(` `, `^[^#]*;[ \t]*export\b`, "a shell would end the value at ;"),
		differ(`'`, `'\\''`, `'\'' is read as a shell does; other readers do not`),
		differ(`'`, `\\\\`, `\\ in single quotes is one backslash for python-dotenv; `+
			`it is kept as it is`),
		differ(`'`, `\\$`, "some readers take a backslash before the closing quote "+
			"for a quote in the value"),
		differ(`"`, `\\[\\"]`, `the backslash of \\ and \" is dropped; dotenv keeps it`),
		differ(`"`, `\\\$`, `the backslash of \$ is dropped; dotenv and python-dotenv keep it`),
		differ("`", ``, "backticks are quotes for dotenv, but part of the value for other readers"),
		differ("'\"`", `\r\n`, "the value has line feeds now; docker compose keeps CR LF"),
		differ("'\"`", `\n(?:export[ \t]+)?[A-Za-z_]\w*=`,
			"the value goes over lines that look like variables: is a quote missing?"),
		differ(" '\"", `^[ \t]*encrypted:[A-Za-z0-9+/]{40}`, "dotenvx decrypts the value, here it stays "+
			"encrypted: run dotenvx decrypt first"),
	}
	// envDollar is what an expanding reader acts on, with the name if it has
	// one; in single quotes that is python-dotenv alone.
	envDollar = map[byte]func() *regexp.Regexp{
		' ':  lazily(`\$(?:\{?([A-Za-z_]\w*))?`),
		'"':  lazily(`(?s)\\.|\$(?:\{?([A-Za-z_]\w*))?`),
		'`':  lazily(`\$(?:\{?([A-Za-z_]\w*))?`),
		'\'': lazily(`\$\{([A-Za-z_]\w*)?`),
	}
)

// check reports what readers differ on in a text between quotes, or behind the
// equals sign (SPEC §8.2).
func (t *envText) check(quote byte, text []byte) {
	for i, table := range [][]envDiffer{envFaults, envForeignFaults, envWarnings} {
		for _, d := range table {
			switch {
			case i > 0 && t.own != "" || strings.IndexByte(d.in, quote) < 0 || !d.found().Match(text):
			case i < 2:
				t.fault(d.text)
			default:
				t.warn(d.text)
			}
		}
	}
	t.checkDollar(quote, text)
}

// checkDollar warns of what some readers would expand. Only the name of a
// variable that the file has is named: another may be part of a password.
// [TXT-27] (SPEC §8.2)
func (t *envText) checkDollar(quote byte, text []byte) {
	if envDollar[quote] == nil {
		return
	}
	if at := envComment().FindIndex(text); quote == ' ' && at != nil {
		text = text[:at[0]]
	}
	said := ""
	for _, m := range envDollar[quote]().FindAllSubmatch(text, -1) {
		if _, there := t.index[string(m[1])]; there {
			t.warn(fmt.Sprintf("readers that expand $ would put %.60q in here; "+
				"it is kept as it is", m[1]))
			return
		}
		if bytes.HasPrefix(m[0], []byte("$")) {
			said = "readers that expand $ would change the value; it is kept as it is"
		}
	}
	if said != "" {
		t.warn(said)
	}
}

// envHints say of a line that is no variable what it is likely to be. They are
// tried in this order; none shows the line, which may be part of a value.
var envHints = []struct {
	begin func() *regexp.Regexp
	text  string
}{
	{lazily(`^(<<<<<<<|=======|>>>>>>>|\|{7})`),
		"a mark of a merge conflict: settle it first"},
	{lazily(`^-----`), "a key outside quotes: put quotes around all of its lines"},
	{lazily(`^["{}]`), "JSON outside quotes? Put single quotes around all of it"},
	{lazily(`^(;|//)`), "a comment begins with #"},
	// A variable called export, one without a name, or none: it depends.
	{envNoName, "no name behind export; for a variable that is called so write export= without a blank"},
	{lazily(`^(export[ \t]+)?[A-Za-z_]\w*[ \t]*$`),
		"no = in it; for an empty value write NAME="},
	{lazily(`^(export[ \t]+)?[A-Za-z_]\w*[ \t]*:`),
		"a colon is read as = only with a blank and a value behind it: write NAME=value"},
	{lazily(`^(export[ \t]+)?[\pL\pN_.\-\[\]]+[ \t]*[=:]`),
		"a name has only letters without accents, digits and _, and begins with no digit"},
}

// envHint returns the fault of a line that is no variable. [TXT-24] (SPEC §8.2)
func envHint(line []byte) string {
	for _, hint := range envHints {
		if hint.begin().Match(line) {
			return hint.text
		}
	}
	return "not of the form NAME=value"
}

// envUnreadable says on which line and why a text is not read at all. [TXT-12]
// (SPEC §8.2)
func envUnreadable(text []byte) (line int, fault string) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) ||
		len(text) > 1 && (text[0] == 0) != (text[1] == 0) {
		return 1, "the text is UTF-16: save it as UTF-8"
	}
	if bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') >= 0 {
		return 1, "the lines end in carriage returns alone: save it with line feeds"
	}
	for l := range bytes.Lines(text) {
		line++
		if bytes.IndexByte(l, 0) >= 0 {
			return line, "a NUL: this is no text"
		}
		if !utf8.Valid(l) {
			return line, "the text is not UTF-8 (Latin-1 or Windows-1252?): save it as UTF-8"
		}
	}
	return 0, ""
}
