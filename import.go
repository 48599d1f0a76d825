package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// newImport reads the files before anybody is asked, so that the question can
// say what a yes does. [TUL-15] [TUL-16] [IMP-1] (SPEC §9.2)
func (c *call) newImport() error {
	c.args.EnvironmentID = "" // by name: import makes the Environment where there is none
	if err := c.findOrMake(); err != nil {
		return err
	}
	if c.args.Mount && c.k.pipes == nil {
		return misuse("a mount needs a running keeper: start keepmum unlock, then import with mount")
	}
	paths, err := c.args.filePaths()
	if err != nil {
		return err
	}
	for i, path := range paths {
		f, err := openImport(path, c.byAgent(), c.k.forbidden()...)
		if err != nil {
			return err
		}
		c.files = append(c.files, f) // done closes it
		if slices.ContainsFunc(c.files[:i], func(g *importedFile) bool { return g.place.path == f.place.path }) {
			return misuse("%q is given twice", f.place.path)
		}
		if err := c.mayReplace(f, i); err != nil {
			return err
		}
	}
	c.describeImport()
	return nil
}

// mayReplace checks whether the file can become a mount, if it shall; before are
// those of the same import that come first. Where it stays, what Git knows is
// only told. (SPEC §7.1)
func (c *call) mayReplace(f *importedFile, before int) (err error) {
	path := f.place.path
	if !c.args.Mount {
		f.git, _ = gitState(path)
		return nil
	}
	if e, _ := c.k.vault.view().mountAt(path); e != nil && (c.env == nil || e.id != c.env.id) {
		return misuse("%q is mounted already, from the Environment %q: unmount it first", path, e.name)
	}
	f.git, err = c.mayMount(f.place, before)
	return err
}

// describeImport fills in what the question shows. [IMP-1] [IMP-4] [IMP-9]
// (SPEC §9.2)
func (c *call) describeImport() {
	o := &c.r.object
	var several, tracked, linked []string
	var gits []gitInfo
	seen, stored := map[string]bool{}, map[string]bool{} // a file may have 200,000 names
	if c.env != nil {
		for _, v := range c.env.variables {
			stored[v.name] = !v.placeholder
		}
	}
	for i, f := range c.files {
		if i == 0 {
			o.path = f.place.path
		} else {
			o.otherPaths = append(o.otherPaths, f.place.path)
		}
		for _, name := range f.names {
			if seen[name] {
				several = append(several, name)
				continue
			}
			seen[name] = true
			o.names = append(o.names, name)
			if stored[name] {
				o.replaced = append(o.replaced, name)
			}
		}
		if f.git.tracked {
			tracked = append(tracked, f.place.path)
		}
		if c.hasOtherName(f) {
			linked = append(linked, f.place.path)
		}
		gits = append(gits, f.git)
	}
	if c.args.Mount && len(c.files) == 1 {
		o.notes = append(o.notes, "REPLACES the file by a mount, once its variables are stored")
	} else if c.args.Mount {
		o.notes = append(o.notes, fmt.Sprintf("REPLACES the %d files, each by a mount of the whole Environment, "+
			"once their variables are stored", len(c.files)))
	}
	comments, twice := c.notKept()
	if comments > 0 {
		o.notes = append(o.notes, "does not keep "+count(comments, "comment"))
	}
	if notes := c.otherReadings(); len(notes) > 0 { // [IMP-7]
		o.notes = append(o.notes, "other readers differ: "+shortListOf(notes, 3, "; "))
	}
	o.note("in several of the files, the last of which counts: ", sortedNames(several))
	o.note("has another name, a hard link, which stays in clear: ", linked)
	o.note("on several lines of a file, the last of which counts: ", twice)
	o.note("tracked by Git, whose history keeps the values: ", tracked)
	if c.args.Mount {
		c.noteExclude(gits...)
	}
}

// hasOtherName reports whether a file has a hard link that is not imported too.
func (c *call) hasOtherName(f *importedFile) bool {
	imported := uint64(0)
	for _, g := range c.files {
		if g.shown.id.dev == f.shown.id.dev && g.shown.id.ino == f.shown.id.ino {
			imported++
		}
	}
	return f.shown.id.names > imported
}

