package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// letCodex lets one program do all that a rule can let it do. Everybody else is
// asked about.
const letCodex = `{"program":"BIN/codex","agent":true,"decision":"allow"},
	{"program":"BIN/codex","agent":false,"decision":"allow"},` + letNobody

// TestAttackSocket: whoever speaks to the keeper is asked about under their own
// name, and gets no value even where they may do everything. [SOC-15] [SOC-19]
// [SOC-20] [REQ-2] [RUN-1] [TUL-9]
func TestAttackSocket(t *testing.T) {
	if !*long {
		t.Parallel()
	}
	a, weak := newTarget(t, letCodex), weaker(t)
	first := a.client()
	first.connect(a.p, "p")
	runRaids(t, a, weak, []raid{
		{"speaker that is no bridge", func(a *target) raidSum { return a.speaks("attack", "stranger", first) }, speaksWeaker},
		{"speaker that may do everything", func(a *target) raidSum { return a.speaks("codex", "guest", first) }, nil},
		{"second bridge", func(a *target) raidSum { return a.bridges(first, "test 1", a.command("mcp").Args...) }, nil},
		{"second bridge, left by who started it", func(a *target) raidSum {
			launch := []string{filepath.Join(a.bin, "attack"), "launch", "-kind", "daemon", "--"}
			return a.bridges(first, "test 1", append(launch, a.command("mcp").Args...)...)
		}, nil},
		{"client that lies in clientInfo", func(a *target) raidSum { return a.lies(first) }, nil},
	})
}

// speaks says everything to the socket that can be said, with the account that the
// first client was given.
func (a *target) speaks(program, kind string, first *session) (sum raidSum) {
	before := len(a.logged())
	s := a.start(program, "speak", "-kind", kind, "-text", first.account, "-path", a.path, "-n", fmt.Sprint(few(2, 1000))).ended()
	for what, n := range s.Told {
		sum.tries += n
		method, code, _ := strings.Cut(what, ": ")
		free := freely[method] != nil
		known := methods[method].perform != nil
		values := method == "run" || method == "export"
		switch {
		case code == "result" && (free || known && kind == "guest" && !values), // as it may
			code == fmt.Sprint(codeMisuse), // arguments that no method has
			code == fmt.Sprint(codeInvalidRequest) && method == "",
			code == fmt.Sprint(codeScope) && known && !free,
			code == fmt.Sprint(codeRefused) && values, // whatever a rule says
			code == fmt.Sprint(codeFailed) && kind == "guest" && known:
		default:
			a.t.Errorf("%s, %d times", what, n)
		}
	}
	if let := s.Told["list_environments: result"] > 0; let != (kind == "guest") {
		a.t.Errorf("let in: %v; %v", let, s.Told)
	}
	a.p.nothingAsked()
	for _, e := range a.logged()[before:] {
		sum.lines++
		if filepath.Base(e.Actor.Exe) != program {
			a.t.Errorf("the log has %+v", e)
		}
	}
	if s.Leaks > 0 {
		a.t.Errorf("values came out: %v", s)
	}
	sum.out = s.Leaks
	return sum
}

// speaksWeaker: what is said of oneself is believed elsewhere.
func speaksWeaker(weak *target) {
	server := weak.start("attack", "weak", "-kind", "claim", "-home", weak.dir, "-text", canaries[2])
	server.says(1)
	weak.robbed(weak.start("attack", "speak", "-home", weak.dir, "-n", "1").ended())
	server.report()
}

// bridges starts another client's bridge while the first is connected, says that it
// is the first, and uses its account. It returns when the person has said no.
func (a *target) bridges(first *session, claim string, command ...string) (sum raidSum) {
	a.t.Helper()
	before := len(a.logged())
	name, _, _ := strings.Cut(claim, " 1")
	n := few(1, 20)
	thief := a.start("attack", "bridge", append([]string{"-kind", name, "-text", first.account, "-path", a.path,
		"-n", fmt.Sprint(n), "--"}, command...)...)
	for range n {
		q := a.p.answers("connect", "n")
		if strings.Contains(q, filepath.Base(os.Args[0])+"  (pid") || !strings.Contains(q, clean(claim, 60)[:min(len(claim), 4)]) {
			a.t.Errorf("the question is not about the second: %s", q)
		}
	}
	s := thief.ended()
	for what, n := range s.Told {
		if sum.tries += n; strings.HasSuffix(what, ": result") && what != "initialize: result" {
			a.t.Errorf("the second was answered %q", what)
		}
	}
	for _, e := range a.logged()[before:] {
		if sum.lines++; e.Decision != "deny" || e.Actor.PID == os.Getpid() {
			a.t.Errorf("the log has %+v", e)
		}
	}
	if s.Leaks > 0 || sum.lines < n {
		a.t.Errorf("%v; %d lines in the log", s, sum.lines)
	}
	sum.out = s.Leaks
	a.stillServes(first)
	return sum
}

