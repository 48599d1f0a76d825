package main

// The keeper's part of run and export: the only two requests whose answer holds
// values (SPEC §11.1).

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxCommand is the longest command, as it is shown, that a person can be
	// asked about: it is shown whole. [RUN-4]
	maxCommand = 4096

	// maxHanded is the longest answer: a line of the socket and its frame.
	maxHanded = lineLimit - 1024
)

// carriesValues reports whether a yes sends values over the socket.
func (a action) carriesValues() bool { return a == actRun || a == actExport }

// newRun checks a run: every Environment, and a command that can be shown. The
// program is what our command found by its PATH. [RUN-3] [RUN-4] [RUN-5]
func (c *call) newRun() error {
	if err := c.ownCommand("run"); err != nil {
		return err
	}
	if len(c.args.EnvironmentNames) == 0 || c.args.Path == "" {
		return misuse("no Environment, or no program")
	}
	if err := showable(c.r.actor.args); err != nil {
		return misuse("%v", err)
	}
	o := &c.r.object
	o.path = c.args.Path
	var ids []string
	several := map[string]string{} // and whose value counts
	for i, name := range c.args.EnvironmentNames {
		if slices.Contains(c.args.EnvironmentNames[:i], name) {
			return misuse("the Environment %q is given twice", name)
		}
		c.args.EnvironmentName = name
		if err := c.findEnvironment(); err != nil {
			return err
		}
		c.handed = append(c.handed, c.env)
		ids = append(ids, o.environmentID)
		for _, v := range c.env.variables {
			if !slices.Contains(o.names, v.name) {
				o.names = append(o.names, v.name)
			} else if !v.placeholder { // [RUN-7]
				several[v.name] = name
			}
		}
	}
	var counts []string
	for _, name := range slices.Sorted(maps.Keys(several)) {
		counts = append(counts, fmt.Sprintf("%s is in several: the one of %q counts", name, several[name]))
	}
	o.note("", counts)
	o.environment, o.others = c.args.EnvironmentNames[0], c.args.EnvironmentNames[1:]
	o.environmentID, c.env = strings.Join(ids, ","), nil // unchanged looks at all of them
	return c.fitsLine()
}

// newExport checks an export.
func (c *call) newExport() error {
	if err := c.ownCommand("export"); err != nil {
		return err
	}
	if err := c.findEnvironment(); err != nil {
		return err
	}
	c.handed, c.env = []*environment{c.env}, nil
	c.r.object.names = c.handed[0].names()
	return c.fitsLine()
}

// ownCommand holds the caller to being our command of that name: the command
// line that the person is shown is then what will be done. [RUN-2]
func (c *call) ownCommand(name string) error {
	if args := c.r.actor.args; c.r.via == viaCommand && (len(args) < 2 || args[1] != name) {
		return misuse("values go to keepmum %s alone", name)
	}
	return nil // weigh denies who is no command of ours
}

// showable refuses a command that cannot be shown whole. [RUN-4]
func showable(args []string) error {
	if len(args) > argsMax || len(quoteCommand(args, wholeText)) > maxCommand {
		return fmt.Errorf("the command takes more than %d bytes to show: put it into a script", maxCommand)
	}
	return nil
}

// fitsLine refuses, before anybody is asked, what the socket cannot carry.
// [RUN-6]
func (c *call) fitsLine() error {
	if n := handedSize(merged(c.handed)); n > maxHanded {
		return misuse("these Environments take %d bytes, more than the %d of one answer: use fewer",
			n, maxHanded)
	}
	return nil
}

// merged is what the Environments come to: of a name that is there twice the
// later value counts, a placeholder has none. [RUN-7]
func merged(list []*environment) (all []*variable) {
	for _, e := range list {
		for _, v := range e.variables {
			i := slices.IndexFunc(all, func(old *variable) bool { return old.name == v.name })
			switch {
			case i < 0:
				all = append(all, v)
			case !v.placeholder:
				all[i] = v
			}
		}
	}
	return all
}

// handed is the answer to run and export. It becomes text at the last moment,
// by encode: encoding/json would keep copies of the values.
type handed []*variable

// handOver records the delivery and returns what is delivered. [RUN-8]
func (c *call) handOver() (any, error) {
	if err := c.k.record(c.r, "", "", "", endDelivered); err != nil {
		return nil, fmt.Errorf("the audit log cannot be written: %v", err)
	}
	c.k.say("%s", renderHanded(c.r, c.k.user))
	return handed(merged(c.handed)), nil
}

// renderHanded is the line that the keeper's terminal shows for it.
func renderHanded(r *request, home string) string {
	what := "exported"
	if r.action == actRun {
		what = "given to " + cleanPath(r.object.path, home, 100)
	}
	return fmt.Sprintf("%s  %s: %s (pid %d)\n", time.Now().Format("15:04:05"),
		clean(r.object.environmentName(), 100), what, r.actor.pid)
}

// handedSize is the length of the answer's text.
func handedSize(vars []*variable) int {
	n := len(`{"variables":[]}`)
	for _, v := range vars {
		n += len(`{"name":"","value":"","concealed":false},`) + len(v.name) +
			base64.StdEncoding.EncodedLen(len(v.value))
	}
	return n
}

// encode writes the answer, for whom it is sent to, in one piece of memory that
// can be wiped. Names and base64 need no escapes. [RUN-9]
func (h handed) encode() json.RawMessage {
	text := append(make([]byte, 0, handedSize(h)), `{"variables":[`...)
	for i, v := range h {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(append(text, `{"name":"`...), v.name...)
		if !v.placeholder {
			text = base64.StdEncoding.AppendEncode(append(text, `","value":"`...), v.value)
		}
		text = strconv.AppendBool(append(text, `","concealed":`...), v.concealed)
		text = append(text, '}')
	}
	return append(text, `]}`...)
}

// encodeResult makes the text of any result. Who sends it wipes it.
func encodeResult(result any) (json.RawMessage, error) {
	if h, ok := result.(handed); ok {
		return h.encode(), nil
	}
	return json.Marshal(result)
}
