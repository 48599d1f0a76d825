package main

// How the kinds of reader read a .env file: the small parser that follows the
// rules of dotenv_kinds.go. A value is written as a mount would write it, read
// back by each kind, and compared; check and the notes after a change come from
// that. What it says is held against measurements of the readers themselves
// (SPEC §8.4).

import (
	"cmp"
	"strings"
	"unicode"
)

// closing is how a reader finds the end of a value in quotes.
type closing int

const (
	closeFirst    closing = iota // the next quote; what follows on the line is dropped
	closeHidden                  // the same, and a backslash hides a quote
	closeAtEnd                   // one with only a comment behind it, else there are no quotes
	closeAny                     // the same, and a backslash hides nothing
	closeLast                    // the last of the line
	closePython                  // one with only a comment behind it, else the line is bad
	closePrevious                // one without a backslash before it; the text goes on behind it
	closeEscaped                 // one without an escape; likewise
	closeWords                   // as in a shell: quoted and bare pieces side by side
	closeWord                    // one such piece
)

// envStep is one change that a reader makes to a value; false: it gives up.
type envStep func(string) (string, bool)

// envReader is one way of reading: programs that read alike are one kind.
type envReader struct {
	name    string  // as a person knows it
	version string  // where versions differ
	fits    dialect // what carries most to it
	returns string  // what becomes of CR before anything else: "lf", "crlf", "drop"
	quotes  string  // what may stand around a value
	closes  closing
	line    bool               // a value never goes on over the end of its line
	blanks  bool               // those around a value without quotes are part of it
	around  string             // else they are these, and all of Unicode if it is empty
	hash    string             // begins a comment where there are no quotes
	strict  bool               // nothing is read of a text with a line that makes no sense
	steps   map[byte][]envStep // changes, by quote; 0 for a value without
	all     []envStep          // changes to every value, last
}

// unescape decodes a backslash with the character behind it by pairs; others
// says what becomes of it elsewhere: "keep", "drop", or "fail".
func unescape(others string, pairs map[byte]string) envStep {
	return func(s string) (string, bool) {
		var b strings.Builder
		for i := 0; i < len(s); i++ {
			if s[i] != '\\' || i+1 == len(s) {
				b.WriteByte(s[i])
				continue
			}
			text, known := pairs[s[i+1]]
			switch {
			case known:
				b.WriteString(text)
				i++
			case others == "keep":
				b.WriteByte('\\')
			case others == "fail":
				return "", false
			case s[i+1] == '$': // it is for the expansion
				b.WriteByte('\\')
			default:
				b.WriteByte(s[i+1])
				i++
			}
		}
		return b.String(), true
	}
}

// expands gives up on a value in which the reader would expand something. With
// escape, a backslash keeps a dollar sign and goes. It is one search, however
// often there is a dollar sign: a value may be made to be slow.
func expands(escape bool, pattern string) envStep {
	re := lazily(pattern)
	return func(s string) (string, bool) {
		if !escape {
			return s, !re().MatchString(s)
		}
		return strings.ReplaceAll(s, `\$`, "$"), !re().MatchString(strings.ReplaceAll(s, `\$`, "\x00\x00"))
	}
}

// expandHidden takes the variables out of a value, since none of them is set; a
// backslash goes only before one.
func expandHidden(pattern string) envStep {
	re := lazily(`\\?(?:` + pattern + `)`)
	return func(s string) (string, bool) {
		return re().ReplaceAllStringFunc(s, func(found string) string {
			if found[0] == '\\' {
				return found[1:]
			}
			return ""
		}), true
	}
}

// refuse gives up on a value that matches.
func refuse(pattern string) envStep {
	re := lazily(pattern)
	return func(s string) (string, bool) { return s, !re().MatchString(s) }
}

// blanksFirst gives up where gotenv does: it looks for a backslash before the
// closing quote as many bytes too early as there are blanks at the beginning.
func blanksFirst(s string) (string, bool) {
	n := len(strings.TrimLeftFunc(s, unicode.IsSpace))
	return s, n == len(s) || n == 0 || s[n-1] != '\\' || strings.Contains(s, "\n")
}

var envStart = lazily(`^(?:export[ \t]+)?([A-Za-z_][\w.]*)[ \t]*=`)

// onlyComment reports whether blanks and a comment are all of the line.
func onlyComment(s string) bool {
	rest := strings.TrimLeft(s, " \t\f\r\n")
	return rest == "" || rest[0] == '#' || strings.Contains(s[:len(s)-len(rest)], "\n")
}

// read returns the variables that this kind of reader finds in a text; nil: it
// gives up, or KEY is not v, behind which nothing needs to be read.
func (k *envReader) read(text, v string) map[string]string {
	switch k.returns {
	case "lf":
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	case "crlf":
		text = strings.ReplaceAll(text, "\r\n", "\n")
	case "drop":
		text = strings.ReplaceAll(text, "\r", "")
	}
	out := map[string]string{}
	for {
		text = strings.TrimLeft(text, " \t\n\r")
		if text == "" {
			return out
		}
		line, rest, _ := strings.Cut(text, "\n")
		m := envStart().FindStringSubmatch(text)
		value, ok := "", line[0] == '#'
		if m != nil && !ok {
			text = text[len(m[0]):]
			if !k.blanks {
				text = strings.TrimLeft(text, cmp.Or(k.around, uniBlanks))
			}
			if value, rest, ok = k.value(text); ok {
				out[m[1]] = value
			}
		}
		if !ok && k.strict || m != nil && m[1] == "KEY" && (!ok || value != v) {
			return nil
		}
		text = rest
	}
}

