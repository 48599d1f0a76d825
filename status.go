package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// statusReport is what keepmum status shows: nothing that another program of
// the user could not see by itself, and no name of a variable.
type statusReport struct {
	State        string        `json:"state"` // unlocked or locked
	PID          int           `json:"pid,omitempty"`
	Since        *time.Time    `json:"since,omitempty"`
	Environments int           `json:"environments"`
	Variables    int           `json:"variables"`
	Mounts       []mountReport `json:"mounts"`
	Grants       []grantReport `json:"grants"`
	Waiting      int           `json:"waiting"`
	RefusedReads int           `json:"refusedReads"`
	Exact        *bool         `json:"exact,omitempty"` // none where no keeper runs
	Note         string        `json:"note,omitempty"`
}

// mountReport is one mount and its latest read.
type mountReport struct {
	Path        string    `json:"path"`
	Environment string    `json:"environment"`
	State       string    `json:"state"`
	Why         string    `json:"why,omitempty"`
	Dialect     string    `json:"dialect"`
	LastRead    *lastRead `json:"lastRead,omitempty"`
}

// grantReport is one grant in force; ID is what revoke takes.
type grantReport struct {
	ID          uint64    `json:"id"`
	Action      action    `json:"action"`
	Lasts       string    `json:"lasts"`
	Ends        time.Time `json:"ends"`
	Program     string    `json:"program"`
	PID         int       `json:"pid"`
	Environment string    `json:"environment,omitempty"`
	Path        string    `json:"path,omitempty"`
}

// status reports on the keeper.
func (k *keeper) status() *statusReport {
	s := &statusReport{State: "unlocked", PID: os.Getpid(), Since: &k.began, Waiting: k.asker.count(),
		Mounts: []mountReport{}, Grants: []grantReport{}}
	if k.pipes != nil {
		exact, why := k.pipes.exact()
		s.Exact, s.Note = &exact, why
	}
	for _, e := range k.vault.view().environments {
		s.Environments++
		s.Variables += len(e.variables)
		for _, m := range e.mounts {
			s.Mounts = append(s.Mounts, k.mountReport(e, m))
		}
	}
	sort.Slice(s.Mounts, func(i, j int) bool { return s.Mounts[i].Path < s.Mounts[j].Path })
	for _, g := range k.grants.inForce(time.Now()) {
		o, lasts := g.request.object, g.word
		if g.request.action == actConnect && g.word == answerOnce {
			lasts = "this connection"
		}
		s.Grants = append(s.Grants, grantReport{ID: g.id, Action: g.request.action, Lasts: lasts,
			Ends: g.made.Add(g.lasts), Program: g.actor.exe, PID: g.actor.pid,
			Environment: o.environmentName(), Path: o.path})
	}
	k.mu.Lock()
	s.RefusedReads = k.refused
	k.mu.Unlock()
	return s
}

func (k *keeper) mountReport(e *environment, m *mount) mountReport {
	r := mountReport{Path: m.path, Environment: e.name, Dialect: string(orPortable(m.dialect)), State: k.stateOf(m.path)}
	piped := k.pipes == nil || k.pipes.serves(m.path)
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.served[m.path]; s != nil {
		r.Why, r.LastRead = s.why, s.last
	}
	switch {
	case r.State != mountBlocked || r.Why != "":
	case !piped:
		r.Why = "its pipe could not be put back, which is tried again each second; keepmum log says why"
	default: // since it was served
		r.Why = "the link is gone, or something else has its name: look at it, then mount it again"
	}
	return r
}

// stateLine is the keeper's one line of state. Who asks the person writes it, and
// must not wait for a file system: the mounts are as they were last seen.
func (k *keeper) stateLine() string {
	variables, mounts, served := 0, 0, 0
	view := k.vault.view()
	for _, e := range view.environments {
		variables, mounts = variables+len(e.variables), mounts+len(e.mounts)
	}
	k.mu.Lock()
	for _, s := range k.served {
		if s.state == mountServed {
			served++
		}
	}
	k.mu.Unlock()
	line := fmt.Sprintf("%s  unlocked: %s, %s, %s served", time.Now().Format("15:04:05"),
		count(len(view.environments), "Environment"), count(variables, "variable"), count(served, "mount"))
	if other := mounts - served; other > 0 {
		line += fmt.Sprintf(" (%d not: keepmum status)", other)
	}
	if k.policy.IdleLock > 0 {
		line += fmt.Sprintf("; idle lock %s", shortDuration(k.policy.IdleLock))
	}
	return line
}

// policyDigest tells one policy from another, for the vault to remember.
func policyDigest(p *policy) string {
	text, _ := json.Marshal(p.describe()) // strings only: it cannot fail
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// renderRead is the line that the keeper's terminal shows for the end of a
// read. Everything but a plain delivery is said loudly: the reader's library
// mostly runs on without variables and without an error.
func renderRead(r *request, word, detail, home string) string {
	who := "somebody who cannot be identified"
	if r.actor.pid != 0 {
		who = fmt.Sprintf("%s (pid %d)", clean(filepath.Base(r.actor.exe), 40), r.actor.pid)
	}
	at := time.Now().Format("15:04:05") + "  " + cleanPath(r.object.path, home, 60) + ": "
	switch word {
	case endDelivered:
		return at + strings.TrimSuffix("read by "+who+", as "+clean(detail, 20), ", as ") + "\n"
	case endTainted:
		return "\a" + at + "WARNING: another process may have the values that were read by " + who +
			"\n   its grants are gone; change the secrets of " + clean(r.object.environment, 60) + "\n"
	case endAbandoned:
		return at + "not taken (" + clean(detail, 80) + ") by " + who + "\n"
	}
	return at + "NO VALUES (" + strings.TrimSuffix(word+", "+clean(detail, 80), ", ") + ") for " + who + "\n"
}

func printStatus(w io.Writer, s *statusReport) {
	if s.State == "locked" {
		fmt.Fprintln(w, "locked: no keeper runs; start keepmum unlock in a terminal of your own")
		return
	}
	fmt.Fprintf(w, "unlocked by pid %d since %s: %s, %s, %d waiting, %s refused\n", s.PID,
		s.Since.Format("15:04:05"), count(s.Environments, "Environment"), count(s.Variables, "variable"),
		s.Waiting, count(s.RefusedReads, "read"))
	if s.Exact != nil && !*s.Exact {
		fmt.Fprintf(w, "note: opens are not counted exactly here (%s)\n", clean(s.Note, 100))
	}
	for _, m := range s.Mounts {
		last := "never read"
		if m.LastRead != nil {
			last = fmt.Sprintf("%s %s by %s (pid %d)", m.LastRead.Time.Format("15:04:05"),
				clean(m.LastRead.Outcome, 60), clean(m.LastRead.Program, 60), m.LastRead.PID)
		}
		state := m.State
		if m.Dialect != string(dialectPortable) {
			state += ", " + clean(m.Dialect, 20)
		}
		fmt.Fprintf(w, "mount  %s  (%s)  %s\n  %s\n", clean(m.Path, 100), clean(m.Environment, 60), state, last)
		if m.Why != "" { // [MNT-12]
			fmt.Fprintf(w, "  %s\n", clean(m.Why, 300))
		}
	}
	for _, g := range s.Grants {
		env := ""
		if g.Environment != "" {
			env = "  (" + clean(g.Environment, 60) + ")"
		}
		fmt.Fprintf(w, "grant %d  %s%s\n  %s, ends %s, %s\n", g.ID, g.Action, env,
			clean(g.Program, 80), g.Ends.Format("15:04:05"), g.Lasts)
	}
}
