package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// action is what a request asks for (SPEC §6).
type action string

const (
	actConnect action = "connect"
	actList    action = "list"
	actCreate  action = "create"
	actRename  action = "rename"
	actAppend  action = "append"
	actRemove  action = "remove"
	actDelete  action = "delete"
	actMount   action = "mount"
	actUnmount action = "unmount"
	actImport  action = "import"
	actRead    action = "read"
	actRun     action = "run"
	actExport  action = "export"
)

// actions lists every action a rule may name, in the order of the
// specification. [REQ-3]
var actions = []action{actConnect, actList, actCreate, actRename, actAppend, actRemove,
	actDelete, actMount, actUnmount, actImport, actRead, actRun, actExport}

// validAction reports whether a is one of actions.
func validAction(a action) bool { return slices.Contains(actions, a) }

// actionNames lists them for people.
func actionNames() string {
	names := make([]string, len(actions))
	for i, a := range actions {
		names[i] = string(a)
	}
	return strings.Join(names, ", ")
}

// The ways by which a request reaches the keeper.
const (
	viaMCP     = "mcp"     // a bridge, or anything else that speaks to the socket
	viaCommand = "command" // our own command line
	viaMount   = "mount"   // an open of a mounted .env
)

// object is what a request is about.
type object struct {
	environment   string   // name
	environmentID string   // 26 characters of base32, lower case
	others        []string // names of further Environments, of a run of several
	path          string   // of a mount, an imported file or a program to run
	otherPaths    []string // further files of an import, in their order
	names         []string // of variables
	newName       string   // of a renamed Environment
	dialect       dialect  // of a mount
	check         bool     // list what readers make of the values, too
	fromAgent     []string // names whose value passed through the agent
	empty         []string // names without a value, which the person may type
	replaced      []string // names whose value is overwritten
	notes         []string // what else the prompt must say
}

// request is one thing that somebody asks the keeper to do: everything goes
// through this one type. It implements *Requests, prompts, grants* (SPEC §5).
type request struct {
	number uint64
	actor  *process
	via    string
	claim  string // what clientInfo says; never used to decide [REQ-2]
	conn   uint64 // the socket connection it came by
	action action
	object object
}

// wants says in words what the request asks for, the prompt's last fact. Names
// and paths in it are the caller's to clean.
func (r *request) wants() string {
	o := r.object
	switch r.action {
	case actConnect:
		return "to use keepmum: every later step asks again"
	case actList:
		switch {
		case o.check && o.environment == "":
			return "the names of all variables that some reader does not get exactly, and of these readers"
		case o.check:
			return fmt.Sprintf("the names of variables of %q that some reader does not get exactly, "+
				"and of these readers", o.environment)
		case o.environment == "":
			return "the names of all Environments"
		}
		return fmt.Sprintf("the names of variables and mounts of %q", o.environment)
	case actCreate:
		return fmt.Sprintf("to make a new, empty Environment %q", o.environment)
	case actRename:
		return fmt.Sprintf("to rename %q to %q", o.environment, o.newName)
	case actAppend:
		return fmt.Sprintf("to add or change %s in %q", count(len(o.names), "variable"), o.environment)
	case actRemove:
		return fmt.Sprintf("to REMOVE %s from %q", count(len(o.names), "variable"), o.environment)
	case actDelete:
		return fmt.Sprintf("to DELETE %q with its %s and its mounts", o.environment,
			count(len(o.names), "variable"))
	case actMount:
		return fmt.Sprintf("to mount %q at the path below; each read asks", o.environment)
	case actUnmount:
		return fmt.Sprintf("to end the mount of %q at the path below", o.environment)
	case actImport:
		file := "the file"
		if n := len(o.otherPaths); n > 0 {
			file = fmt.Sprintf("the %d files", n+1)
		}
		return fmt.Sprintf("to import %s from %s below into %q", count(len(o.names), "variable"),
			file, o.environment)
	case actRead:
		return fmt.Sprintf("%s of %q through the path below", count(len(o.names), "variable"),
			o.environment)
	case actRun:
		return fmt.Sprintf("to run the command with %s of %s", count(len(o.names), "variable"),
			o.environmentText())
	case actExport:
		return fmt.Sprintf("to PRINT the VALUES of %s of %s", count(len(o.names), "variable"),
			o.environmentText())
	}
	return string(r.action)
}

// environmentText names every Environment of the object.
func (o *object) environmentText() string {
	text := fmt.Sprintf("%q", o.environment)
	for _, name := range o.others {
		text += fmt.Sprintf(", %q", name)
	}
	return text
}

// environmentName is the name of the Environment, or the names of several.
func (o *object) environmentName() string {
	if len(o.others) == 0 {
		return o.environment
	}
	return o.environmentText()
}

// count says "1 variable", "3 variables".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// subject identifies the object of a grant: what was shown, variable names
// included. Change any and it asks again (SPEC §5). [GRT-8]
func (r *request) subject() string {
	names := slices.Clone(r.object.names)
	slices.Sort(names)
	list := append([]string{string(r.action), r.object.environmentID, r.object.environment,
		r.object.newName, r.object.paths(), string(r.object.dialect), strconv.FormatBool(r.object.check),
		strings.Join(names, ",")}, r.object.others...)
	if r.action == actRun { // [RUN-10]
		list = append(list, r.actor.sitting())
	}
	return strings.Join(list, "\x00")
}

// paths returns all of them as one text.
func (o *object) paths() string {
	return strings.Join(append([]string{o.path}, o.otherPaths...), ", ")
}

// note says something of some names or paths, if there are any.
func (o *object) note(text string, names []string) {
	if len(names) > 0 {
		o.notes = append(o.notes, text+strings.Join(names, ", "))
	}
}
