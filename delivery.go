package main

// One open of a mount, from its first sign to its end of file. Nothing is
// written before the reader is known, approved, known again and alone; every
// way out tells the reader and the keeper (SPEC §7.2).

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	settleTime   = 5 * time.Millisecond
	lookRounds   = 7 // the pause doubles: 0.6 s, of which an open takes half on a busy machine
	deliveryTime = time.Minute
	scanTime     = 10 * time.Millisecond // spent on looking for strangers
	strangerTime = time.Second           // within which all are looked at before values go out
	holdersMax   = 16
	pipeMax      = 1 << 20
	dozeMax      = 16 // milliseconds
	lateLooks    = 5  // 30 ms
)

// The line that a reader gets instead of values: libraries run on without
// variables, so that an empty file would not be understood. [DLV-18]
const (
	lineRefused   = "# keepmum: not approved\n"
	lineContested = "# keepmum: opened by two processes at once, read it again\n"
	lineUnseen    = "# keepmum: not approved (reader cannot be identified)\n"
)

// verdict is how an open came out, other than delivered. It is an error so
// that it can be the cause of a context's end.
type verdict struct {
	word, detail string
	line         string // for the reader
}

// removed ends the opens of a mount that is taken away.
var removed = &verdict{endRefused, "the mount was removed", lineRefused}

func (v *verdict) Error() string { return v.word + ": " + v.detail }

// holder is a process that has a pipe open.
type holder struct {
	pid    int
	writes bool
	twice  bool // by two opens of its own, not by copies of one descriptor
	moves  bool // it runs, and may be about to become or start another program
}

// visit is one open under way.
type visit struct {
	*pipes
	m       *mountPoint
	i       *instance
	crowded bool
	who     *process
	held    []int // the processes that had it open when who was found
}

// serve sees one open through: who, may they, the text, the end of file, and
// the word for the record. It returns how many opens have been recorded.
func (v *visit) serve() (recorded int) {
	t := v.count.tally(v.i)
	if t.opens == 0 && t.gone {
		v.retire() // touched or removed, but nobody waits for an answer
		return 0
	}
	out := v.identify()
	if out == nil {
		out = v.askAndDeliver()
	}
	others := v.bystanders(out)
	recorded = 1 + len(others)
	if out.word == endTainted {
		recorded = v.count.tally(v.i).opens // the word is about all of them
	}
	v.answer(out)
	v.retire()
	v.handler.ended(v.m.mount, v.who, out.word, out.detail)
	if v.who != nil {
		v.who.close()
	}
	for _, p := range others {
		v.handler.ended(v.m.mount, p, out.word, out.detail)
		if p != nil {
			p.close()
		}
	}
	return recorded
}

// disturbed says what is in the way of this reader having the pipe alone.
func (v *visit) disturbed() *verdict {
	t := v.count.tally(v.i)
	if t.closes > 0 && !t.gone {
		t = v.count.tally(v.i) // its close may have come between the two looks
	}
	switch {
	case t.lost:
		return &verdict{endContested, "the system lost count of opens", lineContested}
	case t.opens > 1:
		return &verdict{endContested, fmt.Sprintf("%d opens of one pipe", t.opens), lineContested}
	case t.gone:
		return &verdict{endAbandoned, "the reader closed it", ""}
	case t.closes > 0: // somebody closed and somebody has it: one process, twice
		return &verdict{endContested, "opened again while it was open", lineContested}
	case t.attribs > 0:
		return &verdict{endRefused, "another process changed the pipe", lineRefused}
	case isClosed(v.m.gone):
		return removed
	}
	return nil
}

// clean is disturbed for the moment before writing: no name leads to the pipe
// and nobody may open it. [DLV-11]
func (v *visit) clean() *verdict {
	var st unix.Stat_t
	if err := unix.Fstat(v.i.w, &st); err != nil || st.Nlink != 0 || st.Mode&0o777 != 0 {
		return &verdict{endRefused, "another process changed the pipe", lineRefused}
	}
	return v.disturbed()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// pause waits a while, less if the mount is removed.
func (v *visit) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-v.m.gone:
	}
}

// identify finds the process behind the open. It looks until two looks in a
// row agree and nobody moves: an open takes time to finish, and a shell that
// has not come to its exec is not the one to ask about. A probe that has closed
// is dropped without a question (SPEC §7.3). [DLV-4] [DLV-5]
func (v *visit) identify() *verdict {
	if v.crowded { // [DLV-3]
		return &verdict{endRefused, "too many readers wait", lineRefused}
	}
	var last []holder
	for round := range lookRounds {
		limit := scanTime
		if round == 0 {
			limit = 0
		}
		now := holders(v.i, limit)
		moving := slices.ContainsFunc(now, func(h holder) bool { return h.moves })
		if len(now) > 0 && !moving && slices.Equal(now, last) {
			break
		}
		last = now
		v.pause(settleTime << round)
		if bad := v.disturbed(); bad != nil {
			return bad
		}
	}
	return v.name(last)
}

