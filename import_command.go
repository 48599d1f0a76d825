package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
)

// importAnswer is what import_env_file says, as far as people are told.
type importAnswer struct {
	Imported, Replaced []string
	NotKept            struct {
		Comments   int
		Duplicates []string
	}
	Notes, MountPaths []string
	Warnings          []finding
}

// runImport imports files into one Environment by one request, or with --split
// each into its own by a request of its own. [IMP-10] (SPEC §11)
func runImport(c *cli, args []string) error {
	if err := c.want(args, 2, -1); err != nil {
		return err
	}
	paths := make([]string, len(args)-1)
	for i, arg := range args[1:] {
		var err error
		if arg == "" { // such as of an unset variable; it is no word for ./.env here
			return &usageError{c.command, "an empty name of a file"}
		}
		if paths[i], err = absolute(arg); err != nil {
			return err
		}
	}
	if c.opt.split {
		return c.importSplit(args[0], paths)
	}
	raw, err := c.importInto(args[0], paths)
	if err != nil {
		return err
	}
	return c.print(raw, func(w io.Writer) { c.printImport(w, args[0], paths, raw) })
}

// importInto sends the request of one Environment.
func (c *cli) importInto(env string, paths []string) (raw json.RawMessage, err error) {
	err = c.withKeeper("import_env_file", map[string]any{"environmentName": env, "paths": paths,
		"mount": c.opt.mount}, &raw)
	return raw, err
}

// importSplit imports each file into an Environment that is named after it. What
// was done stays when a later one fails, which the error says. [IMP-10]
// (SPEC §11)
func (c *cli) importSplit(env string, paths []string) error {
	names, from := make([]string, len(paths)), map[string]string{}
	for i, path := range paths {
		names[i] = splitName(env, path)
		if other, ok := from[names[i]]; ok {
			return &usageError{c.command, fmt.Sprintf("%q and %q would both become %q: import one of "+
				"them by itself", other, path, names[i])}
		}
		from[names[i]] = path
	}
	done := []map[string]any{}
	var failed error
	for i, path := range paths {
		raw, err := c.importInto(names[i], paths[i:i+1])
		if err != nil {
			failed = fmt.Errorf("%w; %d of %s imported; not imported: %s", err, i,
				count(len(paths), "file"), shortListOf(quoted(paths[i:]), 4, ", "))
			break
		}
		done = append(done, map[string]any{"environmentName": names[i], "path": path, "result": raw})
		if !c.opt.json {
			c.printImport(c.out, names[i], paths[i:i+1], raw)
		}
	}
	if c.opt.json {
		if err := c.print(done, nil); err != nil {
			return err
		}
	}
	return failed
}

// quoted returns each text in quotes.
func quoted(texts []string) (all []string) {
	for _, text := range texts {
		all = append(all, strconv.Quote(text))
	}
	return all
}

// splitName names the Environment of one file: ENV for .env, ENV-local for
// .env.local, ENV-prod for prod.env. [IMP-10] (SPEC §11)
func splitName(env, path string) string {
	base := filepath.Base(path)
	rest, ok := strings.CutPrefix(base+".", ".env.")
	if !ok {
		rest = strings.TrimSuffix(base, ".env")
	}
	if rest = strings.ReplaceAll(strings.Trim(rest, "."), ".", "-"); rest == "" {
		return env
	}
	return env + "-" + rest
}

// printImport says what was done, and what is left to do.
func (c *cli) printImport(w io.Writer, env string, paths []string, raw json.RawMessage) {
	var a importAnswer
	json.Unmarshal(raw, &a)
	list := func(title string, names []string) {
		for _, line := range wrap(clean(strings.Join(names, ", "), wholeText), 76) {
			if len(names) > 0 {
				title += "\n  " + line
			}
		}
		fmt.Fprintln(w, title)
	}
	list(fmt.Sprintf("imported %s into %q", count(len(a.Imported), "variable"), env), a.Imported)
	if len(a.Replaced) > 0 {
		list("replaced the value of", a.Replaced)
	}
	if a.NotKept.Comments > 0 {
		list("not kept: "+count(a.NotKept.Comments, "comment"), nil)
	}
	if len(a.NotKept.Duplicates) > 0 {
		list("taken from the last of several lines", a.NotKept.Duplicates)
	}
	for _, note := range a.Notes {
		list(clean(note, 1000), nil)
	}
	printFindings(w, "", a.Warnings)
	for _, path := range a.MountPaths {
		fmt.Fprintf(w, "%s is a mount now\n", clean(path, 200))
	}
	if !c.opt.mount {
		for _, path := range paths {
			fmt.Fprintf(w, "%s is still there, in clear: delete it, or import with --mount\n", clean(path, 200))
		}
	}
}
