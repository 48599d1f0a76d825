package main

// The text of a .env file. There is no standard: the readers differ in what a
// quote, a backslash and a dollar sign mean. Two rules are never broken:
//
//   - portable and shell have no unescaped $ or backtick in double quotes and
//     no metacharacter unquoted, since a shell that sources the file would run
//     it, and a value may come from somebody else [TXT-1] (SPEC §8). The other
//     dialects are for readers that run nothing, and a shell is never given
//     them [TXT-10];
//   - what is written here, parseEnv reads back byte for byte [TXT-2].

import (
	"bytes"
	"cmp"
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
	dialectPortable dialect = "portable"  // right for most readers
	dialectShell    dialect = "shell"     // exact for every POSIX shell; just, mise
	dialectJS       dialect = "js"        // dotenv, node --env-file, deno
	dialectJSExpand dialect = "js-expand" // dotenv-expand, vite, next, bun
	dialectEscaped  dialect = "escaped"   // Go, Python, PHP
	dialectRaw      dialect = "raw"       // docker run --env-file, make
)

// dialects are all there are, as they are named to a person.
var dialects = []dialect{dialectPortable, dialectShell, dialectJS, dialectJSExpand,
	dialectEscaped, dialectRaw}

// dialectNames lists them for people.
func dialectNames() string {
	names := make([]string, len(dialects))
	for i, d := range dialects {
		names[i] = string(d)
	}
	return strings.Join(names, ", ")
}

// runsNothing reports whether a shell may source the text. [TXT-1]
func (d dialect) runsNothing() bool {
	return d == dialectPortable || d == dialectShell
}

const (
	envNames = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
	// envBare is what every reader takes unquoted; = and ~ not at the start,
	// where zsh expands them.
	envBare = envNames + ".,/:@%+^!?*-"
	// envSpecial is what double quotes do not hide from a shell.
	envSpecial = "\"\\$`"
)

// isShell reports whether a program certainly is a shell. busybox is many
// programs, so it is not. (SPEC §8.1)
func isShell(exe string) bool {
	name := strings.TrimSuffix(path.Base(pathOf(exe)), "-static")
	return slices.Contains([]string{"bash", "dash", "sh", "zsh", "ksh", "ksh93", "lksh", "mksh", "oksh",
		"posh", "rbash", "yash"}, name)
}

// orPortable is the dialect that a mount's own word stands for.
func orPortable(d string) dialect { return cmp.Or(dialect(d), dialectPortable) }

// escapes is what stands for a byte inside quotes; whatever is not there stands
// for itself.
type escapes map[byte]string

var (
	noEscapes     = escapes{}
	shellEscapes  = escapes{'\'': `'\''`}
	dollarEscapes = escapes{'$': `\$`}
	crEscapes     = escapes{'\r': `\r`, '\n': `\n`}
	crxEscapes    = escapes{'\r': `\r`, '\n': `\n`, '$': `\$`}
	safeEscapes   = escapes{'\\': `\\`, '"': `\"`, '$': `\$`, '`': "\\`"}
	codeEscapes   = escapes{'\\': `\\`, '"': `\"`, '$': `\$`, '\r': `\r`, '\n': `\n`}
	lineEscapes   = escapes{'\\': `\\`, '"': `\"`, '$': `\$`, '`': "\\`",
		'\r': `\r`, '\n': `\n`}
)

// maxEscape is what one byte of a value grows to at most.
const maxEscape = len(`'\''`)

// errCannotWrite is a value that a dialect has no way to write. [TXT-31]
var errCannotWrite = errors.New("cannot be written in this dialect")

// appendValue adds v to dst as it stands after NAME=. An error never tells
// anything of v [TXT-8]. It implements *The .env text* (SPEC §8).
func appendValue(dst []byte, d dialect, v []byte) ([]byte, error) {
	if !utf8.Valid(v) || bytes.IndexByte(v, 0) >= 0 {
		return nil, errors.New("a value must be UTF-8 text without NUL")
	}
	switch d {
	case dialectPortable:
		quote, in := quotePortable(v)
		return appendQuoted(dst, quote, v, in), nil
	case dialectShell:
		return appendQuoted(dst, '\'', v, shellEscapes), nil // [TXT-9]
	case dialectJS:
		quote, in := quoteJS(v, noEscapes, crEscapes)
		return appendQuoted(dst, quote, v, in), nil
	case dialectJSExpand:
		quote, in := quoteJSExpand(v)
		return appendQuoted(dst, quote, v, in), nil
	case dialectEscaped:
		quote, in := quoteEscaped(v)
		return appendQuoted(dst, quote, v, in), nil
	case dialectRaw:
		if bytes.ContainsAny(v, "\r\n") { // it would begin a variable of its own
			return nil, errCannotWrite
		}
		return append(dst, v...), nil
	}
	return nil, fmt.Errorf("unsupported dialect %q", d)
}

// isBare reports whether every reader takes v as it is, without quotes.
func isBare(v []byte) bool {
	return len(bytes.Trim(v, envBare+"=~")) == 0 && bytes.IndexAny(v, "=~") != 0
}

