package main

// SPEC §12 says of each attack what stops it, and what holds that: tests, or
// cases of the suite. Here the table is held to its word.

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(`)
	codeSpan = regexp.MustCompile("`([^`]+)`")
)

// testNames are the names of all tests and fuzz targets, for every system.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		for _, m := range testFunc.FindAllStringSubmatch(readDoc(t, file), -1) {
			names[m[1]] = true
		}
	}
	return names
}

// threats returns the cells of each row of the table of a text that has head
// as its first cell.
func threats(text, head string) (rows [][]string) {
	_, table, _ := strings.Cut(text, "\n| "+head+" |")
	for _, line := range strings.Split(table, "\n")[1:] {
		if !strings.HasPrefix(line, "|") {
			break
		}
		if !strings.HasPrefix(line, "|---") {
			rows = append(rows, strings.Split(strings.Trim(line, "| "), " | "))
		}
	}
	return rows
}

// TestThreatsAreHeld: every row of the threat model names what holds it, all of
// which exists; only where nothing stops an attack may nothing hold.
func TestThreatsAreHeld(t *testing.T) {
	tests, rows := testNames(t), threats(readDoc(t, "SPEC.md"), "who")
	if len(rows) < 20 {
		t.Fatalf("found %d rows in the table of SPEC §12", len(rows))
	}
	for _, row := range rows {
		if len(row) != 5 {
			t.Errorf("%q has %d cells, want 5", row[0], len(row))
			continue
		}
		names := codeSpan.FindAllStringSubmatch(row[4], -1)
		if len(names) == 0 && !(row[4] == "nothing" && strings.HasPrefix(row[2], "nothing")) {
			t.Errorf("%q names no test", row[0])
		}
		for _, m := range names {
			_, err := os.Stat("conform/cases/" + m[1] + ".txt")
			if !tests[m[1]] && err != nil {
				t.Errorf("%q is held by %s, which is no test and no case", row[0], m[1])
			}
		}
	}
}

// TestAssuranceCommands: the tests that docs/assurance.md tells to run exist.
func TestAssuranceCommands(t *testing.T) {
	tests, found := testNames(t), 0
	for _, m := range regexp.MustCompile(`-run '?([A-Za-z|]+)`).FindAllStringSubmatch(readDoc(t, "docs/assurance.md"), -1) {
		for _, want := range strings.Split(m[1], "|") {
			found++
			known := false
			for name := range tests {
				known = known || strings.HasPrefix(name, want)
			}
			if !known {
				t.Errorf("docs/assurance.md runs %s, which no test is named", want)
			}
		}
	}
	if found < 5 {
		t.Errorf("found %d tests in the commands of docs/assurance.md", found)
	}
}
