package main

// Every program chooses its own names, paths and arguments. Here each character
// that could draw, hide or turn around, and each length, goes into every place
// of a question and of what else the keeper and the commands write (SPEC §12).

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// harmful says that a terminal may not get a character. It goes by Unicode's
// categories and properties, not by what the program asks. [ASK-7]
func harmful(r rune) bool {
	return r != ' ' && unicode.In(r, unicode.C, unicode.Z) ||
		unicode.In(r, unicode.Bidi_Control, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) ||
		!unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S) && r != ' ' ||
		slices.Contains([]rune{0x2800, 0x16FE4, 0x1D159}, r)
}

// spoofs are all characters of the classes that draw, hide or turn around: what
// is not assigned or for private use is in TestCleanEvery only.
func spoofs() (all []rune) {
	for r := range rune(0x30000) {
		if harmful(r) && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Z, unicode.L, unicode.M, unicode.S) {
			all = append(all, r)
		}
	}
	for r := rune(0xE0000); r < 0xE1000; r++ { // tags, more selectors, and what is kept for such
		all = append(all, r)
	}
	return all
}

// spoofTexts are attacks of more than one character.
func spoofTexts() []string {
	long := strings.Repeat
	const forged = "\n #9 10:00:00  list\n   program     /usr/bin/ls  (pid 1)\n   allow?  [o]nce  [N]o  > allowed (once)\n"
	return []string{"", " ", long(" ", 500), forged, strings.ReplaceAll(forged, "\n", "\r\n"), strings.ReplaceAll(forged, "\n", " "),
		"\x1b[2J\x1b[H", "\x1b]0;title\a", "\x1b]52;c;b2s=\x1b\\", "\x1b]8;;http://a\x1b\\a\x1b]8;;\x1b\\", "\x1bP+q544e\x1b\\",
		"\x1b_Gf=100;AAAA\x1b\\", "\x9b2J", "\u009b2J", "\u009d0;t\u009c", "\x1bc", "\x1b[8m", "\x1b[?1049h", "\x1b[5i", "\x0e\x0f",
		"a\rb", "a\tb", "a\r\nb", "a\vb\fc", "\x00", "a\bb", "\x7f",
		long("x", 10240), long("世", 10240), long("🙂", 5000), long("x ", 5000), "a" + long("\u0301", 1000), long("e\u0301\u0302", 1000),
		long("e\u0301\u0302\u0303\u0304", 300), "\u0301" + long("a\u0301", 400), long("ab\u0301", 400), long("世\u0301", 300),
		"👩\u200d👩\u200d👧\u200d👦", "🏳\ufe0f\u200d🌈", "🇩🇪🇫🇷", "\u202egpj.exe\u202c", "\u2066x\u2069",
		"\xff\xfe\xfd", long("\xff", 5000), "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\xe4\xb8",
		"/" + long("d", 4000) + "/.env", "/" + long("d d/", 1000), long("/x", 2000), "<U+202E>", "…(12 characters)…", "'\\''", long("'", 3000),
		"ﷺﷺﷺ", long("ﷺ", 300), "ᄀ" + long("ᅡ", 200), "𒐫" + long("𒐫", 200), "꧅꧅", long("\u0e33", 200), long("\u1f469", 40)}
}

// spoofed is a request of which every text is the same.
func spoofed(a action, s string) *request {
	return &request{number: 1, via: viaMCP, claim: s, action: a,
		actor: &process{pid: 7, exe: s, args: []string{s, s}, dir: s, agent: agentYes, tty: s,
			ancestors: []ancestor{{pid: 6, exe: s}, {pid: 5, args: []string{s}}}},
		object: object{environment: s, others: []string{s}, newName: s, path: s, otherPaths: []string{s}, names: []string{s, "A"},
			fromAgent: []string{s}, empty: []string{s}, replaced: []string{s}, notes: []string{s, "approving adds " + s + " to it"}}}
}

// textFaults are the characters of a text that no terminal may get. Lines end
// in a line feed, or on a terminal in both characters.
func textFaults(text string) (faults []string) {
	marks := 2
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			faults = append(faults, fmt.Sprintf("a byte that is not UTF-8 at %d", i))
		case r == '\n':
			marks = 2
		case harmful(r):
			faults = append(faults, fmt.Sprintf("%U at %d", r, i))
		case unicode.IsMark(r) && marks == 2:
			faults = append(faults, fmt.Sprintf("the mark %U at %d on no letter, or the third on one", r, i))
		case unicode.IsMark(r):
			marks++
		case unicode.IsLetter(r):
			marks = 0
		default:
			marks = 2
		}
	}
	return faults
}

