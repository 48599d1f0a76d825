package main

import (
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// shownRead is a request of this very process, as a prompt has shown it.
func shownRead(t *testing.T) *request {
	t.Helper()
	p, err := lookup(os.Getpid())
	must(t, err)
	t.Cleanup(p.close)
	p.agent = agentNo
	return &request{actor: p, via: viaMount, action: actRead, conn: 1, object: object{environment: "acme",
		environmentID: "w6mv", path: "/p/.env", names: []string{"A", "B"}}}
}

// changed is a copy of r with one thing different.
func changed(r *request, change func(*request)) *request {
	c := *r
	p := *r.actor
	c.actor, c.object.names = &p, slices.Clone(r.object.names)
	change(&c)
	return &c
}

// TestGrantsAreHeld: nobody looks at a handle while it is given back, which the race
// detector would see.
func TestGrantsAreHeld(t *testing.T) {
	var gs grants
	r := shownRead(t)
	gs.add(r, answerProcess, 0, -1, time.Now())
	g := gs.inForce(time.Now())[0]
	if !g.covers(r, time.Now()) {
		t.Error("the grant is not in force")
	}
	var all sync.WaitGroup
	all.Go(func() { g.covers(r, time.Now()) })
	all.Go(func() { gs.revoke(func(*grant) bool { return true }) })
	all.Wait()
	if g.covers(r, time.Now()) {
		t.Error("the grant is in force after it was revoked")
	}
}

func TestGrantCovers(t *testing.T) {
	connect := func(r *request) { r.action, r.via = actConnect, viaMCP }
	byMCP := func(r *request) { r.action, r.via = actList, viaMCP }
	none := func(*request) {}
	argument := func(r *request) { r.actor.args = append(slices.Clone(r.actor.args), "x") }
	words := []string{answerOnce, answerProcess, answerTimed, answerLocked}
	instance, program := words[:2], words[2:]
	for _, c := range []struct {
		name         string
		words        []string
		base, change func(*request)
		want         bool
	}{
		// [GRT-8]
		{"as shown", words, none, none, true},
		{"the names in another order", words, none,
			func(r *request) { slices.Reverse(r.object.names) }, true},
		{"another action", words, none, func(r *request) { r.action = actMount }, false},
		{"another Environment of that name", words, none,
			func(r *request) { r.object.environmentID = "x" }, false},
		{"the Environment renamed", words, none, func(r *request) { r.object.environment = "x" }, false},
		{"another new name", words, none, func(r *request) { r.object.newName = "x" }, false},
		{"another path", words, none, func(r *request) { r.object.path = "/q/.env" }, false},
		{"a variable more", words, none,
			func(r *request) { r.object.names = append(r.object.names, "C") }, false},
		{"a variable less", words, none, func(r *request) { r.object.names = r.object.names[:1] }, false},
		{"a variable renamed", words, none, func(r *request) { r.object.names[1] = "C" }, false},
		{"another way", words, none, func(r *request) { r.via = viaCommand }, false},
		// [REQ-2]
		{"another claim", words, none, func(r *request) { r.claim = "x" }, true},
		// [GRT-9]
		{"another process", instance, none, func(r *request) { r.actor.pid++ }, false},
		{"a later process of the same number", instance, none,
			func(r *request) { r.actor.start++ }, false},
		{"another program", words, none, func(r *request) { r.actor.exe += "x" }, false},
		{"another file of that name", words, none, func(r *request) { r.actor.exeIno++ }, false},
		{"other arguments", words, none, argument, false},
		{"other arguments of a client", instance, byMCP, argument, true},
		// [GRT-10]
		{"another connection, connect", []string{answerOnce}, connect,
			func(r *request) { r.conn++ }, false},
		{"another connection, connect", words[1:], connect, func(r *request) { r.conn++ }, true},
		// [GRT-11]
		{"another process", program, none, func(r *request) { r.actor.pid++; r.actor.start++ }, true},
		{"the file changed, or is another one with that inode", program, none,
			func(r *request) { r.actor.exeChanged++ }, false},
		{"a link to the file made or removed", instance, none, func(r *request) { r.actor.exeChanged++ }, true},
		{"another directory", program, none, func(r *request) { r.actor.dir = "/q" }, false},
		{"an agent's", program, none, func(r *request) { r.actor.agent = agentYes }, false},
		{"perhaps an agent's", program, none, func(r *request) { r.actor.agent = agentUnknown }, false},
		{"other arguments of a client", program, byMCP, argument, false},
	} {
		for _, word := range c.words {
			gs, now := grants{}, time.Now()
			shown := changed(shownRead(t), c.base)
			gs.add(shown, word, time.Hour, -1, now)
			if len(gs.list) != 1 {
				t.Fatalf("%s: no grant was made", c.name)
			}
			if got := gs.list[0].covers(changed(shown, c.change), now); got != c.want {
				t.Errorf("%s, %s: covers = %v, want %v", c.name, word, got, c.want)
			}
			gs.revoke(func(*grant) bool { return true })
		}
	}
}

// TestGrantOfHidden: a program that cannot be read is not told from another.
// [GRT-11]
func TestGrantOfHidden(t *testing.T) {
	r := changed(shownRead(t), func(r *request) { r.actor.exe = "" })
	g := &grant{word: answerTimed, actor: r.actor, request: r, subject: r.subject(), made: time.Now(),
		lasts: time.Hour, uses: -1}
	if g.covers(r, time.Now()) {
		t.Error("a timed grant covers a program that cannot be read")
	}
}

// TestGrantNotMade: who is not any more what the person saw gets no grant.
// [GRT-12]
func TestGrantNotMade(t *testing.T) {
	for name, change := range map[string]func(*request){
		"another instance": func(r *request) { r.actor.start++ },
		"another program":  func(r *request) { r.actor.exeIno++ },
		"other arguments":  func(r *request) { r.actor.args = []string{"x"} },
		"other directory":  func(r *request) { r.actor.dir = "/q" },
	} {
		gs := grants{}
		gs.add(changed(shownRead(t), change), answerTimed, time.Hour, -1, time.Now())
		if len(gs.list) > 0 {
			t.Errorf("%s: a grant was made", name)
		}
	}
}

func TestGrantEnds(t *testing.T) {
	made := time.Now()
	g := &grant{made: made, lasts: time.Hour}
	for _, c := range []struct {
		name string
		now  time.Time
		want bool
	}{
		// [GRT-5]
		{"young", made.Add(time.Hour - time.Second), false},
		{"old", made.Add(time.Hour), true},
		// [GRT-6]: without its monotonic part a time is the wall clock's alone
		{"old by the wall clock", made.Round(0).Add(time.Hour), true},
		{"the wall clock was set back", made.Round(0).Add(-time.Hour), true},
	} {
		if got := g.expired(c.now); got != c.want {
			t.Errorf("%s: expired = %v, want %v", c.name, got, c.want)
		}
	}
}

// TestGrantMax: a grant of whatever kind ends with the policy's grantMax.
// [GRT-5]
func TestGrantMax(t *testing.T) {
	t.Parallel()
	w, p, path := mounted(t, `{"grantMax":"1s"}`)
	read := w.loop(path)
	got := make(chan string, 1)
	go func() { got <- read() }()
	if q := p.asked("read"); !strings.Contains(q, "[t]imed 1s") {
		t.Errorf("the question: %s", q)
	}
	p.presses("p")
	<-got
	waitFor(t, "the grant to end", func() bool {
		status, _, _ := w.done(w.command("status", "--json"))
		return strings.Contains(status, `"grants": []`)
	})
	go func() { got <- read() }()
	p.answers("read", "n")
	if x := <-got; x != "got # keepmum: not approved|" {
		t.Errorf("after grantMax: %q", x)
	}
}

// TestGrantsBounded: of too many the oldest goes. [GRT-7]
func TestGrantsBounded(t *testing.T) {
	gs := grants{last: maxGrants}
	for id := range uint64(maxGrants) {
		gs.list = append(gs.list, &grant{id: id + 1, actor: &process{}})
	}
	gs.add(shownRead(t), answerTimed, time.Hour, -1, time.Now())
	if n := len(gs.list); n != 4096 || gs.list[0].id != 2 || gs.list[n-1].id != maxGrants+1 {
		t.Errorf("%d grants, from %d to %d", n, gs.list[0].id, gs.list[n-1].id)
	}
	gs.revoke(func(*grant) bool { return true })
}

// TestActorKey: what "never" silences, and what a flood is counted by. [GRT-17]
func TestActorKey(t *testing.T) {
	base := &request{actor: &process{pid: 7, start: 70, exe: "/bin/a", exeIno: 1, dir: "/p", agent: agentNo,
		args: []string{"a"}, ancestors: []ancestor{{pid: 5, start: 50}}}}
	for _, c := range []struct {
		name, via string
		change    func(*request)
		same      bool
	}{
		{"a client", viaMCP, func(r *request) { r.actor.exeIno, r.actor.args = 2, []string{"b"} }, true},
		{"a client, another process", viaMCP, func(r *request) { r.actor.pid = 8 }, false},
		{"a client, a later process", viaMCP, func(r *request) { r.actor.start = 71 }, false},
		{"a command, another process", viaCommand, func(r *request) { r.actor.pid = 8 }, true},
		{"a command, another parent", viaCommand,
			func(r *request) { r.actor.ancestors = []ancestor{{pid: 6, start: 50}} }, false},
		{"a reader, another process", viaMount, func(r *request) { r.actor.pid = 8 }, true},
		{"a reader, other arguments", viaMount, func(r *request) { r.actor.args = []string{"b"} }, true},
		{"a reader, another program", viaMount, func(r *request) { r.actor.exeIno = 2 }, false},
		{"a reader, another directory", viaMount, func(r *request) { r.actor.dir = "/q" }, false},
		{"a reader, an agent's", viaMount, func(r *request) { r.actor.agent = agentYes }, false},
	} {
		one := changed(base, func(r *request) { r.via = c.via })
		if same := actorKey(one) == actorKey(changed(one, c.change)); same != c.same {
			t.Errorf("%s: the same = %v, want %v", c.name, same, c.same)
		}
	}
}
