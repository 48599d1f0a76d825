// Keepmum keeps a project's secrets for the programs that need them, away from
// the coding agents that work on it.
//
// An encrypted vault holds Environments, named sets of variables. A person
// opens it with "keepmum unlock" in a terminal of their own; that process, the
// keeper, alone holds the key and asks the person about every request. Agents
// reach it through "keepmum mcp", a Model Context Protocol server which sees
// names and never a value. Programs read a mounted .env, a named pipe on which
// each reader is identified, approved and given one copy.
//
// The specification is SPEC.md beside this file; comments name its sections.
// It does not protect against root, against a program that debugs or imitates
// an approved reader, nor against what a reader does with its values (SPEC §12).
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
)

// command is one word of the command line. The table of commands drives
// dispatch, help and completion. It implements *Command line* (SPEC §11).
type command struct {
	name, args string
	short      string // one line, lower case
	long       string
	flags      func(*flag.FlagSet, *options)
	run        func(*cli, []string) error
	hidden     bool
}

// options are the flags of all commands.
type options struct {
	json, verify, mount, split, plain, again, all bool
	noMasking, force                              bool
	envs                                          []string
	dialect, notify, program, dir, agent, via     string
	conform                                       conformOptions
}

// cli is one run of the program.
type cli struct {
	in       *os.File
	out, err io.Writer
	opt      options
	command  *command
	before   int  // arguments before a "--"; -1 without one
	alone    bool // this process was its own keeper
}

// usageError is wrong use: exit 2.
type usageError struct {
	command *command
	text    string
}

func (e *usageError) Error() string { return e.text }

// exitError ends with its number and no further line.
type exitError int

func (e exitError) Error() string { return "" }

// errSilent ends with exit 1 and, like every error without a text, no further
// line.
var errSilent = errors.New("")

func main() {
	// [KPR-10]: before anything else, as another process of the user that opens
	// our memory first keeps it (SPEC §12).
	if len(os.Args) > 1 && slices.Contains([]string{"unlock", "passwd", "run-session"}, os.Args[1]) {
		denyTracing() // harden says what went wrong
	}
	os.Exit(run(&cli{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Args[1:]))
}

// run maps what a command returns to an exit code: 0, 1 failed or refused, 2
// misuse. [CLI-9] [CLI-10] (SPEC §11)
func run(c *cli, args []string) int {
	if err := limitFiles(); err != nil {
		fmt.Fprintf(c.err, "keepmum: error: %v\n", err)
		return 1
	}
	err := c.dispatch(args)
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(c.err, "keepmum: error: %v\n", err)
		hint := "keepmum help"
		if usage.command != nil {
			hint += " " + usage.command.name
		}
		fmt.Fprintf(c.err, "keepmum: hint: run %q for usage\n", hint)
		return 2
	case err.Error() != "":
		fmt.Fprintf(c.err, "keepmum: error: %s\n", cleanLines(err.Error()))
	}
	var open *noVerdict
	if errors.As(err, &open) {
		return 2
	}
	var exit exitError
	if errors.As(err, &exit) {
		return int(exit)
	}
	return 1
}

// dispatch finds the command, reads its flags and runs it.
func (c *cli) dispatch(args []string) error {
	if len(args) == 0 {
		io.WriteString(c.err, usageText())
		return &usageError{nil, "no command given"}
	}
	switch args[0] {
	case "-h", "-help", "--help":
		args[0] = "help"
	case "-version", "--version":
		args[0] = "version"
	}
	c.command = findCommand(args[0])
	if c.command == nil {
		return &usageError{nil, fmt.Sprintf("unknown command %q", args[0])}
	}
	rest, err := c.parse(args[1:])
	if errors.Is(err, flag.ErrHelp) { // [CLI-12]
		io.WriteString(c.out, helpText(c.command))
		return nil
	}
	if err != nil {
		return err
	}
	return c.command.run(c, rest)
}

// parse reads flags wherever they stand before a "--", since people put them
// last as often as first. [CLI-8] (SPEC §11)
func (c *cli) parse(args []string) ([]string, error) {
	set := flag.NewFlagSet(c.command.name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	if c.command.flags != nil {
		c.command.flags(set, &c.opt)
	}
	var words []string
	c.before = -1
	for {
		if err := set.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, &usageError{c.command, fmt.Sprintf("%s: %v", c.command.name, err)}
		}
		rest := set.Args()
		if len(rest) == 0 {
			return words, nil
		}
		if n := len(args) - len(rest); n > 0 && args[n-1] == "--" {
			c.before = len(words)
			return append(words, rest...), nil
		}
		words, args = append(words, rest[0]), rest[1:]
	}
}

// want checks the number of arguments.
func (c *cli) want(args []string, low, high int) error {
	if len(args) < low || high >= 0 && len(args) > high {
		return &usageError{c.command, strings.TrimSpace(fmt.Sprintf("use: keepmum %s %s",
			c.command.name, c.command.args))}
	}
	return nil
}

func findCommand(name string) *command {
	for _, cmd := range commands {
		if cmd.name == name {
			return cmd
		}
	}
	return nil
}

// usageText is the answer to keepmum help; the README holds it word for word.
func usageText() string {
	var b strings.Builder
	b.WriteString("usage: keepmum COMMAND [flags] [arguments]\n\n")
	for _, cmd := range commands {
		if !cmd.hidden {
			fmt.Fprintf(&b, "  %-36s %s\n", strings.TrimSpace(cmd.name+" "+cmd.args), cmd.short)
		}
	}
	b.WriteString(`
An Environment (ENV) is a named set of variables. A keeper, started by
"keepmum unlock" in a terminal of your own, holds the key and asks you there
about every request. Commands ask it too, or ask for the passphrase where
none runs. "keepmum help COMMAND" tells more; "keepmum demo" shows it all.

  keepmum unlock
  codex mcp add keepmum -- keepmum mcp
`)
	return b.String()
}

// helpText is one command's help.
func helpText(cmd *command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: %s\n\n%s\n", strings.TrimSpace("keepmum "+cmd.name+" "+cmd.args),
		strings.Trim(cmd.long, "\n"))
	if cmd.flags != nil {
		set := flag.NewFlagSet("", flag.ContinueOnError)
		cmd.flags(set, &options{})
		b.WriteString("\nflags:\n")
		set.VisitAll(func(f *flag.Flag) {
			name, text := flag.UnquoteUsage(f)
			fmt.Fprintf(&b, "  --%-18s %s\n", strings.TrimSpace(f.Name+" "+name), text)
		})
	}
	return b.String()
}

// cleanLines makes an error fit for a terminal: names in it came from outside.
func cleanLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = clean(line, 1000)
	}
	return strings.Join(lines, "\n")
}

func runHelp(c *cli, args []string) error {
	if err := c.want(args, 0, 1); err != nil {
		return err
	}
	if len(args) == 0 {
		_, err := io.WriteString(c.out, usageText())
		return err
	}
	cmd := findCommand(args[0])
	if cmd == nil {
		return &usageError{nil, fmt.Sprintf("unknown command %q", args[0])}
	}
	_, err := io.WriteString(c.out, helpText(cmd))
	return err
}

// version may be set when linking; else the module's own is used.
var version = ""

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "development"
}

// lazily compiles an expression when it is first used: there are many, and most
// starts of the program use none.
func lazily(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}
