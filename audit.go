package main

// The audit log (SPEC §10): one JSON object a line, members in this order.
//
//	{"number":7,"time":"2026-11-23T14:02:11.000000000Z","request":12,"event":"read",
//	 "actor":{"exe":"/usr/bin/node","pid":4121,"ancestors":[{"pid":4100,"exe":"/usr/bin/zsh"}],
//	 "agent":"no"},"claim":"","environment":"acme-dev","path":"/home/you/acme/.env",
//	 "names":["API_KEY"],"decision":"allow","by":"once","outcome":"delivered","mac":B64(32)}
//
// mac = HMAC-SHA-256(key, the mac before (32 zero bytes at first) || the line
// without its mac member and without its newline) [AUD-2]. Never a value, and
// never an argument of a program, which may hold one [AUD-7].

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	auditLineMax = 64 << 10         // bytes of a line with its newline
	auditTail    = 4 * auditLineMax // bytes read back to continue: three lines and more
	auditTextMax = 1 << 10          // bytes of one text; six times that when escaped

	auditMACStart = `,"mac":"`
	auditMACEnd   = `"}`
	auditMACSize  = len(auditMACStart) + 44 + len(auditMACEnd) // 44: base64 of 32 bytes
)

// auditHead is where the log ends: what the vault remembers at each save.
type auditHead struct {
	Number uint64
	MAC    []byte
}

// auditProcess is one step of an actor's parentage.
type auditProcess struct {
	PID int    `json:"pid"`
	Exe string `json:"exe"`
}

// auditActor is who did it.
type auditActor struct {
	Exe       string         `json:"exe"`
	PID       int            `json:"pid"`
	Ancestors []auditProcess `json:"ancestors"`
	Agent     string         `json:"agent"` // "yes", "no" or "unknown"
}

// auditEntry is one line. The log fills in Number and Time, and cuts Names and
// ancestors where they are too long, with the count of what was left out.
type auditEntry struct {
	Number      uint64     `json:"number"`
	Time        string     `json:"time"`
	Request     uint64     `json:"request"`
	Event       string     `json:"event"` // an action, or what else happened
	Actor       auditActor `json:"actor"`
	Claim       string     `json:"claim"`
	Environment string     `json:"environment"`
	Path        string     `json:"path"`
	Names       []string   `json:"names"`
	More        int        `json:"more,omitempty"` // names and ancestors left out
	Decision    string     `json:"decision"`
	By          string     `json:"by"` // the rule, or the answer
	Outcome     string     `json:"outcome"`
}

// auditOf makes the entry for a request. Of the actor it takes no argument and
// no directory. [AUD-7] (SPEC §10)
func auditOf(r *request, decision, by, outcome string) auditEntry {
	e := auditEntry{Request: r.number, Event: string(r.action), Claim: r.claim,
		Environment: r.object.environmentName(), Path: r.object.paths(), Names: r.object.names,
		Decision: decision, By: by, Outcome: outcome}
	if p := r.actor; p != nil {
		agent := map[agentState]string{agentYes: "yes", agentNo: "no"}[p.agent]
		e.Actor = auditActor{Exe: p.exe, PID: p.pid, Agent: agent}
		for _, a := range p.ancestors {
			e.Actor.Ancestors = append(e.Actor.Ancestors, auditProcess{a.pid, a.exe})
		}
	}
	return e
}

// encode returns the line without its mac, short enough to get one. Texts are
// cut first, so that with both lists halved down to nothing it always fits.
// [AUD-1] (SPEC §10)
func (e auditEntry) encode() []byte {
	for _, s := range []*string{&e.Event, &e.Actor.Exe, &e.Claim, &e.Environment, &e.Path,
		&e.Decision, &e.By, &e.Outcome} {
		*s = cutText(*s)
	}
	if e.Actor.Agent == "" {
		e.Actor.Agent = "unknown"
	}
	names := append([]string{}, e.Names...) // never null
	ancestors := append([]auditProcess{}, e.Actor.Ancestors...)
	for i := range ancestors {
		ancestors[i].Exe = cutText(ancestors[i].Exe) // [AUD-8]
	}
	for {
		e.Names, e.Actor.Ancestors = names, ancestors
		line := sure(json.Marshal(e))
		if len(line)+auditMACSize < auditLineMax || len(names)+len(ancestors) == 0 {
			return line
		}
		e.More += (len(names)+1)/2 + (len(ancestors)+1)/2
		names, ancestors = names[:len(names)/2], ancestors[:len(ancestors)/2]
	}
}

// cutText cuts a long text at a character's border. [AUD-8] (SPEC §10)
func cutText(s string) string {
	if len(s) <= auditTextMax {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(s[:auditTextMax], ""), len(s))
}

// auditMAC returns the mac of a line that follows the one with the mac prev.
// [AUD-2] (SPEC §10)
func auditMAC(key, prev, line []byte) []byte {
	h := hmac.New(sha256.New, key)
	if prev == nil { // before the first line
		prev = make([]byte, sha256.Size)
	}
	h.Write(prev)
	h.Write(line)
	return h.Sum(nil)
}

