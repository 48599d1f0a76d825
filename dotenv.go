package main

// The text of a .env file. There is no standard: the readers differ in what a
// quote, a backslash and a dollar sign mean. Two rules are never broken:
//
//   - no unescaped $ or backtick in double quotes and no metacharacter
//     unquoted, since a shell that sources the file would run it, and a value
//     may come from somebody else [TXT-1] (SPEC §8);
//   - what is written here, parseEnv reads back byte for byte [TXT-2].

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// dialect is a way of quoting, for one kind of reader (SPEC §8).
type dialect string

const (
	dialectPortable dialect = "portable" // right for most readers
	dialectShell    dialect = "shell"    // exact for every POSIX shell
)

const (
	envNames = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
	// envBare is what every reader takes unquoted; = and ~ not at the start,
	// where zsh expands them.
	envBare = envNames + ".,/:@%+^!?*-"
	// envSpecial is what double quotes do not hide from a shell.
	envSpecial = "\"\\$`"
)

// dialectFor returns the dialect of a program where its name makes that
// certain. busybox is many programs, so it is not. [TXT-10] (SPEC §8)
func dialectFor(exe string) dialect {
	shells := []string{"bash", "dash", "sh", "zsh", "ksh", "mksh"}
	if slices.Contains(shells, path.Base(exe)) {
		return dialectShell
	}
	return dialectPortable
}

// The escapes inside quotes; whatever is not here stands for itself.
var (
	noEscapes    = map[byte]string{}
	shellEscapes = map[byte]string{'\'': `'\''`}
	safeEscapes  = map[byte]string{'\\': `\\`, '"': `\"`, '$': `\$`, '`': "\\`"}
	lineEscapes  = map[byte]string{'\\': `\\`, '"': `\"`, '$': `\$`, '`': "\\`",
		'\r': `\r`, '\n': `\n`}
)

// maxEscape is what one byte of a value grows to at most.
const maxEscape = len(`'\''`)

// appendValue adds v to dst as it stands after NAME=. warn says that some
// readers will not get v back from it. An error never tells anything of v
// [TXT-8]. It implements *The .env text* (SPEC §8).
func appendValue(dst []byte, d dialect, v []byte) (text []byte, warn bool, err error) {
	if !utf8.Valid(v) || bytes.IndexByte(v, 0) >= 0 {
		return nil, false, errors.New("a value must be UTF-8 text without NUL")
	}
	switch d {
	case dialectPortable:
		text, warn = appendPortable(dst, v)
		return text, warn, nil
	case dialectShell:
		return appendQuoted(dst, '\'', v, shellEscapes), false, nil // [TXT-9]
	}
	return nil, false, fmt.Errorf("unsupported dialect %q", d)
}

// appendPortable picks, of the quotings that no shell runs, the one that most
// of 36 measured readers give back exactly. CR is the one thing that shells do
// not get back from it. [TXT-6] (SPEC §8.1)
func appendPortable(dst, v []byte) (text []byte, warn bool) {
	has := func(chars string) bool { return bytes.ContainsAny(v, chars) }
	switch {
	case len(bytes.Trim(v, envBare+"=~")) == 0 && bytes.IndexAny(v, "=~") != 0:
		return append(dst, v...), false
	case has("\r"):
		return appendQuoted(dst, '"', v, lineEscapes), true
	case has("'") && has(envSpecial):
		return appendQuoted(dst, '"', v, safeEscapes), true
	case has("'") || has("\n") && !has(envSpecial):
		return appendQuoted(dst, '"', v, noEscapes), false
	}
	warn = has("\n") && has("$") || bytes.HasSuffix(v, []byte(`\`))
	return appendQuoted(dst, '\'', v, noEscapes), warn
}

// appendQuoted writes v in quotes, with escapes for what must not stand there
// (SPEC §8).
func appendQuoted(dst []byte, quote byte, v []byte, escapes map[byte]string) []byte {
	dst = append(dst, quote)
	for _, b := range v {
		if escape, ok := escapes[b]; ok {
			dst = append(dst, escape...)
		} else {
			dst = append(dst, b)
		}
	}
	return append(dst, quote)
}

// encodeEnv returns the whole text: a comment that names the Environment, then
// one line a variable in the order given, a placeholder as a comment. It
// implements *The .env text* (SPEC §8).
//
//	# keepmum: acme-dev
//	DATABASE_URL='postgres://localhost/acme?sslmode=disable'
//	# STRIPE_KEY= (no value yet)
func encodeEnv(d dialect, environmentName string, vars []*variable) ([]byte, error) {
	// Room for all at once: growing would leave copies of values behind.
	title := "# keepmum: " + clean(environmentName, 1024) // [TXT-3]
	size := len(title) + len(" \n")
	for _, v := range vars {
		size += len("# = (no value yet)\n") + len(v.name) + maxEscape*len(v.value)
	}
	text := append(make([]byte, 0, size), title...)
	if strings.HasSuffix(title, `\`) {
		text = append(text, ' ') // in make and systemd it would continue the comment
	}
	text = append(text, '\n')
	for _, v := range vars {
		var err error
		switch {
		case !isEnvName([]byte(v.name)):
			return nil, fmt.Errorf("malformed name of a variable: %q", v.name)
		case v.placeholder:
			text = append(text, "# "+v.name+"= (no value yet)"...) // [TXT-5]
		default:
			text, _, err = appendValue(append(text, v.name+"="...), d, v.value) // [TXT-4]
		}
		if err != nil {
			return nil, fmt.Errorf("variable %q: %w", v.name, err)
		}
		text = append(text, '\n')
	}
	return text, nil
}

// isEnvName reports whether name is [A-Za-z_][A-Za-z0-9_]*.
func isEnvName(name []byte) bool {
	return len(name) > 0 && len(bytes.Trim(name, envNames)) == 0 && (name[0] < '0' || name[0] > '9')
}
