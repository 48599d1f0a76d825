package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

// runCompletion prints a script made from the table of commands. Names of
// Environments are not completed: listing them needs an approval.
func runCompletion(c *cli, args []string) error {
	if err := c.want(args, 1, 1); err != nil {
		return err
	}
	script, ok := map[string]func() string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[args[0]]
	if !ok {
		return &usageError{c.command, fmt.Sprintf("unknown shell %q: bash, zsh or fish", args[0])}
	}
	_, err := io.WriteString(c.out, script())
	return err
}

// flagNames lists a command's flags, with their dashes.
func flagNames(cmd *command) []string {
	var names []string
	if cmd.flags != nil {
		set := flag.NewFlagSet("", flag.ContinueOnError)
		cmd.flags(set, &options{})
		set.VisitAll(func(f *flag.Flag) { names = append(names, "--"+f.Name) })
	}
	return names
}

func visible() []*command {
	var list []*command
	for _, cmd := range commands {
		if !cmd.hidden {
			list = append(list, cmd)
		}
	}
	return list
}

func bashScript() string {
	var b, names strings.Builder
	for _, cmd := range visible() {
		names.WriteString(cmd.name + " ")
		if flags := flagNames(cmd); len(flags) > 0 {
			fmt.Fprintf(&b, "    %s) words=%q ;;\n", cmd.name, strings.Join(flags, " "))
		}
	}
	return fmt.Sprintf(`_keepmum() {
  local words=
  if [ "$COMP_CWORD" -eq 1 ]; then
    words=%q
  else
    case ${COMP_WORDS[1]} in
%s    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _keepmum keepmum
`, strings.TrimSpace(names.String()), b.String())
}

func zshScript() string {
	var b, names strings.Builder
	for _, cmd := range visible() {
		fmt.Fprintf(&names, "    '%s:%s'\n", cmd.name, strings.ReplaceAll(cmd.short, "'", ""))
		if flags := flagNames(cmd); len(flags) > 0 {
			fmt.Fprintf(&b, "    %s) compadd -- %s ;;\n", cmd.name, strings.Join(flags, " "))
		}
	}
	return fmt.Sprintf(`#compdef keepmum
_keepmum() {
  local -a names
  names=(
%s  )
  if (( CURRENT == 2 )); then
    _describe command names
    return
  fi
  case $words[2] in
%s  esac
  _files
}
compdef _keepmum keepmum
`, names.String(), b.String())
}

func fishScript() string {
	var b strings.Builder
	for _, cmd := range visible() {
		fmt.Fprintf(&b, "complete -c keepmum -n __fish_use_subcommand -a %s -d %q\n", cmd.name, cmd.short)
		for _, name := range flagNames(cmd) {
			fmt.Fprintf(&b, "complete -c keepmum -n '__fish_seen_subcommand_from %s' -l %s\n",
				cmd.name, strings.TrimPrefix(name, "--"))
		}
	}
	return b.String()
}
