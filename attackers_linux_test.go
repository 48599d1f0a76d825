package main

// Programs of the same user against a real keeper on a real terminal: the modes of
// testdata/attack are the attacks. Of each is told how often it was tried. No value
// may come out, in any spelling, and what reached the keeper has its lines in the
// log. Against something weaker the same attack must succeed, or it shows nothing
// (SPEC §12).

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// raid is one row of the table: an attack on keepmum, and on something weaker.
type raid struct {
	name    string
	try     func(a *target) raidSum
	control func(weak *target)
}

// raidSum is what came of an attack.
type raidSum struct{ tries, out, lines int }

// runRaids runs the rows of a table in one world, and their controls in another,
// and tells the sums. In the end no value may be anywhere, unless a row was allowed
// to win some.
func runRaids(t *testing.T, a, weak *target, raids []raid) {
	sums, won := map[string]raidSum{}, 0
	for _, r := range raids {
		t.Run(r.name, func(t *testing.T) {
			a.t, weak.t = t, t
			before := total(a.outcomes())
			sum := r.try(a)
			if sum.lines == 0 {
				sum.lines = total(a.outcomes()) - before
			}
			won += sum.out
			sums[r.name] = sum
			if r.control != nil {
				r.control(weak)
			}
		})
		if sum, ran := sums[r.name]; ran {
			t.Logf("%s: %d tries, %d values out, %d lines in the log", r.name, sum.tries, sum.out, sum.lines)
		}
	}
	a.t, weak.t = t, t
	a.p.nothingAsked()
	if _, errOut, code := a.done(a.command("log", "--verify")); code != 0 {
		t.Errorf("log --verify: %s", errOut)
	}
	if won == 0 {
		a.noneAnywhere()
	}
}

// few chooses how often something is tried.
func few(short, whole int) int {
	if *long {
		return whole
	}
	return short
}

// attackPrograms builds the program once, and gives it the names that it goes by:
// attack, reader (which a policy lets in) and codex (an agent's).
var attackPrograms = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "kma"); err != nil {
		return "", err
	}
	atEnd = append(atEnd, func() { os.RemoveAll(dir) })
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "attack"), "./testdata/attack")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v %s", err, out)
	}
	for _, name := range []string{"reader", "codex"} {
		if err := os.Link(filepath.Join(dir, "attack"), filepath.Join(dir, name)); err != nil {
			return "", err
		}
	}
	return dir, nil
})

// attackReport is what a mode prints at its end.
type attackReport struct {
	Mode                       string
	Tries, Opens, Pipes, Leaks int
	Told, Failed               map[string]int
}

// target is a world that is attacked.
type target struct {
	*world
	p            *person
	bin          string     // the programs
	path, text   string     // the mount, and what a reader gets of it
	loot         int        // files of it
	opens, pipes int        // of all who have read
	wholes       int        // texts among what they got
	all          *testing.T // the test of which a row is a part
}

// Rules for reads, where BIN stands for the folder of the programs.
const (
	letReader = `{"action":["read"],"program":"BIN/reader","agent":true,"decision":"allow"},
		{"action":["read"],"program":"BIN/reader","agent":false,"decision":"allow"},` + letNobody
	letNobody = `{"action":["read"],"decision":"deny"}`
	askReads  = `{"action":["read"],"decision":"ask"}`
)

// setUp are the actions that no target is asked about.
const setUp = `["append","create","unmount","import","delete"]`

// attackVariables is how many the mount has: enough for a text to be torn.
const attackVariables = 40

// weaker is a world without a keeper.
func weaker(t *testing.T) *target {
	t.Helper()
	bin, err := attackPrograms()
	must(t, err)
	a := &target{world: newWorld(t), bin: bin, all: t}
	a.path = filepath.Join(a.project, ".env")
	return a
}

// newTarget makes an Environment whose every value is a canary, mounted, and a
// keeper with these rules.
func newTarget(t *testing.T, rules string) *target {
	t.Helper()
	a := weaker(t)
	for i, v := range a.env {
		if v == "KEEPMUM_TEST_HELPER=main" {
			a.env[i] = "KEEPMUM_TEST_HELPER=between"
		}
	}
	a.env = append(a.env, "KEEPMUM_TEST_COUNT="+a.dir)
	a.policy(`{"idleLock":"24h","rules":[` + strings.ReplaceAll(rules, "BIN", a.bin) + `,
		{"action":` + setUp + `,"agent":true,"decision":"allow"},
		{"action":` + setUp + `,"agent":false,"decision":"allow"}]}`)
	a.p = a.unlock()
	var file strings.Builder
	for i := range attackVariables {
		fmt.Fprintf(&file, "KEY_%d=%s\n", i, canaries[2])
	}
	a.text = "# keepmum: acme\n" + file.String()
	must(t, os.WriteFile(a.path, []byte(file.String()), 0o600))
	if _, errOut, code := a.done(a.command("import", "--mount", "acme", a.path)); code != 0 {
		t.Fatal(errOut)
	}
	return a
}

