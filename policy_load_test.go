package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// [POL-1] [POL-2] [POL-4]
func TestParsePolicy(t *testing.T) {
	const actionMust = `"action" must be a list of some of ["connect" "list" "create" "rename" "append" "remove"` +
		` "delete" "mount" "unmount" "import" "read" "run" "export"], not `
	const timeMust, pathMust = ` must be a time of at least one second, such as "30m", not `,
		` must be an absolute path or begin with ~/, without * and ?, not `
	tests := []struct{ text, want string }{
		{"", `1: malformed JSON: unexpected end of JSON input`},
		{"{\n", `1: malformed JSON: unexpected end of JSON input`},
		{"{}\n\n{}", `3: malformed JSON: invalid character '{' after top-level value`},
		{"{\n\"mcp\": tru\n}",
			`2: malformed JSON: invalid character '\n' in literal true (expecting 'e')`},
		{"{\n\"mcp\": true,\n}",
			`3: malformed JSON: invalid character '}' looking for beginning of object key string`},
		{"{ // no\n}",
			`1: malformed JSON: invalid character '/' looking for beginning of object key string`},
		{"[]", `1: a policy, and each of its rules, must be an object`},
		{"null", `1: a policy, and each of its rules, must be an object`},
		{"{\n\n\"alow\": 1}", `3: unknown member "alow"`},
		{"{\"MCP\": true}", `1: unknown member "MCP"`},
		{"{\"a\\u202e\\n\": 1}", `1: unknown member "a\u202e\n"`},
		{"{\"\": 1}", `1: unknown member ""`},
		{"{\"mcp\": true,\n\"m\\u0063p\": true}", `2: member "mcp" is given twice`},
		{"{\"rules\": [],\n\"rules\": []}", `2: member "rules" is given twice`},
		{"{\"mcp\": 1}", `1: "mcp" must be true or false, not 1`},
		{"{\"mcp\": null}", `1: "mcp" must be true or false, not null`},
		{"{\"mcp\": \"a\u202e\"}", `1: "mcp" must be true or false, not "a<U+202E>"`},
		{"{\n\"idleLock\": 30}", `2: "idleLock"` + timeMust + `30`},
		{"{\"idleLock\": \"30\"}", `1: "idleLock"` + timeMust + `"30"`},
		{"{\"idleLock\": null}", `1: "idleLock"` + timeMust + `null`},
		{"{\"promptTimeout\": \"-5m\"}", `1: "promptTimeout"` + timeMust + `"-5m"`},
		{"{\"grantMax\": \"999ms\"}", `1: "grantMax"` + timeMust + `"999ms"`},
		{"{\"maxMounts\": -1}", `1: "maxMounts" must be a whole number, 0 or more, not -1`},
		{"{\"maxMounts\": 1.5}", `1: "maxMounts" must be a whole number, 0 or more, not 1.5`},
		{"{\"maxMounts\": \"5\"}", `1: "maxMounts" must be a whole number, 0 or more, not "5"`},
		{"{\"maxMounts\": 99999999999999999999}",
			`1: "maxMounts" must be a whole number, 0 or more, not 99999999999999999999`},
		{"{\"approval\": \"none\"}",
			`1: "approval" must be one of ["passphrase" "confirm"], not "none"`},
		{"{\"agentValues\": \"allow\"}",
			`1: "agentValues" must be one of ["deny" "ask"], not "allow"`},
		{"{\"agentValues\": {\"a\": [1]}}",
			`1: "agentValues" must be one of ["deny" "ask"], not {"a": [1]}`},
		{"{\"sensitive\": \"prod\"}",
			`1: "sensitive" must be a list of names of 1 to 256 bytes, not "prod"`},
		{"{\"sensitive\": [\"\"]}",
			`1: "sensitive" must be a list of names of 1 to 256 bytes, not [""]`},
		{"{\"sensitive\": [\"a\", null]}",
			`1: "sensitive" must be a list of names of 1 to 256 bytes, not ["a", null]`},
		{"{\"rules\":\n{}}", `2: "rules" must be a list`},
		{"{\"rules\": null}", `1: "rules" must be a list`},
		{"{\"rules\": [\n[]]}", `2: a policy, and each of its rules, must be an object`},
		{"{\"rules\": [{\"decision\": \"deny\"},\n{\"agent\": true\n}]}",
			`2: a rule without a decision`},
		{"{\"rules\": [\n{\"decision\": \"deny\",\n\"programs\": \"/a\"}]}",
			`3: unknown member "programs"`},
		{"{\"rules\": [\n{\"decision\": \"deny\",\n\"decision\": \"allow\"}]}",
			`3: member "decision" is given twice`},
		{"{\"rules\": [{\"decision\": \"alow\"}]}",
			`1: "decision" must be one of ["deny" "ask" "allow"], not "alow"`},
		{"{\"rules\": [{\"decision\": \"\"}]}",
			`1: "decision" must be one of ["deny" "ask" "allow"], not ""`},
		{"{\"rules\": [\n{\"action\": [\"read\",\n\"reed\"]}]}",
			`2: ` + actionMust + `["read",<U+000A>"reed"]`},
		{"{\"rules\": [{\"action\": []}]}", `1: ` + actionMust + `[]`},
		{"{\"rules\": [{\"action\": \"read\"}]}", `1: ` + actionMust + `"read"`},
		{"{\"rules\": [{\"action\": [null]}]}", `1: ` + actionMust + `[null]`},
		{"{\"rules\": [{\"environment\": \"\"}]}",
			`1: "environment" must be a name of 1 to 256 bytes, not ""`},
		{"{\"rules\": [{\"environment\": [\"a\"]}]}",
			`1: "environment" must be a name of 1 to 256 bytes, not ["a"]`},
		{"{\"rules\": [{\"agent\": \"yes\"}]}", `1: "agent" must be true or false, not "yes"`},
		{"{\"rules\": [{\"agent\": null}]}", `1: "agent" must be true or false, not null`},
		{"{\"rules\": [{\"program\": \"node\"}]}", `1: "program"` + pathMust + `"node"`},
		{"{\"rules\": [{\"program\": \"/usr/bin/*\"}]}",
			`1: "program"` + pathMust + `"/usr/bin/*"`},
		{"{\"rules\": [{\"under\": \"~\"}]}", `1: "under"` + pathMust + `"~"`},
		{"{\"rules\": [{\"under\": \"~you/src\"}]}", `1: "under"` + pathMust + `"~you/src"`},
		{"{\"rules\": [{\"under\": \"\"}]}", `1: "under"` + pathMust + `""`},
	}
	for _, test := range tests {
		f, err := parsePolicy("policy.json", []byte(test.text), "/home/me")
		if err == nil || f != nil || err.Error() != "policy.json:"+test.want {
			t.Errorf("parsePolicy(%q) = %v, want %s", test.text, err, test.want)
		}
	}
	for _, text := range []string{`{"sensitive": ["` + strings.Repeat("*", 257) + `"]}`,
		"{\"sensitive\": [\"\xff\"]}", "{" + strings.Repeat(" ", maxPolicyText) + "}",
		strings.Repeat("[", 20000)} {
		if _, err := parsePolicy("policy.json", []byte(text), "/home/me"); err == nil ||
			len(err.Error()) > 200 {
			t.Errorf("parsePolicy(%.20q) = %v", text, err)
		}
	}
	if _, err := parsePolicy("p", []byte(`{"rules": [{"under": "~/a", "decision": "ask"}]}`),
		""); err == nil {
		t.Error("~/ without a home directory was taken")
	}
}

