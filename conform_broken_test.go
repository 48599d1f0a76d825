package main

// The suite is held to biting: each file of conform/broken changes the program
// in one place so that it breaks one promise, and names the cases which must
// notice. The changes exist in an overlay of the source for one build, each
// behind a switch; nothing of them is in the program.

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// brokenSubject is one file of conform/broken.
type brokenSubject struct {
	name, why string
	fails     []string // ids of cases; no other may fail
	edits     []sourceEdit
}

// sourceEdit replaces a text that is there exactly once.
type sourceEdit struct{ file, old, new string }

const brokenSwitch = `package main

import (
	"os"
	"time"
)

// broken reports whether a promise is broken on purpose.
func broken(name string) bool { return os.Getenv("KEEPMUM_BROKEN") == name }

func init() {
	testOnlyMinLn, testOnlyLn = 4, 4
	earlyKey = 100 * time.Millisecond
	testOnlyMaxWait, progressEvery = 6*time.Second, time.Second
	if name := os.Getenv("KEEPMUM_BROKEN"); name != "" {
		testOnlyEnv = []string{"KEEPMUM_BROKEN=" + name}
	}
}
`

// loadBroken reads the broken subjects.
func loadBroken(t *testing.T) (all []brokenSubject) {
	t.Helper()
	files, err := filepath.Glob("conform/broken/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("found no broken subjects: %v", err)
	}
	for _, file := range files {
		b := brokenSubject{name: strings.TrimSuffix(filepath.Base(file), ".txt")}
		head, body, _ := strings.Cut(readDoc(t, file), "\n\n")
		for _, l := range joinLines(head) {
			switch name, value, _ := strings.Cut(l.text, ":"); name {
			case "why":
				b.why = strings.TrimSpace(value)
			case "fails":
				b.fails = strings.Fields(value)
			default:
				t.Errorf("%s: unknown header %q", file, name)
			}
		}
		for _, part := range strings.Split("\n"+body, "\n== ")[1:] {
			name, text, _ := strings.Cut(part, "\n")
			old, new, ok := strings.Cut(text, "\n=>\n")
			if !ok || old == "" {
				t.Errorf("%s: no => in the edit of %s", file, name)
			}
			b.edits = append(b.edits, sourceEdit{name, old, strings.TrimRight(new, "\n")})
		}
		if b.why == "" || len(b.fails) == 0 || len(b.edits) == 0 || !strings.Contains(body, `broken("`+b.name+`")`) {
			t.Errorf("%s needs why, fails, edits and its switch broken(%q)", file, b.name)
		}
		all = append(all, b)
	}
	return all
}

// buildBroken builds the program with every edit behind its switch.
func buildBroken(t *testing.T, all []brokenSubject) (program string) {
	t.Helper()
	dir := t.TempDir()
	texts := map[string]string{}
	for _, b := range all {
		for _, e := range b.edits {
			if texts[e.file] == "" {
				texts[e.file] = readDoc(t, e.file)
			}
			if n := strings.Count(texts[e.file], e.old); n != 1 {
				t.Fatalf("%s: the text to replace is %d times in %s:\n%s", b.name, n, e.file, e.old)
			}
			texts[e.file] = strings.Replace(texts[e.file], e.old, e.new, 1)
		}
	}
	texts["conform_broken_switch.go"] = brokenSwitch
	replace := map[string]string{}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range texts {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(here, name)] = path
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, encodeJSON(map[string]any{"Replace": replace}), 0o600); err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "keepmum")
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// runSuite runs the suite against the built program and returns the cases that
// failed, and those that do not apply where the test runs: below an agent, or as
// root.
func runSuite(t *testing.T, program, broken string, flags ...string) (failed, skipped []string) {
	t.Helper()
	sub := map[string]any{}
	if err := json.Unmarshal([]byte(readDoc(t, "conform/subjects/keepmum.json")), &sub); err != nil {
		t.Fatal(err)
	}
	sub["env"].(map[string]any)["KEEPMUM_BROKEN"] = broken
	sub["approve"].(map[string]any)["delay"] = "130ms"
	file := filepath.Join(t.TempDir(), "subject.json")
	if err := os.WriteFile(file, encodeJSON(sub), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"conform", "--json", "--subject", file}, flags...)
	cmd := exec.Command(program, append(args, "--", program, "mcp")...)
	cmd.Env = append(os.Environ(), "KEEPMUM_BROKEN=")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var report struct {
		Results []struct {
			ID string
			conformResult
		}
	}
	if jsonErr := json.Unmarshal(out, &report); jsonErr != nil || len(report.Results) == 0 {
		t.Fatalf("%s: the suite reports nothing: %v, %v\n%s", broken, err, jsonErr, last(string(out), 2000))
	}
	for _, r := range report.Results {
		if r.Status == statusSkip {
			skipped = append(skipped, r.ID)
		}
		if r.Status == statusError {
			t.Errorf("%s: %s@%s: %q", broken, r.ID, r.Revision, r.Failures)
		}
		if r.Status == statusFail && !slices.Contains(failed, r.ID) {
			failed = append(failed, r.ID)
			if broken == "" {
				t.Errorf("the reference fails %s@%s: %q\n%s", r.ID, r.Revision, r.Failures, last(r.Transcript, 4000))
			}
		}
	}
	slices.Sort(failed)
	return failed, skipped
}

// lowered is the case that sees that the costs are lowered in this build.
const lowered = "^vault-two-lines$"

// TestConformance: the reference passes every case, and each broken subject
// fails the cases that are meant for it. With -long all run every case, and no
// other may fail; else a broken one runs the first that is named for it, and the
// reference those: CI runs the whole suite against the program itself.
func TestConformance(t *testing.T) {
	t.Parallel()
	all := loadBroken(t)
	if len(all) < 30 {
		t.Errorf("there are %d broken subjects, want at least 30", len(all))
	}
	program := buildBroken(t, all)
	// More at a time than there are processors: a case mostly waits.
	next := make(chan brokenSubject)
	var workers sync.WaitGroup
	workers.Go(func() {
		t.Run("reference", func(t *testing.T) {
			runSuite(t, program, "", "--skip", lowered, "--jobs", "2", "--run", someCases(all))
		})
	})
	for range 6 {
		workers.Go(func() {
			for b := range next {
				t.Run(b.name, func(t *testing.T) { checkBroken(t, program, b) })
			}
		})
	}
	for _, b := range all {
		next <- b
	}
	close(next)
	workers.Wait()
}

// someCases matches the cases that a broken subject runs, or all with -long.
func someCases(all []brokenSubject) string {
	if *long {
		return "."
	}
	var ids []string
	for _, b := range all {
		ids = append(ids, regexp.QuoteMeta(b.fails[0]))
	}
	return "^(" + strings.Join(ids, "|") + ")$"
}

// checkBroken runs one broken subject.
func checkBroken(t *testing.T, program string, b brokenSubject) {
	want, flags := b.fails, []string{"--skip", lowered}
	if !*long {
		want = want[:1]
		flags = []string{"--run", "^" + want[0] + "$"}
	}
	failed, skipped := runSuite(t, program, b.name, flags...)
	want = slices.DeleteFunc(slices.Sorted(slices.Values(want)), func(id string) bool {
		return slices.Contains(skipped, id)
	})
	if !slices.Equal(failed, want) {
		t.Errorf("%s\nfailed %q\n want  %q", b.why, failed, want)
	}
}
