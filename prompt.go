package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
	"unicode"
)

// choice is one answer that a prompt offers.
type choice struct {
	key  byte
	word string
	text string
}

// choicesFor returns what may be answered to a request. What cannot be taken
// back is asked each time; a descendant of an agent is never trusted until
// lock; a command is a new process each time (SPEC §5). [GRT-2]
func choicesFor(r *request, timed time.Duration) []choice {
	list := []choice{{'o', answerOnce, "[o]nce"}}
	if r.action == actAppend && len(r.object.empty) > 0 {
		list = []choice{{'o', answerOnce, "[o]nce"}, {'e', answerValues, "[e]nter values"}}
	}
	switch r.action {
	case actAppend, actRemove, actDelete, actRename, actImport, actExport:
	default:
		if len(r.actor.shares) > 0 {
			break // [GRT-19]
		}
		if r.via != viaCommand {
			list = append(list, choice{'p', answerProcess, "[p]rocess"})
		}
		if r.actor.exe == "" {
			break // nothing to know another process of it by [GRT-4]
		}
		list = append(list, choice{'t', answerTimed, "[t]imed " + shortDuration(timed)})
		// [GRT-3]
		if r.actor.agent == agentNo {
			list = append(list, choice{'u', answerLocked, "[u]ntil locked"})
		}
	}
	return append(list, choice{'n', answerNo, "[N]o"}, choice{'v', answerNever, "ne[v]er"})
}

// wordOf returns the answer that a key stands for, "" for none. Enter and the
// end of input are no. [ASK-10]
func wordOf(key byte, offered []choice) string {
	if key == '\r' || key == '\n' || key == keyEOF || key == 'N' {
		return answerNo
	}
	for _, c := range offered {
		if c.key == key {
			return c.word
		}
	}
	return ""
}

// shortDuration says 15m, not 15m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

const (
	promptLabel = 12      // columns of a label
	minValue    = 16      // columns of a value on the narrowest screen
	maxLines    = 6       // of one fact
	screenRows  = 24      // of one question, at 80 columns [ASK-3]
	wholeText   = 1 << 30 // columns of what is not cut
)

// promptText builds a prompt, fact by fact, for a screen of a given width.
// Everything that comes from outside goes through clean on its way in.
type promptText struct {
	strings.Builder
	width int
	lines int // of one fact that comes from outside
}

// fact writes a label and its value, wrapped at words; value is clean.
func (b *promptText) fact(label, value string) {
	if value == "" {
		return
	}
	room := max(b.width-3-promptLabel, minValue)
	for i, line := range wrap(value, room) {
		if i == maxLines {
			fmt.Fprintf(b, "   %-*s…\n", promptLabel, "")
			break
		}
		fmt.Fprintf(b, "   %-*s%s\n", promptLabel, label, line)
		label = ""
	}
}

// whole writes a fact of any length and returns its lines: of a command to be
// run nothing is cut. [RUN-4]
func (b *promptText) whole(label, value string) int {
	lines := wrap(value, b.room(1))
	for _, line := range lines {
		fmt.Fprintf(b, "   %-*s%s\n", promptLabel, label, line)
		label = ""
	}
	return len(lines)
}

// room is how many columns of a value are shown.
func (b *promptText) room(lines int) int {
	return lines * max(b.width-3-promptLabel, minValue)
}

// fit returns what shown gives for the room of some lines, from least to most. Long words leave
// lines half empty: where the end would be pushed off the screen by that, more
// is cut from the middle, so that a program cannot hide its last argument
// (SPEC §5.2). [ASK-8]
func (b *promptText) fit(least, most int, shown func(room int) string) string {
	lines := max(least, b.lines)
	for room := b.room(min(most, lines)); ; room -= b.room(1) / 2 {
		if text := shown(room); len(wrap(text, b.room(1))) <= lines || room < 1 {
			return text
		}
	}
}

// cleaned is clean for a text that fits.
func (b *promptText) cleaned(least, most int, text string) string {
	return b.fit(least, most, func(room int) string { return clean(text, room) })
}

