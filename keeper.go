package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// refusalLasts is how long a no to a read covers the same process: one load, as
// a yes does (SPEC §7.2).
const refusalLasts = onceLasts

// asker puts a request to the person.
type asker interface {
	ask(ctx context.Context, r *request, costs bool, timeout time.Duration) answer
	count() int
}

// processID is one process, told apart from a later one with the same number.
type processID struct {
	pid   int
	start uint64
}

func instanceOf(p *process) processID { return processID{p.pid, p.start} }

// keeper holds the key and the open vault, decides, and owns the mounts. The
// keeper of a terminal has all of its parts; the keeper of one command, which
// a command makes where none runs, serves no mount and no socket. It
// implements *Keeper and socket* (SPEC §4).
type keeper struct {
	home   string // keepmum's own directory
	user   string // the person's, shown as ~
	vault  *vault
	policy *policy
	audit  *auditLog
	asker  asker
	grants grants
	say    func(format string, args ...any) // to the person; text must be clean
	stop   func(why string)                 // locks; returns at once
	began  time.Time

	lock   *os.File // keeper.lock
	pipes  *pipes   // nil in the keeper of one command
	reaper *reaper
	locked atomic.Bool // shut has begun: nothing is approved any more
	runDir string
	// runRoots are where run folders may be: with and without a session.
	runRoots []string
	freeRun  func()

	mu      sync.Mutex
	number  uint64 // of the last request
	lastYes time.Time
	clients map[processID]bool // of connected bridges: agents (SPEC §7.3)
	pending map[string]*pending
	served  map[string]*served    // by mount path
	recent  map[string]time.Time  // what happened within the last minute
	reading map[*process]openRead // reads under way
	refused int                   // reads, since unlock
}

// newKeeper opens the parts that every keeper has.
func newKeeper(home, user string, v *vault, p *policy) (*keeper, error) {
	k := &keeper{home: home, user: user, vault: v, policy: p, began: time.Now(), lastYes: time.Now(),
		clients: map[processID]bool{}, pending: map[string]*pending{},
		served: map[string]*served{}, recent: map[string]time.Time{}, reading: map[*process]openRead{},
		say: func(string, ...any) {}, stop: func(string) {}}
	var err error
	remembered := v.view().audit
	k.audit, err = openAudit(auditPath(home), v.auditKey(), auditHead{remembered.number, remembered.mac})
	return k, err
}

// allow decides one request, by policy, grant or the person, and records the
// decision. Every failure on the way is a no. The next question waits until the
// answer is done. It implements *Requests, prompts, grants* (SPEC §5).
func (k *keeper) allow(ctx context.Context, r *request) (answer, error) {
	now := time.Now()
	k.mu.Lock()
	k.number++
	r.number = k.number
	k.mu.Unlock()
	d := decide(k.policy, k.grants.inForce(now), r, now)
	a, done := k.answered(r, d)
	if !done {
		a = k.asker.ask(ctx, r, d.passphrase, k.patience(r))
	}
	// [KPR-19]: a key may have been pressed as the lock began.
	if k.locked.Load() {
		a.word, a.by = answerNo, "locked"
	}
	// [AUD-9] [REQ-7]: written before anything is done; no record, no delivery.
	word := "deny"
	if a.yes() {
		word = "allow"
	}
	if err := k.record(r, "", word, a.by, ""); err != nil {
		a.word, a.by = answerNo, "audit"
		return a, fmt.Errorf("not approved: the audit log cannot be written: %v", err)
	}
	if !a.yes() {
		return a, refusal(r, a, k.patience(r))
	}
	k.remember(r, a, time.Now())
	return a, nil
}

// answered is what a decision comes to without the person, if it does.
func (k *keeper) answered(r *request, d decision) (answer, bool) {
	switch {
	case d.word == "allow":
		return answer{word: answerOnce, by: d.rule}, true
	case d.word != "ask":
		return no(d.rule), true
	case k.grants.silenced(actorKey(r)):
		return no("never, until locked"), true
	}
	return answer{}, false
}

// decidedNow decides once more, when a question's turn has come: the person may
// have answered it with an earlier one.
func (k *keeper) decidedNow(r *request) (answer, bool) {
	now := time.Now()
	return k.answered(r, decide(k.policy, k.grants.inForce(now), r, now))
}

// patience is how long the person has to answer.
func (k *keeper) patience(r *request) time.Duration {
	if r.via == viaMount {
		return k.policy.PromptTimeout
	}
	return k.policy.CommandTimeout
}

// remember keeps a yes for as long as the answer said, and counts the use of
// the grant that gave one.
func (k *keeper) remember(r *request, a answer, now time.Time) {
	if !strings.HasPrefix(a.by, "person:") {
		k.grants.use(a.by)
		return
	}
	k.mu.Lock()
	k.lastYes = now // [KPR-17]: a rule or a grant is no sign of the person
	k.mu.Unlock()
	// [GRT-5]
	end := k.policy.GrantMax
	switch {
	case r.action == actConnect && (a.word == answerOnce):
		k.grants.add(r, answerOnce, end, -1, now) // ends with its connection
	case r.action == actRead && a.word == answerOnce:
		k.grants.add(r, answerOnce, onceLasts, onceUses-1, now)
	case a.word == answerTimed:
		k.grants.add(r, answerTimed, min(timedGrant, end), -1, now)
	case a.word == answerProcess, a.word == answerLocked:
		k.grants.add(r, a.word, end, -1, now)
	}
}

