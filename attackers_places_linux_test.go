package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func init() {
	// keepmum that counts itself, and that lets something happen between a look
	// at a path and the change that follows it, when a file tells it to.
	helpers["between"] = func() {
		dir := os.Getenv("KEEPMUM_TEST_COUNT")
		testOnlyBetween = func() {
			if os.Remove(filepath.Join(dir, "armed")) != nil {
				return
			}
			now := filepath.Join(dir, "now")
			os.WriteFile(now, nil, 0o600)
			eventually(10*time.Second, func() bool { return os.Remove(now+".done") == nil })
		}
		helpers["counted"]()
	}
}

// placeRaid is a kind of thing that is put in the place of a mount.
type placeRaid string

// TestAttackPlaces: nothing foreign is replaced or removed, and no value goes into
// it. [MNT-4] [MNT-5] [MNT-12] [REQ-9]
func TestAttackPlaces(t *testing.T) {
	if !*long {
		t.Parallel()
	}
	var raids []raid
	for i, kind := range []placeRaid{"symlink", "directory", "hardlink", "fifo", "file", "socket"} {
		raids = append(raids, raid{string(kind) + " in the mount's place",
			func(a *target) raidSum { return kind.try(a, i) }, kind.control})
	}
	raids = append(raids, raid{"things in the mount's place, all the time", swaps, swapsWeaker})
	runRaids(t, newTarget(t, letSwapped), weaker(t), raids)
}

// site is a folder with a mount of its own, in which one step of an attack happens.
type site struct {
	*target
	kind placeRaid
	path string
	sum  *raidSum
}

// stands has a thing put at the path, and stay there.
func (s site) stands(over bool, args ...string) *robbery {
	s.t.Helper()
	kind := string(s.kind)
	if over {
		kind = "over " + kind
	}
	thing := s.start("attack", "stand", append([]string{"-kind", kind, "-path", s.path}, args...)...)
	if len(args) == 0 {
		thing.says(1)
	}
	return thing
}

// untouched looks what became of it: nothing may have.
func (s site) untouched(thing *robbery) {
	s.t.Helper()
	sum := thing.report()
	if sum.Opens != 1 || len(sum.Failed) > 0 {
		s.t.Errorf("%s: %v", filepath.Dir(s.path), sum)
	}
	s.sum.tries, s.sum.out = s.sum.tries+sum.Tries, s.sum.out+sum.Leaks
}

// command's error must tell what is there.
func (s site) fails(cmd *exec.Cmd) {
	s.t.Helper()
	if out, errOut, code := s.done(cmd); code != 1 {
		s.t.Errorf("%s: %d %q %q", filepath.Dir(s.path), code, out, errOut)
	}
}

func (s site) mounts() {
	s.t.Helper()
	if _, errOut, code := s.answered(s.p, "mount", s.command("mount", "acme", s.path)); code != 0 {
		s.t.Fatal(errOut)
	}
}

// armed has the next change of a path wait until the thing is there.
func (s site) armed(over bool) *robbery {
	s.t.Helper()
	os.Remove(filepath.Join(s.dir, "now"))
	must(s.t, os.WriteFile(filepath.Join(s.dir, "armed"), nil, 0o600))
	return s.stands(over, "-when", filepath.Join(s.dir, "now"))
}

// placeSteps are the moments at which a thing comes.
var placeSteps = []struct {
	name  string
	lines int // in the log about the mount
	step  func(s site)
}{
	{"before the mount is asked for", 0, func(s site) {
		thing := s.stands(false)
		s.fails(s.command("mount", "acme", s.path))
		s.p.nothingAsked()
		s.untouched(thing)
	}},
	{"while the question is open", 2, func(s site) {
		mount := s.command("mount", "acme", s.path)
		must(s.t, mount.Start())
		s.p.asked("mount")
		thing := s.stands(false)
		s.p.presses("o")
		if mount.Wait() == nil {
			s.t.Error("it was mounted over what had come")
		}
		s.untouched(thing)
	}},
	{"between the last look and the link", 2, func(s site) {
		thing := s.armed(false)
		if _, _, code := s.answered(s.p, "mount", s.command("mount", "acme", s.path)); code != 1 {
			s.t.Error("it was mounted over what had come")
		}
		s.untouched(thing)
	}},
	{"over the mount, and then an unmount", 1, func(s site) {
		s.mounts()
		thing := s.stands(true)
		if states := s.mountStates(); !strings.Contains(states, mountBlocked) {
			s.t.Errorf("status: %s", states)
		}
		s.done(s.command("unmount", s.path))
		s.untouched(thing)
	}},
	{"over the mount, between the last look and its removal", 1, func(s site) {
		s.mounts()
		thing := s.armed(true)
		s.done(s.command("unmount", s.path))
		s.untouched(thing)
	}},
	{"over the mount, and then a lock and an unlock", 1, func(s site) {
		s.mounts()
		thing := s.stands(true)
		s.again()
		s.p.showed("not mounted: ")
		s.untouched(thing)
		s.done(s.command("unmount", s.path))
	}},
	{"while it is locked", 1, func(s site) {
		s.mounts()
		s.done(s.command("lock"))
		s.p.ends()
		thing := s.stands(false)
		s.unlocks()
		s.p.showed("not mounted: ")
		s.untouched(thing)
	}},
}

