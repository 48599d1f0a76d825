package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// onceLasts and onceUses are what "once" covers for a read: one load, by
	// the same process, which may open the file several times (SPEC §5.3).
	// [GRT-13]
	onceLasts = 10 * time.Second
	onceUses  = 8

	maxGrants = 4096 // the oldest goes first: the person is asked again [GRT-7]
)

// grant is a remembered yes, bound to what was shown, with an end. It
// implements *Requests, prompts, grants* (SPEC §5).
type grant struct {
	id      uint64
	word    string   // the answer: once, process, timed, locked
	actor   *process // as shown
	request *request
	subject string
	made    time.Time
	lasts   time.Duration // zero: until lock or the end of the process
	uses    int           // left; negative: no limit
}

// covers reports whether the grant answers r at now. A process grant holds for
// that instance alone; a timed one, or one until locked, for the same program
// with the same command in the same directory, as far from an agent as it was.
func (g *grant) covers(r *request, now time.Time) bool {
	// [GRT-8] [GRT-19]
	if len(r.actor.shares) > 0 || g.uses == 0 || g.expired(now) || g.subject != r.subject() || g.request.via != r.via {
		return false
	}
	a, b := g.actor, r.actor
	if r.action == actConnect && g.word == answerOnce && g.request.conn != r.conn {
		return false // [GRT-10]
	}
	if g.word == answerOnce || g.word == answerProcess { // [GRT-9]
		return sameInstance(a, b) && sameProgram(a, b, r.via) && a.alive()
	}
	// [GRT-11]: another file may have got the same inode, or another text.
	return a.exe != "" && sameProgram(a, b, viaMount) && a.exeChanged == b.exeChanged &&
		a.dir == b.dir && a.agent == b.agent
}

// sameProgram tells a process that was shown from what it became by exec. A
// client rewrites its own command line as a title, so of one only the
// executable counts; the bridge's connection binds it besides.
func sameProgram(a, b *process, via string) bool {
	return a.exe == b.exe && a.exeDev == b.exeDev && a.exeIno == b.exeIno &&
		(via == viaMCP || slices.Equal(a.args, b.args))
}

// expired looks at both clocks: the monotonic one may stop while the machine
// sleeps, and the wall clock may be set. [GRT-6]
func (g *grant) expired(now time.Time) bool {
	if g.lasts == 0 {
		return false
	}
	mono, wall := now.Sub(g.made), now.Round(0).Sub(g.made.Round(0))
	return mono >= g.lasts || wall >= g.lasts || wall < -time.Minute
}

// rule names the grant as what decided (SPEC §6).
func (g *grant) rule() string { return fmt.Sprintf("grant %d", g.id) }

func sameInstance(a, b *process) bool { return a.pid == b.pid && a.start == b.start }

// grants are the yeses in force, and the actors told "never" (SPEC §5).
type grants struct {
	mu    sync.Mutex
	last  uint64
	list  []*grant
	never map[string]bool
}

// add remembers a yes, with a hold of its own on the actor. An actor that is
// gone, or has become another program, gets no grant.
func (gs *grants) add(r *request, word string, lasts time.Duration, uses int, now time.Time) {
	held, err := lookupHidden(r.actor.pid)
	if err != nil {
		return
	}
	// What was shown, not what it has become while the person thought. [GRT-12]
	if !sameInstance(held, r.actor) || !sameProgram(held, r.actor, r.via) || held.dir != r.actor.dir {
		held.close()
		return
	}
	held.agent = r.actor.agent
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.last++
	gs.list = append(gs.list, &grant{id: gs.last, word: word, actor: held, request: r,
		subject: r.subject(), made: now, lasts: lasts, uses: uses})
	if len(gs.list) > maxGrants {
		oldest := gs.list[0]
		gs.drop(func(g *grant) bool { return g == oldest })
	}
}

// drop lets go of the grants that match and returns how many; mu is held.
func (gs *grants) drop(match func(*grant) bool) int {
	before := len(gs.list)
	gs.list = slices.DeleteFunc(gs.list, func(g *grant) bool {
		if !match(g) {
			return false
		}
		g.actor.close()
		return true
	})
	return before - len(gs.list)
}

// inForce drops what has ended and returns the rest, for decide.
func (gs *grants) inForce(now time.Time) []*grant {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.drop(func(g *grant) bool {
		instance := g.word == answerOnce || g.word == answerProcess
		return g.uses == 0 || g.expired(now) || instance && !g.actor.alive()
	})
	return slices.Clone(gs.list)
}

// use counts one use of the grant that answered, if it was a grant.
func (gs *grants) use(rule string) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	for _, g := range gs.list {
		if g.rule() == rule && g.uses > 0 {
			g.uses--
		}
	}
}

// revoke drops the grants that match and returns how many. A "never" is no
// grant, and stays. [GRT-5] [GRT-18]
func (gs *grants) revoke(match func(*grant) bool) int {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.drop(match)
}

// silence makes every later request of the actor fail until lock ("never").
func (gs *grants) silence(key string) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if gs.never == nil {
		gs.never = map[string]bool{}
	}
	gs.never[key] = true
}

func (gs *grants) silenced(key string) bool {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.never[key]
}

// actorKey names an actor for "never" and for counting floods: a client by its
// instance; a command, which is a new process each time, by who started it; a
// reader by its program and directory. Arguments are no part of it: they cost
// nothing to vary. [GRT-17]
func actorKey(r *request) string {
	p := r.actor
	switch {
	case r.via == viaMCP:
		return fmt.Sprintf("%d/%d", p.pid, p.start)
	case r.via == viaCommand && len(p.ancestors) > 0:
		return fmt.Sprintf("command of %d/%d", p.ancestors[0].pid, p.ancestors[0].start)
	}
	return fmt.Sprintf("%d:%d %q %v", p.exeDev, p.exeIno, p.dir, p.agent)
}
