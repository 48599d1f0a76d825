package main

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// What the readers know after a backslash.
var (
	escNR    = map[byte]string{'n': "\n", 'r': "\r"}
	escN     = map[byte]string{'n': "\n"}
	escNRT   = map[byte]string{'n': "\n", 'r': "\r", 't': "\t"}
	escShell = map[byte]string{'\\': `\`, '"': `"`, '$': "$", '`': "`", '\n': ""}
	escRust  = map[byte]string{'\\': `\`, '"': `"`, '\'': "'", '$': "$", ' ': " ", 'n': "\n"}
	escPHP   = map[byte]string{'\\': `\`, '"': `"`, '$': `$`, 'n': "\n", 'r': "\r", 't': "\t", 'f': "\f", 'v': "\v"}
	escGo    = map[byte]string{'\\': `\`, '"': `"`, 'n': "\n", 'r': "\r", 't': "\t",
		'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v"}
	escPython = map[byte]string{'\\': `\`, '"': `"`, '\'': "'", 'n': "\n", 'r': "\r", 't': "\t",
		'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v"}
)

const (
	braced = `\$\{[^{}]+\}`
	always = `\$[\w{(*@#?!$-]`
	plain  = `(?:^|[^\\])(?:\\\\)*` // a backslash of its own is not before it
	named  = `\$[A-Za-z_]\w*`
	runs   = `\$\([^)]*\)`
	other  = `\\\$\((?:\)|[^()]*(?:\(|$))`    // a \$( that ruby does not take for a command
	nested = `|\$\{[A-Za-z]\w*:[-=][^}]*\\\$` // and one in a default, which symfony leaves escaped
	ending = `^[^\n]*[ \t\v\f\x{85}\p{Z}]\n`  // a first line of which gotenv takes the blanks
	opened = `^(?:[^"]|\\")*="(?:[^"]|\\")*$` // a line of which phpdotenv expects more
)

// What readers take for blanks on a line.
const (
	uniBlanks   = latinBlanks + "\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
	latinBlanks = asciiBlanks + "\u0085\u00a0"
	asciiBlanks = " \t\v\f"
	jsBlanks    = asciiBlanks + "\u00a0\ufeff\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
	pyBlanks    = uniBlanks + "\x1c\x1d\x1e\x1f"
	blankHash   = "\t#" // a # behind any of its blanks
)

// envReaders are the kinds there are, the most used first.
var envReaders = sync.OnceValue(func() []*envReader {
	return []*envReader{
		{name: "dotenv", fits: dialectJS, returns: "lf", around: jsBlanks, quotes: "'\"`", closes: closeAtEnd, hash: "#",
			steps: map[byte][]envStep{'"': {unescape("keep", escNR)}}},
		{name: "dotenv-expand", fits: dialectJSExpand, returns: "lf", around: jsBlanks, quotes: "'\"`", closes: closeAtEnd, hash: "#",
			steps: map[byte][]envStep{'"': {unescape("keep", escNR)}}, all: []envStep{expands(true, braced+`|`+named)}},
		{name: "dotenv-expand", version: "1000", fits: dialectJSExpand, returns: "lf", around: jsBlanks, quotes: "'\"`", closes: closeAtEnd, hash: "#",
			steps: map[byte][]envStep{'"': {unescape("keep", escNR)}}, all: []envStep{refuse(runs), expands(true, braced+`|`+named)}},
		{name: "dotenv-expand", version: "11", fits: dialectJSExpand, returns: "lf", around: jsBlanks, quotes: "'\"`", closes: closeAtEnd, hash: "#",
			steps: map[byte][]envStep{'"': {unescape("keep", escNR)}}, all: []envStep{expandHidden(`\$\{?[\w.]+`), unescape("keep", map[byte]string{'$': "$"})}},
		{name: "next", fits: dialectJSExpand, returns: "lf", around: jsBlanks, quotes: "'\"`", closes: closeAtEnd, hash: "#",
			steps: map[byte][]envStep{'"': {unescape("keep", escNR)}}, all: []envStep{expands(true, `\$\{?\w+`)}},
		{name: "vite", fits: dialectJSExpand, returns: "drop", around: " \t", quotes: "'\"`", closes: closeFirst, hash: "#",
			steps: map[byte][]envStep{'"': {unescape("keep", escN)}}, all: []envStep{expands(true, braced+`|`+named)}},
		{name: "bun", fits: dialectJSExpand, returns: "lf", around: asciiBlanks, quotes: "'\"`", closes: closeHidden, hash: "#",
			steps: map[byte][]envStep{'"': {unescape("keep", escNR)}}, all: []envStep{expands(true, `\$\{?\w+`)}},
		{name: "node --env-file", fits: dialectJS, returns: "drop", around: " \t", quotes: "'\"`", closes: closeFirst, hash: "#",
			steps: map[byte][]envStep{'"': {unescape("keep", escN)}}},
		{name: "deno", fits: dialectJS, returns: "drop", around: " \t", quotes: "'\"`", closes: closeAtEnd, hash: "#",
			steps: map[byte][]envStep{'"': {unescape("keep", escN), expands(true, `\$`)}, 0: {expands(true, `\$`)}}},
		{name: "dotenvx", fits: dialectJS, returns: "lf", around: jsBlanks, quotes: "'\"`", closes: closeAtEnd, hash: "#",
			steps: map[byte][]envStep{'\'': {unescape("keep", map[byte]string{'\'': "'"})},
				'"': {unescape("keep", escNRT), refuse(`\$\([^)]+\)`), expands(true, braced+`|`+named)},
				0:   {refuse(`\$\([^)]+\)`), expands(true, braced+`|`+named)}, '`': {refuse(`\$\([^)]+\)`), expands(true, braced+`|`+named)}}},
		{name: "varlock", fits: dialectEscaped, returns: "crlf", around: jsBlanks, quotes: "'\"`", closes: closeHidden, hash: " #", strict: true,
			steps: map[byte][]envStep{'\'': {refuse("^$")},
				'"': {unescape("keep", map[byte]string{'"': `"`, 'n': "\n"}), expands(true, braced+`|`+named+`|`+runs)},
				'`': {refuse("\n"), expands(true, braced+`|`+named+`|`+runs)}, 0: {refuse(`^$|#|\(`), expands(true, braced+`|`+named+`|`+runs)}}},
		{name: "env-cmd", fits: dialectEscaped, returns: "lf", around: jsBlanks, quotes: "'\"", closes: closeLast, line: true, hash: "#",
			all: []envStep{refuse(`[\x{2028}\x{2029}]`), unescape("keep", escN)}},
		{name: "foreman", version: "node", fits: dialectPortable, around: jsBlanks, quotes: "'\"", closes: closeFirst, line: true, hash: "#", strict: true,
			all: []envStep{refuse(`[\x{2028}\x{2029}]#`)}},
		{name: "godotenv", fits: dialectEscaped, returns: "crlf", around: latinBlanks, quotes: "'\"", closes: closePrevious, hash: blankHash, strict: true,
			steps: map[byte][]envStep{'"': {refuse(`"$`), unescape("drop", escNR), expands(true, `\$\{?[A-Z0-9_]+\}?|\$\(`)}, 0: {expands(true, `\$\(?\{?[A-Z0-9_]+\}?`)}}},
		{name: "docker compose", fits: dialectEscaped, around: latinBlanks, quotes: "'\"", closes: closeEscaped, hash: " #", strict: true,
			steps: map[byte][]envStep{'"': {refuse(plain + `\\0`), unescape("keep", escGo), expands(true, `\$\$|\$\{|`+named)}, 0: {refuse(`\$\{|\p{Z}$`), expands(false, `\$\$|`+named)},
				'\'': {unescape("keep", map[byte]string{'\'': "'"})}}},
		{name: "viper", fits: dialectPortable, returns: "lf", quotes: "'\"", closes: closeAny, hash: "#", strict: true,
			steps: map[byte][]envStep{'\'': {refuse(ending), blanksFirst},
				'"': {refuse(ending), blanksFirst, unescape("keep", escNR), unescape("drop", nil), expands(true, `\$\{?[A-Z0-9_]+\}?`)}, 0: {expands(true, `\$\{?[A-Z0-9_]+\}?`)}}},
		{name: "python-dotenv", fits: dialectEscaped, returns: "lf", around: pyBlanks, quotes: "'\"", closes: closePython, hash: blankHash,
			steps: map[byte][]envStep{'"': {unescape("keep", escPython)}, '\'': {unescape("keep", map[byte]string{'\'': "'", '\\': `\`})}},
			all:   []envStep{expands(false, `\$\{[^}:]*(:-[^}]*)?\}`)}},
		{name: "decouple", fits: dialectRaw, returns: "lf", around: pyBlanks, quotes: "'\"", closes: closeAny, line: true},
		{name: "django-environ", fits: dialectPortable, returns: "lf", quotes: "'\"", closes: closeAny, line: true, blanks: true, hash: "#",
			steps: map[byte][]envStep{'"': {refuse("#"), unescape("drop", map[byte]string{'n': `\n`, 'r': `\r`, 't': `\t`, '$': `$`})}, '\'': {refuse(`(?s)^".*"$`)}},
			all:   []envStep{refuse(`[\v\f\x1c-\x1e\x{85}\x{2028}\x{2029}]`)}},
		{name: "django-environ", version: "0.4", fits: dialectPortable, returns: "lf", quotes: "'\"", closes: closeAny, line: true, blanks: true,
			steps: map[byte][]envStep{'"': {unescape("drop", map[byte]string{'$': `$`})}, '\'': {refuse(`(?s)^".*"$`)}},
			all:   []envStep{refuse(`[\v\f\x1c-\x1e\x{85}\x{2028}\x{2029}]`)}},
		{name: "ruby dotenv", fits: dialectPortable, returns: "lf", around: asciiBlanks, quotes: "'\"", closes: closeAtEnd, hash: "#",
			steps: map[byte][]envStep{'"': {refuse(other), unescape("drop", map[byte]string{'n': `\n`, 'r': `\r`}), expands(true, `\$\{?\w+|\$\([^)]+\)`)},
				0: {refuse(other), unescape("drop", nil), expands(true, `\$\{?\w+|\$\([^)]+\)`)}}},
		{name: "ruby dotenv", version: "2", fits: dialectEscaped, returns: "lf", around: asciiBlanks, quotes: "'\"", closes: closeAny, line: true, hash: "#",
			steps: map[byte][]envStep{'"': {refuse(other), unescape("keep", escNR), unescape("drop", nil), expands(true, `\$\{?\w+|\$\([^)]+\)`)},
				0: {refuse(other), expands(true, `\$\{?\w+|\$\([^)]+\)`)}}},
		{name: "foreman", version: "ruby", fits: dialectEscaped, returns: "crlf", quotes: "'\"", closes: closeAny, line: true, blanks: true,
			steps: map[byte][]envStep{'"': {unescape("keep", escN), unescape("drop", map[byte]string{'$': "$"})}}},
		{name: "symfony", fits: dialectShell, returns: "lf", around: " \t", quotes: "'\"", closes: closeWords, strict: true,
			steps: map[byte][]envStep{'"': {refuse(`\\\\\\"`), refuse(other + nested), unescape("keep", map[byte]string{'"': `"`, 'n': "\n", 'r': "\r"}), expands(true, `\$[A-Za-z{(]`),
				unescape("keep", map[byte]string{'\\': `\`})}, 0: {refuse("^[# \t]|[\v\f]"), refuse(other + nested), expands(true, `\$[A-Za-z{(]`), unescape("keep", map[byte]string{'\\': `\`, '"': `"`, '\'': "'"})}}},
		{name: "phpdotenv", fits: dialectEscaped, returns: "lf", around: " \t\v", quotes: "'\"", closes: closeWord, strict: true,
			steps: map[byte][]envStep{'"': {refuse(`\n(?:\\\\)+$`), unescape("fail", escPHP)}, '\'': {refuse("\n"), refuse(opened)},
				0: {refuse("#|.[\v\f]"), refuse(opened)}}},
		{name: "just", fits: dialectShell, quotes: "'\"", closes: closeWords, strict: true,
			steps: map[byte][]envStep{'"': {unescape("fail", escRust)}, '\'': {refuse(`\\$`)}, 0: {refuse(`^#|\\$|[\v\f\x{85}\p{Z}](?:#|$)`), unescape("fail", escRust), expands(true, `\$`)}}},
		{name: "direnv", fits: dialectEscaped, returns: "lf", around: " \t\f", quotes: "'\"", closes: closeAny, line: true, hash: "#", strict: true,
			steps: map[byte][]envStep{'"': {unescape("keep", escNR), unescape("drop", nil), expands(false, `\$[\w{*@#?!$-]`)},
				0: {refuse(`\s`), expands(false, `\$[\w{*@#?!$-]`)}}},
		{name: "busybox sh", fits: dialectShell, around: " \t", quotes: "'\"", closes: closeWords,
			steps: map[byte][]envStep{'"': {refuse(plain + "(?:`|" + always + ")"), unescape("keep", escShell)},
				0: {refuse(`^~|\\$|` + plain + "(?:[`;&|<>()]|" + always + ")"), unescape("drop", map[byte]string{'$': "$"})}}},
		{name: "docker run", fits: dialectRaw, blanks: true},
		{name: "make", fits: dialectRaw, blanks: true, hash: "#", all: []envStep{refuse(`^[ \t\v\f]|\$.|\\$`)}},
	}
})

// envNeighbours stand behind a value that only opens or hides a quote, which does
// no harm where there is no other: each begins, ends or goes on where some reader
// then takes it for something else.
var envNeighbours = []string{"it's", "a b", "#a", "#'", "#'`", "\na", "a'", `a"`, "a`"}

// envTrial is a value and what is known of it: the readers are asked about the same
// dialect again and again, and a value may be long.
type envTrial struct {
	value string             // its shape
	lines map[dialect]string // as a mount writes it
	known map[envAsked]bool
}

// envAsked is whether a reader gets the value in a dialect.
type envAsked struct {
	k *envReader
	d dialect
}

func newTrial(shape []byte) *envTrial {
	return &envTrial{value: string(shape), lines: map[dialect]string{}, known: map[envAsked]bool{}}
}

// line is the value as it stands behind the equals sign.
func (t *envTrial) line(d dialect) (string, error) {
	if line, there := t.lines[d]; there {
		return line, nil
	}
	line, err := appendValue(nil, d, []byte(t.value))
	if err == nil {
		t.lines[d] = string(line)
	}
	return string(line), err
}

// readsBack reports whether a kind of reader gets back exactly the value, and its
// neighbours unharmed, where a mount writes them in a dialect. (SPEC §8.4)
func (t *envTrial) readsBack(k *envReader, d dialect, neighbour string) bool {
	line, err := t.line(d)
	if err != nil {
		return false
	}
	first, _ := appendValue(nil, d, []byte("first"))
	last, err := appendValue(nil, d, []byte(neighbour))
	if err != nil {
		return false
	}
	got := k.read("A_FIRST="+string(first)+"\nKEY="+line+"\nZ_LAST="+string(last)+"\n", t.value)
	value, there := got["KEY"]
	return there && value == t.value && got["A_FIRST"] == "first" && got["Z_LAST"] == neighbour
}

// gets is readsBack for neighbours of any kind, but those that the reader does not
// get behind a plain value either. [TXT-34] [TXT-37] (SPEC §8.4)
func (t *envTrial) gets(k *envReader, d dialect) bool {
	asked := envAsked{k, d}
	if gets, there := t.known[asked]; there {
		return gets
	}
	gets := t.readsBack(k, d, "last")
	if gets && reachesOn(t.lines[d]) {
		plain := newTrial([]byte("plain"))
		gets = !slices.ContainsFunc(envNeighbours, func(n string) bool {
			return !t.readsBack(k, d, n) && plain.readsBack(k, d, n)
		})
	}
	t.known[asked] = gets
	return gets
}

// reachesOn reports whether a reader may look for the end of a value behind its own
// lines: where a quote opens it, and none that no backslash hides is its end.
func reachesOn(line string) bool {
	if line == "" || strings.IndexByte("'\"`", line[0]) < 0 {
		return false
	}
	n := len(line) - 1
	return n < 1 || line[n] != line[0] || line[n-1] == '\\'
}

// envShape leaves of a value what a reader looks at: of secrets nothing is
// copied around, and a long one takes no time. Letters and digits become xx,
// but for one behind a backslash and for what may be a variable's name.
func envShape(v []byte) []byte {
	word := func(b byte) bool { return b != '_' && strings.IndexByte(envNames, b) >= 0 }
	shape := make([]byte, 0, len(v))
	name := false // in what follows a $
	for i, b := range v {
		n := len(shape)
		switch {
		case !word(b):
			name = b == '$' || (b == '{' || b == '(') && i > 0 && v[i-1] == '$'
		case i > 0 && v[i-1] == '\\':
		case name && 'a' <= b && b <= 'z':
			b = 'x'
		case name && 'A' <= b && b <= 'Z':
			b = 'X'
		case name:
			b = '1'
		case n > 1 && shape[n-1] == 'x' && shape[n-2] == 'x':
			continue
		default:
			b = 'x'
		}
		shape = append(shape, b)
	}
	return shape
}

// shortened leaves of what is repeated in a shape eight times, or up to eleven: as
// many modulo four, since a reader may halve the backslashes before a quote twice.
// Of one that begins with more than eight blanks nothing goes: viper counts them.
func shortened(shape []byte) []byte {
	if len(shape)-len(bytes.TrimLeftFunc(shape, unicode.IsSpace)) > 8 {
		return shape
	}
	short := shape[:0]
	for len(shape) > 0 {
		size, times := repeated(shape)
		keep := times
		if times > 11 {
			keep = 8 + times%4
		}
		short = append(short, shape[:size*keep]...)
		shape = shape[size*times:]
	}
	return short
}

// repeated finds the shortest part, of up to 32 bytes, that a shape begins with
// more than eleven times; else it is one byte, once.
func repeated(shape []byte) (size, times int) {
	for size = 1; size <= 32 && 12*size <= len(shape); size++ {
		for times = 1; bytes.HasPrefix(shape[size*times:], shape[:size]); times++ {
		}
		if times > 11 {
			return size, times
		}
	}
	return 1, 1
}
