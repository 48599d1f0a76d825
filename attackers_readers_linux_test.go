package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// readerRaid is a mode that wants the text of a mount, which another reader, that
// may have it, reads over and over.
type readerRaid struct {
	name, mode, kind string
	short, whole     int  // tries
	exact            bool // it opens one pipe at a time, so that each open has its line
}

var readerRaids = []readerRaid{ // the exact ones come first, as they are counted together
	{"foreign reader", "open", "", 15, 5000, true},
	{"hidden reader, protected", "hidden", "", 8, 5000, true},
	{"hidden reader, in a thread", "thread", "", 3, 500, true},
	{"hidden reader, in flight", "flight", "", 3, 500, true},
	{"hidden reader, by io_uring", "uring", "", 3, 500, true},
	{"foreign reader that does not wait", "nonblock", "", 300, 100000, false},
	{"hard link to the pipe", "linked", "", 20, 20000, false},
	{"the keeper's descriptors", "keeper", "", 2, 500, false},
}

// aimedRaids are those that know what happens, and come at the moment between the
// keeper's last look and the reader's read.
var aimedRaids = []readerRaid{
	{"pipe held by O_PATH", "held", "", 10, 3000, false},
	{"join through proc", "join", "", 10, 3000, false},
	{"join through proc after chmod", "join", "chmod", 10, 3000, false},
	{"lying in wait", "wait", "", 4, 1000, false},
	{"lying in wait, the reader stopped", "wait", "stop", 4, 1000, false},
	{"lying in wait, the reader starved", "wait", "starve", 2, 200, false},
	{"keeper stopped at any moment", "freeze", "", 8, 3000, false},
}

func testReaders(t *testing.T, table []readerRaid, try func(readerRaid, *target) raidSum, more ...raid) {
	if !*long { // what is measured runs alone
		t.Parallel()
	}
	weak := weaker(t)
	server := weak.weakPipe("fifo")
	var raids []raid
	for _, r := range table {
		raids = append(raids, raid{r.name, func(a *target) raidSum { return try(r, a) },
			func(weak *target) { r.control(weak, server) }})
	}
	runRaids(t, newTarget(t, letReader), weak, append(raids, more...))
}

// TestAttackReaders: nobody reads along, nor in another's name. [DLV-6] [DLV-7]
// [DLV-11] [DLV-16] [WHO-9]
func TestAttackReaders(t *testing.T) {
	testReaders(t, readerRaids, func(r readerRaid, a *target) raidSum {
		s, v := r.against(a, a.p.cmd.Process.Pid, "-n", fmt.Sprint(few(r.short, r.whole)))
		a.recorded(r.exact, s, v)
		a.refused(s)
		a.whole(v)
		return raidSum{tries: s.Tries, out: s.Leaks}
	}, raid{"replaced executable, covered, by a rule", coveredByRule, nil})
}

// TestAttackAimed: who wins that moment is found out each time. [DLV-15] [GRT-16]
func TestAttackAimed(t *testing.T) {
	testReaders(t, aimedRaids, func(r readerRaid, a *target) raidSum {
		before := a.outcomes()[endTainted]
		s, v := r.against(a, a.p.cmd.Process.Pid, "-n", fmt.Sprint(few(r.short, r.whole)))
		a.recorded(r.exact, s, v)
		a.whole(v)
		tainted := a.outcomes()[endTainted] - before
		t.Logf("%s: %d reads with values are known as tainted", r.name, tainted)
		if s.Leaks > tainted {
			t.Errorf("%d values came out, and %d reads are known as tainted: %v", s.Leaks, tainted, s)
		}
		return raidSum{tries: s.Tries, out: s.Leaks}
	})
}

// against makes the attack on who serves, and on a reader whom it serves.
func (r readerRaid) against(a *target, serves int, args ...string) (s, v attackReport) {
	if r.mode == "keeper" && os.Getuid() == 0 {
		a.t.Skip("root may look into every process")
	}
	victim := a.start("reader", "open", "-path", a.path)
	pid := victim.pid()
	if r.mode == "keeper" || r.mode == "freeze" {
		pid = fmt.Sprint(serves)
	}
	thief := a.start("attack", r.mode, append([]string{"-path", a.path, "-kind", r.kind,
		"-pid", pid, "-victim", victim.pid()}, args...)...)
	s = thief.ended()
	return s, victim.report()
}

func (r readerRaid) control(weak *target, server *robbery) {
	if r.mode == "freeze" {
		r.kind = "any" // of its pipes the modes tell nothing
	}
	s, _ := r.against(weak, server.cmd.Process.Pid, "-n", "1000", "-enough")
	weak.robbed(s)
}

// writerRaid is a mode that writes into a mount, so that a reader gets a forged
// text among its values.
type writerRaid struct {
	kind         string
	short, whole int
	behind       bool // it reaches a pipe whose values have been read
}

var writerRaids = []writerRaid{{kind: "write", short: 30, whole: 5000}, {kind: "readwrite", short: 10, whole: 3000},
	{kind: "linked", short: 20, whole: 5000}, {kind: "held", short: 10, whole: 2000, behind: true},
	{kind: "join", short: 15, whole: 2000, behind: true}, {kind: "after", short: 15, whole: 2000, behind: true}}

