package main

// An old vault put back while nothing runs: what the log outside of it tells at
// the next start, and what nothing can tell.

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// copies puts files of the home aside, and returns what puts them back.
func (w *world) copies(names ...string) (back func()) {
	w.t.Helper()
	kept := map[string][]byte{}
	for _, name := range names {
		path := filepath.Join(w.home, name)
		text, err := os.ReadFile(path)
		must(w.t, err)
		kept[path] = text
	}
	return func() {
		w.t.Helper()
		for path, text := range kept {
			must(w.t, os.WriteFile(path, text, 0o600))
		}
	}
}

// lock ends the keeper as a person does.
func (w *world) lock(p *person) {
	w.t.Helper()
	if _, errOut, code := w.done(w.command("lock")); code != 0 {
		w.t.Fatal(errOut)
	}
	p.ends()
}

const laterPass = "battery horse staple"

// passwd changes the passphrase to laterPass.
func (w *world) passwd() {
	w.t.Helper()
	p := w.atTerminal("passwd")
	p.type_("passphrase: $", testPass+"\r")
	p.type_("new passphrase: $", laterPass+"\r")
	p.type_("the same again: $", laterPass+"\r")
	p.sees("was changed")
	p.ends()
}

// screen is what the terminal has shown so far.
func (p *person) screen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.shown)
}

// gaps returns what the lines audit-gap of the log say.
func (w *world) gaps() string {
	var all []string
	for _, e := range w.logged() {
		if e.Event == "audit-gap" {
			all = append(all, e.Outcome)
		}
	}
	return strings.Join(all, "; ")
}

// TestOldVaultAtUnlock puts an older vault back while nothing runs. The person
// is told and the log keeps it, save where the log was put back with it.
// [AUD-15] [AUD-16]
func TestOldVaultAtUnlock(t *testing.T) {
	const killed = "the keeper was killed, or an older vault was put back"
	const older = "an older vault was put back, or its last save failed"
	kill := func(_ *world, p *person) { p.cmd.Process.Kill(); p.ends() }
	for _, c := range []struct {
		name   string
		copied []string // after the first save, to be put back
		end    func(w *world, p *person)
		want   string // "" if there is nothing to see
	}{
		{"nothing put back", nil, (*world).lock, ""},
		{"after a lock", []string{"vault"}, (*world).lock, older},
		{"after a kill", []string{"vault"}, kill, killed},
		{"killed, nothing put back", nil, kill, ""},
		{"killed before a save, nothing put back", nil, func(w *world, p *person) {
			p.asks(t, w.command("list"), "list")
			kill(w, p)
		}, killed},
		{"after a change of the passphrase", []string{"vault"}, func(w *world, p *person) {
			w.lock(p)
			w.passwd()
		}, older},
		{"after a change of the passphrase and an unlock", []string{"vault"}, func(w *world, p *person) {
			w.lock(p)
			w.passwd()
			p = w.atTerminal("unlock")
			p.type_("passphrase: $", laterPass+"\r")
			p.sees(`Ctrl-C locks\.`)
			kill(w, p)
		}, "or made under a later passphrase"},
		{"with the log of its time", []string{"vault", "audit.jsonl"}, (*world).lock, ""},
		{"with no log", []string{"vault"}, func(w *world, p *person) {
			w.lock(p)
			must(t, os.Remove(auditPath(w.home)))
		}, "the log ended at 0, the vault remembers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.unlock()
			w.set(p, "acme", "A", "first")
			back := w.copies(c.copied...)
			w.set(p, "acme", "B", "second")
			c.end(w, p)
			back()
			p = w.unlock()
			shown := p.screen()
			told := strings.Contains(shown, "note: the l")
			if told != (c.want != "") || !strings.Contains(strings.ReplaceAll(shown, "\r\n   ", " "), c.want) {
				t.Errorf("told %v, want %q:\n%s", told, c.want, shown)
			}
			if gaps := w.gaps(); (gaps != "") != (c.want != "") || !strings.Contains(gaps, c.want) {
				t.Errorf("the log says %q, want %q", gaps, c.want)
			}
			w.lock(p)
			p = w.unlock()
			if shown := p.screen(); strings.Contains(shown, "note: the l") {
				t.Errorf("told again:\n%s", shown)
			}
			w.lock(p)
		})
	}
}

// asks runs a command that the person allows.
func (p *person) asks(t *testing.T, cmd *exec.Cmd, action string) {
	t.Helper()
	must(t, cmd.Start())
	p.answers(action, "o")
	must(t, cmd.Wait())
}

// TestOldVaultWithoutKeeper: a command that is its own keeper, and passwd, tell it
// too: the save that they make hides it from the next unlock. [AUD-16]
func TestOldVaultWithoutKeeper(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"list"}, {"passwd"}} {
		w := newWorld(t)
		p := w.unlock()
		back := w.copies("vault")
		w.set(p, "acme", "A", "first")
		w.lock(p)
		back()
		p = w.atTerminal(args...)
		p.type_("passphrase: $", testPass+"\r")
		p.sees(`note: the log goes on to \d+, the vault remembers \d+:\s+an older vault was put back`)
		if args[0] == "passwd" {
			p.type_("new passphrase: $", "\x03")
		}
		p.ends()
		if gaps := w.gaps(); !strings.Contains(gaps, "an older vault was put back") {
			t.Errorf("%v: the log says %q", args, gaps)
		}
	}
}
