package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// parseBoth parses the two files; an empty text is a file that is not there.
func parseBoth(t testing.TB, admin, person string) *policy {
	t.Helper()
	files := [2]*policyFile{}
	for i, text := range []string{admin, person} {
		if text == "" {
			continue
		}
		var err error
		name := []string{"/etc/keepmum/policy.json", "policy.json"}[i]
		if files[i], err = parsePolicy(name, []byte(text), "/home/me"); err != nil {
			t.Fatal(err)
		}
	}
	return mergePolicy(files[0], files[1])
}

// rulesText is a policy with one rule a line, the first on line 2.
func rulesText(members string, rules ...string) string {
	return `{` + members + `"rules": [` + "\n" + strings.Join(rules, ",\n") + "\n]}"
}

// reading is a request of a person's node in ~/src/acme to read acme-dev,
// changed by each of change.
func reading(change ...func(*request)) *request {
	r := &request{via: "mount", action: actRead, object: object{environment: "acme-dev"},
		actor: &process{exe: "/usr/bin/node", dir: "/home/me/src/acme", agent: agentNo}}
	for _, f := range change {
		f(r)
	}
	return r
}

// [REQ-5] [POL-4] [POL-6]
func TestDecide(t *testing.T) {
	const allowAll, denyAll, askAll = `{"decision": "allow"}`, `{"decision": "deny"}`,
		`{"decision": "ask"}`
	env := func(name string) func(*request) { return func(r *request) { r.object.environment = name } }
	rename := func(from, to string) func(*request) {
		return func(r *request) {
			r.action, r.object = actRename, object{environment: from,
				newName: to}
		}
	}
	agent := func(a agentState) func(*request) { return func(r *request) { r.actor.agent = a } }
	dir := func(d string) func(*request) { return func(r *request) { r.actor.dir = d } }
	exe := func(e string) func(*request) { return func(r *request) { r.actor.exe = e } }
	do := func(a action, via string) func(*request) {
		return func(r *request) {
			r.action,
				r.via = a, via
		}
	}
	fromAgent := func(r *request) { r.object.fromAgent = []string{"KEY"} }
	nobody := func(r *request) { r.actor = nil }
	one := func(rule string) string { return rulesText("", rule) }
	const first, admin1 = "policy.json:2", "/etc/keepmum/policy.json:2"
	tests := []struct {
		name          string
		admin, person string
		request       *request
		remembered    string
		word, rule    string
	}{
		{"no file", "", "", reading(), "", "ask", "no rule"},
		{"no rule", "", "{}", reading(), "", "ask", "no rule"},
		{"allow", "", one(allowAll), reading(), "", "allow", first},
		{"ask", "", one(askAll), reading(), "", "ask", first},
		{"deny", "", one(denyAll), reading(), "", "deny", first},
		{"the first that matches", "", rulesText("", allowAll, denyAll), reading(), "", "allow",
			first},
		{"the first that matches is the second", "", rulesText("",
			`{"action": ["run"], "decision": "allow"}`, denyAll),
			reading(), "", "deny", "policy.json:3"},

		{"action", "", one(`{"action": ["list", "read"], "decision": "allow"}`), reading(), "",
			"allow", first},
		{"other action", "", one(`{"action": ["list"], "decision": "allow"}`), reading(), "",
			"ask", "no rule"},
		{"unknown action", "", one(allowAll), reading(do("steal", "mount")), "", "deny",
			"not understood"},
		{"no action", "", one(allowAll), reading(do("", "mount")), "grant 1", "deny",
			"not understood"},
		{"no request", "", one(allowAll), nil, "grant 1", "deny", "not understood"},

		{"environment", "", one(`{"environment": "acme-*", "decision": "allow"}`), reading(), "",
			"allow", first},
		{"other environment", "", one(`{"environment": "prod-*", "decision": "allow"}`),
			reading(), "", "ask", "no rule"},
		{"case of an environment", "", one(`{"environment": "ACME-*", "decision": "allow"}`),
			reading(), "", "ask", "no rule"},
		// [POL-4]
		{"no environment in the request", "", one(`{"environment": "*", "decision": "allow"}`),
			reading(env("")), "", "ask", "no rule"},
		// [POL-9]
		{"allow a rename of both names", "", one(`{"environment": "a*", "decision": "allow"}`),
			reading(rename("a1", "a2")), "", "allow", first},
		{"allow a rename away", "", one(`{"environment": "a*", "decision": "allow"}`),
			reading(rename("a1", "b1")), "", "ask", "no rule"},
		{"allow a rename into", "", one(`{"environment": "a*", "decision": "allow"}`),
			reading(rename("b1", "a1")), "", "ask", "no rule"},
		{"deny a rename into", "", one(`{"environment": "a*", "decision": "deny"}`),
			reading(rename("b1", "a1")), "", "deny", first},
		{"deny a rename away", "", one(`{"environment": "a*", "decision": "deny"}`),
			reading(rename("a1", "b1")), "", "deny", first},

		{"program", "", one(`{"program": "/usr/bin/node", "decision": "allow"}`), reading(), "",
			"allow", first},
		{"other program", "", one(`{"program": "/usr/bin/node", "decision": "allow"}`),
			reading(exe("/tmp/usr/bin/node")), "", "ask", "no rule"},
		{"program in the home directory", "", one(`{"program": "~/bin/x", "decision": "allow"}`),
			reading(exe("/home/me/bin/x")), "", "allow", first},
		// [POL-8]
		{"unknown program, allow", "", one(`{"program": "/usr/bin/node", "decision": "allow"}`),
			reading(exe("")), "", "ask", "no rule"},
		{"unknown program, deny", "", rulesText("", `{"program": "/bin/cat", "decision": "deny"}`,
			allowAll), reading(exe("")), "", "deny", first},
		// [WHO-9]
		{"another file of that name, allow", "", one(`{"program": "/usr/bin/node", "decision": "allow"}`),
			reading(exe("/usr/bin/node (another file)")), "", "ask", "no rule"},
		{"another file of that name, deny", "", rulesText("", `{"program": "/usr/bin/node", "decision": "deny"}`,
			allowAll), reading(exe("/usr/bin/node (another file)")), "", "deny", first},
		{"deleted program, deny", "", rulesText("", `{"program": "/usr/bin/node", "decision": "deny"}`,
			allowAll), reading(exe("/usr/bin/node (deleted)")), "", "deny", first},

		{"under, the directory itself", "", one(`{"under": "~/src/acme", "decision": "allow"}`),
			reading(), "", "allow", first},
		{"under, below", "", one(`{"under": "/home/me/src/", "decision": "allow"}`), reading(),
			"", "allow", first},
		{"under, not cleaned", "", one(`{"under": "/home/./me//src/x/..", "decision": "allow"}`), reading(),
			"", "allow", first},
		{"under, a sibling of that beginning", "",
			one(`{"under": "~/src/ac", "decision": "allow"}`), reading(), "", "ask", "no rule"},
		{"under, above", "", one(`{"under": "~/src/acme/web", "decision": "allow"}`), reading(),
			"", "ask", "no rule"},
		{"under, climbing out", "", one(`{"under": "~/src/acme", "decision": "allow"}`),
			reading(dir("/home/me/src/acme/../b")), "", "ask", "no rule"},
		{"under the root", "", one(`{"under": "/", "decision": "allow"}`), reading(), "", "allow",
			first},
		// [POL-8]
		{"under, unknown directory, allow", "", one(`{"under": "/", "decision": "allow"}`),
			reading(dir("")), "", "ask", "no rule"},
		{"under, relative directory, allow", "", one(`{"under": "/", "decision": "allow"}`),
			reading(dir("src")), "", "ask", "no rule"},
		{"under, unknown directory, deny", "", rulesText("",
			`{"under": "/x", "decision": "deny"}`, allowAll), reading(dir("")), "", "deny", first},

		{"under, removed directory, deny", "", rulesText("", `{"under": "/x", "decision": "deny"}`,
			allowAll), reading(dir("/x (deleted)")), "", "deny", first},
		{"under, directory removed elsewhere, deny", "", rulesText("", `{"under": "/x", "decision": "deny"}`,
			allowAll), reading(dir("/y (deleted)")), "", "allow", "policy.json:3"},
		{"under, removed directory, allow", "", one(`{"under": "/x", "decision": "allow"}`),
			reading(dir("/x/y (deleted)")), "", "ask", "no rule"},

		// [POL-7] [WHO-8]
		{"agent, allow says nothing of it", "", one(allowAll), reading(agent(agentYes)), "", "ask", "no rule"},
		{"unknown ancestry, allow says nothing of it", "", one(allowAll),
			reading(agent(agentUnknown)), "", "ask", "no rule"},
		{"agent, allow with agent", "", one(`{"agent": true, "decision": "allow"}`),
			reading(agent(agentYes)), "", "allow", first},
		{"unknown ancestry, allow with agent", "", one(`{"agent": true, "decision": "allow"}`),
			reading(agent(agentUnknown)), "", "allow", first},
		{"person, allow with agent", "", one(`{"agent": true, "decision": "allow"}`), reading(),
			"", "ask", "no rule"},
		{"person, allow without agent", "", one(`{"agent": false, "decision": "allow"}`),
			reading(), "", "allow", first},
		{"agent, allow without agent", "", one(`{"agent": false, "decision": "allow"}`),
			reading(agent(agentYes)), "", "ask", "no rule"},
		{"agent, deny says nothing of it", "", one(denyAll), reading(agent(agentYes)), "", "deny",
			first},
		{"unknown ancestry, deny with agent", "", one(`{"agent": true, "decision": "deny"}`),
			reading(agent(agentUnknown)), "", "deny", first},
		{"person, deny with agent", "", one(`{"agent": true, "decision": "deny"}`), reading(), "",
			"ask", "no rule"},
		{"unknown ancestry, deny without agent", "", one(`{"agent": false, "decision": "deny"}`),
			reading(agent(agentUnknown)), "", "ask", "no rule"},
		{"no actor, allow", "", one(allowAll), reading(nobody), "", "ask", "no rule"},
		{"no actor, deny of a program", "", one(`{"program": "/bin/cat", "decision": "deny"}`),
			reading(nobody), "", "deny", first},

		// [POL-10] [ASK-16]
		{"sensitive, allow by wildcard", "", rulesText(`"sensitive": ["acme-*"], `,
			`{"environment": "acme-*", "decision": "allow"}`),
			reading(), "", "ask passphrase", first + " (sensitive, so ask)"},
		{"sensitive, allow of everything", "", rulesText(`"sensitive": ["acme-dev"], `, allowAll),
			reading(), "",
			"ask passphrase", first + " (sensitive, so ask)"},
		{"sensitive, allow by name", "", rulesText(`"sensitive": ["acme-*"], `,
			`{"environment": "acme-dev", "decision": "allow"}`),
			reading(), "", "allow", first},
		{"sensitive, a name that looks like the wildcard", "", rulesText(`"sensitive": ["acme-*"], `,
			`{"environment": "acme-*", "decision": "allow"}`), reading(env("acme-*")), "", "ask passphrase",
			first + " (sensitive, so ask)"},
		{"sensitive, no rule", "", `{"sensitive": ["acme-*"]}`, reading(), "", "ask passphrase",
			"no rule"},
		{"sensitive, grant", "", `{"sensitive": ["acme-*"]}`, reading(), "grant 7", "allow",
			"grant 7"},
		{"sensitive, other environment", "", `{"sensitive": ["prod-*"]}`, reading(), "", "ask",
			"no rule"},
		{"sensitive, rename into", "", `{"sensitive": ["prod"]}`, reading(rename("a", "prod")),
			"", "ask passphrase", "no rule"},
		{"sensitive, no environment", "", `{"sensitive": ["*"]}`, reading(env("")), "", "ask",
			"no rule"},
		{"sensitive, deny", "", rulesText(`"sensitive": ["*"], `, denyAll), reading(), "", "deny",
			first},
		{"approval by passphrase", "", `{"approval": "passphrase"}`, reading(), "",
			"ask passphrase", "no rule"},
		{"approval by passphrase, allow", "", rulesText(`"approval": "passphrase", `, allowAll),
			reading(), "", "allow", first},

		// [POL-11]
		{"grant", "", "", reading(), "grant 3", "allow", "grant 3"},
		{"grant, ask", "", one(askAll), reading(), "grant 3", "allow", "grant 3"},
		{"grant, deny", "", one(denyAll), reading(), "grant 3", "deny", first},

		// [POL-1]
		{"mcp off, tool", "", rulesText(`"mcp": false, `, `{"agent": true, "decision": "allow"}`),
			reading(do(actList, "mcp"), agent(agentYes)),
			"grant 3", "deny", "mcp is off (policy.json:1)"},
		{"mcp off, connect", "", `{"mcp": false}`, reading(do(actConnect, "command")), "", "deny",
			"mcp is off (policy.json:1)"},
		{"mcp off, from nowhere", "", `{"mcp": false}`, reading(do(actList, "")), "", "deny",
			"mcp is off (policy.json:1)"},
		{"mcp off, mount", "", `{"mcp": false}`, reading(), "", "ask", "no rule"},
		{"mcp off, command", "", `{"mcp": false}`, reading(do(actRun, "command")), "", "ask",
			"no rule"},
		{"mcp off by the administrator", `{"mcp": false}`, `{"mcp": true}`, reading(do(actList,
			"mcp")), "", "deny",
			"mcp is off (/etc/keepmum/policy.json:1)"},
		{"mcp on, connect", "", `{"mcp": true}`, reading(do(actConnect, "mcp")), "", "ask",
			"no rule"},

		// [POL-1]
		{"agentValues deny", "", rulesText(`"agentValues": "deny", `, allowAll),
			reading(do(actAppend, "mcp"), fromAgent), "grant 3",
			"deny", "agentValues is deny (policy.json:1)"},
		{"agentValues deny, no value", "", `{"agentValues": "deny"}`, reading(do(actAppend,
			"mcp")), "", "ask", "no rule"},
		{"agentValues ask", "", `{"agentValues": "ask"}`, reading(do(actAppend, "mcp"),
			fromAgent), "", "ask", "no rule"},

		// [POL-6]
		{"administrator denies, person allows", one(denyAll), one(allowAll), reading(), "",
			"deny", admin1},
		{"administrator allows, person denies", one(allowAll), one(denyAll), reading(), "",
			"deny", first},
		{"administrator allows, person asks", one(allowAll), one(askAll), reading(), "", "ask",
			first},
		{"administrator asks, person allows", one(askAll), one(allowAll), reading(), "", "ask",
			admin1},
		{"administrator allows, person says nothing", one(allowAll), "{}", reading(), "", "allow",
			admin1},
		{"administrator says nothing, person allows", "{}", one(allowAll), reading(), "", "allow",
			first},
		{"both allow", one(allowAll), one(allowAll), reading(), "", "allow", admin1},
		{"first of each file", rulesText("", allowAll, denyAll), rulesText("", allowAll, denyAll),
			reading(), "", "allow", admin1},
		{"sensitive by the administrator", `{"sensitive": ["acme-*"]}`, one(allowAll), reading(),
			"", "ask passphrase",
			first + " (sensitive, so ask)"},
	}
	for _, test := range tests {
		got := parseBoth(t, test.admin, test.person).weigh(test.request, test.remembered)
		word := got.word
		if got.passphrase {
			word += " passphrase"
		}
		if word != test.word || got.rule != test.rule {
			t.Errorf("%s: decide = %s, %q, want %s, %q", test.name, word, got.rule, test.word,
				test.rule)
		}
	}
}