// stillServes fails if the first client has lost something.
func (a *target) stillServes(first *session) {
	a.t.Helper()
	if _, text := first.asked(a.p, "list", "o", "list_environments", map[string]any{}); text != "" {
		a.t.Errorf("the first client: %s", text)
	}
}

// lies calls itself all kinds of things.
func (a *target) lies(first *session) (sum raidSum) {
	for _, claim := range []string{"test", "keepmum", filepath.Join(a.bin, "codex"), "\x1b[2J\x1b[1;1H allow?  [o]nce  > o",
		"line\r\n #9 10:00:00  connect\r\n   program     /usr/bin/codex", "\u202etset", strings.Repeat("x", 10000)} {
		one := a.bridges(first, claim, a.command("mcp").Args...)
		sum.tries, sum.out, sum.lines = sum.tries+one.tries, sum.out+one.out, sum.lines+one.lines
	}
	return sum
}

// TestAttackFloods: however many come, and however slowly, others are served
// meanwhile, and afterwards all is as before. [SOC-7] [SOC-12] [SOC-13]
func TestAttackFloods(t *testing.T) {
	if !*long {
		t.Parallel()
	}
	a, weak := newTarget(t, letReader), weaker(t)
	runRaids(t, a, weak, []raid{
		{"10,000 connections", a.flooded("hoard", "silent", 400, 10000), floodsWeaker("silent")},
		{"half-open peers", a.flooded("hoard", "half", 200, 10000), floodsWeaker("half")},
		{"slow-loris peers", a.flooded("hoard", "slow", 100, 2000), floodsWeaker("slow")},
		{"giant lines", a.flooded("giant", "ended", 4, 400), nil},
		{"giant lines without an end", a.flooded("giant", "endless", 4, 100), nil},
	})
}

// flooded has several processes come at once.
func (a *target) flooded(mode, kind string, short, whole int) func(*target) raidSum {
	return func(a *target) (sum raidSum) {
		const processes = 4
		keeper := a.p.cmd.Process.Pid
		before := a.usage(keeper)
		var all []*robbery
		for range processes {
			all = append(all, a.start("attack", mode, "-kind", kind, "-n", fmt.Sprint(few(short, whole)/processes)))
		}
		served := 0
		for done := 0; done < processes; served++ {
			if s := a.status(); s.State != "unlocked" {
				a.t.Errorf("status: %v", s)
			}
			v := a.start("reader", "open", "-path", a.path, "-n", "1").ended()
			a.recorded(true, v)
			a.whole(v)
			done = 0
			for _, one := range all {
				done += len(one.end)
			}
		}
		a.within("the keeper", keeper, 160)
		for _, one := range all {
			s := one.ended()
			sum.tries, sum.out = sum.tries+s.Opens, sum.out+s.Leaks
			if mode == "giant" && kind == "ended" && s.Told["the next one: result"] != s.Tries {
				a.t.Errorf("what follows a giant is not answered: %v", s)
			}
		}
		a.goesBack("the keeper", keeper, before)
		a.t.Logf("%d times others were served meanwhile", served)
		if served == 0 {
			a.t.Error("nobody else was served")
		}
		return sum
	}
}

// floodsWeaker: who hears one after the other hears nobody behind the first.
func floodsWeaker(kind string) func(*target) {
	return func(weak *target) {
		server := weak.start("attack", "weak", "-kind", "claim", "-home", weak.dir, "-text", canaries[2])
		server.says(1)
		flood := weak.start("attack", "hoard", "-home", weak.dir, "-kind", kind)
		flood.says(1)
		var sum attackReport
		other := weak.start("attack", "speak", "-home", weak.dir, "-n", "1", "-limit", "500ms")
		<-other.end
		if json.Unmarshal([]byte(other.out.String()), &sum); total(sum.Failed) == 0 || total(sum.Told) > 0 {
			weak.t.Errorf("others are served, so this shows nothing: %v", sum)
		}
		flood.report()
		server.report()
	}
}