// name looks up who of the holders reads.
func (v *visit) name(hs []holder) *verdict {
	if len(hs) == 0 {
		// [DLV-7]
		return &verdict{endUnseen, "no process can be seen that has the pipe open", lineUnseen}
	}
	who, err := oneLine(pidsOf(hs))
	if errors.Is(err, errStrangers) { // [DLV-6]
		return &verdict{endContested, err.Error(), lineContested}
	}
	if err != nil {
		if bad := v.disturbed(); bad != nil {
			return bad // it ended while it was looked up
		}
		return &verdict{endUnseen, err.Error(), lineUnseen}
	}
	v.who, v.held = who, pidsOf(hs)
	who.agent = agentOf(who, v.handler.agentKnown)
	for _, a := range who.ancestors {
		if slices.Contains(v.held, a.pid) {
			who.shares = append(who.shares, a)
		}
	}
	if who.uid != unix.Geteuid() { // [DLV-7]
		return &verdict{endUnseen, fmt.Sprintf("the reader is user %d", who.uid), lineUnseen}
	}
	return v.onlyReads(hs)
}

func pidsOf(hs []holder) (pids []int) {
	for _, h := range hs {
		pids = append(pids, h.pid)
	}
	return pids
}

// onlyReads refuses who could write into the pipe: it is no reader, and its
// own write end would keep every reader from the end of file [DLV-8]. And it
// refuses two threads that would tear one text between them [DLV-6].
func (v *visit) onlyReads(hs []holder) *verdict {
	if slices.ContainsFunc(hs, func(h holder) bool { return h.writes }) {
		return &verdict{endNotReader, "opened for writing", ""}
	}
	if slices.ContainsFunc(hs, func(h holder) bool { return h.twice }) {
		return &verdict{endContested, "opened twice by one process", lineContested}
	}
	return nil
}

// askAndDeliver gets the keeper's answer and carries it out.
func (v *visit) askAndDeliver() *verdict {
	text, bad := v.ask()
	defer clear(text)
	if bad != nil {
		return bad
	}
	return v.deliver(text)
}

// ask waits for the keeper's decision; closing, ending and one more open
// withdraw the question (SPEC §7.2). [DLV-9]
func (v *visit) ask() ([]byte, *verdict) {
	ctx, cancel := context.WithCancelCause(context.Background())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		v.watch(ctx, cancel)
	}()
	text, err := v.handler.approve(ctx, v.m.mount, v.who)
	cancel(nil)
	<-watched
	var bad *verdict
	if errors.As(context.Cause(ctx), &bad) {
		return text, bad
	}
	if err != nil {
		return text, &verdict{endRefused, err.Error(), lineRefused}
	}
	return text, nil
}

// watch ends a question whose reader is not there or not alone any more.
func (v *visit) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.m.gone:
		case <-v.i.event:
		case <-tick.C:
		}
		bad := v.disturbed()
		if bad == nil && !v.who.alive() {
			bad = &verdict{endAbandoned, "the reader has ended", lineRefused}
		}
		if bad != nil {
			cancel(bad)
			return
		}
	}
}

// recheck makes sure that the process that was approved is still the one that
// reads: no exec, nobody who holds the descriptor but those who were shown
// (SPEC §7.2). [DLV-10]
func (v *visit) recheck() *verdict {
	began := time.Now()
	hs := holders(v.i, strangerTime)
	if time.Since(began) > strangerTime {
		return &verdict{endRefused, "there are too many processes to look through", lineRefused}
	}
	mine := slices.ContainsFunc(hs, func(h holder) bool { return h.pid == v.who.pid })
	if !mine || slices.ContainsFunc(hs, func(h holder) bool { return !slices.Contains(v.held, h.pid) }) {
		return &verdict{endRefused, "another process has the pipe than the approved one", lineRefused}
	}
	if err := v.who.same(); err != nil {
		return &verdict{endRefused, err.Error(), lineRefused}
	}
	return v.onlyReads(hs)
}

