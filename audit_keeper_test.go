package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// auditLines returns the lines of the log.
func (w *world) auditLines() (lines []auditEntry) {
	w.t.Helper()
	text, err := os.ReadFile(auditPath(w.home))
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var e auditEntry
		if err := json.Unmarshal(line, &e); err != nil {
			w.t.Fatalf("%v in %s", err, line)
		}
		lines = append(lines, e)
	}
	return lines
}

// TestLinesOfARequest: the decision has one, and so has what came of a read and
// of what was allowed and failed. [AUD-5]
func TestLinesOfARequest(t *testing.T) {
	t.Parallel()
	w, p, path := mounted(t, "")
	cmd, _ := w.reads(path)
	p.answers("read", "o")
	cmd.Wait()
	cmd, _ = w.reads(path)
	p.answers("read", "n")
	cmd.Wait()
	file := filepath.Join(w.project, "some.env")
	put(t, file, "A=1\n")
	cmd = w.command("import", "acme", file)
	must(t, cmd.Start())
	p.asked("import")
	put(t, file, "A=2\n")
	p.presses("o")
	cmd.Wait()
	var got []string
	waitFor(t, "the outcomes", func() bool {
		got = nil
		for _, e := range w.auditLines() {
			if e.Event == "read" || e.Event == "import" {
				outcome, _, _ := strings.Cut(e.Outcome, ":")
				got = append(got, fmt.Sprintf("%s of %d: %s", e.Event, e.Request, strings.TrimSpace(e.Decision+" "+outcome)))
			}
		}
		return len(got) >= 6
	})
	// The set and the mount had the numbers 1 and 2.
	want := []string{"read of 3: allow", "read of 3: delivered", "read of 4: deny", "read of 4: refused",
		"import of 5: allow", "import of 5: failed"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestNoRecordNoDelivery: with the log gone a yes is a no, for values and for
// changes. [AUD-9] [AUD-11]
func TestNoRecordNoDelivery(t *testing.T) {
	t.Parallel()
	w, p, path := mounted(t, "")
	log := auditPath(w.home)
	if err := os.Rename(log, log+".away"); err != nil {
		t.Fatal(err)
	}
	cmd, out := w.reads(path)
	p.answers("read", "o")
	if cmd.Wait(); out.String() != lineRefused {
		t.Errorf("the reader got %q", out)
	}
	_, errOut, code := w.given(p, "append", "w", "set", "acme", "B")
	if code != 1 || !strings.Contains(errOut, "the audit log cannot be written") {
		t.Errorf("set: %d %q", code, errOut)
	}
	if err := os.Rename(log+".away", log); err != nil {
		t.Fatal(err)
	}
	if out, _, _ := w.answered(p, "list", w.command("list", "acme")); strings.Contains(out, "B") {
		t.Errorf("the variables are %q", out)
	}
}

// TestVaultRemembersTheLog as of each save and of the lock, so that an end that
// was cut off is missed [AUD-12] [AUD-13]; the next unlock says so and serves
// [AUD-15].
func TestVaultRemembersTheLog(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*world, *person){
		"killed after a save": func(_ *world, p *person) { p.cmd.Process.Kill() },
		"locked":              func(w *world, _ *person) { w.done(w.command("lock")) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := w.unlock()
			w.set(p, "acme", "A", "v")
			end(w, p)
			p.ends()
			text, err := os.ReadFile(auditPath(w.home))
			if err != nil {
				t.Fatal(err)
			}
			lines := bytes.SplitAfter(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
			text = bytes.Join(lines[:len(lines)-1], nil)
			if err := os.WriteFile(auditPath(w.home), text, 0o600); err != nil {
				t.Fatal(err)
			}
			p = w.unlock()
			gap := w.auditLines()[len(lines)-1]
			want := fmt.Sprintf("the log ended at %d, the vault remembers %d", len(lines)-1, len(lines))
			if gap.Event != "audit-gap" || gap.Outcome != want {
				t.Errorf("the line is %+v, want %q", gap, want)
			}
			_, errOut, code := w.done(w.command("log", "--verify"))
			want = fmt.Sprintf("line %d: number %d follows %d: 1 lines removed", len(lines), len(lines)+1, len(lines)-1)
			if code != 1 || !strings.Contains(errOut, want) {
				t.Errorf("log --verify: %d %q, want %q", code, errOut, want)
			}
		})
	}
}

// TestPasswdInTheLog: the event is the last line under the old key [AUD-4],
// which the vault keeps, and what follows it is under the new one [AUD-3].
func TestPasswdInTheLog(t *testing.T) {
	const second = "another passphrase"
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "A", "v")
	w.done(w.command("lock"))
	p.ends()
	p = w.atTerminal("passwd")
	p.type_("passphrase: $", testPass+"\r")
	p.type_("new passphrase: $", second+"\r")
	p.type_("the same again: $", second+"\r")
	p.sees("was changed")
	p.ends()
	last := w.auditLines()[len(w.auditLines())-1]
	p = w.atTerminal("list")
	p.type_("passphrase: $", second+"\r")
	p.ends()
	lowCost(t)
	v, err := openVault(vaultPath(w.home), []byte(second))
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	keys := v.view().audit.keys
	if len(keys) != 1 || last.Event != "passwd" || keys[0].through != last.Number {
		t.Fatalf("%d old keys, the last line is %+v", len(keys), last)
	}
	text, err := os.ReadFile(auditPath(w.home))
	if err != nil {
		t.Fatal(err)
	}
	keyFor := func(through uint64) func(uint64) []byte {
		return func(number uint64) []byte {
			if number <= through {
				return keys[0].key
			}
			return v.auditKey()
		}
	}
	n, err := verifyAudit(bytes.NewReader(text), keyFor(last.Number), auditHead{})
	if err != nil || uint64(n) <= last.Number {
		t.Errorf("verifyAudit = %d, %v; passwd is line %d", n, err, last.Number)
	}
	for _, through := range []uint64{last.Number - 1, last.Number + 1} {
		if _, err := verifyAudit(bytes.NewReader(text), keyFor(through), auditHead{}); err == nil {
			t.Errorf("the old key through line %d verifies as well", through)
		}
	}
}