// sealLine puts the mac into an encoded line and ends it.
func sealLine(line, mac []byte) []byte {
	return fmt.Appendf(nil, "%s%s%s%s\n", line[:len(line)-1], auditMACStart,
		base64.StdEncoding.EncodeToString(mac), auditMACEnd)
}

// splitLine takes a line apart into what it says, what the mac covers, and the
// mac, which has one place and one spelling.
func splitLine(line []byte) (e auditEntry, body, mac []byte, err error) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	at := max(len(line)-auditMACSize, 0)
	text, start := bytes.CutPrefix(line[at:], []byte(auditMACStart))
	text, end := bytes.CutSuffix(text, []byte(auditMACEnd))
	body = append(bytes.Clone(line[:at]), '}')
	mac, err = decodeBase64(text)
	if !start || !end || err != nil || len(mac) != sha256.Size || json.Unmarshal(body, &e) != nil {
		return auditEntry{}, nil, nil, errors.New("malformed line")
	}
	return e, body, mac, nil
}

// auditLog is the open log. Only the holder of keeper.lock has one.
type auditLog struct {
	mu     sync.Mutex // guards all below, and the order of lines
	f      *os.File
	path   string
	key    []byte
	last   auditHead
	newl   bool   // the file ends in the middle of a line
	gap    string // how its end does not fit the vault, or ""
	broken error  // set for good once the file's state is unknown
}

// openAudit opens the log and continues after its last good line, or after what
// the vault remembers, whichever is later. An end that does not fit the vault is
// recorded by a line "audit-gap" and does not stop the service. [AUD-15]
// [AUD-16] (SPEC §10)
func openAudit(path string, key []byte, head auditHead) (*auditLog, error) {
	f, err := openPrivate(path, os.O_RDWR|os.O_APPEND|os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("cannot use the audit log: %w", err)
	}
	a := &auditLog{f: f, path: path, key: key}
	a.gap, err = a.resume(head)
	if err == nil && a.gap != "" {
		err = a.write(auditEntry{Event: "audit-gap", Outcome: a.gap})
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot continue audit log %q: %v", path, err)
	}
	return a, nil
}

// resume finds the last good line in the file's tail, and says what is wrong
// with the end, or "".
func (a *auditLog) resume(head auditHead) (gap string, err error) {
	size, err := a.f.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	tail := make([]byte, min(size, auditTail))
	if _, err := a.f.ReadAt(tail, size-int64(len(tail))); err != nil {
		return "", err
	}
	a.newl = len(tail) > 0 && tail[len(tail)-1] != '\n'
	// The tail's first line cannot be checked unless it is the file's first: it
	// only lends its mac to the next.
	prev, good, locked := []byte(nil), true, false
	if size > int64(len(tail)) {
		_, tail, _ = bytes.Cut(tail, []byte("\n"))
	}
	for line := range bytes.Lines(tail) {
		e, body, mac, err := splitLine(line)
		good = err == nil && (hmac.Equal(mac, auditMAC(a.key, prev, body)) ||
			e.Number == head.Number && hmac.Equal(mac, head.MAC))
		if prev = mac; good {
			a.last = auditHead{e.Number, mac}
			locked = locked || e.Number > head.Number && e.Event == "lock"
		}
	}
	switch found := a.last.Number; {
	case found < head.Number:
		a.last = auditHead{head.Number, bytes.Clone(head.MAC)}
		return fmt.Sprintf("the log ended at %d, the vault remembers %d", found, head.Number), nil
	case !good || a.newl:
		return fmt.Sprintf("the lines after %d were damaged, or made under a later passphrase", found), nil
	case found > head.Number:
		return laterThanVault(found, head.Number, locked), nil
	}
	return "", nil
}

// laterThanVault is said of a log that goes on after what the vault remembers.
// Each lock saves the vault, so that one which does not know of a lock is not
// the last one; without a lock, a killed keeper leaves the same. [AUD-16]
// (SPEC §10)
func laterThanVault(found, remembered uint64, locked bool) string {
	const format = "the log goes on to %d, the vault remembers %d: "
	if locked {
		return fmt.Sprintf(format+"an older vault was put back, or its last save failed", found, remembered)
	}
	return fmt.Sprintf(format+"the keeper was killed, or an older vault was put back", found, remembered)
}

// warning is what the person is told of a log that does not fit the vault, or
// "". [AUD-16] (SPEC §10)
func (a *auditLog) warning() string {
	if a.gap == "" {
		return ""
	}
	return strings.Replace(a.gap, ": ", ":\n   ", 1) + ".\n" +
		"   If you did not expect that, see keepmum log, and what is stored."
}

