package main

// Imports of files as large as one may be.

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// cpuSeconds is what this process has used.
func cpuSeconds() float64 {
	var r unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &r)
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

// TestImportScale: an import of 1 MiB of short names, over a first one, its
// warnings, and its end if a file cannot be replaced take seconds and not
// minutes: no name is looked for in a list of all.
func TestImportScale(t *testing.T) {
	k := &keeper{vault: newVault(t), audit: &auditLog{}}
	c := &call{k: k, r: &request{object: object{environment: "acme"}}}
	i := &imported{call: c}
	for n := range 70000 {
		name := fmt.Sprintf("V%d", n)
		c.r.object.names = append(c.r.object.names, name)
		i.lines = append(i.lines, envLine{name: name, value: secret([]string{`\`, `'$`}[n/35000])})
	}
	before := cpuSeconds()
	must(t, k.vault.update(i.store))
	c.r.object.environmentID, c.r.object.replaced = idText(i.now.id), slices.Clone(c.r.object.names)
	must(t, k.vault.update(i.store))
	list := i.now.notes(c.r.object.names)
	var b strings.Builder
	printFindings(&b, "", list)
	i.takeBack(errors.New("why"))
	if used := cpuSeconds() - before; used > 20 || len(list) != 70000 {
		t.Errorf("%.1f s for %d findings", used, len(list))
	}
}