var (
	spoofHead  = regexp.MustCompile(`\A #\d+ \d\d:\d\d:\d\d  [a-z]+\z`)
	spoofLine  = regexp.MustCompile(`\A   (program|command|directory|started by|says it is|wants|path|runs|and|REPLACES|names|seen|note)? *`)
	spoofOffer = regexp.MustCompile(`\A   (allow\?|      )(  \[?[a-z\[\]N]+( [a-z0-9]+)?)+(  > )?\z`)
)

// questionFaults are the ways in which a question is not laid out as ours:
// each fact under its label, the answers last, and all of it on the screen.
func questionFaults(text string, width int) (faults []string) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	faults = textFaults(text)
	screen := min(max(width, 40), 120)
	facts, offers, found := strings.Cut(text, "\n   allow?")
	if offers = "   allow?" + offers; !found || !strings.HasSuffix(offers, "  > ") || strings.Count(text, "\n   allow?") != 1 {
		fault("the answers are not last, or not once")
	}
	for line := range strings.SplitSeq(offers, "\n") {
		if !spoofOffer.MatchString(line) {
			fault("among the answers: %q", line)
		}
	}
	commands, label := 0, ""
	for i, line := range strings.Split(facts, "\n") {
		at := spoofLine.FindStringSubmatch(line)
		switch {
		case i == 0 && !spoofHead.MatchString(line):
			fault("the first line: %q", line)
		case i > 0 && (at == nil || len(at[0]) < 3+promptLabel):
			fault("a value in the place of a label: %q", line)
		case i > 0 && at[1] != "":
			label = at[1]
		}
		if label == "command" {
			commands++
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if columns(line) > screen {
			fault("%d columns of %d: %q", columns(line), screen, line)
		}
	}
	run := strings.Contains(strings.SplitN(facts, "\n", 2)[0], "  run")
	if rows := strings.Count(text, "\n") + 1; !run && rows > max(24, 24*80/screen) || run && rows-commands > max(24, 24*80/screen) {
		fault("%d lines", rows)
	}
	return faults
}

// TestQuestionFaults: each fault is found.
func TestQuestionFaults(t *testing.T) {
	good := prompt(exampleRead(), true)
	if faults := questionFaults(good, 80); len(faults) > 0 {
		t.Fatalf("%q in\n%s", faults, good)
	}
	for old, bad := range map[string]string{
		"~/src/acme\n": "~/src\x1b/acme\n", "dash": "da\u202esh", "cat .env": "cat\r.env", "API_KEY": "API\xffKEY", "codex": "c\u0301\u0302\u0303odex",
		"   names       ": "   names       \u0301", "   path  ": "   psth  ", "   command     cat": "   command    cat", "read\n": "read\n\n",
		"[N]o": "[N]o!", "   allow?": "   allow?\n   allow?", "> ": "> o", " #2": "#2", "names ": "names " + strings.Repeat("x", 70),
		"   directory": strings.Repeat("   note        x\n", 20) + "   directory"} {
		if text := strings.Replace(good, old, bad, 1); text == good || len(questionFaults(text, 80)) == 0 {
			t.Errorf("%q for %q is no fault", bad, old)
		}
	}
}

// TestCleanEvery cleans every character of Unicode, alone and behind a letter.
// [ASK-7]
func TestCleanEvery(t *testing.T) {
	shown := 0
	for r := range rune(unicode.MaxRune + 1) {
		if !utf8.ValidRune(r) {
			continue // TestSpoofedPrompt has its bytes
		}
		escape := fmt.Sprintf("<U+%04X>", r)
		alone, behind := string(r), "a"+string(r)
		if harmful(r) {
			behind = "a" + escape
		}
		if harmful(r) || unicode.IsMark(r) {
			alone = escape
		}
		if got := clean(string(r), 40); got != alone {
			t.Errorf("%U alone: %q", r, got)
		}
		if got := clean("a"+string(r), 40); got != behind {
			t.Errorf("%U behind a letter: %q", r, got)
		}
		if alone != escape {
			shown++
		}
	}
	if shown < 100_000 {
		t.Errorf("only %d characters are shown as they are", shown)
	}
}