// write appends one line, in one write. After an error the caller must deny: no
// record, no delivery. What was written in part is taken back, and where that
// fails too, the log takes nothing more. [AUD-9] [AUD-10] (SPEC §10)
func (a *auditLog) write(e auditEntry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	e.Number, e.Time = a.last.Number+1, time.Now().UTC().Format("2006-01-02T15:04:05.000000000Z")
	body := e.encode()
	size, err := a.check()
	if err != nil {
		return err
	}
	mac := auditMAC(a.key, a.last.MAC, body)
	line := sealLine(body, mac)
	if a.newl {
		line = append([]byte("\n"), line...)
	}
	if _, err := a.f.Write(line); err != nil {
		if back := a.f.Truncate(size); back != nil {
			a.broken = fmt.Errorf("audit log %q is damaged (%v): lock and unlock again", a.path, back)
		}
		return fmt.Errorf("cannot write the audit log: %v: make room on the disk", err)
	}
	a.last, a.newl = auditHead{e.Number, mac}, false
	return nil
}

// check returns the file's size if it is still the one at its path: a record in
// a file that somebody has removed is no record. [AUD-11] (SPEC §10)
func (a *auditLog) check() (size int64, err error) {
	if a.broken != nil {
		return 0, a.broken
	}
	ours, err := a.f.Stat()
	if err != nil {
		return 0, err
	}
	if named, err := os.Lstat(a.path); err != nil || !os.SameFile(ours, named) {
		return 0, fmt.Errorf("audit log %q was moved or removed: lock and unlock again", a.path)
	}
	return ours.Size(), nil
}

// head returns where the log ends.
func (a *auditLog) head() auditHead {
	a.mu.Lock()
	defer a.mu.Unlock()
	return auditHead{a.last.Number, bytes.Clone(a.last.MAC)}
}

// sync waits until the disk has every line.
func (a *auditLog) sync() error { return a.f.Sync() }

// close ends the log.
func (a *auditLog) close() error { return a.f.Close() }

// verifyAudit checks the whole log, against the head that the vault remembers
// too, and returns how many lines are good. The error names the first line that
// was changed, removed or added. keyFor gives the key of a line's time.
// [AUD-13] [AUD-14] (SPEC §10)
func verifyAudit(r io.Reader, keyFor func(number uint64) []byte, head auditHead) (int, error) {
	in := bufio.NewReaderSize(r, auditLineMax)
	last := auditHead{}
	for at := 1; ; at++ {
		line, err := in.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			break
		}
		e, body, mac, bad := splitLine(line)
		switch {
		case err != nil && err != io.EOF && err != bufio.ErrBufferFull:
			err = fmt.Errorf("cannot read the audit log: %v", err)
		case err != nil || bad != nil:
			err = fmt.Errorf("line %d: changed", at)
		case e.Number <= last.Number || e.Number > last.Number+1 && appearsLater(in, last.Number+1):
			err = fmt.Errorf("line %d added or reordered", at)
		case e.Number > last.Number+1:
			err = fmt.Errorf("line %d: number %d follows %d: %d lines removed", at, e.Number,
				last.Number, e.Number-last.Number-1)
		case !hmac.Equal(mac, auditMAC(keyFor(e.Number), last.MAC, body)):
			err = fmt.Errorf("line %d: changed", at)
		case e.Number == head.Number && !hmac.Equal(mac, head.MAC):
			err = fmt.Errorf("line %d: not the one that the vault remembers", at)
		}
		if err != nil {
			return at - 1, err
		}
		last = auditHead{e.Number, mac}
	}
	if last.Number < head.Number {
		return int(last.Number), fmt.Errorf("ends at %d, the vault remembers %d: %d lines removed"+
			" at the end", last.Number, head.Number, head.Number-last.Number)
	}
	return int(last.Number), nil
}

// appearsLater reports whether a number that was left out comes after all: then
// lines were exchanged, not removed.
func appearsLater(in *bufio.Reader, number uint64) bool {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return false
		}
		if e, _, _, err := splitLine(line); err == nil && e.Number == number {
			return true
		}
	}
}

// formatAudit returns one line of the log for a person to read. Every text in it
// came from outside and is cleaned (SPEC §10).
func formatAudit(line []byte) string {
	e, _, _, err := splitLine(line)
	if err != nil {
		return "unreadable line: " + clean(string(line), 120)
	}
	at := clean(e.Time, 40)
	if t, err := time.Parse(time.RFC3339Nano, e.Time); err == nil {
		at = t.Local().Format("2006-01-02 15:04:05")
	}
	out := fmt.Sprintf("#%d %s %s", e.Number, at, clean(e.Event, 20))
	add := func(separator string, texts ...string) {
		for _, s := range texts {
			if s != "" {
				out += separator + clean(s, 120)
				separator = ", "
			}
		}
	}
	add(": ", e.Decision, e.By, e.Outcome)
	if e.Actor.PID != 0 {
		add("; ", fmt.Sprintf("%s (pid %d, agent %s)", cmp.Or(e.Actor.Exe, "(cannot be read)"),
			e.Actor.PID, e.Actor.Agent))
	}
	add("; ", e.Environment, e.Path, strings.Join(e.Names, " "))
	if e.More > 0 {
		out += fmt.Sprintf(" and %d more", e.More)
	}
	return out
}
