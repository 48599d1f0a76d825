package main

import (
	"testing"
	"time"
)

// patience is how long a test waits for what must come, on a busy machine too.
const patience = time.Minute

// waitFor polls until done says so and fails the test after that.
func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}