// TestSpoofedPrompt puts each into every place of each kind of question. [ASK-3]
// [ASK-7] [ASK-8]
func TestSpoofedPrompt(t *testing.T) {
	t.Parallel()
	at, n := time.Date(2026, 11, 24, 17, 42, 33, 0, time.UTC), 0
	check := func(a action, text string, width int) {
		n++
		r := spoofed(a, text)
		offered := choicesFor(r, timedGrant)
		shown := renderPrompt(r, offered, n%2 == 0, width, 200, "/home/you", at)
		if faults := questionFaults(shown, width); len(faults) > 0 {
			t.Fatalf("%.60q in a question about %s on %d columns: %q\n%s", text, a, width, faults, shown)
		}
		if showable(r.actor.args) == nil && a == actRun && !strings.Contains(squeeze(shown), squeeze(clean(text, wholeText))) {
			t.Fatalf("%.60q is not whole:\n%s", text, shown)
		}
	}
	widths := []int{20, 40, 80, 200}
	all := spoofs()
	for i, r := range all {
		check(actions[i%len(actions)], "a"+string(r)+"b", widths[i/len(actions)%len(widths)])
	}
	widths = append(widths, 39, 41, 79, 81, 119, 121, -1, 0, 1)
	for i, text := range spoofTexts() {
		for k, a := range actions {
			for j, width := range widths {
				if *long || (i+k+j)%len(widths) == 0 {
					check(a, text, width)
					check(a, "x"+text+"y", width)
				}
			}
		}
	}
	if len(all) < 4200 {
		t.Errorf("only %d characters", len(all))
	}
	t.Logf("%d characters, %d texts, %d questions", len(all), len(spoofTexts()), n)
}

// TestSpoofedMany: many names, paths and notes push nothing off the screen, or
// it is said. [ASK-3]
func TestSpoofedMany(t *testing.T) {
	var names, paths []string
	for n := range 1000 {
		names = append(names, fmt.Sprintf("A_LONG_NAME_TO_FILL_A_LINE_%04d", n))
		paths = append(paths, fmt.Sprintf("/home/you/%s/%d/.env", strings.Repeat("folder ", 20), n))
	}
	r := spoofed(actAppend, strings.Repeat("long ", 200))
	r.object.path, r.object.otherPaths, r.object.others = "", nil, nil
	r.object.names, r.object.replaced, r.object.fromAgent, r.object.notes = names, names, names, []string{
		"a plain value, not concealed, which the agent gives: " + strings.Join(names, ", "), "makes the new Environment x"}
	for _, width := range []int{40, 80, 120} {
		if faults := questionFaults(prompt80(r, width), width); len(faults) > 0 {
			t.Errorf("on %d columns: %q\n%s", width, faults, prompt80(r, width))
		}
	}
	r.action, r.object.path, r.object.otherPaths = actImport, paths[0], paths[1:16]
	if text := prompt80(r, 80); strings.Count(text, "   and ") != 15 || !strings.Contains(text, "lines: read all of it") {
		t.Errorf("16 files:\n%s", text)
	}
}

func prompt80(r *request, width int) string {
	return renderPrompt(r, choicesFor(r, timedGrant), true, width, 200, "/home/you", time.Now())
}

// TestSpoofedNotices: what is written beside of questions. [ASK-7]
func TestSpoofedNotices(t *testing.T) {
	texts := spoofTexts()
	for _, r := range spoofs() {
		texts = append(texts, "a"+string(r)+"b")
	}
	for _, s := range texts {
		r := spoofed(actRead, s)
		var b strings.Builder
		for _, word := range []string{endDelivered, endTainted, endAbandoned, endUnseen} {
			b.WriteString(strings.TrimPrefix(renderRead(r, word, s, "/home/you"), "\a"))
		}
		b.WriteString(renderHanded(spoofed(actRun, s), "/home/you"))
		printStatus(&b, &statusReport{State: "unlocked", Since: new(time.Time), Note: s, Mounts: []mountReport{{Path: s, Environment: s, Dialect: s,
			LastRead: &lastRead{Program: s, Outcome: s}}}, Grants: []grantReport{{Environment: s, Program: s}}})
		printFindings(&b, "   ", []finding{{Environment: s, Name: s, Dialect: dialect(s), Readers: []string{s}, Advice: s}})
		b.WriteString(cleanLines(s) + "\n")
		b.WriteString(formatAudit([]byte(s)) + "\n")
		if faults := textFaults(b.String()); len(faults) > 0 {
			t.Fatalf("%.60q: %q\n%s", s, faults, b.String())
		}
	}
}
