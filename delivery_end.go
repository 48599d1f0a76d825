package main

// What comes after a delivery or in its place: the line of a refusal, the record of
// everybody who was there, and an end for who came late (SPEC §7.2).

import (
	"time"

	"golang.org/x/sys/unix"
)

// answer writes the line for whoever did not get the text. Readers of one pipe
// get one line each if all of them wait by then, since the one that was served
// waits last again; that cannot be enforced.
func (v *visit) answer(out *verdict) {
	times := 1
	if out.word == endContested {
		times = max(v.contenders(), 1)
	}
	for range times {
		if times > 1 {
			v.pause(settleTime)
		}
		unix.Write(v.i.w, []byte(out.line))
		for idle := 0; times > 1 && idle < 8 && queued(v.i) > 0; idle++ {
			v.doze(idle, false)
		}
	}
}

// contenders is how many opens a contested pipe had. Where the count is not exact
// it may take two in one moment for one; then who can be seen counts as well.
func (v *visit) contenders() int {
	opens := v.count.tally(v.i).opens
	if exact, _ := v.count.exact(); !exact {
		opens = max(opens, len(holders(v.i, scanTime)))
	}
	return min(opens, holdersMax)
}

// bystanders are the other opens of a contested pipe, nil for one that nobody
// is seen behind: each is recorded. [DLV-6]
func (v *visit) bystanders(out *verdict) (others []*process) {
	if out.word != endContested {
		return nil
	}
	opens := v.contenders()
	for _, h := range holders(v.i, scanTime) {
		if len(others)+1 >= opens && v.who != nil || len(others) >= opens {
			break
		}
		if v.who != nil && v.who.pid == h.pid {
			continue
		}
		if p, err := lookup(h.pid); err == nil {
			p.agent = agentOf(p, v.handler.agentKnown)
			others = append(others, p)
		}
	}
	if v.who == nil && len(others) > 0 {
		v.who, others = others[0], others[1:]
	}
	for len(others)+1 < opens {
		others = append(others, nil)
	}
	return others
}

// retire ends the pipe for its reader. [DLV-13]
func (v *visit) retire() {
	unix.Fchmod(v.i.w, 0o600) // it is empty now, and linger must open it
	v.i.late = inodeOf(v.i.w)
	v.count.ends(v.i)
	closeEnd(v.i)
}

// linger answers who found the name before it led elsewhere but was so slow
// that the write end was gone: it would wait in open for ever. Nobody else can
// be meant when everybody who was counted has closed. [DLV-16]
func (s *pipes) linger(m *mountPoint, i *instance, recorded int) {
	defer unix.Close(i.late)
	defer s.count.forget(i) // before its number is given to another file
	select {
	case s.lingering <- struct{}{}:
		defer func() { <-s.lingering }()
	default:
		return
	}
	for tick, last := 0, false; tick < lingerTicks && !last; tick++ {
		select {
		case <-i.event:
		case <-time.After(tickTime):
		case <-s.done:
			time.Sleep(settleTime)
			last = true
		}
		recorded = s.recordLate(m, i, recorded)
		if i.w < 0 && s.leftBehind(i) {
			s.answerLate(i)
		} else if i.w >= 0 && (queued(i) == 0 || !hasReader(i.w)) {
			s.endLate(i)
		}
	}
	s.endLate(i)
}

// answerLate lets who waits in open go on, with the line of a refusal, unless one
// is there already. Our end stays until it was taken: only then is that open counted.
func (s *pipes) answerLate(i *instance) {
	w, err := reopen(i.late, "", unix.O_WRONLY)
	if err != nil {
		return // nobody waits
	}
	i.w = w
	if queued(i) == 0 {
		unix.Write(i.w, []byte(lineRefused))
	}
}

// endLate is the end of file for who came late.
func (s *pipes) endLate(i *instance) {
	if i.w >= 0 {
		s.count.ends(i)
		closeEnd(i)
	}
}

// recordLate records who has opened a pipe that had its end already, and returns
// how many opens are recorded now. Where they are not counted exactly, our own
// would be among them.
func (s *pipes) recordLate(m *mountPoint, i *instance, recorded int) int {
	opens := s.count.tally(i).opens
	if exact, _ := s.count.exact(); !exact {
		return recorded
	}
	for range min(opens-recorded, holdersMax) {
		s.handler.ended(m.mount, nil, endRefused, "it came after the end of another's read")
	}
	return max(opens, recorded)
}

// leftBehind reports whether everybody who opened i has closed it. Two closes
// may be counted as one where the count is not exact; then who can be seen
// must do.
func (s *pipes) leftBehind(i *instance) bool {
	t := s.count.tally(i)
	if exact, _ := s.count.exact(); !exact && t.opens > 1 {
		return len(holders(i, scanTime)) == 0
	}
	return t.closes >= t.opens
}
