package main

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// hidden are characters that must never reach a terminal, by group.
var hidden = map[string][][2]rune{
	"C0":         {{0x00, 0x1F}},
	"DEL and C1": {{0x7F, 0x9F}},
	"Bidi_Control": {{0x061C, 0x061C}, {0x200E, 0x200F}, {0x202A, 0x202E}, {0x2066,
		0x2069}},
	"zero width": {{0x200B, 0x200D}, {0x2060, 0x2064}, {0xFEFF, 0xFEFF}, {0x00AD,
		0x00AD}, {0x034F, 0x034F}},
	"fillers": {{0x180E, 0x180E}, {0x115F, 0x1160}, {0x3164, 0x3164}, {0xFFA0,
		0xFFA0}, {0x17B4, 0x17B5}},
	"blank symbols":       {{0x2800, 0x2800}, {0x1D159, 0x1D159}, {0x16FE4, 0x16FE4}},
	"variation selectors": {{0xFE00, 0xFE0F}, {0xE0100, 0xE01EF}, {0x180B, 0x180D}},
	"tags":                {{0xE0000, 0xE007F}},
	"separators":          {{0x2028, 0x2029}},
	"other spaces": {{0x00A0, 0x00A0}, {0x2000, 0x200A}, {0x202F, 0x202F}, {0x205F,
		0x205F}, {0x3000, 0x3000}},
	"format characters": {{0x206A, 0x206F}, {0xFFF9, 0xFFFB}, {0x1D173, 0x1D17A}, {0x13430,
		0x1343F}},
	"private use": {{0xE000, 0xE010}, {0xF8FF, 0xF8FF}, {0xF0000, 0xF0003}, {0x10FFFD,
		0x10FFFD}},
	"noncharacters": {{0xFDD0, 0xFDEF}, {0xFFFE, 0xFFFF}, {0x10FFFE, 0x10FFFF}},
	"unassigned":    {{0x0378, 0x0379}, {0xE0080, 0xE0082}},
}

// [ASK-7]
func TestCleanHidden(t *testing.T) {
	bidi := 0
	for group, ranges := range hidden {
		for _, r := range ranges {
			for c := r[0]; c <= r[1]; c++ {
				if want := fmt.Sprintf("a<U+%04X>b", c); clean("a"+string(c)+"b", 40) != want ||
					allowedInPrompt(c) {
					t.Errorf("%s: clean(%q) = %q, want %q", group, c, clean("a"+string(c)+"b",
						40), want)
				}
				if group == "Bidi_Control" {
					bidi++
				}
			}
		}
	}
	if bidi != 12 {
		t.Errorf("%d Bidi_Control characters, want 12", bidi)
	}
}

// [ASK-7] [ASK-8]
func TestClean(t *testing.T) {
	long := strings.Repeat("x", 10240)
	tests := []struct {
		name, in string
		width    int
		want     string
	}{
		{"empty", "", 40, ""},
		{"plain", "acme-dev", 40, "acme-dev"},
		{"exactly the width", strings.Repeat("a", 40), 40, strings.Repeat("a", 40)},
		{"letters of others", "héllo Привет 世界 🙂", 40, "héllo Привет 世界 🙂"},
		{"escape sequence", "a\x1b[2Jb", 40, "a<U+001B>[2Jb"},
		{"newline", "yes\n#13", 40, "yes<U+000A>#13"},
		{"turned around", "a\u202etxt.exe", 40, "a<U+202E>txt.exe"},
		{"invalid byte", "a\xffb\x9b", 40, "a<0xFF>b<0x9B>"},
		{"surrogate", "\xed\xa0\x80", 40, "<0xED><0xA0><0x80>"},
		{"overlong", "\xc0\x80", 40, "<0xC0><0x80>"},
		{"tag", "a\U000E0041", 40, "a<U+E0041>"},
		{"two marks", "e\u0301\u0302", 40, "e\u0301\u0302"},
		{"three marks", "e\u0301\u0302\u0303x", 40, "e\u0301\u0302<U+0303>x"},
		{"five marks", "e\u0301\u0302\u0303\u0304\u0305", 40,
			"e\u0301\u0302<U+0303><U+0304><U+0305>"},
		{"mark with nothing to stand on", "\u0301a \u0301-\u0301", 60,
			"<U+0301>a <U+0301>-<U+0301>"},
		{"mark after an escape", "a\u200b\u0301", 40, "a<U+200B><U+0301>"},
		{"10 KB", "abc" + long[6:] + "xyz", 40, "abcxxxxxxx…(10240 characters)…xxxxxxxxyz"},
		{"10 KB of wide", strings.Repeat("世", 10240), 40, "世世世世世…(10240 characters)…世世世世世"},
		{"10 KB of marks", "e" + strings.Repeat("\u0301", 10239), 40,
			"e\u0301\u0301…(10240 characters)…<U+0301>"},
		{"10 KB of invalid bytes", strings.Repeat("\xff", 10240), 40,
			"<0xFF>…(10240 characters)…<0xFF>"},
		{"one too many", strings.Repeat("a", 41), 40, "aaaaaaaaaaaa…(41 characters)…aaaaaaaaaaa"},
		{"escape is not cut", "abcdefgh\u202e" + long, 40,
			"abcdefgh…(10249 characters)…xxxxxxxxxx"},
		{"tail begins with a mark", strings.Repeat("a", 29) + "e\u0301" + strings.Repeat("a", 10),
			40,
			"aaaaaaaaaaaa…(41 characters)…aaaaaaaaaa"},
		{"tail begins after a mark", strings.Repeat("a", 28) + "e\u0301" + strings.Repeat("a",
			11), 40,
			"aaaaaaaaaaaa…(41 characters)…aaaaaaaaaaa"},
		{"tail begins with a letter", strings.Repeat("a", 30) + "e\u0301" + strings.Repeat("a",
			9), 40,
			"aaaaaaaaaaaa…(41 characters)…e\u0301aaaaaaaaa"},
		{"narrow", long, 5, "xx…xx"},
		{"narrower than a character", "世世", 2, "…"},
		{"one column", long, 1, "…"},
		{"no column", "a", 0, ""},
		{"less than none", "a", -1, ""},
	}
	for _, test := range tests {
		got := clean(test.in, test.width)
		if got != test.want || columns(got) > max(test.width, 0) {
			t.Errorf("%s: clean(%.60q, %d) = %q, want %q", test.name, test.in, test.width, got,
				test.want)
		}
	}
}

