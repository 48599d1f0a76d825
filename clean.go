package main

// Text that came from outside is never written to a terminal as it is: a name
// could move the cursor, hide what follows or turn it around, and so forge the
// question that a person answers. What is not known to be harmless is shown as
// <U+XXXX>, not dropped, so that two names never look alike by it (SPEC §5).
// It does not tell look-alike letters apart.

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks one letter may carry. More climb over
// the lines above.
const maxMarks = 2

// invisible are fillers, joiners and variation selectors, which Unicode calls
// printable and nobody sees; blank are three more symbols of that sort.
var invisible = []*unicode.RangeTable{unicode.Other_Default_Ignorable_Code_Point,
	unicode.Variation_Selector}

const blank = "\u2800\U00016FE4\U0001D159"

// wide are the characters that take two columns. Where a block is mixed it is
// here whole: a line that is too short is better than one that wraps.
var wide = [][2]rune{{0x1100, 0x115F}, {0x2300, 0x23FF}, {0x25FD, 0x27BF}, {0x2B00, 0x2BFF},
	{0x2E80, 0xA4CF}, {0xA960, 0xA97F}, {0xAC00, 0xD7A3}, {0xF900, 0xFAFF}, {0xFE10, 0xFE6F},
	{0xFF00, 0xFF60}, {0xFFE0, 0xFFE6}, {0x16FE0, 0x18DFF}, {0x1AFF0, 0x1B2FF},
	{0x1D300, 0x1D37F}, {0x1F000, 0x1FAFF}, {0x20000, 0x3FFFD}}

// allowedInPrompt reports whether r may be written to a terminal. IsPrint
// leaves out C0, DEL, C1, every format character (all twelve Bidi_Control, zero
// width, tags), line separators, spaces but the ASCII one, private use and
// what is not assigned (SPEC §5).
func allowedInPrompt(r rune) bool {
	return unicode.IsPrint(r) && !unicode.In(r, invisible...) && !strings.ContainsRune(blank, r)
}

// columns is how many columns a text takes at most. A combining mark counts:
// not every terminal combines (SPEC §5).
func columns(s string) int {
	n := 0
	for _, r := range s {
		n++
		if slices.ContainsFunc(wide, func(w [2]rune) bool { return w[0] <= r && r <= w[1] }) {
			n++
		}
	}
	return n
}

// pieces yields s character by character as it is shown, with its columns
// (SPEC §5).
func pieces(s string) iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		marks := maxMarks // no letter yet for a mark to stand on
		for i, n := 0, 0; i < len(s); i += n {
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			text := s[i : i+n]
			switch {
			case r == utf8.RuneError && n == 1:
				text, marks = fmt.Sprintf("<0x%02X>", s[i]), maxMarks
			case !allowedInPrompt(r) || unicode.IsMark(r) && marks == maxMarks:
				text, marks = fmt.Sprintf("<U+%04X>", r), maxMarks
			case unicode.IsMark(r):
				marks++
			case unicode.IsLetter(r):
				marks = 0
			default:
				marks = maxMarks
			}
			if !yield(text, columns(text)) {
				return
			}
		}
	}
}

// clean returns s as it may be shown, in at most width columns: long text is
// cut in the middle and says how long it was. It implements *Requests,
// prompts, grants* (SPEC §5).
func clean(s string, width int) string {
	if width < 1 {
		return ""
	}
	middle := fmt.Sprintf("…(%d characters)…", utf8.RuneCountInString(s))
	// Of a text of megabytes only the ends can be seen, and each character
	// takes a column at least: the seam falls into what is cut out.
	if n := width * utf8.UTFMax; len(s) > 2*n {
		s = s[:n] + s[len(s)-n:]
	}
	total := 0
	for _, n := range pieces(s) {
		total += n
	}
	head, tail := total, 0
	if total > width {
		if columns(middle)+2 > width {
			middle = "…"
		}
		room := width - columns(middle)
		head, tail = room-room/2, room/2
	}
	var b strings.Builder
	at, inTail := 0, false
	for text, n := range pieces(s) {
		at += n
		switch {
		case at <= head:
			b.WriteString(text)
			continue
		case middle != "":
			b.WriteString(middle)
			middle = ""
		}
		// A mark that lost its letter would stand on the cut.
		first, _ := utf8.DecodeRuneInString(text)
		if inTail = inTail || at-n >= total-tail && !unicode.IsMark(first); inTail {
			b.WriteString(text)
		}
	}
	return b.String()
}

// cleanPath is clean for a path, with ~ for the home directory (SPEC §5).
func cleanPath(path, home string, width int) string {
	home = strings.TrimSuffix(home, "/")
	if rest, ok := strings.CutPrefix(path, home); ok && home != "" && (rest == "" || rest[0] == '/') {
		path = "~" + rest
	}
	return clean(path, width)
}

// quoteCommand shows a command line so that one argument with a space in it
// does not look like two (SPEC §5).
func quoteCommand(args []string, width int) string {
	const bare = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-"
	quoted := make([]string, len(args))
	for i, arg := range args {
		if quoted[i] = arg; arg == "" || strings.Trim(arg, bare) != "" {
			quoted[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return clean(strings.Join(quoted, " "), width)
}
