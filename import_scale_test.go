package main

// Imports of files as large as one may be.

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// importsMany imports so many names, and the same again, tells what readers make of
// the values, and takes all of it back, as where a file cannot be replaced.
func importsMany(t testing.TB, names int) {
	k := &keeper{vault: newVault(t), audit: &auditLog{}}
	c := &call{k: k, r: &request{object: object{environment: "acme"}}}
	i := &imported{call: c}
	for n := range names {
		name := fmt.Sprintf("V%d", n)
		c.r.object.names = append(c.r.object.names, name)
		i.lines = append(i.lines, envLine{name: name, value: secret([]string{`\`, `'$`}[n*2/names])})
	}
	must(t, k.vault.update(i.store))
	c.r.object.environmentID, c.r.object.replaced = idText(i.now.id), slices.Clone(c.r.object.names)
	must(t, k.vault.update(i.store))
	list := i.now.notes(c.r.object.names)
	var b strings.Builder
	printFindings(&b, "", list)
	if len(list) != names || len(i.now.variables) != names {
		t.Errorf("%d findings of %d variables", len(list), len(i.now.variables))
	}
	if err := i.takeBack(errors.New("why")); err == nil || !strings.HasSuffix(err.Error(), ": why") {
		t.Errorf("taken back: %v", err)
	}
}

func TestImportMany(t *testing.T) { importsMany(t, 2000) }

// BenchmarkImportMany has 1 MiB of short names: no name is looked for in a list of
// all.
func BenchmarkImportMany(b *testing.B) {
	for b.Loop() {
		importsMany(b, 70000)
	}
}
