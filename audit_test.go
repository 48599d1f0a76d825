package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() { helpers["full-disk"] = fullDisk }

// auditTestKey is the key of every test: the bytes 0 to 31.
var auditTestKey = func() (key []byte) {
	for i := range 32 {
		key = append(key, byte(i))
	}
	return key
}()

// testKeyFor gives that key for every line.
func testKeyFor(uint64) []byte { return auditTestKey }

// testAudit opens a log in a new folder.
func testAudit(t testing.TB) (a *auditLog, path string) {
	t.Helper()
	path = filepath.Join(testFolder(t), "audit.jsonl")
	a, err := openAudit(path, auditTestKey, auditHead{})
	must(t, err)
	t.Cleanup(func() { a.close() })
	return a, path
}

// testLog writes n lines and returns them, and the head.
func testLog(t testing.TB, n int) (lines [][]byte, head auditHead) {
	t.Helper()
	a, path := testAudit(t)
	for i := range n {
		must(t, a.write(auditEntry{Request: uint64(i), Event: "read", Names: []string{"API_KEY"}}))
	}
	text, err := os.ReadFile(path)
	must(t, err)
	lines = bytes.SplitAfter(text, []byte("\n"))
	return lines[:n], a.head()
}

// verifyLines verifies lines put together.
func verifyLines(lines [][]byte, head auditHead) (int, error) {
	return verifyAudit(bytes.NewReader(bytes.Join(lines, nil)), testKeyFor, head)
}