// quotePortable picks, of the quotings that no shell runs, the one that most
// of the measured readers give back exactly. No quote is none at all. [TXT-6]
// (SPEC §8.1)
func quotePortable(v []byte) (quote byte, in escapes) {
	has := func(chars string) bool { return bytes.ContainsAny(v, chars) }
	switch {
	case isBare(v):
		return 0, noEscapes
	case has("\r"):
		return '"', lineEscapes
	case has("'") && has(envSpecial):
		return '"', safeEscapes
	case has("'") || has("\n") && !has(envSpecial):
		return '"', noEscapes
	}
	return '\'', noEscapes
}

// otherBlanks finds what not all readers take for a blank, at an end of a value.
var otherBlanks = lazily(`^` + otherBlank + `|` + otherBlank + `$`)

// quoteJS is for readers after npm's dotenv: any of three quotes, and no way to
// write the quote itself. inside has the escapes of every quoting, withCR those
// where a line end must be spelt. [TXT-28] (SPEC §8.3)
func quoteJS(v []byte, inside, withCR escapes) (quote byte, in escapes) {
	has := func(chars string) bool { return bytes.ContainsAny(v, chars) }
	plain := !has("#\n") && len(bytes.TrimSpace(v)) == len(v) && !otherBlanks().Match(v)
	switch {
	case isBare(v):
		return 0, noEscapes
	case has("\r"):
		return '"', withCR
	case plain && !has("$'\"`") && bytes.HasSuffix(v, []byte(`\`)):
		return 0, noEscapes // the backslash would hide the closing quote
	case !has("'"):
		return '\'', inside
	case !has("`"):
		return '`', inside
	case plain && has(`"`) && bytes.IndexAny(v, "'\"`") != 0:
		return 0, inside
	}
	return '"', inside
}

// quoteJSExpand is quoteJS for readers that expand $ in every quoting, and take
// \$ for it. In double quotes parseEnv takes it too. [TXT-29] (SPEC §8.3)
func quoteJSExpand(v []byte) (quote byte, in escapes) {
	if bytes.IndexByte(v, '$') >= 0 && !bytes.ContainsAny(v, "\\\"\r") {
		return '"', dollarEscapes
	}
	return quoteJS(v, dollarEscapes, crxEscapes)
}

// quoteEscaped is for readers that decode a backslash in double quotes, though
// not before a backtick. In single quotes it stands for itself, but before
// another and at the end some read it there too. [TXT-30] (SPEC §8.3)
func quoteEscaped(v []byte) (quote byte, in escapes) {
	switch {
	case isBare(v):
		return 0, noEscapes
	case !bytes.ContainsAny(v, "'\r\n") && !bytes.HasSuffix(v, []byte(`\`)) &&
		!bytes.Contains(v, []byte(`\\`)):
		return '\'', noEscapes
	}
	return '"', codeEscapes
}

// appendQuoted writes v in quotes, if there is one, with escapes for what must
// not stand there (SPEC §8).
func appendQuoted(dst []byte, quote byte, v []byte, in escapes) []byte {
	if quote != 0 {
		dst = append(dst, quote)
	}
	for _, b := range v {
		if escape, ok := in[b]; ok {
			dst = append(dst, escape...)
		} else {
			dst = append(dst, b)
		}
	}
	if quote != 0 {
		dst = append(dst, quote)
	}
	return dst
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
	title := "# keepmum: " // [TXT-3]
	if d == dialectJS || d == dialectJSExpand || d == dialectRaw {
		title = "# keepmum " + string(d) + ": " // parseEnv must know [TXT-22]
	}
	title += clean(environmentName, 1024)
	size := len(title) + len(" \n")
	for _, v := range vars {
		size += len(v.name) + max(len("# =\n"+noValueYet), len("# =\n"+notInDialect)) + maxEscape*len(v.value)
	}
	text := append(make([]byte, 0, size), title...)
	if strings.HasSuffix(title, `\`) {
		text = append(text, ' ') // in make and systemd it would continue the comment
	}
	text = append(text, '\n')
	for _, v := range vars {
		if !isEnvName([]byte(v.name)) {
			return nil, fmt.Errorf("malformed name of a variable: %q", v.name)
		}
		line, err := text, error(nil)
		if !v.placeholder {
			line, err = appendValue(append(text, v.name+"="...), d, v.value) // [TXT-4]
		}
		switch {
		case v.placeholder:
			line = append(text, "# "+v.name+"="+noValueYet...) // [TXT-5]
		case err == errCannotWrite:
			line = append(text, "# "+v.name+"="+notInDialect...) // [TXT-31]
		case err != nil:
			return nil, fmt.Errorf("variable %q: %w", v.name, err)
		}
		text = append(line, '\n')
	}
	return text, nil
}

// What a comment says of a variable that has no line of its own.
const (
	noValueYet   = " (no value yet)"
	notInDialect = " (cannot be written in this dialect)"
)

// isEnvName reports whether name is [A-Za-z_][A-Za-z0-9_]*.
func isEnvName(name []byte) bool {
	return len(name) > 0 && len(bytes.Trim(name, envNames)) == 0 && (name[0] < '0' || name[0] > '9')
}
