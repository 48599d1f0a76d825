package main

// What an import changes in the vault, and how that is taken back when a file
// cannot be replaced (SPEC §9.2).

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

// imported is one import's change of the vault: what was there before, and what
// is there now.
type imported struct {
	call        *call
	lines       []envLine
	before, now *environment // before is nil where the import made it
}

// store writes the variables, and the mounts that the files become. (SPEC §9.2)
func (i *imported) store(d *vaultData) (err error) {
	c := i.call
	if e := d.environmentByID(c.r.object.environmentID); e != nil {
		was := *e
		was.variables, was.mounts = cloneEach(e.variables), cloneEach(e.mounts)
		i.before = &was
	}
	if i.now, err = c.makeIn(d); err != nil {
		return err
	}
	if err := i.storeLines(); err != nil {
		return err
	}
	for _, f := range c.files {
		if _, there := d.mountAt(f.place.path); c.args.Mount && there == nil {
			i.now.mounts = append(i.now.mounts, &mount{path: f.place.path, dialect: string(dialectPortable),
				enabled: true, excluded: f.git.inWorkTree && !f.git.ignored})
		}
	}
	i.now.changed = time.Now()
	return fits(i.now)
}

// storeLines sets the variables. [IMP-1]
func (i *imported) storeLines() error {
	there, replaced := i.now.byName(), setOf(i.call.r.object.replaced)
	for _, l := range i.lines {
		v := there[l.name]
		if v != nil && !v.placeholder && !replaced[l.name] {
			return fmt.Errorf("%q got a value while the question was open: call again", l.name)
		}
		if err := validVariable(l.name, l.value); err != nil {
			return err
		}
		if v == nil {
			v = i.now.add(l.name)
			there[l.name] = v
		}
		v.put(l.value, true)
	}
	return nil
}

// takeBack undoes what the import wrote, and nothing else: what somebody else
// has changed since then stays. [TUL-19] [IMP-8] (SPEC §9.2)
func (i *imported) takeBack(cause error) error {
	err := i.call.k.update(func(d *vaultData) error {
		e := d.environmentByID(idText(i.now.id))
		if e == nil {
			return nil
		}
		before := i.before
		if before == nil {
			before = &environment{changed: e.changed}
		}
		e.restore(before.byName(), i.wrote())
		e.mounts = slices.DeleteFunc(e.mounts, func(m *mount) bool {
			samePath := func(o *mount) bool { return o.path == m.path }
			return slices.ContainsFunc(i.now.mounts, samePath) && !slices.ContainsFunc(before.mounts, samePath)
		})
		if e.changed.Equal(i.now.changed) {
			e.changed = before.changed
		}
		if i.before == nil && e.name == i.now.name && len(e.variables)+len(e.mounts) == 0 {
			d.remove(e)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errUnsynced) {
		return fmt.Errorf("%v (and the import could not be taken back: %v)", cause, err)
	}
	return fmt.Errorf("nothing was imported, the file is as it was: %v", cause)
}

// wrote has the variables that the import has set.
func (i *imported) wrote() map[string]*variable {
	now, wrote := i.now.byName(), make(map[string]*variable, len(i.lines))
	for _, l := range i.lines {
		wrote[l.name] = now[l.name]
	}
	return wrote
}

// restore gives variables back what they were, or removes them if they were not,
// where they are still what was written since.
func (e *environment) restore(was, wrote map[string]*variable) {
	e.variables = slices.DeleteFunc(e.variables, func(v *variable) bool {
		w, old := wrote[v.name], was[v.name]
		switch {
		case w == nil || v.placeholder || v.concealed != w.concealed || !bytes.Equal(v.value, w.value):
		case old == nil:
			return true
		default:
			*v = *old
		}
		return false
	})
}
