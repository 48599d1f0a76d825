package main

import (
	"flag"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

var soak = flag.Duration("soak", 2*time.Second, "how long TestSteadyUse goes on")

// sample is what keeper and bridge take at one time.
type sample struct {
	at             time.Duration
	keeper, bridge usage
}

// steady is a world in everyday use, without a person.
type steady struct {
	w     *world
	c     *session
	ids   []string
	paths []string
	round int
}

// use is one round: calls, reads, a change, a mount that comes and goes, and a
// client that comes and goes.
func (s *steady) use() {
	w := s.w
	w.t.Helper()
	var calls []func() bool
	for i := range 20 {
		calls = append(calls, s.c.lists(s.ids, s.round+i))
	}
	for _, answered := range calls {
		if !answered() {
			w.t.Error("a call had no room")
		}
	}
	for i, path := range s.paths {
		out, err := exec.Command("cat", path).Output()
		if err != nil || string(out) != textOf(i) {
			w.t.Errorf("%s: %v %q", path, err, out)
		}
	}
	set := w.command("set", "e3", "CHANGES")
	set.Stdin = strings.NewReader(fmt.Sprint("value ", s.round))
	extra := w.project + "/extra.env"
	for _, cmd := range []*exec.Cmd{set, w.command("mount", "e3", extra), w.command("unmount", extra),
		w.command("status")} {
		if _, errOut, code := w.done(cmd); code != 0 {
			w.t.Error(errOut)
		}
	}
	if s.round%10 == 0 {
		c := w.client()
		c.authenticates()
		c.leaves()
	}
	s.round++
}

// TestSteadyUse is everyday use for as long as -soak says: what keeper and
// bridge take does not grow. A round takes a second or longer.
func TestSteadyUse(t *testing.T) {
	w := countedWorld(t)
	p := w.unlock()
	s := &steady{w: w, c: w.client()}
	s.c.authenticates()
	s.ids = w.environments(s.c, 5)
	s.paths = w.mounts(3)
	s.use()
	keeper, bridge := p.cmd.Process.Pid, s.c.cmd.Process.Pid
	before := sample{0, w.usage(keeper), w.usage(bridge)}
	every := min(*soak/12, 30*time.Second)
	samples, began := []sample{before}, time.Now()
	pace := time.NewTicker(min(every, time.Second))
	defer pace.Stop()
	for (time.Since(began) < *soak || s.round < 3) && !t.Failed() {
		s.use()
		w.transcript.Reset() // what the test keeps is not what it measures
		if at := time.Since(began); at >= time.Duration(len(samples))*every {
			samples = append(samples, sample{at, w.usage(keeper), w.usage(bridge)})
		}
		<-pace.C
	}
	t.Logf("%d rounds in %v", s.round, time.Since(began).Round(time.Second))
	flat(t, "keeper", samples, func(s sample) usage { return s.keeper })
	flat(t, "bridge", samples, func(s sample) usage { return s.bridge })
	w.goesBack("the keeper", keeper, before.keeper)
	w.goesBack("the bridge", bridge, before.bridge)
	if _, errOut, code := w.done(w.command("log", "--verify")); code != 0 {
		t.Errorf("log --verify: %s", errOut)
	}
}

// flat shows a process's memory and fails where the last third of the time has
// taken more than the third before it, but for what a collector varies by. A
// run of few samples is all warming up, and is only shown.
func flat(t *testing.T, what string, samples []sample, of func(sample) usage) {
	t.Helper()
	var kib []int
	for _, s := range samples {
		kib = append(kib, of(s).kib)
	}
	first, last := samples[0], samples[len(samples)-1]
	t.Logf("%s, %d samples: first %v; median %.1f MiB; last, after %v, %v; KiB: %v", what, len(kib), of(first),
		float64(median(kib))/1024, last.at.Round(time.Second), of(last), kib)
	third := len(kib) / 3
	if third < 4 {
		return
	}
	earlier, later := median(kib[third:len(kib)-third]), median(kib[len(kib)-third:])
	if later > earlier+earlier/10+2<<10 {
		t.Errorf("the %s grows: %d KiB, then %d KiB", what, earlier, later)
	}
}

func median(list []int) int {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}
