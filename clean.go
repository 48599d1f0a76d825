package main

// Text that came from outside is never written to a terminal as it is: a name
// could move the cursor, hide what follows or turn it around, and so forge the
// question that a person answers. What is not known to be harmless is shown as
// <U+XXXX>, not dropped, so that two names never look alike by it (SPEC §5).
// It does not tell look-alike letters apart. [ASK-7]

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many combining marks one letter may carry. More climb over
// the lines above. [ASK-7]
const maxMarks = 2

// blank are three symbols that Unicode calls printable and nobody sees.
const blank = "\u2800\U00016FE4\U0001D159"

// wide are the characters that take two columns. Where a block is mixed it is
// here whole: a line that is too short is better than one that wraps.
var wide = [][2]rune{{0x1100, 0x115F}, {0x2300, 0x23FF}, {0x25FD, 0x27BF}, {0x2B00, 0x2BFF},
	{0x2E80, 0xA4CF}, {0xA960, 0xA97F}, {0xAC00, 0xD7A3}, {0xF900, 0xFAFF}, {0xFE10, 0xFE6F},
	{0xFF00, 0xFF60}, {0xFFE0, 0xFFE6}, {0x16FE0, 0x18DFF}, {0x1AFF0, 0x1B2FF},
	{0x1D300, 0x1D37F}, {0x1F000, 0x1FAFF}, {0x20000, 0x3FFFD}}

// allowedInPrompt reports whether r may be written to a terminal. IsPrint, in
// unseen, leaves out C0, DEL, C1, every format character (all twelve
// Bidi_Control, zero width, tags), line separators, spaces but the ASCII one,
// private use and what is not assigned (SPEC §5).
func allowedInPrompt(r rune) bool { return !unseen(r) && !strings.ContainsRune(blank, r) }

// columns is how many columns a text takes at most. A combining mark counts:
// not every terminal combines (SPEC §5).
func columns(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r >= wide[0][0] && slices.ContainsFunc(wide, func(w [2]rune) bool { return w[0] <= r && r <= w[1] }) {
			n++
		}
	}
	return n
}

// pieces returns s character by character as it is shown (SPEC §5).
func pieces(s string) (all []string) {
	marks := maxMarks // no letter yet for a mark to stand on
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		text := s[:n]
		switch {
		case r == utf8.RuneError && n == 1:
			text, marks = fmt.Sprintf("<0x%02X>", s[0]), maxMarks
		case !allowedInPrompt(r) || unicode.IsMark(r) && marks == maxMarks:
			text, marks = fmt.Sprintf("<U+%04X>", r), maxMarks
		case unicode.IsMark(r):
			marks++
		case unicode.IsLetter(r):
			marks = 0
		default:
			marks = maxMarks
		}
		all, s = append(all, text), s[n:]
	}
	return all
}

// clean returns s as it may be shown, in at most width columns: long text is
// cut in the middle and says how long it was. It implements *Requests,
// prompts, grants* (SPEC §5). [ASK-8]
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
	all := pieces(s)
	if text := strings.Join(all, ""); columns(text) <= width {
		return text
	}
	if columns(middle)+2 > width {
		middle = "…"
	}
	room := width - columns(middle)
	head, tail := 0, len(all)
	for n := columns(all[head]); n <= room-room/2; n += columns(all[head]) {
		head++
	}
	for n := columns(all[tail-1]); n <= room/2; n += columns(all[tail-1]) {
		tail--
	}
	// A mark that lost its letter would stand on the cut.
	for tail < len(all) && isMark(all[tail]) {
		tail++
	}
	return strings.Join(all[:head], "") + middle + strings.Join(all[tail:], "")
}

func isMark(text string) bool {
	r, _ := utf8.DecodeRuneInString(text)
	return unicode.IsMark(r)
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
// does not look like two. Empty arguments at its end are counted: programs that
// write a title over their arguments leave many, and they would push what comes
// before them out (SPEC §5). [ASK-8]
func quoteCommand(args []string, width int) string {
	const bare = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-"
	empty := 0
	for empty+1 < len(args) && args[len(args)-1-empty] == "" {
		empty++
	}
	note := ""
	if empty > 1 {
		args, note = args[:len(args)-empty], fmt.Sprintf(" (and %d empty arguments)", empty)
	}
	quoted := make([]string, len(args))
	for i, arg := range args {
		if quoted[i] = arg; arg == "" || strings.Trim(arg, bare) != "" {
			quoted[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return clean(strings.Join(quoted, " ")+note, width)
}