// again locks and unlocks.
func (a *target) again() {
	a.t.Helper()
	a.done(a.command("lock"))
	a.p.ends()
	a.unlocks()
}

// try takes every step, or of the short form some.
func (kind placeRaid) try(a *target, nth int) (sum raidSum) {
	want := 0
	for round := range few(1, 20) {
		for n, step := range placeSteps {
			if !*long && (n+nth)%3 > 0 {
				continue
			}
			dir := filepath.Join(a.project, fmt.Sprint(kind, "-", round, "-", n))
			must(a.t, os.Mkdir(dir, 0o700))
			step.step(site{a, kind, filepath.Join(dir, ".env"), &sum})
			noTemporary(a.t, dir)
			want += step.lines
			if a.t.Failed() {
				a.t.Fatalf("a %s, %s", kind, step.name)
			}
		}
	}
	for _, e := range a.logged() {
		if e.Event == "mount" && strings.Contains(e.Path, "/"+string(kind)+"-") {
			sum.lines++
		}
	}
	if sum.lines != want {
		a.t.Errorf("the log has %d lines about the mounts, want %d", sum.lines, want)
	}
	return sum
}

// control: who writes to a path and removes it takes what is there.
func (kind placeRaid) control(weak *target) {
	weak.path = filepath.Join(weak.project, string(kind))
	file := weak.weakFile()
	thing := weak.start("attack", "stand", "-kind", string(kind), "-path", weak.path)
	thing.says(1)
	file.does("write")
	file.says(1)
	if sum := thing.report(); sum.Failed["removed: "+string(kind)] == 0 {
		weak.t.Errorf("nothing was taken, so this shows nothing: %v", sum)
	} else if kind != "directory" && kind != "socket" && kind != "file" && sum.Leaks == 0 {
		weak.t.Errorf("no value came into it, so this shows nothing: %v", sum)
	}
	file.report()
}

func (a *target) weakFile() *robbery {
	return a.start("attack", "weak", "-kind", "file", "-path", a.path, "-text", "KEY="+canaries[2]+"\n")
}

// letSwapped is for swaps, which nobody could answer.
const letSwapped = `{"action":["mount"],"environment":"swapped","agent":true,"decision":"allow"},
	{"action":["mount"],"environment":"swapped","agent":false,"decision":"allow"},` + letNobody

// swaps lets a mount come and go, and the keeper lock and unlock, while things come
// and go at its path.
func swaps(a *target) (sum raidSum) {
	path := filepath.Join(a.project, "swapped", ".env")
	must(a.t, os.Mkdir(filepath.Dir(path), 0o700))
	a.put("swapped", "KEY", canaries[2])
	thief := a.start("attack", "swap", "-path", path)
	for range few(1, 100) {
		for range 2 {
			a.done(a.command("mount", "swapped", path))
			a.done(a.command("unmount", path))
		}
		a.done(a.command("mount", "swapped", path))
		a.again()
	}
	s := thief.report()
	a.t.Logf("%d things were there for a while; %v", s.Opens, s.Failed)
	for what := range s.Failed {
		if !strings.HasPrefix(what, "set aside") {
			a.t.Errorf("%s: %v", what, s)
		}
	}
	for _, e := range a.logged() {
		if e.Path == path {
			sum.lines++
		}
	}
	sum.tries, sum.out = s.Tries, s.Leaks
	return sum
}

func swapsWeaker(weak *target) {
	weak.path = filepath.Join(weak.project, "swapped")
	var sum attackReport
	for range 10 { // of two that race, one may be too slow
		file, thief := weak.weakFile(), weak.start("attack", "swap", "-path", weak.path)
		for n := range 50 {
			file.does("write")
			file.says(n + 1)
		}
		sum = thief.report()
		for what := range sum.Failed {
			if strings.HasPrefix(what, "removed: ") {
				return
			}
		}
	}
	weak.t.Errorf("nothing was taken, so this shows nothing: %v", sum)
}