// TestAuditLineForm: the members and their order [AUD-1], and nothing that could
// be a value [AUD-7].
func TestAuditLineForm(t *testing.T) {
	a, path := testAudit(t)
	r := &request{number: 12, action: actRead, claim: "codex <1.0>",
		actor: &process{pid: 4121, exe: "/usr/bin/node", agent: agentNo,
			args: []string{"node", "--token=CANARY"}, dir: "/CANARY", tty: "CANARY",
			ancestors: []ancestor{{pid: 4100, exe: "/usr/bin/zsh", args: []string{"CANARY"}}}},
		object: object{environment: "acme-dev", environmentID: "CANARY", path: "/home/you/acme/.env",
			names: []string{"API_KEY", "URL"}, notes: []string{"CANARY"}}}
	must(t, a.write(auditOf(r, "allow", "once", "delivered")))
	must(t, a.write(auditOf(&request{number: 13, action: actRead}, "deny", "no identity", "refused")))
	text, err := os.ReadFile(path)
	must(t, err)
	if bytes.Contains(text, []byte("CANARY")) {
		t.Errorf("an argument, a folder or a note is in the log:\n%s", text)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	at := strings.Index(lines[0], `"time":"`) + len(`"time":"`)
	lines[0] = lines[0][:at] + "T" + lines[0][at+len("2026-11-23T14:02:11.000000000Z"):]
	mac := strings.Index(lines[0], `"mac":"`) + len(`"mac":"`)
	want := `{"number":1,"time":"T","request":12,"event":"read","actor":{"exe":"/usr/bin/node","pid":4121,` +
		`"ancestors":[{"pid":4100,"exe":"/usr/bin/zsh"}],"agent":"no"},"claim":"codex \u003c1.0\u003e",` +
		`"environment":"acme-dev","path":"/home/you/acme/.env","names":["API_KEY","URL"],"decision":"allow",` +
		`"by":"once","outcome":"delivered","mac":"`
	if got := lines[0][:mac]; got != want {
		t.Errorf("line 1 is\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(lines[1], `"ancestors":[],"agent":"unknown"`) ||
		!strings.Contains(lines[1], `"names":[]`) {
		t.Errorf("an unknown actor is %s", lines[1])
	}
	if n, err := verifyAudit(bytes.NewReader(text), testKeyFor, a.head()); n != 2 || err != nil {
		t.Errorf("verifyAudit = %d, %v", n, err)
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

// TestAuditLongLines: no line is longer than the limit [AUD-1], and each text
// says how long it was [AUD-8].
func TestAuditLongLines(t *testing.T) {
	a, path := testAudit(t)
	long := strings.Repeat("\x01€", 40000)
	names, ancestors := slices.Repeat([]string{long[:256]}, 2000), slices.Repeat([]auditProcess{{1,
		long}}, 50)
	for _, e := range []auditEntry{
		{Names: slices.Repeat([]string{"NAME"}, 100000)},
		{Names: names},
		{Names: []string{long}},
		{Actor: auditActor{Ancestors: ancestors}},
		{Event: long, Claim: long, Environment: long, Path: long, Decision: long, By: long, Outcome: long,
			Names: names, Actor: auditActor{Exe: long, Agent: "no", Ancestors: ancestors}},
	} {
		must(t, a.write(e))
	}
	text, err := os.ReadFile(path)
	must(t, err)
	if n, err := verifyAudit(bytes.NewReader(text), testKeyFor, a.head()); n != 5 || err != nil {
		t.Errorf("verifyAudit = %d, %v", n, err)
	}
	for line := range bytes.Lines(text) {
		e, _, _, err := splitLine(line)
		if err != nil || len(line) > auditLineMax || e.More == 0 {
			t.Errorf("a line of %d bytes, %d left out, %v", len(line), e.More, err)
		}
	}
	if want := fmt.Sprintf("… (%d bytes)", len(long)); bytes.Count(text, []byte(want)) < 8 {
		t.Errorf("a text that was cut does not end in %q", want)
	}
	e, _, _, _ := splitLine(text[:bytes.IndexByte(text, '\n')])
	if len(e.Names)+e.More != 100000 || len(e.Names) < 1000 {
		t.Errorf("%d names and %d more", len(e.Names), e.More)
	}
}

// TestAuditTampered does one thing to a log of 1,000 lines, at each of many
// places, and wants the right line named. [AUD-13] [AUD-14]
func TestAuditTampered(t *testing.T) {
	const n = 1000
	good, head := testLog(t, n)
	if lines, err := verifyLines(good, head); lines != n || err != nil {
		t.Fatalf("untouched: %d, %v", lines, err)
	}
	for _, c := range []struct {
		name string
		last int // the last line that it can be done to
		do   func(lines [][]byte, i int) [][]byte
		want func(i int) string
	}{
		{"change", n, func(l [][]byte, i int) [][]byte {
			l[i] = bytes.Replace(l[i], []byte("API_KEY"), []byte("API_KEZ"), 1)
			return l
		}, func(i int) string { return fmt.Sprintf("line %d: changed", i+1) }},
		{"change the mac", n, func(l [][]byte, i int) [][]byte {
			l[i] = bytes.Clone(l[i])
			l[i][len(l[i])-10] ^= 1
			return l
		}, func(i int) string { return fmt.Sprintf("line %d: changed", i+1) }},
		{"cut a line short", n, func(l [][]byte, i int) [][]byte {
			l[i] = l[i][20:]
			return l
		}, func(i int) string { return fmt.Sprintf("line %d: changed", i+1) }},
		{"empty line", n, func(l [][]byte, i int) [][]byte {
			return slices.Insert(l, i, []byte("\n"))
		}, func(i int) string { return fmt.Sprintf("line %d: changed", i+1) }},
		{"remove", n - 1, func(l [][]byte, i int) [][]byte {
			return slices.Delete(l, i, i+1)
		}, func(i int) string {
			return fmt.Sprintf("line %d: number %d follows %d: 1 lines removed", i+1, i+2, i)
		}},
		{"remove two", n - 2, func(l [][]byte, i int) [][]byte {
			return slices.Delete(l, i, i+2)
		}, func(i int) string {
			return fmt.Sprintf("line %d: number %d follows %d: 2 lines removed", i+1, i+3, i)
		}},
		{"add a copy", n, func(l [][]byte, i int) [][]byte {
			return slices.Insert(l, i+1, l[i])
		}, func(i int) string { return fmt.Sprintf("line %d added or reordered", i+2) }},
		{"add a forged line", n, func(l [][]byte, i int) [][]byte {
			return slices.Insert(l, i+1, sealLine(fmt.Appendf(nil, `{"number":%d}`, i+2), make([]byte, 32)))
		}, func(i int) string { return fmt.Sprintf("line %d: changed", i+2) }},
		{"exchange two", n - 1, func(l [][]byte, i int) [][]byte {
			l[i], l[i+1] = l[i+1], l[i]
			return l
		}, func(i int) string { return fmt.Sprintf("line %d added or reordered", i+1) }},
		{"renumber to hide a removal", n - 1, func(l [][]byte, i int) [][]byte {
			old, now := fmt.Sprintf(`"number":%d,`, i+2), fmt.Sprintf(`"number":%d,`, i+1)
			l[i+1] = bytes.Replace(l[i+1], []byte(old), []byte(now), 1)
			return slices.Delete(l, i, i+1)
		}, func(i int) string { return fmt.Sprintf("line %d: changed", i+1) }},
		{"truncate", n, func(l [][]byte, i int) [][]byte {
			return l[:i]
		}, func(i int) string {
			return fmt.Sprintf("ends at %d, the vault remembers 1000: %d lines removed at the end", i, n-i)
		}},
		{"truncate in the line", n, func(l [][]byte, i int) [][]byte {
			l[i] = l[i][:len(l[i])-1]
			return l[:i+1]
		}, func(i int) string { return fmt.Sprintf("line %d: changed", i+1) }},
	} {
		for i := 0; i < c.last; i += 61 {
			if i+61 >= c.last {
				i = c.last - 1
			}
			_, err := verifyLines(c.do(slices.Clone(good), i), head)
			if err == nil || err.Error() != c.want(i) {
				t.Errorf("%s at %d: %v, want %q", c.name, i, err, c.want(i))
			}
		}
	}
}

// TestAuditOtherHead: a log that is whole in itself, and is another. [AUD-14]
func TestAuditOtherHead(t *testing.T) {
	lines, head := testLog(t, 9)
	_, other := testLog(t, 9) // other times, and so other macs
	if _, err := verifyLines(lines, other); err == nil || !strings.Contains(err.Error(),
		"line 9: not the one") {
		t.Errorf("a log of another life: %v", err)
	}
	if _, err := verifyAudit(bytes.NewReader(bytes.Join(lines, nil)), func(uint64) []byte {
		return make([]byte, 32)
	}, head); err == nil || err.Error() != "line 1: changed" {
		t.Errorf("another key: %v", err)
	}
	if n, err := verifyLines(nil, auditHead{}); n != 0 || err != nil {
		t.Errorf("an empty log: %d, %v", n, err)
	}
}

// TestAuditContinues: a damaged end is said in the log and stops nothing. [AUD-15]
func TestAuditContinues(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(text []byte) []byte // of a log of 9 lines
		gap   string                   // what the line audit-gap says
		next  uint64                   // the number of the next line of ours
		good  int                      // lines that verify
	}{
		{"untouched", func(b []byte) []byte { return b }, "", 10, 10},
		{"two lines lost", func(b []byte) []byte { return b[:nth(b, 7)] },
			"ended at 7, the vault remembers 9", 11, 7},
		{"all lost", func(b []byte) []byte { return nil }, "ended at 0, the vault remembers 9", 11, 0},
		{"last cut", func(b []byte) []byte { return b[:len(b)-5] },
			"ended at 8, the vault remembers 9", 11, 8},
		{"newline lost", func(b []byte) []byte { return b[:len(b)-1] },
			"the lines after 9 were damaged", 11, 11},
		{"garbage after", func(b []byte) []byte { return append(b, "x\n"...) },
			"the lines after 9 were damaged", 11, 9},
		{"torn after", func(b []byte) []byte { return append(b, `{"num`...) },
			"the lines after 9 were damaged", 11, 9},
		{"forged after", func(b []byte) []byte {
			return append(b, sealLine([]byte(`{"number":10}`), make([]byte, 32))...)
		}, "the lines after 9 were damaged", 11, 9},
		// Known by its mac, which a new key could not check: verify names it.
		{"last changed", func(b []byte) []byte {
			at := bytes.LastIndex(b, []byte("API_KEY"))
			return append(append(b[:at:at], 'X'), b[at+1:]...)
		}, "", 10, 8},
		{"one long line", func(b []byte) []byte {
			return append(b, bytes.Repeat([]byte("x"), 2*auditTail)...)
		}, "ended at 0, the vault remembers 9", 11, 9},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines, head := testLog(t, 9)
			path := filepath.Join(testFolder(t), "audit.jsonl")
			must(t, os.WriteFile(path, c.spoil(bytes.Join(lines, nil)), 0o600))
			a, err := openAudit(path, auditTestKey, head)
			must(t, err)
			defer a.close()
			must(t, a.write(auditEntry{Event: "next"}))
			text, err := os.ReadFile(path)
			must(t, err)
			all := bytes.SplitAfter(text, []byte("\n"))
			next, _, _, err := splitLine(all[len(all)-2])
			if err != nil || next.Event != "next" || next.Number != c.next {
				t.Errorf("the next line is %+v, %v, want number %d", next, err, c.next)
			}
			var gap auditEntry
			if len(all) > 2 {
				gap, _, _, _ = splitLine(all[len(all)-3])
			}
			if (gap.Event == "audit-gap") != (c.gap != "") || !strings.Contains(gap.Outcome, c.gap) {
				t.Errorf("the line before is %+v, want %q", gap, c.gap)
			}
			if n, err := verifyAudit(bytes.NewReader(text), testKeyFor, a.head()); n != c.good ||
				(err == nil) != (uint64(n) == c.next) {
				t.Errorf("verifyAudit = %d, %v, want %d", n, err, c.good)
			}
		})
	}
}

// nth returns where the nth line ends.
func nth(text []byte, n int) (end int) {
	for range n {
		end += bytes.IndexByte(text[end:], '\n') + 1
	}
	return end
}

func TestAuditReopened(t *testing.T) {
	a, path := testAudit(t)
	var head auditHead
	for range 3000 { // more than the tail that is read back
		must(t, a.write(auditEntry{Event: "read"}))
		if head.Number == 0 {
			head = a.head() // the vault was saved long ago
		}
	}
	last := a.head()
	must(t, a.sync())
	b, err := openAudit(path, auditTestKey, head)
	must(t, err)
	defer b.close()
	if got := b.head(); got.Number != last.Number+1 || b.gap != laterThanVault(3000, 1, false) {
		t.Errorf("continues at %d, want %d and the line audit-gap; %q", got.Number, last.Number, b.gap)
	}
	last = b.head()
	// After a new passphrase the key is another: only the head is known.
	c, err := openAudit(path, make([]byte, 32), last)
	must(t, err)
	defer c.close()
	if c.head().Number != last.Number {
		t.Errorf("with a new key it continues at %d", c.head().Number)
	}
}

func TestOpenAuditRefused(t *testing.T) {
	for _, c := range []struct {
		name, want string
		spoil      func(path string) error
	}{
		{"a link", "symbolic link", func(p string) error { return os.Symlink(p+"-elsewhere", p) }},
		{"a FIFO", "not a regular file", func(p string) error { return unix.Mkfifo(p, 0o600) }},
		{"a directory", "cannot open", func(p string) error { return os.Mkdir(p, 0o700) }},
		{"open to others", "chmod 600", func(p string) error {
			return os.WriteFile(p, nil, 0o644)
		}},
		{"no folder", "cannot open", func(p string) error { return os.Remove(filepath.Dir(p)) }},
	} {
		path := filepath.Join(testFolder(t), "home", "audit.jsonl")
		must(t, os.Mkdir(filepath.Dir(path), 0o700))
		must(t, c.spoil(path))
		a, err := openAudit(path, auditTestKey, auditHead{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if a != nil {
			a.close()
		}
		if exists(path + "-elsewhere") {
			t.Errorf("%s: a file was made elsewhere", c.name)
		}
	}
}

// TestAuditWriteFails: a record in a file that is gone is none. [AUD-11]
func TestAuditWriteFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(a *auditLog, path string) (undo func())
		again bool // whether it works once the cause is gone
	}{
		{"moved away", func(a *auditLog, path string) func() {
			os.Rename(path, path+"1")
			return func() { os.Rename(path+"1", path) }
		}, true},
		{"removed and made anew", func(a *auditLog, path string) func() {
			os.Remove(path)
			os.WriteFile(path, nil, 0o600)
			return func() {}
		}, false},
		{"neither written nor cut back", func(a *auditLog, path string) func() {
			f := a.f
			a.f, _ = os.Open(path)
			return func() { a.f.Close(); a.f = f }
		}, false},
	} {
		a, path := testAudit(t)
		must(t, a.write(auditEntry{Event: "read"}))
		undo := c.spoil(a, path)
		if err := a.write(auditEntry{Event: "read"}); err == nil {
			t.Errorf("%s: no error", c.name)
		}
		undo()
		if err := a.write(auditEntry{Event: "read"}); (err == nil) != c.again {
			t.Errorf("%s: later %v", c.name, err)
		}
	}
}

// fullDisk is a keeper whose disk is full in the middle of a line, and then is
// not any more.
func fullDisk() {
	signal.Ignore(syscall.SIGXFSZ)
	path := os.Getenv("KEEPMUM_TEST_FOLDER") + "/audit.jsonl"
	a, err := openAudit(path, auditTestKey, auditHead{})
	check(err)
	check(a.write(auditEntry{Event: "before"}))
	before, err := os.Stat(path)
	check(err)
	var old unix.Rlimit
	check(unix.Getrlimit(unix.RLIMIT_FSIZE, &old))
	check(unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(before.Size()) + 50,
		Max: old.Max}))
	for range 3 {
		if a.write(auditEntry{Event: "lost"}) == nil {
			check(fmt.Errorf("no error on a full disk"))
		}
	}
	if after, err := os.Stat(path); err != nil || after.Size() != before.Size() {
		check(fmt.Errorf("%d bytes, then %d, %v", before.Size(), after.Size(), err))
	}
	check(unix.Setrlimit(unix.RLIMIT_FSIZE, &old))
	check(a.write(auditEntry{Event: "after"}))
}

