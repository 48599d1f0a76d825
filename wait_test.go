package main

import (
	"testing"
	"time"
)

// patience is how long a test waits for what must come, on a busy machine too.
const patience = time.Minute

// waitFor polls until done says so, and fails the test if it never does.
func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	if !eventually(patience, done) {
		t.Fatalf("waited in vain for %s", what)
	}
}

// eventually polls until done says so, and reports whether it did in time.
func eventually(limit time.Duration, done func() bool) bool {
	for end := time.Now().Add(limit); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