// TestAttackWriters: who writes into a mount is no reader, and keeps nobody else
// from one. [DLV-6] [DLV-8]
func TestAttackWriters(t *testing.T) {
	if !*long {
		t.Parallel()
	}
	weak := weaker(t)
	weak.weakPipe("fifo")
	raids := []raid{{"planted writer that stays", staysOn, staysOnWeaker}}
	for _, r := range writerRaids {
		raids = append(raids, raid{"planted writer, " + r.kind, r.try, r.control})
	}
	runRaids(t, newTarget(t, letReader), weak, raids)
}

const plantedText = "PLANTED=forged\n"

// among counts the texts with values in which there is a planted line, and fails
// where that is in the middle of the values.
func (r writerRaid) among(t *testing.T, text string, v attackReport) (n int) {
	for got, times := range v.Told {
		if !strings.Contains(got, plantedText) || !strings.Contains(got, "canary") {
			continue
		}
		n += times
		if !strings.Contains(strings.ReplaceAll(got, plantedText, ""), text) || !slices.Contains(
			[]string{"", "# keepmum: acme\n", text}, got[:strings.Index(got, plantedText)]) {
			t.Errorf("a reader got %.200q", got)
		}
	}
	return n
}

// try plants. What the system lets the user write into a pipe that another program
// of theirs has open, just before its values or behind them, nobody can prevent: it is
// recorded, as tainted or as what came late.
func (r writerRaid) try(a *target) raidSum {
	known := a.taintedOrLate()
	victim := a.start("reader", "open", "-path", a.path)
	writer := a.start("attack", "plant", "-path", a.path, "-kind", r.kind,
		"-n", fmt.Sprint(few(r.short, r.whole)), "-pid", victim.pid())
	s, v := writer.ended(), victim.report()
	a.recorded(false, s, v)
	a.refused(s)
	n := r.among(a.t, a.text, v)
	if known = a.taintedOrLate() - known; n > 0 && !r.behind || n > known {
		a.t.Errorf("%d texts were forged; the log has %d that are tainted or came late", n, known)
	}
	a.t.Logf("%d of %d texts have a forged line before or behind the values", n, a.outcomes()[endDelivered])
	return raidSum{tries: s.Tries, out: s.Leaks}
}

// taintedOrLate counts the reads in the log of which another may have had a part.
func (a *target) taintedOrLate() (n int) {
	for _, e := range a.logged() {
		if strings.HasPrefix(e.Outcome, endTainted) || strings.HasSuffix(e.Outcome, "it came after the end of another's read") {
			n++
		}
	}
	return n
}

func (r writerRaid) control(weak *target) {
	for range 50 {
		victim := weak.start("reader", "open", "-path", weak.path)
		weak.start("attack", "plant", "-path", weak.path, "-kind", r.kind, "-n", "10", "-pid", victim.pid()).ended()
		for text := range victim.report().Told {
			if strings.Contains(text, plantedText) && strings.Contains(text, "canary") {
				return
			}
		}
	}
	weak.t.Error("nothing weaker is forged, so this shows nothing")
}

// staysOn: who keeps a pipe open keeps a reader of the same pipe from its end, but
// gets nothing, and holds up neither the keeper nor anybody else.
func staysOn(a *target) (sum raidSum) {
	for n := range few(2, 200) {
		keeper, kind := a.p.cmd.Process.Pid, []string{"hold", "stay"}[n%2]
		if kind == "hold" { // so that it is there before the read is over
			must(a.t, unix.Kill(keeper, unix.SIGSTOP))
			a.t.Cleanup(func() { unix.Kill(keeper, unix.SIGCONT) })
		}
		victim := a.start("reader", "open", "-path", a.path, "-n", "1")
		writer := a.start("attack", "plant", "-path", a.path, "-kind", kind, "-n", "1", "-pid", victim.pid())
		writer.says(1)
		held := heldFile(a.t, writer.cmd.Process.Pid)
		unix.Kill(keeper, unix.SIGCONT)
		waitFor(a.t, "a pipe for the next", func() bool {
			theirs, err := os.Stat(held)
			next, errNext := os.Stat(a.path)
			return err == nil && errNext == nil && !os.SameFile(theirs, next)
		})
		other := a.start("reader", "open", "-path", a.path, "-n", "1").ended()
		s := writer.report()
		v := victim.ended()
		a.recorded(false, s, v, other)
		a.refused(s)
		sum.tries, sum.out = sum.tries+s.Tries, sum.out+s.Leaks
	}
	return sum
}

// staysOnWeaker: one pipe for all is blocked by the first who stays.
func staysOnWeaker(weak *target) {
	writer := weak.start("attack", "plant", "-path", weak.path, "-kind", "stay", "-n", "1")
	writer.says(1)
	victim := weak.start("reader", "open", "-path", weak.path, "-n", "1")
	select {
	case <-victim.end:
		weak.t.Error("nobody is held up, so this shows nothing")
	case <-time.After(500 * time.Millisecond):
		writer.report()
		weak.robbed(victim.ended())
	}
}
