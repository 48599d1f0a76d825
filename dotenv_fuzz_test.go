package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// addEnvSeeds has every vector, as it is and as a text, and nasty values.
func addEnvSeeds(f *testing.F) {
	files, _ := filepath.Glob("testdata/dotenv/*.txt")
	if len(files) == 0 {
		f.Fatal("no seeds")
	}
	for _, file := range files {
		_, parts := readVector(f, file)
		f.Add([]byte(parts["env"]))
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		f.Add(nasty(random, true))
	}
}

var (
	problemName   = regexp.MustCompile(`"([A-Za-z_]\w*)"`)
	problemNumber = regexp.MustCompile(`line \d+`)
)

// problemWords are the words of all problems, without names and numbers.
func problemWords() map[string]bool {
	words := map[string]bool{}
	for _, table := range [][]envDiffer{envFaults, envForeignFaults, envWarnings} {
		for _, row := range table {
			words[row.text] = true
		}
	}
	for _, hint := range envHints {
		words[hint.text] = true
	}
	const nothing = "; nothing of the file was read"
	for _, said := range []string{"not of the form NAME=value", "text after the closing quote",
		"text after the closing quote, which is on line", "NAME is on line too; the later one counts",
		"a quote is never closed; nothing from here on was read",
		"a colon for =, which python-dotenv and shells do not read",
		"a comment right after a colon: write NAME='' before it, or the value in quotes",
		"a byte order mark: godotenv reads nothing of such a file, python-dotenv takes it for part of the name; it is dropped",
		"readers that expand $ would change the value; it is kept as it is",
		"readers that expand $ would put NAME in here; it is kept as it is",
		"a dialect that this version does not know" + nothing, "a NUL: this is no text" + nothing,
		"the text is UTF-16: save it as UTF-8" + nothing,
		"the lines end in carriage returns alone: save it with line feeds" + nothing,
		"the text is not UTF-8 (Latin-1 or Windows-1252?): save it as UTF-8" + nothing} {
		words[said] = true
	}
	return words
}

// FuzzParseEnv: no text stops parseEnv, and problems have words of their own and
// names of variables that are there, nothing else. [TXT-20]
func FuzzParseEnv(f *testing.F) {
	addEnvSeeds(f)
	words := problemWords()
	f.Fuzz(func(t *testing.T, text []byte) {
		lines, problems := parseEnv(text)
		var names []string
		for _, line := range lines {
			if line.value == nil || line.line < 1 || !isEnvName([]byte(line.name)) ||
				slices.Contains(names, line.name) {
				t.Errorf("parseEnv(%q): %+v", text, line)
			}
			names = append(names, line.name)
		}
		for _, p := range problems {
			if p.line < 1 || p.line > 1+bytes.Count(text, []byte("\n")) {
				t.Errorf("parseEnv(%q): %s", text, p)
			}
			for _, m := range problemName.FindAllStringSubmatch(p.text, -1) {
				if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, m[1]) }) {
					t.Errorf("parseEnv(%q) names %q: %s", text, m[1], p)
				}
			}
			said := problemNumber.ReplaceAllString(problemName.ReplaceAllString(p.text, "NAME"), "line")
			if !words[said] {
				t.Errorf("parseEnv(%q) says: %s", text, p)
			}
		}
	})
}

// carries reports whether a dialect can give v back: what quoteJS can only put
// in double quotes, nothing of which it can escape, may not look like an escape.
func carries(d dialect, v []byte) bool {
	quote := byte(0)
	switch d {
	case dialectRaw:
		return !bytes.ContainsAny(v, "\r\n")
	case dialectJS:
		quote, _ = quoteJS(v, noEscapes, crEscapes)
	case dialectJSExpand:
		quote, _ = quoteJSExpand(v)
	}
	return quote != '"' || !bytes.Contains(v, []byte(`"`)) && !envEscapeJS().Match(v)
}

// FuzzEnvIdentity: an Environment that is written in any dialect that can carry
// it is read as it was, silently. Each NUL begins another value. [TXT-2] [TXT-22]
func FuzzEnvIdentity(f *testing.F) {
	addEnvSeeds(f)
	f.Add([]byte("a\x00\r\n\x00'\"`\x00\\$x\x00it's `\\n`\x00 a#b\x00C:\\dir\\\x00${A}\x00\u3000"))
	f.Add([]byte("\x1ca\\\x00\ufeffC:\\dir\\\x00it's `a` \"b\"\ufeff"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, d := range dialects {
			vars := []*variable{{name: "BEFORE", value: secret("1")}}
			for i, v := range bytes.Split(text, []byte{0}) {
				name := fmt.Sprintf("V%d", i)
				if !utf8.Valid(v) || !carries(d, v) {
					continue
				}
				vars = append(vars, &variable{name: "NONE" + name, placeholder: true},
					&variable{name: name, value: v})
			}
			checkIdentity(t, d, vars)
		}
	})
}

func checkIdentity(t *testing.T, d dialect, vars []*variable) {
	t.Helper()
	text, err := encodeEnv(d, "e (raw)", vars)
	if err != nil {
		t.Fatal(err)
	}
	lines, problems := parseEnv(text)
	if len(problems) > 0 {
		t.Fatalf("%s: %q: %v", d, text, problems)
	}
	for _, v := range vars {
		if v.placeholder {
			continue
		}
		if len(lines) == 0 || lines[0].name != v.name || !bytes.Equal(lines[0].value, v.value) {
			t.Fatalf("%s: %q reads back as %s, want %s %q first", d, text,
				showEnv(lines, nil), v.name, v.value)
		}
		lines = lines[1:]
	}
	if len(lines) > 0 {
		t.Errorf("%s: %q has more: %s", d, text, showEnv(lines, nil))
	}
}

// TestEnvIdentity tries many Environments. [TXT-2]
func TestEnvIdentity(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	tried := make(map[dialect]int)
	for range 2000 {
		for _, d := range dialects {
			if v := nasty(random, true); carries(d, v) {
				tried[d]++
				checkIdentity(t, d, []*variable{{name: "A", value: v}, {name: "B", value: secret("'x'")}})
			}
		}
	}
	for _, d := range dialects {
		if tried[d] < 500 {
			t.Errorf("%s carries %d values", d, tried[d])
		}
	}
}
