package main

// What the readers make of the values: check, and the same words after a change
// (SPEC §8.4). It names variables and kinds of reader, never a value nor what
// in it is the reason.

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// finding is a variable that some kinds of reader do not get back exactly.
type finding struct {
	Environment string   `json:"environment,omitempty"`
	Name        string   `json:"name"`
	Dialect     dialect  `json:"dialect"`
	Readers     []string `json:"readers"`
	Advice      string   `json:"advice"`
}

// keepQuotes are the kinds that take quotes for part of a value: they miss
// most values, and are told of by check alone.
var keepQuotes = []string{"docker run", "make"}

// noDialect is what helps where no dialect does.
const noDialect = "base64, one line of JSON, or keepmum run"

// findings looks at variables of an Environment in each dialect that its mounts
// write, or in portable. [TXT-34] (SPEC §8.4)
func (e *environment) findings(names []string) []finding {
	ds, asked := []dialect{}, setOf(names)
	for _, m := range e.mounts {
		ds = append(ds, orPortable(m.dialect))
	}
	if len(ds) == 0 {
		ds = append(ds, dialectPortable)
	}
	list, known := []finding{}, map[string]finding{}
	for _, d := range dialects {
		var rare []finding // last: most values are among them
		for _, v := range e.variables {
			if !slices.Contains(ds, d) || !asked[v.name] || v.placeholder {
				continue
			}
			switch f := findingIn(known, d, v); {
			case len(f.Readers) == 0:
			case f.onlyQuotes():
				rare = append(rare, f)
			default:
				list = append(list, f)
			}
		}
		list = append(list, rare...)
	}
	return list
}

// findingIn is findingOf, but takes what was found of a value that is the same to
// a reader from known: of 200,000 short values nearly all are.
func findingIn(known map[string]finding, d dialect, v *variable) finding {
	shape := envShape(v.value)
	defer wipe(shape)
	key := string(d) + " " + string(shape)
	f, there := known[key]
	if !there {
		f = findingOf(d, v)
		known[key] = f
	}
	f.Name = v.name
	return f
}

// findingOf asks every kind of reader, and for those that differ which dialect
// would do. [TXT-35] (SPEC §8.4)
func findingOf(d dialect, v *variable) finding {
	f, shape := finding{Name: v.name, Dialect: d}, envShape(v.value)
	defer wipe(shape)
	t := newTrial(shortened(shape))
	helps := map[string][]string{}
	for _, k := range envReaders() {
		if t.gets(k, d) {
			continue
		}
		if !slices.Contains(f.Readers, k.name) {
			f.Readers = append(f.Readers, k.name)
		}
		advice := noDialect
		for _, other := range append([]dialect{k.fits}, dialects...) {
			if t.gets(k, other) {
				advice = "mount --dialect " + string(other)
				break
			}
		}
		if !slices.Contains(helps[advice], k.name) {
			helps[advice] = append(helps[advice], k.name)
		}
	}
	var advice []string
	for _, d := range append(slices.Clone(dialects), "") {
		help := noDialect
		if d != "" {
			help = "mount --dialect " + string(d)
		}
		if len(helps[help]) > 0 {
			advice = append(advice, strings.Join(helps[help], ", ")+": "+help)
		}
	}
	f.Advice = strings.Join(advice, "; ")
	return f
}

// onlyQuotes reports whether none but those that keep quotes differ.
func (f finding) onlyQuotes() bool {
	return !slices.ContainsFunc(f.Readers, func(r string) bool { return !slices.Contains(keepQuotes, r) })
}

// fare is the same for variables that fare alike.
func (f finding) fare() string {
	return strings.Join(append([]string{f.Environment, string(f.Dialect), f.Advice}, f.Readers...), "\x00")
}

// notes are the findings that are told of after a change.
func (e *environment) notes(names []string) []finding {
	return slices.DeleteFunc(e.findings(names), finding.onlyQuotes)
}

// printFindings writes variables that fare alike together. (SPEC §8.4)
func printFindings(w io.Writer, margin string, list []finding) {
	write := func(indent, text string) {
		for _, line := range wrap(clean(text, 4000), 78-len(margin+indent)) {
			fmt.Fprintf(w, "%s%s%s\n", margin, indent, line)
		}
	}
	place, alike := "", map[string][]string{}
	for _, f := range list {
		alike[f.fare()] = append(alike[f.fare()], f.Name)
	}
	for _, f := range list {
		if at := f.Environment + ", written as " + string(f.Dialect); at != place {
			place = at
			write("", strings.TrimPrefix(at, ", ")+", not exact in every reader:")
		}
		names := alike[f.fare()]
		if names == nil {
			continue // it was among the first of them
		}
		delete(alike, f.fare())
		write("  ", strings.Join(names, ", "))
		for _, advice := range strings.Split(f.Advice, "; ") {
			write("    ", advice)
		}
	}
}

// anyEnvironment takes the one that is named, or all.
func (c *call) anyEnvironment() error {
	c.r.object.check = true
	if c.args.EnvironmentID == "" && c.args.EnvironmentName == "" {
		return nil
	}
	return c.findEnvironment()
}

// check computes the findings in the keeper: only they leave it. [TXT-36]
// (SPEC §8.4)
func (c *call) check() (any, error) {
	list := []finding{}
	for _, e := range c.k.vault.view().environments {
		if c.env != nil && e.id != c.env.id {
			continue
		}
		for _, f := range e.findings(e.names()) {
			f.Environment = e.name
			list = append(list, f)
		}
	}
	return result{"findings": list}, nil
}

// runCheck prints the findings. They are no failure: the status is 0. [CLI-15]
// (SPEC §11)
func runCheck(c *cli, args []string) error {
	if err := c.want(args, 0, 1); err != nil {
		return err
	}
	params := map[string]any{}
	if len(args) > 0 {
		params["environmentName"] = args[0]
	}
	var out struct {
		Findings []finding `json:"findings"`
	}
	if err := c.withKeeper("check", params, &out); err != nil {
		return err
	}
	return c.print(out, func(w io.Writer) {
		if len(out.Findings) == 0 {
			fmt.Fprintln(w, "every kind of reader gets every value exactly")
		}
		printFindings(w, "", out.Findings)
	})
}
