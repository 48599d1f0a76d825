package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func (c *call) listVariables() (any, error) {
	names, list := []string{}, []result{}
	for _, v := range c.env.variables {
		names = append(names, v.name)
		list = append(list, result{"name": v.name, "concealed": v.concealed, "placeholder": v.placeholder})
	}
	return result{"variableNames": names, "variables": list}, nil
}

// newValues checks the variables of an append, and says which values an agent
// has seen and which the person may type.
func (c *call) newValues() error {
	if err := c.findOrMake(); err != nil {
		return err
	}
	if len(c.args.Variables) == 0 {
		return misuse("no variables given")
	}
	o, plain := &c.r.object, []string(nil)
	stored, given := c.stored(), map[string]bool{}
	for _, v := range c.args.Variables {
		if err := validVariableName(v.Name); err != nil {
			return misuse("%v", err)
		}
		if err := validValue(secret(v.Value)); err != nil {
			return misuse("variable %q: %v", v.Name, err)
		}
		if given[v.Name] {
			return misuse("%q is given twice", v.Name)
		}
		given[v.Name] = true
		o.names = append(o.names, v.Name)
		switch {
		case v.Value == "" && !stored[v.Name]:
			o.empty = append(o.empty, v.Name)
		case v.Value != "" && v.Concealed && c.byAgent(): // [TUL-14]
			o.fromAgent = append(o.fromAgent, v.Name)
		case v.Value != "" && c.byAgent():
			plain = append(plain, v.Name)
		}
		if v.Value != "" && stored[v.Name] {
			o.replaced = append(o.replaced, v.Name)
		}
	}
	o.note("a plain value, not concealed, which the agent gives: ", plain)
	return nil
}

// byAgent reports whether what this call carries may have passed through an
// agent.
func (c *call) byAgent() bool { return c.r.via == viaMCP || c.r.actor.agent != agentNo }

// findOrMake lets our commands name an Environment that is not there yet.
// [CLI-7] (SPEC §11)
func (c *call) findOrMake() error {
	err := c.findEnvironment()
	if err == nil || c.args.EnvironmentID != "" || c.r.via == viaMCP && c.r.action == actAppend {
		return err
	}
	c.r.object.notes = append(c.r.object.notes, "makes the new Environment "+c.args.EnvironmentName)
	return c.newName()
}

// stored are the names of the Environment's variables that have a value.
func (c *call) stored() map[string]bool {
	names := map[string]bool{}
	if c.env != nil {
		for _, v := range c.env.variables {
			names[v.name] = !v.placeholder
		}
	}
	return names
}

// make creates the Environment that findOrMake announced, inside a change.
func (c *call) makeIn(d *vaultData) (*environment, error) {
	if c.r.object.environmentID != "" {
		e := d.environmentByID(c.r.object.environmentID)
		if e == nil {
			return nil, fmt.Errorf("the Environment %q is gone", c.r.object.environment)
		}
		return e, nil
	}
	return d.addEnvironment(c.r.object.environment, time.Now())
}

func (c *call) appendVariables() (any, error) {
	var added, updated, placeholders []string
	var e *environment
	err := c.k.update(func(d *vaultData) (err error) {
		added, updated, placeholders = []string{}, []string{}, []string{}
		if e, err = c.makeIn(d); err != nil {
			return err
		}
		for _, v := range c.args.Variables {
			value := secret(nil) // a placeholder
			if v.Value != "" {
				value = secret(v.Value)
			}
			if typed := c.answer.values[v.Name]; len(typed) > 0 {
				value = typed
			}
			old := e.variable(v.Name)
			switch {
			case len(value) == 0 && old != nil && !old.placeholder:
				// [TUL-12]: an empty value never takes a stored one away. [TUL-13]:
				// what an agent has seen is no secret for being called one.
				if !c.byAgent() {
					old.concealed = v.Concealed
				}
				continue
			case len(value) == 0:
				placeholders = append(placeholders, v.Name) // [TUL-11]
			case old == nil || old.placeholder: // [TUL-10]
				added = append(added, v.Name)
			case !slices.Contains(c.r.object.replaced, v.Name): // [REQ-8]
				return fmt.Errorf("%q got a value while the question was open: call again", v.Name)
			default:
				updated = append(updated, v.Name)
			}
			if _, err := e.set(v.Name, value, v.Concealed); err != nil {
				return err
			}
		}
		e.changed = time.Now()
		return fits(e)
	})
	if err != nil {
		return nil, err
	}
	c.k.touch(idText(e.id))
	return result{"added": added, "updated": updated, "placeholders": placeholders,
		"warnings": c.k.warn(e, c.r.object.names)}, nil
}

// warn tells the person of values that not every reader gets exactly, and
// returns them for the answer. [TXT-7]
func (k *keeper) warn(e *environment, names []string) []finding {
	list := e.notes(names)
	if len(list) > 0 {
		var b strings.Builder
		printFindings(&b, "   ", list)
		k.say("%s", b.String())
	}
	return list
}

// knownNames checks the variables to be removed.
func (c *call) knownNames() error {
	if err := c.findEnvironment(); err != nil {
		return err
	}
	if len(c.args.VariableNames) == 0 {
		return misuse("no variable names given")
	}
	for _, name := range c.args.VariableNames {
		if c.env.variable(name) == nil { // [TUL-20]: all or nothing
			return misuse("%q has no variable %q: nothing was removed", c.env.name, name)
		}
	}
	c.r.object.names = slices.Compact(slices.Sorted(slices.Values(c.args.VariableNames)))
	return nil
}

func (c *call) removeVariables() (any, error) {
	err := c.change(func(_ *vaultData, e *environment) error {
		for _, name := range c.r.object.names {
			e.unset(name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.k.touch(c.r.object.environmentID)
	return result{"removed": c.r.object.names}, nil
}
