package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// auditVector is a file of testdata/audit: members of the form "name: value", an
// empty line, and the log.
func auditVector(t testing.TB, path string) (members map[string]string, log []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	top, log, ok := bytes.Cut(text, []byte("\n\n"))
	members = map[string]string{}
	for line := range strings.Lines(string(top)) {
		name, value, found := strings.Cut(strings.TrimSpace(line), ": ")
		ok = ok && found
		members[name] = value
	}
	if !ok || members["comment"] == "" {
		t.Fatalf("%s has no good top", path)
	}
	return members, log
}

// auditVectors returns the files, of which there must be some.
func auditVectors(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/audit/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d files in testdata/audit, %v", len(files), err)
	}
	return files
}

// TestAuditVectors has logs with one fault or none. [AUD-2] [AUD-14]
func TestAuditVectors(t *testing.T) {
	for _, path := range auditVectors(t) {
		m, log := auditVector(t, path)
		key, err := hex.DecodeString(m["key"])
		must(t, err)
		var head auditHead
		var mac string
		fmt.Sscanf(m["head"], "%d %s", &head.Number, &mac)
		head.MAC, err = base64.StdEncoding.DecodeString(mac)
		must(t, err)
		got := "success"
		if _, err := verifyAudit(bytes.NewReader(log), func(uint64) []byte { return key },
			head); err != nil {
			got = err.Error()
		}
		if got != m["expect"] {
			t.Errorf("%s: %s, want %s", path, got, m["expect"])
		}
	}
}

func FuzzAuditLine(f *testing.F) {
	for _, path := range auditVectors(f) {
		_, log := auditVector(f, path)
		for line := range bytes.Lines(log) {
			f.Add(line)
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		formatAudit(line)
		n, verr := verifyAudit(bytes.NewReader(line), testKeyFor, auditHead{})
		e, body, mac, err := splitLine(line)
		if err != nil {
			if n != 0 {
				t.Errorf("verifyAudit takes %d lines of what cannot be split", n)
			}
			return
		}
		if again := sealLine(body, mac); !bytes.Equal(again, append(bytes.TrimSuffix(line,
			[]byte("\n")), '\n')) {
			t.Errorf("%q is put together as %q", line, again)
		}
		if verr == nil && (e.Number != 1 || !bytes.Equal(mac, auditMAC(auditTestKey, make([]byte, 32),
			body))) {
			t.Errorf("verifyAudit takes %q", line)
		}
	})
}