// unlocks starts a keeper that outlives the row.
func (a *target) unlocks() {
	row := a.t
	a.t = a.all
	a.p = a.unlock()
	a.t = row
}

// robbery is an attack under way, or the reader that it is about.
type robbery struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out output
	end chan error
}

// start runs a mode of a program. What it says and what it got is all searched,
// save for what the program called reader has, which may have the values.
func (a *target) start(program, mode string, args ...string) *robbery {
	a.t.Helper()
	r := &robbery{t: a.t, cmd: exec.Command(filepath.Join(a.bin, program), mode), end: make(chan error, 1)}
	r.cmd.Env, r.cmd.Dir = a.env, a.project
	r.cmd.Stdout, r.cmd.Stderr = &r.out, a.world
	if program != "reader" {
		r.cmd.Stdout = io.MultiWriter(&r.out, a.world)
		r.cmd.Args = append(r.cmd.Args, "-loot", a.lootFile())
	}
	if *long && mode == "weak" { // it serves a whole table
		r.cmd.Args = append(r.cmd.Args, "-limit", "10h")
	} else if *long {
		r.cmd.Args = append(r.cmd.Args, "-limit", "20m")
	}
	r.cmd.Args = append(r.cmd.Args, args...)
	var err error
	r.cmd.WaitDelay = 10 * time.Second // for what it has started
	r.in, err = r.cmd.StdinPipe()
	must(a.t, err)
	must(a.t, r.cmd.Start())
	go func() { r.end <- r.cmd.Wait() }()
	a.t.Cleanup(func() { r.in.Close(); r.cmd.Process.Kill() })
	return r
}

func (a *target) lootFile() string {
	a.loot++
	return filepath.Join(a.dir, fmt.Sprint("loot-", a.loot))
}

func (r *robbery) pid() string { return fmt.Sprint(r.cmd.Process.Pid) }

// does sends a line to a mode that does what it is told.
func (r *robbery) does(line string) { fmt.Fprintln(r.in, line) }

// says waits for the n-th line that a mode prints.
func (r *robbery) says(n int) string {
	r.t.Helper()
	var lines []string
	waitFor(r.t, "a word of the attack", func() bool {
		lines = strings.Split(r.out.String(), "\n")
		return len(lines) > n
	})
	return lines[n-1]
}

// report ends a mode and returns what it reports.
func (r *robbery) report() attackReport {
	r.t.Helper()
	r.in.Close()
	return r.ended()
}