// TestAuditDiskFull: half a line is taken back. [AUD-10]
func TestAuditDiskFull(t *testing.T) {
	dir := testFolder(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"KEEPMUM_TEST_HELPER=full-disk", "KEEPMUM_TEST_FOLDER=" + dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(dir + "/audit.jsonl")
	must(t, err)
	if n, err := verifyAudit(bytes.NewReader(text), testKeyFor, auditHead{}); n != 2 || err != nil {
		t.Errorf("verifyAudit = %d, %v", n, err)
	}
}

func TestFormatAudit(t *testing.T) {
	mac := make([]byte, 32)
	for line, want := range map[string]string{
		"garbage": "unreadable line: garbage",
		string(sealLine([]byte(`{"number":7,"time":"T","event":"read","actor":{"exe":"/bin/node","pid":3,`+
			`"agent":"no"},"environment":"acme","path":"/a/.env","names":["A","B"],"more":2,"decision":"allow",`+
			`"by":"once","outcome":"delivered"}`),
			mac)): "#7 T read: allow, once, delivered; /bin/node (pid 3, agent no); acme, /a/.env, A B" +
			" and 2 more",
		string(sealLine([]byte(`{"number":8,"time":"T","event":"unlock"}`), mac)): "#8 T unlock",
	} {
		if got := formatAudit([]byte(line)); got != want {
			t.Errorf("formatAudit(%q) = %q, want %q", line, got, want)
		}
	}
}
