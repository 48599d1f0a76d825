package main

// The spellings in which a concealed value is looked for (SPEC §11.1).

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

const (
	maskValue = 5 // bytes of the shortest value that is masked [RUN-22]
	maskLine  = 8 // bytes of the shortest line of a value that is
)

// commonValues are words of configuration: an imported file marks everything
// as concealed, and without them nothing that a program writes could be read.
// [RUN-22]
var commonValues = []string{"false", "debug", "error", "local", "warning", "testing", "staging",
	"default", "production", "development", "localhost", "127.0.0.1", "0.0.0.0"}

// unmaskable reports whether a value is too short or too common to be told from
// what else a program writes.
func unmaskable(v []byte) bool {
	v = bytes.TrimSpace(v)
	port := len(v) <= len("65535") && len(bytes.Trim(v, "0123456789")) == 0
	return len(v) < maskValue || port || slices.Contains(commonValues, strings.ToLower(string(v)))
}

// masksFor makes the patterns of the concealed values, and names the variables
// that cannot be masked.
func masksFor(vars []*variable) (p *patterns, left []string) {
	var texts [][]byte
	for _, v := range vars {
		switch {
		case !v.concealed || v.placeholder || len(v.value) == 0:
		case unmaskable(v.value):
			left = append(left, v.name)
		default:
			texts = append(texts, spellings(v.value)...)
		}
	}
	return newPatterns(texts), left
}

// spellings returns a value in every form that is masked: as it is, with the
// line ends of a terminal, by line, trimmed as many programs do, and encoded.
// They are its own: v may be wiped. [RUN-19]
func spellings(v []byte) (all [][]byte) {
	v = bytes.Clone(v)
	texts := [][]byte{v, bytes.TrimSpace(v)}
	if bytes.Equal(texts[0], texts[1]) {
		texts = texts[:1]
	}
	for _, text := range texts {
		all = append(all, text, bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")),
			hex.AppendEncode(nil, text), bytes.ToUpper(hex.AppendEncode(nil, text)))
		all = append(all, base64Texts(text)...)
		all = append(all, urlTexts(text)...)
		all = append(all, jsonTexts(text)...)
		for _, quoted := range quotedStyles {
			all = append(all, []byte(quoted.Replace(string(text))))
		}
	}
	if bytes.IndexByte(v, '\n') >= 0 {
		for line := range bytes.SplitSeq(v, []byte("\n")) {
			if line = bytes.TrimSpace(line); len(line) >= maskLine && !unmaskable(line) {
				all = append(all, line)
			}
		}
	}
	return all
}

// base64Texts returns what of v's base64 does not depend on its neighbours, for
// each of the three places where it may begin in a longer text, and the same
// with the end that it has where nothing follows it.
func base64Texts(v []byte) (all [][]byte) {
	for _, code := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		for before := range 3 {
			text := code.AppendEncode(nil, append(make([]byte, before), v...))
			from, to := (before*8+5)/6, (before+len(v))*8/6
			all = append(all, text[from:to], text[from:], bytes.TrimRight(text[from:], "="))
		}
	}
	return all
}

// urlSafe are the characters that encoders leave alone besides letters and
// digits: Go and Python, PHP and Java, JavaScript's encodeURIComponent,
// Python's quote, parts of a path and users of Go, encodeURI; then paths and
// fragments of Go's URL, and the user, path, query and fragment of JavaScript's;
// then axios, old and new, query and path of yarl, and .NET's form.
var urlSafe = []string{"-_.~", "-_.", "*-_.", "-_.!~*'()", "-_.~/", "-_.~$&+=:@", "-_.~$&+,;=",
	"-_.!~*'();,/?:@&=+$#", "-_.~$&+,/:;=@", "-_.~$&+,/:;=?@!()*", "-_.~!$&'()*+,%",
	"-_.~!$&'()*+,/:;=@%[]^|", "-_.~!$&()*+,/:;=?@%[]\\^`{|}", "-_.~!$&'()*+,/:;=?@%[]\\^{|}#",
	"-_.!~*'():$,[]", "-_.!~*'():$,", "-._~!$'()*,?/:@", "-._~!$'()*,@:/+", "-_.!*()"}

// urlTexts returns v as it stands in addresses and forms.
func urlTexts(v []byte) (all [][]byte) {
	for _, safe := range urlSafe {
		for _, format := range []string{"%%%02X", "%%%02x"} {
			for _, space := range []string{"%20", "+"} {
				var text []byte
				for _, b := range v {
					switch {
					case b == ' ':
						text = append(text, space...)
					case strings.IndexByte(envNames[:62], b) >= 0 || strings.IndexByte(safe, b) >= 0:
						text = append(text, b)
					default:
						text = fmt.Appendf(text, format, b)
					}
				}
				all = append(all, text)
			}
		}
	}
	return all
}

// quotedStyles are those of who prints an environment, between their quotes:
// JavaScript and Python, both also in single quotes as a shell's $'…', PHP, and a
// shell in double and in single quotes.
var quotedStyles = []*strings.Replacer{
	strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`),
	strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, `'`, `\'`),
	strings.NewReplacer(`\`, `\\`, `'`, `\'`),
	strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`"),
	strings.NewReplacer(`'`, `'\''`),
}

// jsonTexts returns v as JSON, and within the JSON of a log: that of the same
// program, of JavaScript or of Python, which is also what others write of ASCII.
func jsonTexts(v []byte) (all [][]byte) {
	for _, s := range jsonStyles {
		text := s.text(v)
		all = append(all, text, s.text(text), jsonStyles[0].text(text), jsonStyles[1].text(text))
	}
	return all
}

// jsonStyle is how one family of programs writes a JSON string.
type jsonStyle struct {
	escaped string // written \uXXXX, besides control characters
	ascii   bool   // and so is what is not ASCII
	slash   bool   // "/" gets a backslash
	format  string
	upper   bool // what is in escaped, in capitals all the same
}

// jsonStyles are those of JavaScript, Python, Go, PHP, .NET and Gson.
var jsonStyles = []jsonStyle{
	{format: `\u%04x`},
	{format: `\u%04x`, ascii: true},
	{format: `\u%04x`, escaped: "<>&\u2028\u2029"},
	{format: `\u%04x`, ascii: true, slash: true},
	{format: `\u%04x`, slash: true},
	{format: `\u%04X`, ascii: true, escaped: "\"&'+<>`"},
	{format: `\u%04x`, escaped: "<>&='\u2028\u2029"},
	{format: `\u%04x`, ascii: true, slash: true, escaped: "<>&'\"", upper: true}, // PHP's frameworks
}

var jsonShort = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`,
	'\b': `\b`, '\f': `\f`}

// text returns v as it stands between the quotes.
func (s *jsonStyle) text(v []byte) (text []byte) {
	for _, r := range string(v) {
		short, known := jsonShort[r]
		switch {
		case s.upper && strings.ContainsRune(s.escaped, r):
			text = fmt.Appendf(text, `\u%04X`, r)
		case strings.ContainsRune(s.escaped, r), r < ' ' && !known, s.ascii && r > '~':
			for _, unit := range utf16.AppendRune(nil, r) {
				text = fmt.Appendf(text, s.format, unit)
			}
		case known:
			text = append(text, short...)
		case r == '/' && s.slash:
			text = append(text, `\/`...)
		default:
			text = append(text, string(r)...)
		}
	}
	return text
}