func TestColumns(t *testing.T) {
	for s, want := range map[string]int{"": 0, "abc": 3, "é": 1, "世界": 4, "한": 2, "カ": 2, "ｶ": 1,
		"Ａ": 2, "🙂": 2,
		"…": 1, "⌚": 2, "\U00020000": 2} {
		if got := columns(s); got != want {
			t.Errorf("columns(%q) = %d, want %d", s, got, want)
		}
	}
}

func TestCleanPath(t *testing.T) {
	tests := []struct{ path, home, want string }{
		{"/home/me/src/.env", "/home/me", "~/src/.env"},
		{"/home/me", "/home/me", "~"},
		{"/home/me/a", "/home/me/", "~/a"},
		{"/home/mellow/a", "/home/me", "/home/mellow/a"},
		{"/x/home/me/a", "/home/me", "/x/home/me/a"},
		{"/a", "", "/a"},
		{"/a", "/", "/a"},
		{"/home/me/a\nb", "/home/me", "~/a<U+000A>b"},
		{"/home/me/" + strings.Repeat("d/", 100), "/home/me",
			"~/d/d/d/d/…(202 characters)…d/d/d/d/d/"},
	}
	for _, test := range tests {
		if got := cleanPath(test.path, test.home, 38); got != test.want {
			t.Errorf("cleanPath(%q, %q) = %q, want %q", test.path, test.home, got, test.want)
		}
	}
}

func TestQuoteCommand(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{nil, ""},
		{[]string{"node", "server.js", "--port=80"}, "node server.js --port=80"},
		{[]string{"node server.js"}, "'node server.js'"},
		{[]string{"a", "", "b"}, "a '' b"},
		{[]string{"it's", "a\nb"}, `'it'\''s' 'a<U+000A>b'`},
		{[]string{"a'", "'b"}, `'a'\''' ''\''b'`},
		{[]string{"$(id)", "`id`", "~", "a;b"}, "'$(id)' '`id`' '~' 'a;b'"},
		{[]string{"世"}, "'世'"},
		{[]string{"a", ""}, "a ''"},
		{[]string{"a", "", ""}, "a (and 2 empty arguments)"},
		{[]string{"a", "", "b", "", "", ""}, "a '' b (and 3 empty arguments)"},
		{[]string{"", "", ""}, "'' (and 2 empty arguments)"},
		{[]string{"a", "(and 2 empty arguments)"}, "a '(and 2 empty arguments)'"},
	}
	for _, test := range tests {
		if got := quoteCommand(test.args, 60); got != test.want {
			t.Errorf("quoteCommand(%q) = %s, want %s", test.args, got, test.want)
		}
	}
	if got := quoteCommand([]string{"sh", strings.Repeat("x ", 1<<20)}, 40); columns(got) > 40 {
		t.Errorf("quoteCommand is too long: %s", got)
	}
}

// FuzzClean: only allowed characters, never wider than asked for, and text
// that is clean already stays as it is.
func FuzzClean(f *testing.F) {
	for _, ranges := range hidden {
		f.Add("a"+string(ranges[0][0])+"b", 40)
	}
	for _, s := range []string{"", "acme", "\xff\xfe", "e\u0301\u0302\u0303",
		strings.Repeat("世\u0301", 100), "<U+0041>"} {
		f.Add(s, 40)
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, s string, width int) {
		width = max(min(width, 1000), -1)
		got := clean(s, width)
		if !utf8.ValidString(got) || columns(got) > max(width, 0) {
			t.Errorf("clean(%q, %d) = %q", s, width, got)
		}
		for _, r := range got {
			if !allowedInPrompt(r) {
				t.Errorf("clean(%q, %d) = %q with %U", s, width, got, r)
			}
		}
		if again := clean(got, width); again != got {
			t.Errorf("clean(%q, %d) = %q, then %q", s, width, got, again)
		}
	})
}
