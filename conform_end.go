package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// goneWithin is how long processes may take to end after everything was told to.
const goneWithin = 5 * time.Second

// finish ends what runs and makes the checks that are always on.
func (r *caseRun) finish() {
	r.checkQuestions()
	r.checkArguments()
	for _, name := range slices.Sorted(maps.Keys(r.clients)) {
		c := r.clients[name]
		c.in.Close()
		if !c.proc.endsBy(time.Now().Add(goneWithin)) {
			r.fails("the server does not end within %v of the end of its input", goneWithin)
		}
	}
	if r.keeper != nil && !r.forgiven {
		if err := r.lockKeeper(); err != nil {
			r.fails("%v", err)
		}
	}
	for _, p := range r.procs {
		select {
		case <-p.ended:
		default:
			p.cmd.Process.Kill()
			p.endsBy(time.Now().Add(goneWithin))
		}
	}
	r.checkChildren()
	r.checkFiles()
	r.checkTapes()
	for _, p := range r.procs {
		if p.terminal != nil {
			p.terminal.Close()
		}
	}
}

// checkQuestions: nobody was asked what the case did not expect.
func (r *caseRun) checkQuestions() {
	if r.questioner == nil {
		return
	}
	if text := r.questioner.pending(); text != "" {
		r.fails("a question that nothing in the case asks for: %q", strings.Join(strings.Fields(text), " "))
	}
}

// checkArguments: no value is in the arguments or the environment of a process.
func (r *caseRun) checkArguments() {
	for _, pid := range descendantsOf(os.Getpid(), nil) {
		for _, file := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			if err == nil {
				r.checkCanaries(fmt.Sprintf("the %s of a process", file), text)
			}
		}
	}
}

// checkChildren: nothing that the case started runs on. Orphans come to this
// process.
func (r *caseRun) checkChildren() {
	end := time.Now().Add(goneWithin)
	left := descendantsOf(os.Getpid(), nil)
	for ; len(left) > 0 && time.Now().Before(end); left = descendantsOf(os.Getpid(), nil) {
		time.Sleep(5 * endPause)
	}
	for _, pid := range left {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if !r.forgiven {
			r.fails("a process is left: %q", strings.ReplaceAll(strings.TrimRight(string(name), "\x00"), "\x00", " "))
		}
		if p, err := os.FindProcess(pid); err == nil {
			p.Kill()
		}
	}
}

// checkFiles: no pipe, no dangling link, no file that nobody made, and no value
// in any file.
func (r *caseRun) checkFiles() {
	filepath.WalkDir(r.dir, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(r.dir, path)
		if err != nil {
			r.fails("cannot look at %q: %v", rel, err)
			return nil
		}
		if rel == "bin" {
			return fs.SkipDir
		}
		if !r.forgiven && !r.made[path] {
			r.checkLeft(path, rel, e)
		}
		if e.Type().IsRegular() && !r.made[path] {
			if text, err := os.ReadFile(path); err == nil {
				r.checkCanaries("the file "+rel, text)
			}
		}
		return nil
	})
}

// checkLeft judges one thing that is there after the end.
func (r *caseRun) checkLeft(path, rel string, e fs.DirEntry) {
	switch {
	case e.Type() == fs.ModeNamedPipe:
		r.fails("a pipe is left: %s", rel)
	case e.Type() == fs.ModeSymlink:
		if _, err := os.Stat(path); err != nil {
			r.fails("a link that leads nowhere is left: %s", rel)
		}
	case e.IsDir():
	case strings.HasPrefix(rel, "project/"):
		r.fails("a file is left in the project: %s", rel)
	case strings.HasPrefix(rel, "home/"):
		inHome := strings.TrimPrefix(rel, "home/")
		if !slices.ContainsFunc(r.sub.Leaves, func(p string) bool { return regexp.MustCompile(p).MatchString(inHome) }) {
			r.fails("a file is left in the home: %s", inHome)
		}
	}
}

// checkTapes searches all that was written, and holds the keeper's terminal to
// text that can be printed.
func (r *caseRun) checkTapes() {
	for _, name := range slices.Sorted(maps.Keys(r.procs)) {
		p := r.procs[name]
		r.checkCanaries("standard error of "+name, p.err.bytes())
		if !p.private {
			r.checkCanaries("the output of "+name, p.out.bytes())
		}
		if p.terminal != nil {
			r.checkScreen(p.out.bytes())
		}
	}
	r.checkCanaries("a question", r.asked.bytes())
}

// checkCanaries looks for every seeded value in a text.
func (r *caseRun) checkCanaries(where string, text []byte) {
	for _, env := range slices.Sorted(maps.Keys(r.values)) {
		for _, name := range slices.Sorted(maps.Keys(r.values[env])) {
			value := r.values[env][name]
			if len(value) >= 12 && !r.allowed[name] && leaks(text, value) {
				r.fails("the value of %s is in %s", name, where)
			}
		}
	}
}

// checkScreen: a terminal gets text and the sequences that the subject lists.
func (r *caseRun) checkScreen(text []byte) {
	for _, pattern := range r.sub.Screen {
		text = regexp.MustCompile(pattern).ReplaceAll(text, nil)
	}
	for len(text) > 0 {
		c, n := utf8.DecodeRune(text)
		if c == utf8.RuneError && n == 1 || c != '\r' && c != '\n' && c != '\t' && !allowedInPrompt(c) {
			r.fails("the terminal got %q", cut(string(text), 80))
			return
		}
		text = text[n:]
	}
}