// [POL-2] [POL-3]
func TestLoadPolicy(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	good := file("good", `{"mcp": false}`, 0o600)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(dir, "none")
	if p, err := loadPolicy(none, good, dir); err != nil || p.MCP || p.from["mcp"] != "~/good:1" {
		t.Errorf("the person's file: %+v, %v", p, err)
	}
	if p, err := loadPolicy(none, none, dir); err != nil || !p.MCP {
		t.Errorf("no file: %+v, %v", p, err)
	}
	tests := []struct{ path, want string }{
		{link, fmt.Sprintf("policy %q is a symbolic link: put the file itself there", link)},
		{dir, fmt.Sprintf("policy %q is not a regular file", dir)},
		{file("group", "{}", 0o660), "can be written by others: run chmod go-w on it"},
		{file("world", "{}", 0o602), "can be written by others: run chmod go-w on it"},
		{file("bad", "{\n\"alow\": 1}", 0o600), `~/bad:2: unknown member "alow"`},
		{file("big", strings.Repeat(" ", maxPolicyText)+"{}", 0o600),
			"~/big: malformed policy: over 1048576 bytes, or not UTF-8"},
		{filepath.Join(good, "below"), "failed to open policy"},
	}
	for _, test := range tests {
		if p, err := loadPolicy(none, test.path, dir); err == nil || p != nil ||
			!strings.Contains(err.Error(), test.want) {
			t.Errorf("loadPolicy of %s: %v, want %s", test.path, err, test.want)
		}
	}
}

