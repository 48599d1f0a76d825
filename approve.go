package main

// Asking the person. Rules that this file keeps:
//
//   - one question at a time, in the order they came [ASK-1];
//   - everything that is not a listed answer means no, or asks again: Enter,
//     end of input, silence, a closed terminal, a full queue [REQ-10];
//   - a question that nobody waits for any more is withdrawn [ASK-15].

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The answers. What is not a yes is a no.
const (
	answerOnce    = "once"
	answerValues  = "values" // once, and the values are typed now
	answerProcess = "process"
	answerTimed   = "timed"
	answerLocked  = "until locked"
	answerNo      = "no"
	answerNever   = "never"
)

const (
	maxWaiting   = 16  // requests of one actor that may wait [REQ-11]
	maxQuestions = 256 // of all actors [REQ-12]
	coolDown     = 30 * time.Second
	timedGrant   = 15 * time.Minute
	maxQueued    = 5 * time.Minute // until a question is shown [REQ-13]
	maxTries     = 3               // keys that are no answer, wrong passphrases [ASK-11] [ASK-16]
)

// answer is what came of a question.
type answer struct {
	word   string
	by     string            // who or what said so, for the audit
	values map[string]secret // typed by the person
	acted  chan struct{}     // closed when the answer is recorded and remembered
}

// done lets the next question come up, which this answer may decide. [ASK-2]
func (a answer) done() {
	if a.acted != nil {
		close(a.acted)
	}
}

func (a answer) yes() bool { return a.word != answerNo && a.word != answerNever && a.word != "" }

func no(by string) answer { return answer{word: answerNo, by: by} }

// question is a request that waits for the person.
type question struct {
	ctx     context.Context
	request *request
	costs   bool // a yes costs the passphrase
	timeout time.Duration
	got     chan answer // buffered: the asker may have left
}

// prompts asks the person, on the keeper's terminal, one question at a time.
// It implements *Requests, prompts, grants* (SPEC §5).
type prompts struct {
	term       *terminal
	home       string // shown as ~
	grantMax   time.Duration
	passphrase func([]byte) error
	decided    func(*request) (answer, bool) // by what was answered meanwhile
	silence    func(*request)                // "never"
	idle       func() string                 // the state line, shown when a key is pressed
	stop       func(why string)
	notify     string        // a program of the person's
	wake       chan struct{} // there is something to ask or to say
	ended      chan struct{}
	afterGone  time.Duration // run's own

	mu      sync.Mutex
	waiting map[string]int
	cool    map[string]time.Time
	queue   []*question
	held    []string // what was said and is not shown yet
	unsaid  int      // what there was no room for
}

// newPrompts returns the asker of a terminal; the caller fills in what it asks
// and tells.
func newPrompts(t *terminal) *prompts {
	return &prompts{term: t, wake: make(chan struct{}, 1), ended: make(chan struct{}),
		waiting: map[string]int{}, cool: map[string]time.Time{}}
}

// say leaves for run to show what happened, when no question is open: on its
// line it would look like an answer, and who says it must not wait for a
// terminal that somebody has stopped. [ASK-13]
func (p *prompts) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.held) >= maxQuestions {
		p.unsaid++
		return
	}
	p.held = append(p.held, fmt.Sprintf(format, args...))
	p.rouse()
}

// rouse wakes run; it is never early.
func (p *prompts) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// flush shows what was said meanwhile.
func (p *prompts) flush() {
	p.mu.Lock()
	text := strings.Join(p.held, "")
	if p.unsaid > 0 {
		text += fmt.Sprintf("   and %d more: keepmum log\n", p.unsaid)
	}
	p.held, p.unsaid = nil, 0
	p.mu.Unlock()
	if text != "" {
		p.term.print("%s", text)
	}
}

