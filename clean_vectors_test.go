package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// cleanVector is a line of testdata/clean: bytes, and the text as it is shown;
// if it is too long for a place of so many columns, also how it may be cut.
type cleanVector struct {
	Name       string     `json:"name"`
	In         vectorText `json:"in"`
	Text       string     `json:"text"`
	Characters int        `json:"characters"`
	Columns    int        `json:"columns"`
	Cut        string     `json:"cut"`
}

// check holds this program to the line and returns how it cuts.
func (v *cleanVector) check(t *testing.T) (cut string) {
	t.Helper()
	if got := clean(string(v.In), 1<<20); got != v.Text {
		t.Errorf("%s: shown as %q, want %q", v.Name, got, v.Text)
	}
	if v.Columns == 0 {
		return ""
	}
	cut = clean(string(v.In), v.Columns)
	if fault := v.cutFault(cut); fault != "" {
		t.Errorf("%s: cut to %q, which %s", v.Name, cut, fault)
	}
	if cut != v.Cut && !*update {
		t.Errorf("%s: cut to %q, want %q", v.Name, cut, v.Cut)
	}
	return cut
}

// cutFault says what is wrong with a text that was cut, in any layout.
func (v *cleanVector) cutFault(got string) string {
	head, tail, found := strings.Cut(got, fmt.Sprintf("…(%d characters)…", v.Characters))
	first, _ := utf8.DecodeRuneInString(tail)
	switch {
	case !found:
		return "does not say how long it was"
	case head == "" || tail == "" || !strings.HasPrefix(v.Text, head) || !strings.HasSuffix(v.Text, tail):
		return "is not the beginning and the end"
	case strings.Count(head, "<") != strings.Count(head, ">"),
		strings.Count(tail, "<") != strings.Count(tail, ">"):
		return "has a part of an escape"
	case unicode.IsMark(first):
		return "has a mark that has lost its letter"
	case columns(got) > v.Columns:
		return "is too wide"
	}
	return ""
}

// TestCleanVectors has a class of text in each file; -update writes how this
// program cuts, and nothing else. [ASK-7] [ASK-8]
func TestCleanVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/clean/*.jsonl")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files in testdata/clean, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, written := readDoc(t, path), ""
			for line := range strings.Lines(text) {
				var v cleanVector
				in := json.NewDecoder(strings.NewReader(line))
				in.DisallowUnknownFields()
				must(t, in.Decode(&v))
				cut := v.check(t)
				if top, _, found := strings.Cut(line, `,"cut":`); found {
					line = top + `,"cut":` + string(encodeJSON(cut)) + "}\n"
				}
				written += line
			}
			if strings.Count(written, "\n") < 9 {
				t.Errorf("%d lines", strings.Count(written, "\n"))
			}
			if *update {
				must(t, os.WriteFile(path, []byte(written), 0o644))
			} else if written != text {
				t.Error("the file is not as -update writes it")
			}
		})
	}
}

// TestCleanVectorsFault: each kind of fault is found.
func TestCleanVectorsFault(t *testing.T) {
	v := cleanVector{Text: "ab<U+202E>cde\u0301f", Characters: 9, Columns: 40}
	for got, want := range map[string]string{
		"ab…(9 characters)…f":                            "",
		"ab<U+202E>…(9 characters)…f":                    "",
		"ab…f":                                           "does not say how long it was",
		"ab…(8 characters)…f":                            "does not say how long it was",
		"…(9 characters)…f":                              "is not the beginning and the end",
		"ac…(9 characters)…f":                            "is not the beginning and the end",
		"ab…(9 characters)…g":                            "is not the beginning and the end",
		"ab<U+…(9 characters)…f":                         "has a part of an escape",
		"ab…(9 characters)…\u0301f":                      "has a mark that has lost its letter",
		"ab<U+202E>cd…(9 characters)…<U+202E>cde\u0301f": "is too wide",
	} {
		if fault := v.cutFault(got); fault != want {
			t.Errorf("%q: %s, want %s", got, fault, want)
		}
	}
}
