package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"
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
	case actAppend, actRemove, actDelete, actRename, actImport:
	default:
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
	promptLabel = 12 // columns of a label
	minValue    = 16 // columns of a value on the narrowest screen
	maxLines    = 6  // of one fact: a prompt stays on one screen
)

// promptText builds a prompt, fact by fact, for a screen of a given width.
// Everything that comes from outside goes through clean on its way in.
type promptText struct {
	strings.Builder
	width int
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

// room is how many columns of a value are shown.
func (b *promptText) room(lines int) int {
	return lines * max(b.width-3-promptLabel, minValue)
}

// fit returns what shown gives for the room of some lines. Long words leave
// lines half empty: where the end would be pushed off the screen by that, more
// is cut from the middle, so that a program cannot hide its last argument
// (SPEC §5.2). [ASK-8]
func (b *promptText) fit(lines int, shown func(room int) string) string {
	for room := b.room(lines); ; room -= b.room(1) / 2 {
		if text := shown(room); len(wrap(text, b.room(1))) <= maxLines {
			return text
		}
	}
}

// cleaned is clean for a text that fits.
func (b *promptText) cleaned(lines int, text string) string {
	return b.fit(lines, func(room int) string { return clean(text, room) })
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

// cutColumns returns how many bytes of s fit into width columns.
func cutColumns(s string, width int) int {
	n := 0
	for i, r := range s {
		if n += columns(string(r)); n > width {
			return i
		}
	}
	return len(s)
}

// renderPrompt is the whole question: who, with its ancestry, and what. It
// implements *Requests, prompts, grants* (SPEC §5). [ASK-3]
func renderPrompt(r *request, offered []choice, costs bool, width int, home string, now time.Time) string {
	b := &promptText{width: min(max(width, 40), 120) - 1}
	p := r.actor
	fmt.Fprintf(b, " #%d %s  %s\n", r.number, now.Format("15:04:05"), r.action)
	b.fact("program", fmt.Sprintf("%s  (pid %d)", programText(p.exe, home, b.room(1)), p.pid))
	b.fact("command", b.fit(4, func(room int) string { return quoteCommand(p.args, room) }))
	b.fact("directory", programText(p.dir, home, b.room(2)))
	b.fact("started by", startedBy(p, b.room(2)))
	b.fact("", agentText(r))
	if r.claim != "" {
		b.fact("says it is", clean(r.claim, b.room(1)))
	}
	b.object(r, home)
	if costs { // [ASK-6]
		b.fact("", "a yes costs the passphrase")
	}
	return b.String() + renderChoices(offered, b.width)
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
	if r.action == actRead {
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
	b.fact("wants", clean(r.wants(), b.room(3)))
	if o.path != "" {
		b.fact("path", cleanPath(o.path, home, b.room(3)))
	}
	if len(o.replaced) > 0 { // [ASK-5]
		b.fact("REPLACES", b.cleaned(maxLines, "the value of "+strings.Join(o.replaced, ", ")))
	}
	if len(o.names) > 0 {
		b.fact("names", b.cleaned(maxLines, strings.Join(o.names, ", ")))
	}
	if len(o.fromAgent) > 0 { // [ASK-5]
		b.fact("seen", clean("the agent has seen the value of "+strings.Join(o.fromAgent, ", "), b.room(3)))
	}
	for _, note := range o.notes { // [ASK-6]
		b.fact("note", b.cleaned(4, note))
	}
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
		names = append(names, clean(name, 24))
	}
	if len(names) == 0 {
		return "(nobody that can be seen)"
	}
	return clean(strings.Join(names, " < "), width)
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
