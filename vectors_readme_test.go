package main

// testdata/README.md is all that another implementation has beside SPEC.md, so
// it is held to the files: how many there are, the words at their top, and the
// examples.

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// vectorWords has, for each folder of vectors, what finds the words that a file
// of it uses.
var vectorWords = map[string]func(t *testing.T, path string) []string{
	"vault":  topWords,
	"audit":  topWords,
	"prompt": topWords,
	"policy": partWords,
	"dotenv": partWords,
	"clean":  memberWords,
	"mcp":    markWords,
}

// topWords are the names of the lines above the first empty one.
func topWords(t *testing.T, path string) (words []string) {
	top, _, _ := strings.Cut(readDoc(t, path), "\n\n")
	for line := range strings.SplitSeq(top, "\n") {
		name, _, _ := strings.Cut(line, ":")
		words = append(words, name)
	}
	return words
}

func partWords(t *testing.T, path string) []string {
	head, _ := readVector(t, path)
	return slices.Collect(maps.Keys(head))
}

func memberWords(t *testing.T, path string) (words []string) {
	for line := range strings.Lines(readDoc(t, path)) {
		var members map[string]json.RawMessage
		must(t, json.Unmarshal([]byte(line), &members))
		words = append(words, slices.Collect(maps.Keys(members))...)
	}
	return words
}

func markWords(t *testing.T, path string) (words []string) {
	for line := range strings.Lines(readDoc(t, path)) {
		if mark, _, _ := strings.Cut(line, " "); strings.Trim(mark, "<>~?") == "" {
			words = append(words, mark)
		}
	}
	return words
}

// vectorSection returns the section of testdata/README.md about a folder.
func vectorSection(t *testing.T, folder string, files int) string {
	t.Helper()
	readme := readDoc(t, "testdata/README.md")
	if row := fmt.Sprintf("\n| `%s` | %d |", folder, files); !strings.Contains(readme, row) {
		t.Errorf("testdata/README.md has no row %q", row)
	}
	heading := fmt.Sprintf("\n## %s: %d files\n", folder, files)
	_, section, found := strings.Cut(readme, heading)
	if !found {
		t.Errorf("testdata/README.md has no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

var readmeSpan = regexp.MustCompile("`([^`]+)`")

// tableWords are the words in the first column of a section's tables that have
// one of these headings.
func tableWords(section string, headings ...string) (words []string) {
	in := false
	for line := range strings.Lines(section) {
		cells := strings.Split(line, " | ")
		first := strings.TrimPrefix(cells[0], "| ")
		switch {
		case !strings.HasPrefix(line, "|"):
			in = false
		case slices.Contains(headings, first):
			in = true
		case in:
			for _, m := range readmeSpan.FindAllStringSubmatch(first, -1) {
				words = append(words, m[1])
			}
		}
	}
	slices.Sort(words)
	return words
}

// TestVectorsREADME: each folder, its number of files, and the words of its
// format are named, and no others.
func TestVectorsREADME(t *testing.T) {
	entries, err := os.ReadDir("testdata")
	must(t, err)
	folders := 0
	for _, entry := range entries {
		name := entry.Name()
		if !entry.IsDir() || slices.Contains([]string{"attack", "conform", "fuzz", "readers", "wycheproof"}, name) {
			continue
		}
		folders++
		files, _ := filepath.Glob("testdata/" + name + "/*")
		section := vectorSection(t, name, len(files))
		find := vectorWords[name]
		if find == nil {
			t.Errorf("nobody knows the words of testdata/%s", name)
			continue
		}
		used := map[string]bool{}
		for _, file := range files {
			for _, word := range find(t, file) {
				used[word] = true
			}
		}
		got, want := tableWords(section, "name", "word"), slices.Sorted(maps.Keys(used))
		if !slices.Equal(got, want) {
			t.Errorf("testdata/README.md has for %s the words %q\nits files have %q", name, got, want)
		}
	}
	if folders != len(vectorWords) {
		t.Errorf("%d folders of vectors, want %d", folders, len(vectorWords))
	}
}

// TestVectorsREADMEWording: the table of facts is the one that the tests use.
func TestVectorsREADMEWording(t *testing.T) {
	readme := readDoc(t, "testdata/README.md")
	if got, want := tableWords(readme, "in `says`"), slices.Sorted(maps.Keys(wordings)); !slices.Equal(got, want) {
		t.Errorf("testdata/README.md has the facts %q, want %q", got, want)
	}
	for tag, words := range wordings {
		row := regexp.MustCompile("(?m)^\\| `" + tag + "` \\| .* \\| " + regexp.QuoteMeta(words) + " \\|$")
		if !row.MatchString(readme) {
			t.Errorf("testdata/README.md has no row for %q that ends in %q", tag, words)
		}
	}
}

// TestVectorsREADMECites: the requirements that it names are there.
func TestVectorsREADMECites(t *testing.T) {
	spec := specRequirements(t)
	cited := specCite.FindAllStringSubmatch(readDoc(t, "testdata/README.md"), -1)
	if len(cited) < 30 {
		t.Errorf("found %d citations: the search is broken", len(cited))
	}
	for _, m := range cited {
		if _, ok := spec[m[1]]; !ok {
			t.Errorf("testdata/README.md cites [%s], which SPEC.md does not define", m[1])
		}
	}
}

var readmeExample = regexp.MustCompile("(?m)^Example, `([^`]+)`.*:\n\n((?:    .*\n|\n)+)")

// TestVectorsREADMEExamples: an example is a file; "…" stands for the rest of a
// line, or for lines that are left out.
func TestVectorsREADMEExamples(t *testing.T) {
	examples := readmeExample.FindAllStringSubmatch(readDoc(t, "testdata/README.md"), -1)
	if len(examples) != len(vectorWords) {
		t.Fatalf("testdata/README.md has %d examples, want one for each folder", len(examples))
	}
	for _, m := range examples {
		rest := strings.Split(readDoc(t, "testdata/"+m[1]), "\n")
		for line := range strings.SplitSeq(strings.TrimSpace(m[2]), "\n") {
			line = strings.TrimPrefix(line, "    ")
			begin, cut := strings.CutSuffix(line, "…")
			at := slices.IndexFunc(rest, func(l string) bool {
				return strings.TrimRight(l, " ") == line || cut && strings.HasPrefix(l, begin)
			})
			if at < 0 {
				t.Errorf("testdata/%s does not hold, or not in this order, %q", m[1], line)
				break
			}
			rest = rest[at+1:]
		}
	}
}