// value reads what stands behind the equals sign.
func (k *envReader) value(s string) (value, rest string, ok bool) {
	if k.closes >= closeWords {
		return k.words(s)
	}
	line, rest, _ := strings.Cut(s, "\n")
	if s != "" && strings.IndexByte(k.quotes, s[0]) >= 0 {
		end, after := k.close(s)
		switch {
		case end > 0:
			value, ok = k.change(s[1:end], s[0])
			return value, after, ok
		case k.closes == closePrevious || k.closes == closeEscaped ||
			k.strict && !(k.closes == closeAny && k.line):
			return "", "", false
		case k.closes == closeLast:
			return "", rest, true
		case k.closes == closePython:
			return "", after, false
		}
	}
	if i := k.comment(line); i >= 0 {
		line = line[:i]
	}
	if !k.blanks {
		line = strings.Trim(line, "\r"+cmp.Or(k.around, uniBlanks))
	}
	quote := byte(0)
	if n := len(line); (k.closes == closeAtEnd || k.closes == closeAny) && n > 1 &&
		strings.IndexByte(k.quotes, line[0]) >= 0 {
		// After npm's dotenv the first character decides, closed or not.
		if line[0] == line[n-1] || strings.Contains(k.quotes, "`") {
			quote = line[0]
		}
		if line[0] == line[n-1] {
			line = line[1 : n-1]
		}
	}
	value, ok = k.change(line, quote)
	return value, rest, ok
}

// comment finds where a comment begins in a line without quotes.
func (k *envReader) comment(line string) int {
	if k.hash != blankHash {
		return strings.Index(line, cmp.Or(k.hash, "\n"))
	}
	for i, c := range line {
		if c == '#' && strings.TrimRight(line[:i], k.around) != line[:i] {
			return i
		}
	}
	return -1
}

// close finds the quote that ends the value which s begins with, 0 for none,
// and what is read next.
func (k *envReader) close(s string) (end int, rest string) {
	text := s
	if k.line {
		text, _, _ = strings.Cut(s, "\n")
	}
	if k.closes == closeAny && !k.line {
		text = joined(s)
	}
	var ends []int // with those that a backslash hides, then the first that it does not
	for i := 1; i < len(text); i++ {
		all := k.closes == closeAny || k.closes == closeLast
		switch {
		case text[i] == '\\' && k.closes == closeEscaped:
			i++
		case text[i] != s[0]:
		case all || k.closes == closeFirst || k.closes == closeEscaped || text[i-1] != '\\':
			ends = append(ends, i)
			if !all {
				text = text[:i]
			}
		case k.closes == closeAtEnd || k.closes == closePython:
			ends = append(ends, i)
		}
	}
	for len(ends) > 0 {
		end, ends = ends[len(ends)-1], ends[:len(ends)-1]
		behind := s[end+1:]
		switch {
		case k.closes == closePrevious || k.closes == closeEscaped:
			return end, behind
		case k.closes == closeFirst || k.closes == closeHidden || k.closes == closeLast ||
			onlyComment(behind) && (k.hash != "" || !strings.HasPrefix(strings.TrimLeft(behind, " \t\f"), "#")):
			_, rest, _ = strings.Cut(behind, "\n")
			return end, rest
		case k.closes == closePython:
			_, rest, _ = strings.Cut(behind, "\n")
			return 0, rest
		}
	}
	_, rest, _ = strings.Cut(s, "\n")
	return 0, rest
}

// joined is the lines up to one with a quote that no backslash hides.
func joined(s string) string {
	for end := 1; end < len(s); end++ {
		if s[end] != '\n' && end+1 < len(s) {
			continue
		}
		line := s[1:end]
		line = line[strings.LastIndexByte(line, '\n')+1:]
		if i := strings.LastIndexByte(line, s[0]); i == 0 || i > 0 && line[i-1] != '\\' {
			return s[:end]
		}
	}
	return ""
}

// words reads pieces as a shell does, up to a blank or the end of the line.
func (k *envReader) words(s string) (value, rest string, ok bool) {
	stops := " \t\n" + k.quotes
	if k.closes == closeWord {
		stops = " \t\n"
	}
	var all strings.Builder
	for n := 0; s != "" && strings.IndexByte(" \t\n", s[0]) < 0; n++ {
		if n == 1 && k.closes == closeWord {
			return "", "", false
		}
		quote, end, skip := byte(0), 0, 0
		if strings.IndexByte(k.quotes, s[0]) >= 0 {
			quote, skip, end = s[0], 1, 1
		}
		for end < len(s) && s[end] != quote && (quote != 0 || strings.IndexByte(stops, s[end]) < 0) {
			if s[end] == '\\' && quote != '\'' && end+1 < len(s) && s[end+1] != '\n' {
				end++
			}
			end++
		}
		if end >= len(s) && quote != 0 {
			return "", "", false
		}
		piece, ok := k.change(s[skip:end], quote)
		if !ok {
			_, rest, _ = strings.Cut(s, "\n")
			return "", rest, false
		}
		all.WriteString(piece)
		s = s[end+skip:]
	}
	line, rest, _ := strings.Cut(s, "\n")
	return all.String(), rest, onlyComment(line)
}

// change applies the steps for what stood in a kind of quote.
func (k *envReader) change(s string, quote byte) (string, bool) {
	ok := true
	for _, list := range [][]envStep{k.steps[quote], k.all} {
		for _, f := range list {
			if s, ok = f(s); !ok {
				return "", false
			}
		}
	}
	return s, true
}