// refusal is the error of a request that was not approved: what, and what to
// do next.
func refusal(r *request, a answer, patience time.Duration) error {
	text := "not approved: "
	switch {
	case a.word == answerNever:
		text += "the person refuses every request of this program until keepmum is locked"
	case a.by == "person: no":
		text += fmt.Sprintf("the person said no to %s; ask them before trying again", r.action)
	case a.by == "no answer":
		text += fmt.Sprintf("nobody answered in keepmum's terminal within %s; ask the person to look there, then call again",
			shortDuration(patience))
	case a.by == "too many requests":
		text += fmt.Sprintf("more than %d requests of this program wait; try again in %s", maxWaiting,
			shortDuration(coolDown))
	case a.by == "too many questions":
		text += fmt.Sprintf("more than %d requests of all programs wait; ask the person to answer some", maxQuestions)
	case a.by == "locked", a.by == "Ctrl-C", a.by == "terminal closed":
		return wireErrorf(codeLocked, "keepmum is locked: %s", unlockHint)
	default:
		text += a.by
	}
	return wireErrorf(codeRefused, "%s", text)
}

// record writes one line of the audit log; event is the request's action where
// it is empty (SPEC §10).
func (k *keeper) record(r *request, event, decision, by, outcome string) error {
	e := auditOf(r, decision, by, outcome)
	if event != "" {
		e.Event = event
	}
	return k.audit.write(e)
}

// fail records how an approved request ended when it was not as asked. [AUD-5]
func (k *keeper) fail(r *request, err error) error {
	if rec := k.record(r, "", "", "", "failed: "+err.Error()); rec != nil {
		return errors.Join(err, rec)
	}
	return err
}

// note records an event of the keeper's own.
func (k *keeper) note(event string) error {
	self, err := lookup(os.Getpid())
	if err != nil {
		self = &process{pid: os.Getpid()}
	}
	self.agent = agentOf(self, k.agentKnown)
	return k.record(&request{actor: self, via: viaCommand}, event, "", "", "")
}

// agentKnown reports whether a process instance is the client of a bridge.
func (k *keeper) agentKnown(pid int, start uint64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.clients[processID{pid, start}]
}

// actorOf finds who speaks through a connection: for our own command line the
// command itself; for a bridge its client, the first ancestor which is not
// keepmum's bridge; for anything else the peer, which then has to connect as a
// client does (SPEC §5).
func (k *keeper) actorOf(peer, self *process) (actor *process, via string, err error) {
	ours := func(exeDev, exeIno uint64) bool { return exeDev == self.exeDev && exeIno == self.exeIno }
	bridge := func(args []string) bool { return len(args) > 1 && args[1] == "mcp" }
	switch {
	case !ours(peer.exeDev, peer.exeIno): // [SOC-19]
		actor, via = peer, viaMCP
	case !bridge(peer.args): // [SOC-21]
		actor, via = peer, viaCommand
	default: // [SOC-20]
		via = viaMCP
		for _, a := range peer.ancestors {
			if ours(a.exeDev, a.exeIno) && bridge(a.args) {
				continue
			}
			// [SOC-22]: clients may protect themselves, as keepers do. The
			// program then cannot be read, and the prompt says so.
			if actor, err = lookupHidden(a.pid); err != nil {
				return nil, "", errors.New("the client cannot be identified")
			}
			if actor.start != a.start {
				actor.close()
				return nil, "", errors.New("the client cannot be identified")
			}
			break
		}
	}
	if actor == nil {
		return nil, "", errors.New("the client cannot be identified")
	}
	actor.agent = agentYes // who speaks MCP
	if via != viaMCP {
		actor.agent = agentOf(actor, k.agentKnown)
	}
	return actor, via, nil
}

// knowClient remembers who was allowed to connect. Before that anybody can start
// a bridge, as a child of nearly any process, and so make it an agent. [WHO-6]
func (k *keeper) knowClient(actor *process) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clients[instanceOf(actor)] = true
}

// update changes the vault, which then also remembers how far the log goes
// (SPEC §3.4, §10) [VLT-22].
func (k *keeper) update(change func(*vaultData) error) error {
	return k.vault.update(func(d *vaultData) error {
		head := k.audit.head()
		d.audit.number, d.audit.mac = head.Number, head.MAC
		return change(d)
	})
}

// idleSince is when the person last approved something.
func (k *keeper) idleSince() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lastYes
}

// close ends what every keeper has: the log is written out, the vault learns
// how far it goes, and the key is wiped (SPEC §4, §10) [KPR-15].
func (k *keeper) close() {
	k.audit.sync()
	if k.audit.head().Number != k.vault.view().audit.number {
		k.update(func(*vaultData) error { return nil })
	}
	k.audit.close()
	k.vault.close()
}
