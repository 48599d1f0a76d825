package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"time"
)

// tapeLimit bounds what is kept of one process: a subject that writes without
// end is stopped, not stored.
const tapeLimit = 64 << 20

var (
	errTooLate = errors.New("not within its time")
	errEnded   = errors.New("the process has ended")
)

// tape keeps what a process writes and lets one look for what was not yet
// looked at.
type tape struct {
	mu   sync.Mutex // guards what follows
	all  []byte
	read int
	grew chan struct{} // closed when something came
	done bool
}

func newTape() *tape { return &tape{grew: make(chan struct{})} }

// Write takes what the process wrote.
func (t *tape) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.all)+len(b) > tapeLimit {
		return 0, errors.New("too much output")
	}
	t.all = append(t.all, b...)
	t.wake()
	return len(b), nil
}

// end says that nothing more will come.
func (t *tape) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done = true
	t.wake()
}

func (t *tape) wake() {
	close(t.grew)
	t.grew = make(chan struct{})
}

// bytes is a copy of all that was written.
func (t *tape) bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.all)
}

// rest is what was not yet looked at.
func (t *tape) rest() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.all[t.read:])
}

// peek finds the pattern in what was not looked at, and moves on behind it.
func (t *tape) peek(want *regexp.Regexp) (groups []string, grew chan struct{}, done bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := want.FindSubmatchIndex(t.all[t.read:])
	if m == nil {
		return nil, t.grew, t.done
	}
	for i := 0; i < len(m); i += 2 {
		group := ""
		if m[i] >= 0 {
			group = string(t.all[t.read+m[i] : t.read+m[i+1]])
		}
		groups = append(groups, group)
	}
	t.read += m[1]
	return groups, nil, t.done
}

// await waits for the pattern.
func (t *tape) await(want *regexp.Regexp, until time.Time) ([]string, error) {
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	for {
		groups, grew, done := t.peek(want)
		if groups != nil {
			return groups, nil
		}
		if done {
			return nil, errEnded
		}
		select {
		case <-grew:
		case <-late.C:
			return nil, errTooLate
		}
	}
}

// canaryForms returns the forms in which a value could leave: as it is, in
// JSON, in a URL, in hexadecimal and in base64 wherever it begins in a group of
// three bytes. The outermost characters of base64 depend on the neighbours and
// are left out.
func canaryForms(value string) [][]byte {
	raw := encodeJSON(value)
	forms := [][]byte{[]byte(value), raw[1 : len(raw)-1], []byte(url.QueryEscape(value)),
		[]byte(url.PathEscape(value)), []byte(hex.EncodeToString([]byte(value))),
		bytes.ToUpper([]byte(hex.EncodeToString([]byte(value))))}
	for shift := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString(append(make([]byte, shift), value...))
			from := (shift*8 + 5) / 6
			if shift*8%6 != 0 {
				from = shift*8/6 + 1
			}
			to := (shift + len(value)) * 8 / 6
			forms = append(forms, []byte(text[from:to]))
		}
	}
	slices.SortFunc(forms, bytes.Compare)
	return slices.CompactFunc(forms, bytes.Equal)
}

// leaks reports whether text holds the value in any form.
func leaks(text []byte, value string) bool {
	return slices.ContainsFunc(canaryForms(value), func(form []byte) bool {
		return bytes.Contains(text, form)
	})
}
