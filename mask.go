package main

// Masking: what a child writes goes through here, and a concealed value in it
// is replaced. It hides accidents, a stack trace or an "env" too many. It is no
// wall: the child has the values and may write them in another way (SPEC §12).

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"sync"
	"time"
)

// maskText stands where a value was. [RUN-18]
const maskText = "<concealed by keepmum>"

const (
	// A program that asks a question, or echoes a key, waits: what it wrote
	// last may begin like a value and be held. Then, after maskQuiet, up to
	// maskShown bytes of it are written, and never a larger part than a quarter
	// of the value that it may become. [RUN-21]
	maskQuiet = 20 * time.Millisecond
	maskShown = 3
	maskShare = 4

	maskLeast = 4 // bytes of a pattern
)

// patterns are the byte strings to be replaced, by their first two bytes, the
// longest first. first holds the length of the shortest that begins so.
type patterns struct {
	first  [256]int
	starts map[[2]byte][][]byte
}

// newPatterns sorts texts, of which those that are too short are left out.
func newPatterns(texts [][]byte) *patterns {
	p := &patterns{starts: map[[2]byte][][]byte{}}
	for _, text := range texts {
		if len(text) < maskLeast {
			continue
		}
		key := [2]byte(text)
		p.starts[key] = append(p.starts[key], text)
		if n := p.first[text[0]]; n == 0 || len(text) < n {
			p.first[text[0]] = len(text)
		}
	}
	for key, list := range p.starts {
		slices.SortFunc(list, func(a, b []byte) int { return cmp.Or(len(b)-len(a), bytes.Compare(a, b)) })
		p.starts[key] = slices.CompactFunc(list, bytes.Equal)
	}
	return p
}

func (p *patterns) empty() bool { return len(p.starts) == 0 }

// match returns the length of the longest pattern at the start of text, and
// that of the shortest which text is only the beginning of; zero is none.
func (p *patterns) match(text []byte) (whole, open int) {
	if p.first[text[0]] == 0 || len(text) == 1 {
		return 0, p.first[text[0]]
	}
	for _, pattern := range p.starts[[2]byte(text)] {
		switch {
		case len(pattern) > len(text):
			if bytes.HasPrefix(pattern, text) {
				open = len(pattern)
			}
		case bytes.HasPrefix(text, pattern):
			return len(pattern), open
		}
	}
	return 0, open
}

// masker is a writer that replaces patterns on their way to out, wherever the
// writes cut them. What cannot be the beginning of one is written at once. It
// implements *Running a program* (SPEC §11.1). [RUN-18] [RUN-20]
type masker struct {
	p   *patterns
	out io.Writer

	mu    sync.Mutex // guards what follows
	held  []byte     // from the first byte that is not decided yet
	shown int        // bytes of held that were written all the same
	cover int        // bytes of held that a written maskText stands for
	timer *time.Timer
	err   error // of out: nothing more is written
}

// newMasker makes a masker. Who made it calls flush at the end of the stream.
func newMasker(p *patterns, out io.Writer) *masker {
	m := &masker{p: p, out: out}
	m.timer = time.AfterFunc(time.Hour, m.quiet)
	m.timer.Stop()
	return m
}

// Write takes the next piece of the stream.
func (m *masker) Write(text []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = append(m.held, text...)
	m.decide(false)
	if len(m.held) > 0 {
		m.timer.Reset(maskQuiet)
	}
	return len(text), m.err
}

// flush ends the stream: nothing that is held can become a value any more.
func (m *masker) flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.timer.Stop()
	m.decide(true)
	return m.err
}

// decide writes all that can be decided now. Values may overlap: every byte
// that is in one is left out, and one maskText stands for those that hang
// together. [RUN-19]
func (m *masker) decide(end bool) {
	text, i := make([]byte, 0, len(m.held)), 0
	for ; i < len(m.held); i++ {
		whole, open := m.p.match(m.held[i:])
		if whole > 0 && i+whole > m.cover {
			if m.cover <= i {
				text = append(text, maskText...)
			}
			m.cover = i + whole
		}
		if open > 0 && !end {
			break
		}
		if i >= m.cover && i >= m.shown {
			text = append(text, m.held[i])
		}
	}
	left := copy(m.held, m.held[i:])
	clear(m.held[left:])
	m.held = m.held[:left]
	m.shown, m.cover = max(m.shown-i, 0), max(m.cover-i, 0)
	m.write(text)
}

func (m *masker) write(text []byte) {
	if m.err == nil && len(text) > 0 {
		_, m.err = m.out.Write(text)
	}
}

// quiet shows a short beginning when nothing followed it for a moment.
func (m *masker) quiet() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.held) == 0 || m.cover > 0 {
		return
	}
	_, open := m.p.match(m.held)
	if most := min(maskShown, open/maskShare); len(m.held) <= most {
		m.write(m.held[m.shown:])
		m.shown = len(m.held)
	}
}