// TestDecideUnmade checks that a policy that nobody made permits nothing.
func TestDecideUnmade(t *testing.T) {
	if got := decide(nil, nil, reading(), time.Time{}); got.word != "deny" {
		t.Errorf("no policy: %+v", got)
	}
	if got := decide(new(policy), []*grant{nil, {id: 1}}, reading(),
		time.Time{}); got.word != "ask" || !got.passphrase {
		t.Errorf("empty policy: %+v", got)
	}
	if got := decide(new(policy), nil, reading(func(r *request) { r.via = "mcp" }),
		time.Time{}); got.word != "deny" {
		t.Errorf("empty policy, mcp: %+v", got)
	}
	tainted := reading(func(r *request) { r.object.fromAgent = []string{"KEY"} })
	if got := decide(new(policy), nil, tainted, time.Time{}); got.word != "deny" {
		t.Errorf("empty policy, a value of the agent's: %+v", got)
	}
	if got := decide(mergePolicy(nil, nil), []*grant{{id: 1}}, nil,
		time.Time{}); got.word != "deny" {
		t.Errorf("no request: %+v", got)
	}
}

// [POL-4]
func TestMatchGlob(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a", "ab", false}, {"a", "A", false}, {"*", "", true},
		{"*", "a/b", true}, {"*", "a\nb", true}, {"?", "", false}, {"?", "世", true}, {"?", "ab", false},
		{"a*", "a", true}, {"*a", "ba", true}, {"*a", "ab", false}, {"a*b", "ab", true}, {"a*b", "a/x/b", true},
		{"a*b", "abc", false}, {"a*b*c", "aXbYbZc", true}, {"a**b", "ab", true}, {"*?", "", false}, {"?*", "a", true},
		{"[a]", "[a]", true}, {"[a]", "a", false}, {`\*`, `\x`, true}, {`\*`, `*`, false}, {"", "", true}, {"", "a", false},
	}
	for _, test := range tests {
		if got := matchGlob(test.pattern, test.name); got != test.want {
			t.Errorf("matchGlob(%q, %q) = %t, want %t", test.pattern, test.name, got, test.want)
		}
	}
	// A pattern that costs a careless matcher ages.
	if matchGlob(strings.Repeat("a*", 127)+"b", strings.Repeat("a", 5000)) ||
		!matchGlob(strings.Repeat("?", 256), strings.Repeat("世", 256)) {
		t.Error("a long pattern is matched wrongly")
	}
}