// deliver sends the comment line, waits until it was taken, and then sends the
// rest: a reader that comes back for more is running, which leaves a prepared
// thief next to no time, and whoever came was counted (SPEC §7.2). [DLV-12]
func (v *visit) deliver(text []byte) *verdict {
	if !bytes.HasPrefix(text, []byte("#")) || !bytes.Contains(text, []byte("\n")) {
		return &verdict{endRefused, "internal error: a text without its comment line", lineRefused}
	}
	if bad := v.recheck(); bad != nil {
		if v.pause(tickTime); v.who.state() == "" { // it looks like another while it ends
			bad = &verdict{endAbandoned, "the reader has ended", lineRefused}
		}
		return bad
	}
	if err := unix.Fchmod(v.i.w, 0); err != nil {
		return &verdict{endRefused, "the pipe cannot be closed to others", lineRefused}
	}
	head := bytes.IndexByte(text, '\n') + 1
	if _, bad := v.send(text[:head]); bad != nil {
		v.reclaim()
		return bad
	}
	sizePipe(v.i.w, min(len(text), pipeMax))
	sent, bad := v.send(text[head:])
	before := v.count.tally(v.i)
	if bad != nil {
		v.reclaim()
	}
	// After reclaiming, so that whoever could have read is counted; but where
	// our own opens are counted too, the number before it must do.
	after := v.count.tally(v.i)
	if exact, _ := v.count.exact(); !exact {
		after = before
	}
	// [DLV-15]
	if sent > 0 && (after.opens > 1 || after.attribs > 0 || after.lost) {
		return &verdict{endTainted, "another process was at the pipe while values were in it", ""}
	}
	if bad != nil {
		return bad
	}
	return &verdict{word: endDelivered}
}

// send writes data and waits until all of it was taken. Each piece has the
// clean check directly before it, and goes to a reader that can take it. A mount
// that is removed while a reader is in the middle of its text lets it finish,
// shortly.
func (v *visit) send(data []byte) (sent int, bad *verdict) {
	start := time.Now()
	moved, left, idle := start, 0, 0
	for {
		queue := queued(v.i)
		if sent == len(data) && queue == 0 {
			return sent, nil
		}
		bad := v.clean()
		if sent == len(data) && queued(v.i) == 0 {
			return sent, nil // it took the last and closed meanwhile
		}
		if bad != nil && (bad != removed || sent == 0) {
			return sent, bad
		}
		n, late := 0, v.late(idle)
		if !late {
			n = v.write(data[sent:])
		}
		sent += n
		idle++
		if n > 0 || queue != left {
			moved, left, idle = time.Now(), queue, 0
		}
		patience, total := v.patience, deliveryTime
		if bad != nil {
			patience, total = min(patience, 3*tickTime), time.Second
		}
		if time.Since(moved) > patience || time.Since(start) > total { // [DLV-14]
			return sent, &verdict{endAbandoned, "the reader does not read", lineRefused}
		}
		v.doze(idle, late)
	}
}

// late reports whether the reader could not take at once what is written now,
// which would leave a thief all the time it wants: it is stopped, or does
// something else and was not yet looked at often. [DLV-12]
func (v *visit) late(looks int) bool {
	switch v.who.state() {
	case "T", "t":
		return true
	case "R", "D":
		return looks < lateLooks
	}
	return false
}

// write puts in what fits; a full pipe takes nothing.
func (v *visit) write(data []byte) int {
	if len(data) == 0 {
		return 0
	}
	n, _ := unix.Write(v.i.w, data)
	return max(n, 0)
}

// doze sleeps in the system until a full pipe was read, and a little longer
// each time where it was not full and is not empty, or the reader is late. It
// is not for Go to put the goroutine to sleep: the reader would be woken by a
// processor that still looks for work, and a thief that waits for this moment
// would be first.
func (v *visit) doze(idle int, late bool) {
	fds := []unix.PollFd{{Fd: int32(v.i.w), Events: unix.POLLOUT}}
	unix.Poll(fds, dozeMax)
	if late || queued(v.i) > 0 {
		fds[0].Events = 0
		unix.Poll(fds, min(1<<min(idle, 8), dozeMax))
	}
}

// reclaim takes back what nobody has read, so that it cannot be read later.
// [DLV-14]
func (v *visit) reclaim() {
	// A forked child of ours would be the last to close the read end, and be
	// taken for a reader.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	unix.Fchmod(v.i.w, 0o600)
	r, err := readEnd(v.i)
	if err != nil {
		return
	}
	defer unix.Close(r)
	buf := make([]byte, 64<<10)
	defer clear(buf)
	for {
		if n, err := unix.Read(r, buf); n <= 0 && err != unix.EINTR {
			return
		}
	}
}
