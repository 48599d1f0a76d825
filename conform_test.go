package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestConformSelection: which cases the flags choose.
func TestConformSelection(t *testing.T) {
	cases := []*conformCase{{id: "ask-text", level: "should"}, {id: "mount-a", level: "must"},
		{id: "mount-b", level: "should"}, {id: "wire-mount", level: "must"}}
	for _, test := range []struct{ flags, want string }{
		{"", "ask-text mount-a mount-b wire-mount"},
		{"--level all", "ask-text mount-a mount-b wire-mount"},
		{"--level must", "mount-a wire-mount"},
		{"--level should", "ask-text mount-b"},
		{"--run mount", "mount-a mount-b wire-mount"},
		{"--run ^mount-", "mount-a mount-b"},
		{"--run ^ask --run -b$", "ask-text mount-b"},
		{"--skip ^mount-", "ask-text wire-mount"},
		{"--skip a$ --skip b$", "ask-text wire-mount"},
		{"--run mount --skip wire --level must", "mount-a"},
		{"--run nothing", ""},
	} {
		c := &cli{command: findCommand("conform")}
		if _, err := c.parse(strings.Fields(test.flags)); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, k := range cases {
			if c.opt.conform.selects(k) {
				got = append(got, k.id)
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %q, want %q", test.flags, got, test.want)
		}
	}
}

// TestAbsoluteFiles: a file of the command line is found from every folder, and
// a word that is none stays.
func TestAbsoluteFiles(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if err := os.Mkdir("serve", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"keepmum", "server.py"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ server, want string }{
		{"keepmum mcp", "keepmum mcp"},
		{"./keepmum mcp", dir + "/keepmum mcp"},
		{"python3 server.py serve", "python3 " + dir + "/server.py serve"},
		{"/bin/sh no-such.py", "/bin/sh no-such.py"},
	} {
		if got := strings.Join(absoluteFiles(strings.Fields(test.server)), " "); got != test.want {
			t.Errorf("%q: %q, want %q", test.server, got, test.want)
		}
	}
}

// TestConformMisuse: exit 2 before anything is started, with the reason.
func TestConformMisuse(t *testing.T) {
	dir := t.TempDir()
	faulty := filepath.Join(dir, "known.txt")
	if err := os.WriteFile(faulty, []byte("a-case without a reason\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	typo := filepath.Join(dir, "typo.json")
	must(t, os.WriteFile(typo, []byte(`{"name": "x", "revisions": ["2025-06-18"], "seeds": {}}`), 0o600))
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "no server"},
		{[]string{"--strict", "--"}, "no server"},
		{[]string{"--level", "may", "--", "x"}, `unknown level "may"`},
		{[]string{"--run", "(", "--", "x"}, "missing closing"},
		{[]string{"--run", "^no such case$", "--", "x"}, "no case is chosen"},
		{[]string{"--jobs", "-1", "--", "x"}, "want a number from 1"},
		{[]string{"--jobs", "0", "--", "x"}, "want a number from 1"},
		{[]string{"--subject", typo, "--", "x"}, `unknown member "seeds"`},
		{[]string{"--", "no-such-program"}, "the server cannot be started"},
		{[]string{"--json", "--tap", "--", "x"}, "one format only"},
		{[]string{"--markdown", "-", "--junit", "-", "--", "x"}, "one format only"},
		{[]string{"--list", "--", "x"}, "--list runs nothing"},
		{[]string{"--list", "--tap"}, "--list runs nothing"},
		{[]string{"--subject", "no such subject", "--", "x"}, "no such subject"},
		{[]string{"--baseline", filepath.Join(dir, "none"), "--", "x"}, "cannot read the baseline"},
		{[]string{"--baseline", faulty, "--", "x"}, "line 1: want"},
		{[]string{"--junit", filepath.Join(dir, "none", "x"), "--", "x"}, "cannot write the report"},
		{[]string{"--nonsense", "--", "x"}, "nonsense"},
	} {
		var out, errOut bytes.Buffer
		code := run(&cli{in: os.Stdin, out: &out, err: &errOut}, append([]string{"conform"}, test.args...))
		if code != 2 || out.Len() > 0 || !strings.Contains(errOut.String(), test.want) ||
			!strings.HasPrefix(errOut.String(), "keepmum: error: ") {
			t.Errorf("%q: %d %q %q, want %q", test.args, code, &out, &errOut, test.want)
		}
	}
}

// TestConformList: the cases that are there, as text and as JSON.
func TestConformList(t *testing.T) {
	cases, err := loadCases()
	if err != nil || len(cases) == 0 {
		t.Fatalf("%d cases: %v", len(cases), err)
	}
	var text, raw, errOut bytes.Buffer
	if code := run(&cli{out: &text, err: &errOut}, []string{"conform", "--list"}); code != 0 {
		t.Fatalf("%d %q", code, &errOut)
	}
	if code := run(&cli{out: &raw, err: &errOut}, []string{"conform", "--list", "--json"}); code != 0 {
		t.Fatalf("%d %q", code, &errOut)
	}
	var all []listed
	if err := json.Unmarshal(raw.Bytes(), &all); err != nil || len(all) != len(cases) {
		t.Fatalf("%d of %d cases as JSON: %v", len(all), len(cases), err)
	}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(lines) != len(cases) {
		t.Fatalf("%d lines for %d cases", len(lines), len(cases))
	}
	for i, c := range cases {
		if f := strings.Fields(lines[i]); f[0] != c.id || f[1] != c.level || !slices.Equal(f[2:2+len(c.requirements)], c.requirements) {
			t.Errorf("%q for %+v", lines[i], c)
		}
		if l := all[i]; l.ID != c.id || l.Level != c.level || l.Title != c.title || !slices.Equal(l.Requirements, c.requirements) ||
			!slices.Equal(l.Needs, c.needs) || !slices.Equal(l.Revisions, c.revisions) {
			t.Errorf("%+v for %+v", l, c)
		}
	}
}

// TestConformShow: failures as they come, and how far it is.
func TestConformShow(t *testing.T) {
	k := &conformCase{id: "a-case", level: levelMust, why: "why", requirements: []string{"MCP-1"}}
	for _, test := range []struct {
		name     string
		opt      options
		live     bool
		out, err string
	}{
		{"by lines", options{}, false, "FAIL     a-case@r1  (must MCP-1)\n         why\n         > no\n", "[1/2] 50%\n[2/2] 100%\n"},
		{"as JSON", options{json: true}, false, "", "[1/2] 50%\n[2/2] 100%\n"},
		{"live", options{}, true, "FAIL     a-case@r1  (must MCP-1)\n         why\n         > no\n",
			"\r\x1b[K[0/2] a-case@r1\r\x1b[K\r\x1b[K[1/2] a-case@r1\r\x1b[K[1/2] a-case@r2\r\x1b[K[2/2] a-case@r2\r\x1b[K"},
	} {
		var out, errOut bytes.Buffer
		s := newShow(&cli{out: &out, err: &errOut, opt: test.opt}, newReport(&subject{}, false))
		s.live, s.total = test.live, 2
		for _, task := range []conformTask{{k, "r1", ""}, {k, "r2", ""}} {
			s.began(task)
			result := task.result(statusPass)
			if task.revision == "r1" {
				result = task.result(statusFail, "no", "more")
			}
			s.ended(task, result, "")
		}
		s.clear()
		if out.String() != test.out || errOut.String() != test.err {
			t.Errorf("%s: %q %q", test.name, &out, &errOut)
		}
	}
}
