package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/term"
)

// raw is standard output for JSON: as it is for a program, and with what no
// terminal may get escaped where a person looks at it. Outside of a string JSON
// has none of it, so it means the same; a log that was changed may. [CLI-11]
// (SPEC §5.2, §11)
func (c *cli) raw() io.Writer {
	if f, ok := c.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return jsonScreen{f}
	}
	return c.out
}

// jsonScreen escapes the characters that clean would.
type jsonScreen struct{ to io.Writer }

// Write takes whole characters but for those on its borders, which come out as
// replacement characters.
func (s jsonScreen) Write(b []byte) (int, error) {
	var out bytes.Buffer
	for rest := b; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		switch {
		case r == '\n' || r == '\t' || allowedInPrompt(r):
			out.Write(rest[:n])
		default:
			for _, unit := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&out, "\\u%04x", unit)
			}
		}
		rest = rest[n:]
	}
	_, err := s.to.Write(out.Bytes())
	return len(b), err
}