// ask puts a request to the person and waits for the answer, which is no when
// ctx ends first.
func (p *prompts) ask(ctx context.Context, r *request, costs bool, timeout time.Duration) answer {
	key := actorKey(r)
	if !p.enter(key) {
		return no("too many requests")
	}
	defer p.leave(key)
	queued, cancel := context.WithTimeout(ctx, maxQueued+timeout)
	defer cancel()
	q := &question{ctx: queued, request: r, costs: costs, timeout: timeout, got: make(chan answer, 1)}
	if !p.line(q) {
		return no("too many questions")
	}
	defer p.unline(q)
	select {
	case a := <-q.got:
		return a
	case <-p.ended:
		return no("locked")
	case <-queued.Done():
		if ctx.Err() == nil {
			return no("no answer")
		}
		return no("withdrawn")
	}
}

// enter counts a waiting request, or refuses an actor that floods. [REQ-11]
func (p *prompts) enter(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Before(p.cool[key]) {
		return false
	}
	delete(p.cool, key)
	if p.waiting[key] >= maxWaiting {
		p.cool[key] = now.Add(coolDown)
		return false
	}
	p.waiting[key]++
	return true
}

func (p *prompts) leave(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting[key]--; p.waiting[key] <= 0 {
		delete(p.waiting, key)
	}
}

// line puts a question at the end of the queue, if it has room. [REQ-12]
func (p *prompts) line(q *question) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) >= maxQuestions {
		return false
	}
	p.queue = append(p.queue, q)
	p.rouse()
	return true
}

// unline takes a question that nobody waits for out of the queue.
func (p *prompts) unline(q *question) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = slices.DeleteFunc(p.queue, func(other *question) bool { return other == q })
}

// next takes the first question of the queue; nil: there is none.
func (p *prompts) next() (q *question) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) > 0 {
		q, p.queue = p.queue[0], p.queue[1:]
		p.rouse() // there may be another
	}
	return q
}

// count returns how many requests wait.
func (p *prompts) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, w := range p.waiting {
		n += w
	}
	return n
}

// run is the one goroutine that talks with the person. It ends with ctx, with
// Ctrl-C, and when the terminal hangs up.
func (p *prompts) run(ctx context.Context) {
	defer close(p.ended)
	var told time.Time
	for {
		p.flush()
		select {
		case <-p.wake:
			if q := p.next(); q != nil && q.ctx.Err() == nil {
				p.treat(ctx, q)
			}
		case b := <-p.term.keys:
			if b == keyInterrupt { // [ASK-12]
				p.stop("Ctrl-C")
				return
			}
			if time.Since(told) > time.Second { // once for a word typed by mistake
				told = time.Now()
				p.say("%s\n", p.idle())
			}
		case <-p.term.gone:
			p.stop("terminal closed")
			return
		case <-ctx.Done():
			return
		}
	}
}

// treat answers one question, by the person unless it is decided by now. [ASK-2]
func (p *prompts) treat(ctx context.Context, q *question) {
	a, done := p.decided(q.request)
	if !done {
		a = p.put(ctx, q)
	}
	if a.word == answerNever {
		p.silence(q.request) // before its next one is shown [GRT-17]
	}
	p.hand(ctx, q, a)
}

