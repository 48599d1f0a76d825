package main

// The files of an import (SPEC §9.2). Each is read twice: before the question,
// so that it can say what would come of it, and after the yes. Of the first
// reading only names and a digest are kept.

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const maxImportFiles = 16 // of one import [IMP-4]

// fileState says which file was read, and what was in it.
type fileState struct {
	id     fileID
	digest [sha256.Size]byte
}

// importedFile is one file of an import as the question shows it (SPEC §9.2).
type importedFile struct {
	place    *place
	git      gitInfo
	shown    fileState
	byAgent  bool // who asks may be an agent
	names    []string
	twice    []string // names of which an earlier line is not kept
	notes    []string // lines that other readers take otherwise
	comments int
	target   string // of the link that stands in the file's place
	aside    string // what the file is called meanwhile
	left     string // what is to be said of it if it is called so for good
}

// openImport holds the folder of a file and reads it. [TUL-17] [IMP-2]
// (SPEC §9.2)
func openImport(file string, byAgent bool, closed ...string) (*importedFile, error) {
	p, err := openPlace(file, closed...)
	if err != nil {
		return nil, misuse("%v", err)
	}
	f := &importedFile{place: p, byAgent: byAgent}
	lines, state, err := f.parse()
	if err != nil {
		f.close()
		return nil, misuse("%v", err)
	}
	f.shown = state
	for _, l := range lines {
		f.names = append(f.names, l.name)
		wipe(l.value)
	}
	return f, nil
}

// parse reads the file as it is now. An error names lines and kinds of faults,
// and to an agent, whom nobody has said yes to, lines alone: it would else learn
// what is in any file that the keeper can read. [IMP-2] (SPEC §9.2)
func (f *importedFile) parse() (lines []envLine, state fileState, err error) {
	text, id, err := f.place.readImport()
	if err != nil {
		return nil, state, err
	}
	defer wipe(text)
	read := readEnv(text)
	lines, problems := read.lines, read.problems
	for _, l := range lines {
		switch {
		case validVariableName(l.name) != nil:
			problems = append(problems, envProblem{line: l.line,
				text: fmt.Sprintf("a name of more than %d bytes", maxVariableName)})
		case validValue(l.value) != nil:
			problems = append(problems, envProblem{line: l.line, text: validValue(l.value).Error()})
		}
	}
	f.notesOf(read)
	for i := range problems {
		if f.byAgent {
			problems[i].text = "cannot be read"
		}
	}
	if err := importError(f.place.path, lines, problems); err != nil {
		wipeLines(lines)
		if f.byAgent {
			err = fmt.Errorf(`%v ("keepmum import", run by the person, says why)`, err)
		}
		return nil, state, err
	}
	return lines, fileState{id, sha256.Sum256(text)}, nil
}

// notesOf keeps what the question and the answer say of the text.
func (f *importedFile) notesOf(read *envText) {
	f.comments, f.twice, f.notes = read.comments, nil, nil
	for _, p := range read.problems {
		if p.twice != "" {
			f.twice = append(f.twice, p.twice)
		} else if p.warning {
			f.notes = append(f.notes, fmt.Sprintf("%s %v", path.Base(f.place.path), p))
		}
	}
}

// again reads the file after the yes, which was for what was shown. [IMP-3]
// (SPEC §9.2)
func (f *importedFile) again() ([]envLine, error) {
	lines, state, err := f.parse()
	if err == nil && state != f.shown {
		wipeLines(lines)
		err = fmt.Errorf("%q changed while the question was open: nothing was imported, call again",
			f.place.path)
	}
	return lines, err
}

// tellLeftovers names what an import that was killed has left beside a mount.
// [TUL-18]
func (k *keeper) tellLeftovers(path string) {
	k.mu.Lock()
	s := k.served[path]
	k.mu.Unlock()
	if s == nil || s.place == nil {
		return
	}
	for _, name := range s.place.leftovers() {
		k.say("   %s: an import that was ended left the file there, with its values: look at it,"+
			" then delete it\n", clean(name, 300))
	}
}

// close lets go of the folder, unless a mount has taken it over.
func (f *importedFile) close() {
	if f.place != nil {
		f.place.close()
	}
}

// wipeLines overwrites the values of a file that is not imported.
func wipeLines(lines []envLine) {
	for _, l := range lines {
		wipe(l.value)
	}
}

// replaceFiles puts a mount where each of the files was. They are all set aside
// before the first is removed, so that all go back if one cannot be replaced.
// [IMP-5] (SPEC §9.2)
func (c *call) replaceFiles(e *environment) (err error) {
	for _, f := range c.files {
		if err := c.makePipe(f, e); err != nil {
			return c.putBack(err)
		}
	}
	for _, f := range c.files {
		if f.aside, err = f.place.swapFile(f.target, f.shown.id); err != nil {
			return c.putBack(err)
		}
	}
	for i, f := range c.files {
		err := f.place.remove(f.aside, f.shown.id)
		if err != nil && i == 0 {
			return c.putBack(err)
		} else if err != nil { // others are gone by now, so what was stored stays
			f.left = f.leftover(err)
			c.k.say("   %s\n", clean(f.left, 1000))
		}
		path := f.place.path
		c.k.mu.Lock()
		c.k.served[path] = &served{path: path, target: f.target, state: mountServed, place: f.place}
		c.k.mu.Unlock()
		f.place = nil // the mount's now
	}
	return nil
}

// leftover says of a file that was set aside and could not be removed what it is
// called now. No pattern need hide that name from Git, so it gets one of its own.
func (f *importedFile) leftover(cause error) string {
	why, errno := "it changed", unix.Errno(0)
	if errors.As(cause, &errno) {
		why = errno.Error()
	}
	where := filepath.Join(filepath.Dir(f.place.path), f.aside)
	text := fmt.Sprintf("%q is a mount now, but its file could not be deleted (%s): it is left as %q, "+
		"with its values: look at it, then delete it", f.place.path, why, where)
	git, err := gitState(where)
	if err == nil && git.inWorkTree && !git.ignored {
		err = addExclude(git)
	}
	if err != nil {
		text += fmt.Sprintf("; do not commit it (%v)", err)
	}
	return text
}

// makePipe makes what the link of one file will lead to.
func (c *call) makePipe(f *importedFile, e *environment) (err error) {
	if f.git.inWorkTree && !f.git.ignored {
		if err := addExclude(f.git); err != nil {
			return err
		}
	}
	c.k.unserve(f.place.path) // a mount whose link somebody replaced by this file
	f.target, err = c.k.pipes.add(f.place.path, f.place.base, e.changed)
	if err == nil {
		c.k.reaper.add(f.place.path, f.target) // which says what is wrong
	}
	return err
}

// putBack gives the files that were set aside their names back.
func (c *call) putBack(cause error) error {
	for _, f := range c.files {
		if f.aside != "" {
			cause = f.place.swapBack(f.aside, f.target, cause)
		}
		if f.target != "" {
			c.k.reaper.remove(f.place.path)
			c.k.pipes.remove(f.place.path)
		}
	}
	return cause
}