// wrap breaks text at spaces, and words that are too long where they must be.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Split(text, " ") {
		for columns(word) > width {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			cut := cutColumns(word, width)
			lines, word = append(lines, word[:cut]), word[cut:]
		}
		switch {
		case line == "":
			line = word
		case columns(line)+1+columns(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}

// cutColumns returns how many bytes of s fit into width columns. A mark stays
// with its letter: on the next line it would stand on a space. [ASK-7]
func cutColumns(s string, width int) int {
	n, cut := 0, 0
	for i, r := range s {
		if !unicode.IsMark(r) || cut == 0 {
			cut = i
		}
		if n += columns(string(r)); n > width {
			return cut
		}
	}
	return len(s)
}

// renderPrompt is the whole question: who, with its ancestry, and what. Its
// facts get as many lines as leave all of it on one screen, or who asks could
// push itself off by long names. It implements *Requests, prompts, grants*
// (SPEC §5). [ASK-3]
func renderPrompt(r *request, offered []choice, costs bool, width, rows int, home string, now time.Time) string {
	width = min(max(width, 40), 120) - 1
	choices := renderChoices(offered, width)
	screen := min(rows, max(screenRows, screenRows*80/(width+1))) // a narrow one wraps all
	for lines := maxLines; ; lines-- {
		b := &promptText{width: width, lines: lines}
		command := b.facts(r, home, now)
		if costs { // [ASK-6]
			b.fact("", "a yes costs the passphrase")
		}
		taken := strings.Count(b.String()+choices, "\n") + 1
		if taken-command > screen && lines > 1 {
			continue
		}
		if taken-command > screen {
			b.fact("note", fmt.Sprintf("the question has %d lines: read all of it", taken+1))
		}
		return b.String() + choices
	}
}

// facts writes who asks for what, and returns how many lines are the command of
// a run.
func (b *promptText) facts(r *request, home string, now time.Time) (command int) {
	p := r.actor
	fmt.Fprintf(b, " #%d %s  %s\n", r.number, now.Format("15:04:05"), r.action)
	b.fact("program", fmt.Sprintf("%s  (pid %d)", programText(p.exe, home, b.room(1)), p.pid))
	if r.action == actRun {
		command = b.whole("command", quoteCommand(p.args, wholeText))
	} else {
		b.fact("command", b.fit(1, 4, func(room int) string { return quoteCommand(p.args, room) }))
	}
	b.fact("directory", b.fit(1, 2, func(room int) string { return programText(p.dir, home, room) }))
	b.fact("started by", b.fit(1, 2, func(room int) string { return startedBy(p, room) }))
	b.fact("shared with", b.fit(1, 2, func(room int) string { return sharedWith(p, room) }))
	b.fact("", agentText(r))
	if r.claim != "" {
		b.fact("says it is", clean(r.claim, b.room(1)))
	}
	b.object(r, home)
	if command > maxLines { // what asks may have left the screen
		b.fact("note", fmt.Sprintf("the command has %d lines: read all of it", command))
	}
	return command
}

// agentText says whether an agent is behind a request, and what that means for
// a read. [ASK-4]
func agentText(r *request) string {
	text := ""
	switch r.actor.agent {
	case agentNo:
		return ""
	case agentYes:
		text = "an AI agent is, or started, this program"
	default:
		text = "its parents cannot be seen: treated as an AI agent's"
	}
	if r.action == actRead || r.action.carriesValues() {
		text += "; a yes may show it the VALUES"
	}
	return text
}

// renderChoices lists the answers, never breaking one.
func renderChoices(offered []choice, width int) string {
	text, column := "   allow?", len("   allow?")
	for _, c := range offered {
		if column+2+len(c.text)+len("  >") > width {
			text, column = text+"\n         ", len("         ")
		}
		text, column = text+"  "+c.text, column+2+len(c.text)
	}
	return text + "  > "
}

// object writes what is wanted: which Environment, names, path.
func (b *promptText) object(r *request, home string) {
	o := r.object
	b.fact("wants", b.cleaned(3, 3, r.wants()))
	label := "path"
	if r.action == actRun {
		label = "runs"
	}
	b.path(label, o.path, home, 3)
	for _, path := range o.otherPaths {
		b.path("and", path, home, 2)
	}
	if len(o.replaced) > 0 { // [ASK-5]
		b.fact("REPLACES", b.cleaned(1, maxLines, "the value of "+strings.Join(o.replaced, ", ")))
	}
	if len(o.names) > 0 {
		b.fact("names", b.cleaned(1, maxLines, strings.Join(o.names, ", ")))
	}
	if len(o.fromAgent) > 0 { // [ASK-5]
		b.fact("seen", b.cleaned(1, 3, "the agent has seen the value of "+strings.Join(o.fromAgent, ", ")))
	}
	for _, note := range o.notes { // [ASK-6]
		b.fact("note", b.cleaned(2, 4, note))
	}
}

// path writes a path, if there is one.
func (b *promptText) path(label, path, home string, lines int) {
	b.fact(label, b.fit(1, lines, func(room int) string { return cleanPath(path, home, room) }))
}

// programText shows an executable or a directory; what cannot be read says so.
func programText(exe, home string, width int) string {
	if exe == "" {
		return "(cannot be read)"
	}
	return cleanPath(exe, home, width)
}

// startedBy shows the ancestors by name, nearest first.
func startedBy(p *process, width int) string {
	var names []string
	for _, a := range p.ancestors {
		name := filepath.Base(a.exe)
		if a.exe == "" && len(a.args) > 0 {
			name = filepath.Base(a.args[0])
		}
		if a.pid == 1 {
			continue
		}
		names = append(names, ancestorName(name))
	}
	if len(names) == 0 {
		return "(nobody that can be seen)"
	}
	return clean(strings.Join(names, " < "), width)
}

// ancestorName is a program's name in the chain, in quotes where it could pass
// for several. [ASK-7]
func ancestorName(name string) string {
	if strings.ContainsAny(name, "<,") {
		return `"` + clean(name, 24) + `"`
	}
	return clean(name, 24)
}

// sharedWith shows who else can read what the program has opened, or has left
// open for it. [ASK-23]
func sharedWith(p *process, width int) string {
	var names []string
	for _, a := range p.shares {
		names = append(names, fmt.Sprintf("%s (pid %d)", ancestorName(filepath.Base(a.exe)), a.pid))
	}
	if len(names) == 0 {
		return ""
	}
	return clean(strings.Join(names, ", ")+", which may be the one that reads", width)
}

// renderAnswer says what came of a question, so that the screen tells the
// story to who comes back to it.
func renderAnswer(a answer, timeout time.Duration) string {
	switch {
	case a.word == answerValues:
		return fmt.Sprintf("allowed once, %s typed\n", count(len(a.values), "value"))
	case a.yes():
		return fmt.Sprintf("allowed (%s)\n", a.word)
	case a.word == answerNever:
		return "refused, and so is all that this program asks until locked\n"
	case a.by == "no answer":
		return fmt.Sprintf("\n   refused: no answer in %s\n", shortDuration(timeout))
	case a.by == "withdrawn":
		return "\n   withdrawn: the program no longer waits\n"
	}
	return "refused\n"
}