// TestPolicyExample is the example of SPEC §6. [POL-12]
func TestPolicyExample(t *testing.T) {
	p := parseBoth(t, "", `{ "mcp": true, "idleLock": "30m", "promptTimeout": "60s", "grantMax": "8h",
  "maxMounts": 100, "approval": "confirm", "sensitive": ["prod-*"], "agentValues": "ask",
  "rules": [
    { "action": ["read"], "environment": "acme-*", "program": "/usr/bin/node",
      "under": "~/src/acme", "agent": false, "decision": "allow" },
    { "action": ["delete"], "decision": "deny" } ] }`)
	if got := decide(p, nil, reading(), time.Time{}); got.word != "allow" ||
		got.rule != "policy.json:4" {
		t.Errorf("read: %+v", got)
	}
	var got []string
	for _, line := range p.describe() {
		got = append(got, fmt.Sprintf("%s %s %s", line.Name, line.Value, line.From))
	}
	want := []string{"mcp true policy.json:1", "idleLock 30m0s policy.json:1",
		"promptTimeout 1m0s policy.json:1",
		"grantMax 8h0m0s policy.json:1", "maxMounts 100 policy.json:2",
		"approval confirm policy.json:2",
		"agentValues ask policy.json:2", `sensitive ["prod-*"] policy.json:2`,
		`rule {"action":["read"],"environment":"acme-*","program":"/usr/bin/node","under":"~/src/acme",` +
			`"agent":false,"decision":"allow"} policy.json:4`,
		`rule {"action":["delete"],"decision":"deny"} policy.json:6`}
	if !slices.Equal(got, want) {
		t.Errorf("describe:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// [POL-1] [ASK-14]
func TestMergePolicy(t *testing.T) {
	const admin, person = "/etc/keepmum/policy.json:1", "policy.json:1"
	tests := []struct{ member, admin, person, want, from string }{
		{"mcp", "", "", "true", "default"},
		{"mcp", "true", "false", "false", person},
		{"mcp", "false", "true", "false", admin},
		{"mcp", "false", "false", "false", admin},
		{"mcp", "", "false", "false", person},
		{"idleLock", "", "", "30m0s", "default"},
		{"idleLock", "", `"2h"`, "2h0m0s", person},
		{"idleLock", `"10m"`, `"2h"`, "10m0s", admin},
		{"idleLock", `"2h"`, `"5m"`, "5m0s", person},
		{"promptTimeout", "", "", "1m0s", "default"},
		{"promptTimeout", `"2m"`, `"90s"`, "1m30s", person},
		{"grantMax", "", "", "8h0m0s", "default"},
		{"grantMax", `"1h"`, `"24h"`, "1h0m0s", admin},
		{"grantMax", `"24h"`, "", "24h0m0s", admin},
		{"maxMounts", "", "", "1000", "default"},
		{"maxMounts", `0`, `5`, "0", admin},
		{"maxMounts", `5`, `0`, "0", person},
		{"approval", "", "", "confirm", "default"},
		{"approval", `"confirm"`, `"passphrase"`, "passphrase", person},
		{"approval", `"passphrase"`, `"confirm"`, "passphrase", admin},
		{"agentValues", "", "", "ask", "default"},
		{"agentValues", `"ask"`, `"deny"`, "deny", person},
		{"agentValues", `"deny"`, `"ask"`, "deny", admin},
	}
	text := func(member, value string) string {
		if value == "" {
			return ""
		}
		return fmt.Sprintf(`{"%s": %s}`, member, value)
	}
	for _, test := range tests {
		p := parseBoth(t, text(test.member, test.admin), text(test.member, test.person))
		i := slices.IndexFunc(p.settings,
			func(line policyLine) bool { return line.Name == test.member })
		if got := p.settings[i]; got.Value != test.want || got.From != test.from ||
			p.from[test.member] != test.from {
			t.Errorf("%s of %s and %s = %+v, want %s, %s", test.member, test.admin, test.person,
				got, test.want, test.from)
		}
	}
	p := parseBoth(t, `{"sensitive": ["a"]}`, `{"sensitive": ["b", "c"]}`)
	if !slices.Equal(p.Sensitive, []string{"a", "b", "c"}) {
		t.Errorf("sensitive = %q", p.Sensitive)
	}
	for person, want := range map[string]time.Duration{"": 5 * time.Minute,
		`{"promptTimeout": "30s"}`: 30 * time.Second,
		`{"promptTimeout": "10m"}`: 10 * time.Minute} {
		if p := parseBoth(t, "", person); p.CommandTimeout != want {
			t.Errorf("%s: commands wait %v, want %v", person, p.CommandTimeout, want)
		}
	}
}

// TestPolicyVectors runs testdata/policy; each file says its form.
// [REQ-5] [POL-2]
func TestPolicyVectors(t *testing.T) {
	files, _ := filepath.Glob("testdata/policy/*.txt")
	if len(files) < 12 {
		t.Fatalf("%d vectors, want 12 or more", len(files))
	}
	for _, file := range files {
		head, parts := readVector(t, file)
		var parsed [2]*policyFile
		var err error
		for i, name := range []string{"admin.json", "policy.json"} {
			if text, ok := parts[name]; ok && err == nil {
				parsed[i], err = parsePolicy(name, []byte(text), "/home/me")
			}
		}
		if err != nil || head["expect"] == "error" {
			if fmt.Sprint(err) != head["rule"] || head["expect"] != "error" {
				t.Errorf("%s: %v, want %s: %s", file, err, head["expect"], head["rule"])
			}
			continue
		}
		r := &request{via: head["via"], action: action(head["action"]),
			object: object{environment: head["environment"], newName: head["newName"]},
			actor: &process{exe: head["program"], dir: head["directory"],
				agent: map[string]agentState{
					"no": agentNo, "yes": agentYes, "unknown": agentUnknown}[head["agent"]]}}
		if names := head["fromAgent"]; names != "" {
			r.object.fromAgent = strings.Fields(names)
		}
		got := decide(mergePolicy(parsed[0], parsed[1]), nil, r, time.Time{})
		if got.word != head["expect"] || got.rule != head["rule"] ||
			fmt.Sprint(got.passphrase) != head["passphrase"] {
			t.Errorf("%s: %+v, want %s, %s, %s", file, got, head["expect"], head["rule"],
				head["passphrase"])
		}
	}
}

// FuzzPolicy: a file is refused or decides, and one file's deny stays a deny
// beside any other file.
func FuzzPolicy(f *testing.F) {
	files, _ := filepath.Glob("testdata/policy/*.txt")
	if len(files) == 0 {
		f.Fatal("no seeds")
	}
	for _, file := range files {
		_, parts := readVector(f, file)
		f.Add([]byte(parts["admin.json"]), []byte(parts["policy.json"]))
	}
	requests := []*request{reading(),
		reading(func(r *request) { r.actor.agent = agentYes; r.via = "mcp" }),
		reading(func(r *request) { r.actor = nil; r.action = actDelete })}
	f.Fuzz(func(t *testing.T, admin, person []byte) {
		a, errA := parsePolicy("a", admin, "/home/me")
		b, errB := parsePolicy("b", person, "/home/me")
		if (a == nil) != (errA != nil) || (b == nil) != (errB != nil) ||
			bytes.ContainsRune([]byte(fmt.Sprint(errA)), 0x1b) {
			t.Fatalf("parsePolicy: %v, %v", errA, errB)
		}
		both := mergePolicy(a, b)
		if len(both.describe()) < 7+len(both.Rules) {
			t.Error("describe leaves something out")
		}
		for _, r := range requests {
			one, other, got := decide(mergePolicy(a, nil), nil, r, time.Time{}),
				decide(mergePolicy(nil, b), nil, r, time.Time{}),
				decide(both, nil, r, time.Time{})
			if !slices.Contains(decisionWords, got.word) || got.rule == "" {
				t.Errorf("decide = %+v", got)
			}
			if (one.word == "deny" || other.word == "deny") != (got.word == "deny") {
				t.Errorf("%+v and %+v give %+v", one, other, got)
			}
			if (one.passphrase || other.passphrase) && got.word == "ask" && !got.passphrase {
				t.Errorf("%+v and %+v give %+v", one, other, got)
			}
		}
	})
}
