package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// newImport checks the file and the Environment before anybody is asked; the
// file is read after the yes. [TUL-15] [TUL-16] (SPEC §9.2)
func (c *call) newImport() error {
	c.args.EnvironmentID = "" // by name: import makes the Environment where there is none
	if c.k.vault.view().environmentByName(c.args.EnvironmentName) == nil {
		c.r.object.notes = append(c.r.object.notes, "makes the new Environment "+c.args.EnvironmentName)
		if err := c.newName(); err != nil {
			return err
		}
	} else if err := c.findEnvironment(); err != nil {
		return err
	}
	if err := c.openPlace(c.args.Path); err != nil {
		return err
	}
	info, err := os.Lstat(c.place.path)
	if err != nil {
		return misuse("cannot import %q: %v", c.args.Path, pathCause(err))
	}
	if !info.Mode().IsRegular() {
		return misuse("cannot import %q: it is no regular file; is it mounted already?", c.args.Path)
	}
	if info.Size() > importMax {
		return misuse("cannot import %q: it is larger than %d bytes, split it", c.args.Path, importMax)
	}
	if !c.args.Mount {
		return nil
	}
	if e, _ := c.k.vault.view().mountAt(c.place.path); e != nil && (c.env == nil || e.id != c.env.id) {
		return misuse("%q is mounted already, from the Environment %q: unmount it first", c.place.path, e.name)
	}
	c.r.object.notes = append(c.r.object.notes, "REPLACES the file by a mount, once its variables are stored")
	return c.mayMount()
}

// importFile reads the file, stores and syncs its variables, and only then
// puts the mount in its place [TUL-18]. On any failure the file is as it was
// [TUL-19] (SPEC §9.2).
func (c *call) importFile() (any, error) {
	text, id, err := c.place.readImport()
	if err != nil {
		return nil, err
	}
	defer wipe(text)
	lines, problems := parseEnv(text)
	if err := importError(c.place.path, lines, problems); err != nil {
		return nil, err
	}
	var before, after *environment
	var imported []string
	err = c.k.update(func(d *vaultData) (err error) {
		imported = []string{}
		if old := d.environmentByID(c.r.object.environmentID); old != nil {
			before = cloneEach([]*environment{old})[0]
			before.variables, before.mounts = cloneEach(old.variables), cloneEach(old.mounts)
		}
		if after, err = c.makeIn(d); err != nil {
			return err
		}
		for _, l := range lines {
			if _, err := after.set(l.name, l.value, true); err != nil {
				return fmt.Errorf("line %d: %v", l.line, err)
			}
			imported = append(imported, l.name)
		}
		if _, there := d.mountAt(c.place.path); c.args.Mount && there == nil {
			after.mounts = append(after.mounts, &mount{path: c.place.path, dialect: string(dialectPortable), enabled: true,
				excluded: c.git.inWorkTree && !c.git.ignored})
		}
		after.changed = time.Now()
		return fits(after)
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(imported)
	out := result{"environmentId": idText(after.id), "imported": slices.Compact(imported)}
	if c.args.Mount {
		if err := c.replace(after, id); err != nil {
			return nil, c.takeBack(before, after, err)
		}
		out["mountPath"] = c.r.object.path
	}
	c.k.touch(idText(after.id))
	c.k.warn(after, imported)
	return out, nil
}

// replace puts the mount where the file was. Without a keeper that serves it,
// the file stays until the next unlock cannot: so it is refused.
func (c *call) replace(e *environment, id fileID) (err error) {
	if c.k.pipes == nil {
		return fmt.Errorf("a mount needs a running keeper: start keepmum unlock, then import with mount")
	}
	if c.git.inWorkTree && !c.git.ignored {
		if err := addExclude(c.git); err != nil {
			return err
		}
	}
	path := c.place.path
	c.k.unserve(path) // a mount whose link somebody replaced by this file
	target, err := c.k.pipes.add(path, c.place.base, e.changed)
	if err != nil {
		return err
	}
	c.k.reaper.add(path, target)
	if err := c.place.replaceFile(target, id); err != nil {
		c.k.reaper.remove(path)
		c.k.pipes.remove(path)
		return err
	}
	c.k.mu.Lock()
	c.k.served[path] = &served{path: path, target: target, state: mountServed, place: c.place}
	c.k.mu.Unlock()
	c.place = nil // the mount's now
	return nil
}

// takeBack restores the Environment after a mount that failed. [TUL-19]
// (SPEC §9.2)
func (c *call) takeBack(before, after *environment, cause error) error {
	err := c.k.update(func(d *vaultData) error {
		for i, e := range d.environments {
			switch {
			case e.id != after.id:
			case before == nil:
				d.environments = slices.Delete(d.environments, i, i+1)
				return nil
			default:
				d.environments[i] = before
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%v (and the import could not be taken back: %v)", cause, err)
	}
	return fmt.Errorf("nothing was imported, the file is as it was: %v", cause)
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

// pathCause strips the path that the message names already.
func pathCause(err error) error {
	if e, ok := err.(*os.PathError); ok {
		return e.Err
	}
	return err
}