// TestLoadPolicyOwner checks that the administrator's file must be root's.
// [POL-2]
func TestLoadPolicyOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if _, err := loadPolicy(path, path+"x", "/"); err != nil {
			t.Errorf("root's file: %v", err)
		}
		if err := os.Chown(path, 12345, -1); err != nil {
			t.Fatal(err)
		}
		if _, err := loadPolicy(path+"x", path, "/"); err == nil || !strings.Contains(err.Error(),
			"wrong owner") {
			t.Errorf("a stranger's file as the person's: %v", err)
		}
	}
	if _, err := loadPolicy(path, path+"x", "/"); err == nil || !strings.Contains(err.Error(),
		"wrong owner") {
		t.Errorf("not root's: %v", err)
	}
}

// TestLoadPolicyLinks checks that a rule about a link is about its target.
// [POL-5]
func TestLoadPolicyLinks(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "real", "src"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "home")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "tool")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "policy.json")
	text := `{"rules": [{"under": "~/src", "program": "` + dir + `/tool", "decision": "allow"},
		{"under": "~/none", "program": "` + dir + `/none", "decision": "deny"}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := loadPolicy(filepath.Join(dir, "none"), path, filepath.Join(dir, "home"))
	if err != nil || len(p.Rules) != 2 {
		t.Fatalf("loadPolicy: %+v, %v", p, err)
	}
	got := []string{p.Rules[0].under, p.Rules[0].program, p.Rules[1].under, p.Rules[1].program}
	want := []string{dir + "/real/src", dir + "/real", dir + "/real/none", dir + "/none"}
	if !slices.Equal(got, want) {
		t.Errorf("rules are about %q, want %q", got, want)
	}
}

// TestPolicyCommand: what is in force, and what a request would get, with the
// place that says so. [POL-12]
func TestPolicyCommand(t *testing.T) {
	w := newWorld(t)
	w.policy("{\"mcp\": true, \"sensitive\": [\"prod-*\"],\n \"rules\": [\n" +
		"  {\"action\": [\"delete\"], \"decision\": \"deny\"},\n" +
		"  {\"under\": \"~/project\", \"program\": \"~/bin/x\", \"decision\": \"allow\"}]}")
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"policy"}, []string{"mcp true ~/home/policy.json:1", "idleLock 30m0s default",
			`sensitive ["prod-*"] ~/home/policy.json:1`,
			`rule {"action":["delete"],"decision":"deny"} ~/home/policy.json:3`}},
		{[]string{"policy", "test", "delete", "acme"}, []string{"deny: ~/home/policy.json:3"}},
		{[]string{"policy", "test", "read", "prod-eu"}, []string{"ask: no rule a yes costs the passphrase"}},
		{[]string{"policy", "test", "read", "acme", "--dir", "~/project/a", "--program", "~/bin/x"},
			[]string{"allow: ~/home/policy.json:4"}},
		{[]string{"policy", "test", "read", "acme", "--dir", "a", "--program", "../bin/x"},
			[]string{"allow: ~/home/policy.json:4"}},
	} {
		out, errOut, code := w.done(w.command(c.args...))
		text := strings.Join(strings.Fields(out), " ")
		for _, want := range c.want {
			if code != 0 || !strings.Contains(text, want) {
				t.Errorf("%q: %d %s%s, want %q", c.args, code, out, errOut, want)
			}
		}
	}
}
