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
	for _, l := range i.lines {
		old := i.now.variable(l.name)
		if old != nil && !old.placeholder && !slices.Contains(c.r.object.replaced, l.name) { // [IMP-1]
			return fmt.Errorf("%q got a value while the question was open: call again", l.name)
		}
		if _, err := i.now.set(l.name, l.value, true); err != nil {
			return err
		}
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
		for _, l := range i.lines {
			e.restore(before.variable(l.name), i.now.variable(l.name))
		}
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

// restore gives a variable back what it was, nil for nothing, if it is still
// what was written since.
func (e *environment) restore(was, wrote *variable) {
	v := e.variable(wrote.name)
	switch {
	case v == nil || v.placeholder || v.concealed != wrote.concealed || !bytes.Equal(v.value, wrote.value):
	case was == nil:
		e.unset(wrote.name)
	default:
		*v = *was
	}
}
