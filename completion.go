package main

import (
	_ "embed"
	"flag"
	"fmt"
	"io"
	"strings"
)

// The scripts, with a place each for the commands and for their flags.
var (
	//go:embed docs/completion/keepmum.bash
	bashFrame string
	//go:embed docs/completion/keepmum.zsh
	zshFrame string
)

// runCompletion prints a script made from the table of commands. Names of
// Environments are not completed: listing them needs an approval. [CLI-12]
// (SPEC §11)
func runCompletion(c *cli, args []string) error {
	if err := c.want(args, 1, 1); err != nil {
		return err
	}
	script, ok := map[string]func() string{"bash": bashScript, "zsh": zshScript,
		"fish": fishScript}[args[0]]
	if !ok {
		return &usageError{c.command, fmt.Sprintf("unknown shell %q: bash, zsh or fish", args[0])}
	}
	_, err := io.WriteString(c.out, script())
	return err
}

// eachCommand calls line for every command that is shown, with the names of
// its flags.
func eachCommand(line func(cmd *command, flags []string)) {
	for _, cmd := range commands {
		var flags []string
		set := flag.NewFlagSet("", flag.ContinueOnError)
		if cmd.flags != nil {
			cmd.flags(set, &options{})
		}
		set.VisitAll(func(f *flag.Flag) { flags = append(flags, "--"+f.Name) })
		if !cmd.hidden {
			line(cmd, flags)
		}
	}
}

// dialectWords are the values of the one flag that has a list of them.
func dialectWords() string { return strings.ReplaceAll(dialectNames(), ",", "") }

func bashScript() string {
	var cases, names strings.Builder
	eachCommand(func(cmd *command, flags []string) {
		names.WriteString(cmd.name + " ")
		if len(flags) > 0 {
			fmt.Fprintf(&cases, "    %s) words=%q ;;\n", cmd.name, strings.Join(flags, " "))
		}
	})
	return fmt.Sprintf(bashFrame, dialectWords(), strings.TrimSpace(names.String()), cases.String())
}

func zshScript() string {
	var cases, names strings.Builder
	eachCommand(func(cmd *command, flags []string) {
		fmt.Fprintf(&names, "    '%s:%s'\n", cmd.name, strings.ReplaceAll(cmd.short, "'", ""))
		if len(flags) > 0 {
			fmt.Fprintf(&cases, "    %s) compadd -- %s ;;\n", cmd.name, strings.Join(flags, " "))
		}
	})
	return fmt.Sprintf(zshFrame, names.String(), dialectWords(), cases.String())
}

func fishScript() string {
	var b strings.Builder
	eachCommand(func(cmd *command, flags []string) {
		fmt.Fprintf(&b, "complete -c keepmum -n __fish_use_subcommand -a %s -d %q\n",
			cmd.name, cmd.short)
		for _, name := range flags {
			values := ""
			if name == "--dialect" {
				values = fmt.Sprintf(" -x -a %q", dialectWords())
			}
			fmt.Fprintf(&b, "complete -c keepmum -n '__fish_seen_subcommand_from %s' -l %s%s\n",
				cmd.name, strings.TrimPrefix(name, "--"), values)
		}
	})
	return b.String()
}