// notKept sums up what the files have and the vault will not: comments, and the
// earlier lines of a name.
func (c *call) notKept() (comments int, twice []string) {
	for _, f := range c.files {
		comments += f.comments
		twice = append(twice, f.twice...)
	}
	return comments, sortedNames(twice)
}

// otherReadings names the lines that were taken although readers differ on them.
func (c *call) otherReadings() []string {
	notes := []string{}
	for _, f := range c.files {
		notes = append(notes, f.notes...)
	}
	return notes
}

// leftovers says which files are still there beside their mounts. [IMP-6]
func (c *call) leftovers() []string {
	notes := []string{}
	for _, f := range c.files {
		if f.left != "" {
			notes = append(notes, f.left)
		}
	}
	return notes
}

// importFiles reads the files once more, stores and syncs their variables, and
// only then puts mounts in their place [TUL-18]. On any failure files and
// Environment are as they were [TUL-19] (SPEC §9.2).
func (c *call) importFiles() (any, error) {
	lines, err := c.readAgain()
	if err != nil {
		return nil, err
	}
	i := &imported{call: c, lines: lines}
	switch err := c.k.update(i.store); {
	case errors.Is(err, errUnsynced): // no file goes before its values are safe
		return nil, i.takeBack(err)
	case err != nil:
		wipeLines(lines)
		return nil, err
	}
	if c.args.Mount {
		if err := c.replaceFiles(i.now); err != nil {
			return nil, i.takeBack(err)
		}
	}
	c.k.touch(idText(i.now.id))
	out := c.importResult(i.now)
	out["warnings"] = c.k.warn(i.now, c.r.object.names)
	return out, nil
}

// importResult says by names what was done. [TUL-16] [IMP-6] (SPEC §9.2)
func (c *call) importResult(e *environment) result {
	o := c.r.object
	comments, twice := c.notKept()
	out := result{"environmentId": idText(e.id),
		"imported": sortedNames(o.names), "replaced": sortedNames(o.replaced),
		"notKept": result{"comments": comments, "duplicates": twice}, "notes": c.leftovers()}
	if !c.byAgent() { // it need not learn what sort of values a file has
		out["notes"] = append(c.leftovers(), c.otherReadings()...)
	}
	switch {
	case !c.args.Mount:
	case c.args.Path != "":
		out["mountPath"] = o.path
	default:
		out["mountPaths"] = append([]string{o.path}, o.otherPaths...)
	}
	return out
}

// sortedNames returns each name once and in order; none is a list as well.
func sortedNames(names []string) []string {
	sorted := append([]string{}, names...)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// readAgain returns the variables of all files as they are after the yes, each
// name once with the value of the last. [IMP-3] [IMP-4] (SPEC §9.2)
func (c *call) readAgain() (merged []envLine, err error) {
	index := map[string]int{}
	for _, f := range c.files {
		lines, err := f.again()
		if err != nil {
			wipeLines(merged)
			return nil, err
		}
		for _, l := range lines {
			i, there := index[l.name]
			if !there {
				index[l.name] = len(merged)
				merged = append(merged, l)
				continue
			}
			wipe(merged[i].value)
			merged[i] = l
		}
	}
	return merged, nil
}

// importError names the lines that cannot be read, never what they hold.
// [TXT-21] (SPEC §8.2)
func importError(path string, lines []envLine, problems []envProblem) error {
	var list []string
	for _, p := range problems {
		if !p.warning {
			list = append(list, p.String())
		}
	}
	if len(list) > 0 {
		return fmt.Errorf("cannot import %q: %s", path, shortListOf(list, 3, "; "))
	}
	if len(lines) == 0 {
		return fmt.Errorf("cannot import %q: it holds no variables", path)
	}
	return nil
}

// shortListOf joins the first n items and says how many more there are.
func shortListOf(items []string, n int, sep string) string {
	if len(items) <= n {
		return strings.Join(items, sep)
	}
	return fmt.Sprintf("%s%sand %d more", strings.Join(items[:n], sep), sep, len(items)-n)
}