// ended waits for the end of a mode, each of which has a limit.
func (r *robbery) ended() (sum attackReport) {
	r.t.Helper()
	if err := <-r.end; err != nil {
		r.t.Errorf("%q: %v", r.cmd.Args, err)
	}
	lines := strings.Split(strings.TrimSpace(r.out.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &sum); err != nil {
		r.t.Fatalf("%q: %v in %q", r.cmd.Args, err, lines)
	}
	for _, bad := range []string{"it takes too long", "no end"} {
		if sum.Failed[bad] > 0 {
			r.t.Errorf("%q: %s: %v", r.cmd.Args, bad, sum)
		}
	}
	return sum
}

func (sum attackReport) String() string {
	return fmt.Sprintf("%s: %d tries, %d opens of %d pipes, %d leaks; failed %v; told %.1000q", sum.Mode, sum.Tries,
		sum.Opens, sum.Pipes, sum.Leaks, sum.Failed, fmt.Sprint(sum.Told))
}

// outcomes counts those of the reads in the log, by word.
func (a *target) outcomes() map[string]int {
	a.t.Helper()
	count := map[string]int{}
	for _, e := range a.logged() {
		if word, _, _ := strings.Cut(e.Outcome, ":"); e.Event == "read" && word != "" {
			count[word]++
		}
	}
	return count
}

// total is how many outcomes that is.
func total(count map[string]int) (n int) {
	for _, k := range count {
		n += k
	}
	return n
}

// recorded waits until the log has the lines of all opens: one for each. Opens of
// one process at one pipe may be counted as one, though, where they come in one
// moment; exact says that there were none.
func (a *target) recorded(exact bool, all ...attackReport) {
	a.t.Helper()
	for _, sum := range all {
		a.opens, a.pipes = a.opens+sum.Opens, a.pipes+sum.Pipes
		if exact {
			a.pipes += sum.Opens - sum.Pipes
		}
	}
	var found map[string]int
	lines := 0
	recorded := eventually(patience, func() bool {
		found = a.outcomes()
		lines = total(found)
		return lines+found[endTainted] >= a.pipes // a tainted read's line is about whoever joined, too
	})
	if !recorded || lines > a.opens {
		a.t.Errorf("%d opens of %d pipes, and the log has %v", a.opens, a.pipes, found)
	}
}

// whole looks at the texts of readers that may have the values: each is whole or
// without any, and as many are whole as the log has deliveries.
func (a *target) whole(all ...attackReport) {
	a.t.Helper()
	for _, sum := range all {
		for text, times := range sum.Told {
			if text == a.text {
				a.wholes += times
			} else if strings.Contains(text, "canary") {
				a.t.Errorf("a reader got %d bytes of %d: %.200q", len(text), len(a.text), text)
			}
		}
	}
	waitFor(a.t, fmt.Sprintf("the log of %d whole texts", a.wholes), func() bool {
		found := a.outcomes()
		return a.wholes >= found[endDelivered] && a.wholes <= found[endDelivered]+found[endTainted]
	})
}

// noneAnywhere fails if a value is in anything that an attacker got or that was
// written anywhere.
func (a *target) noneAnywhere() {
	a.t.Helper()
	a.sweepFiles()
	if found := leaksOf(a.seen()); len(found) > 0 {
		a.t.Errorf("values came out: %q", slices.Compact(found))
	}
}

// refused fails if attackers were told anything by a mount but that.
func (a *target) refused(all ...attackReport) {
	a.t.Helper()
	known := []string{lineRefused, lineContested, lineUnseen, "# keepmum: acme\n", plantedText}
	for _, sum := range all {
		if sum.Leaks > 0 {
			a.t.Errorf("values came out: %v", sum)
		}
		for text := range sum.Told {
			for line := range strings.Lines(text) {
				if !slices.Contains(known, line) {
					a.t.Errorf("%s was told %.80q", sum.Mode, line)
				}
			}
		}
	}
}

// robbed fails if an attack got nothing from something weaker.
func (a *target) robbed(sum attackReport) {
	a.t.Helper()
	if sum.Leaks == 0 {
		a.t.Errorf("it gets nothing from something weaker, and so shows nothing: %v", sum)
		lines, _ := os.ReadFile(auditPath(a.home))
		a.t.Logf("the log, if it has one: %s", lines)
	}
}

// weakPipe starts a server with one of the faults of weak.go, at a path of its own.
func (a *target) weakPipe(kind string, args ...string) *robbery {
	a.t.Helper()
	a.loot++
	a.path = filepath.Join(a.project, fmt.Sprint(".env", a.loot))
	text := "# weak\n" + strings.Repeat("KEY="+canaries[2]+"\n", 5)
	r := a.start("attack", "weak", append([]string{"-kind", kind, "-path", a.path, "-text", text}, args...)...)
	r.says(1)
	return r
}

var (
	modeLine = regexp.MustCompile(`(?m)^\t("[a-z]+": \(\*attack\).*)$`)
	modeName = regexp.MustCompile(`"([a-z]+)": `)
)

// TestAttackProgram: each mode is told of, and one that is not there is refused.
func TestAttackProgram(t *testing.T) {
	a := weaker(t)
	doc := readDoc(t, "testdata/attack/main.go")
	for _, m := range modeLine.FindAllStringSubmatch(doc, -1) {
		for _, name := range modeName.FindAllStringSubmatch(m[1], -1) {
			if !strings.Contains(doc, "\n//\t"+name[1]) {
				t.Errorf("the mode %q is not told of", name[1])
			}
		}
	}
	if _, errOut, code := a.done(exec.Command(filepath.Join(a.bin, "attack"), "none")); code != 2 || !strings.Contains(errOut, "use: attack") {
		t.Errorf("%d %q", code, errOut)
	}
}