// hand gives the answer to who asked and waits until it is acted on, so that it
// can decide the next question; not for long, as the asker may have gone.
func (p *prompts) hand(ctx context.Context, q *question, a answer) {
	a.acted = make(chan struct{})
	q.got <- a
	if q.ctx.Err() != nil {
		return
	}
	select {
	case <-a.acted:
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
}

// put shows one question and returns the answer. It ends early with locked,
// the keeper's own context.
func (p *prompts) put(locked context.Context, q *question) answer {
	ctx, cancel := context.WithTimeout(q.ctx, q.timeout) // [ASK-14]
	defer cancel()
	defer context.AfterFunc(locked, cancel)()
	p.term.rawAgain()
	offered := choicesFor(q.request, min(timedGrant, p.grantMax))
	columns, rows := p.term.size()
	text := renderPrompt(q.request, offered, q.costs, columns, rows, p.home, time.Now())
	if err := p.term.print("\a\n%s", text); err != nil {
		// Somebody may have stopped the terminal: a key that comes now was meant
		// for what can be seen, and that is not this question. [ASK-21]
		return no("not shown")
	}
	p.tell(q.request)
	a, err := p.answer(ctx, q, offered)
	switch {
	case err == nil:
	case locked.Err() != nil:
		a = no("locked")
	case q.ctx.Err() != nil:
		a = no("withdrawn")
		p.afterGone = earlyKey
	case errors.Is(err, context.DeadlineExceeded):
		a = no("no answer")
		p.afterGone = earlyKey
	case errors.Is(err, errInterrupt):
		a = no("Ctrl-C")
		p.stop("Ctrl-C")
	case errors.Is(err, errHangup):
		a = no("terminal closed")
		p.stop("terminal closed")
	default:
		a = no(err.Error())
	}
	if a.yes() && (q.costs || a.word == answerValues) {
		p.term.print("   ") // on a line of its own, after what was typed
	}
	p.term.print("%s", renderAnswer(a, q.timeout))
	return a
}

// answer reads keys until one of them is an answer. Keys of the first moment
// were meant for something else.
func (p *prompts) answer(ctx context.Context, q *question, offered []choice) (answer, error) {
	// After a question that went away, who typed an answer to it types on. [ASK-9]
	if err := p.term.settle(ctx, earlyKey+p.afterGone); err != nil {
		return answer{}, err
	}
	p.afterGone = 0
	for range maxTries {
		key, err := p.term.key(ctx)
		if err != nil {
			return answer{}, err
		}
		word := wordOf(key, offered)
		if word == "" { // [ASK-11]
			p.term.print("\n   one of the letters in brackets; Enter is no  > ")
			if err := p.term.settle(ctx, earlyKey); err != nil {
				return answer{}, err
			}
			continue
		}
		a := answer{word: word, by: "person: " + word}
		if !a.yes() {
			return a, nil
		}
		return p.seal(ctx, q, a)
	}
	return no("no listed answer"), nil
}

// seal takes what a yes costs and carries: the passphrase, the values. [ASK-16]
func (p *prompts) seal(ctx context.Context, q *question, a answer) (answer, error) {
	if q.costs || a.word == answerValues {
		p.term.print("%s\n", a.word)
		if err := p.term.settle(ctx, keyEcho); err != nil {
			return answer{}, err
		}
	}
	if q.costs {
		if err := p.askPassphrase(ctx); err != nil {
			return answer{}, err
		}
		a.by += ", passphrase"
	}
	if a.word != answerValues {
		return a, nil
	}
	a.values = map[string]secret{}
	defer p.term.pastes()()
	for i, name := range q.request.object.empty {
		v, err := p.term.secret(ctx, fmt.Sprintf("   %d of %d, %s (not shown; Enter leaves it empty): ",
			i+1, len(q.request.object.empty), clean(name, 60)))
		if err != nil {
			return answer{}, err
		}
		if len(v) > 0 {
			a.values[name] = v
		}
	}
	return a, nil
}

// askPassphrase is the one answer that a program typing into the terminal
// cannot forge (SPEC §5).
func (p *prompts) askPassphrase(ctx context.Context) error {
	for range maxTries {
		pass, err := p.term.secret(ctx, "   passphrase, which this yes costs: ")
		if err != nil {
			return err
		}
		err = p.passphrase(pass)
		wipe(pass)
		if err == nil {
			return nil
		}
		p.term.print("   incorrect passphrase\n")
	}
	return errors.New("incorrect passphrase")
}

// tell runs the person's program with one line of text, if there is one.
// [ASK-20]
func (p *prompts) tell(r *request) {
	if p.notify == "" {
		return
	}
	text := fmt.Sprintf("keepmum #%d: %s wants %s", r.number, clean(r.actor.exe, 60), clean(r.wants(), 120))
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, p.notify, text)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // not on the keeper's terminal
		cmd.Run()
	}()
}
