package main

// testdata/prompt says what every implementation's prompt has to show;
// testdata/README.md tells how it is read. Here this program is held to that as
// any other would be, and beyond it to its own layout, which -update writes.

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// vectorText is a text of a vector: a JSON string, or {"hex": "…"} for bytes
// that are not UTF-8.
type vectorText string

func (v *vectorText) UnmarshalJSON(data []byte) error {
	if data[0] != '{' {
		return json.Unmarshal(data, (*string)(v))
	}
	var bytes struct{ Hex string }
	if err := json.Unmarshal(data, &bytes); err != nil {
		return err
	}
	text, err := hex.DecodeString(bytes.Hex)
	*v = vectorText(text)
	return err
}

// plainTexts returns them as strings.
func plainTexts(list []vectorText) (all []string) {
	for _, v := range list {
		all = append(all, string(v))
	}
	return all
}

// promptVector is the top of a file of testdata/prompt: a request, and what its
// prompt must show, in whatever layout.
type promptVector struct {
	Comment      string       `json:"comment"`
	Requirements []string     `json:"requirements"`
	Number       uint64       `json:"number"`
	Time         string       `json:"time"`
	Via          string       `json:"via"`
	Action       action       `json:"action"`
	Program      vectorText   `json:"program"`
	PID          int          `json:"pid"`
	Command      []vectorText `json:"command"`
	Directory    vectorText   `json:"directory"`
	Ancestors    []struct {
		PID int        `json:"pid"`
		Exe vectorText `json:"exe"`
	} `json:"ancestors"`
	Agent       string       `json:"agent"`
	Claim       vectorText   `json:"claim"`
	Environment vectorText   `json:"environment"`
	Others      []vectorText `json:"others"`
	NewName     vectorText   `json:"newName"`
	Path        vectorText   `json:"path"`
	Paths       []vectorText `json:"paths"`
	Names       []vectorText `json:"names"`
	Missing     []vectorText `json:"missing"`
	Seen        []vectorText `json:"seen"`
	Plain       []vectorText `json:"plain"`
	Replaced    []vectorText `json:"replaced"`
	Also        []string     `json:"also"`
	Passphrase  bool         `json:"passphrase"`
	GrantMax    string       `json:"grantMax"`
	Home        string       `json:"home"`
	Columns     int          `json:"columns"`
	Offers      []string     `json:"offers"`
	Says        []string     `json:"says"`
	Order       []string     `json:"order"`
	Shows       []vectorText `json:"shows"`
	Lacks       []vectorText `json:"lacks"`
}

// readPromptVector cuts a file at its first empty line. The lines above it are
// "name: JSON"; of "shows" and "lacks" there may be many.
func readPromptVector(t *testing.T, path string) (v promptVector, top, rendered string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	top, rendered, found := strings.Cut(string(text), "\n\n")
	members := map[string]json.RawMessage{}
	lists := map[string][]string{}
	for line := range strings.SplitSeq(top, "\n") {
		name, value, ok := strings.Cut(line, ": ")
		if _, twice := members[name]; !ok || twice || !found {
			t.Fatalf("%s: malformed line %q", path, line)
		}
		if name == "shows" || name == "lacks" {
			lists[name] = append(lists[name], value)
			continue
		}
		members[name] = json.RawMessage(value)
	}
	for name, list := range lists {
		members[name] = json.RawMessage("[" + strings.Join(list, ",") + "]")
	}
	whole, err := json.Marshal(members)
	must(t, err)
	in := json.NewDecoder(bytes.NewReader(whole))
	in.DisallowUnknownFields()
	if err := in.Decode(&v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v, top + "\n\n", rendered
}

// alsoNotes are the notes by which the keeper says what else approving does.
var alsoNotes = map[string]string{
	"new-environment": "makes the new Environment acme-dev",
	"replaces-file":   "REPLACES the file by a mount, once its variables are stored",
	"replaces-files":  "REPLACES the 3 files, each by a mount of the whole Environment, once their variables are stored",
	"comments":        "does not keep 14 comments",
	"several-files":   "in several of the files, the last of which counts: DATABASE_URL, STRIPE_KEY",
	"several-lines":   "on several lines of a file, the last of which counts: PORT",
	"git-tracked":     "tracked by Git, whose history keeps the values: /home/you/src/acme/.env",
	"ends-mounts":     "ends 1 mount, the first /home/you/src/acme/.env",
	"git-exclude":     "approving adds /.env to the work tree's .git/info/exclude",
	"several":         "API_KEY is in several: the one of \"acme-mail\" counts",
}

// request makes what the vector describes.
func (v *promptVector) request(t *testing.T) *request {
	t.Helper()
	agent, known := map[string]agentState{"yes": agentYes, "no": agentNo, "unknown": agentUnknown}[v.Agent]
	if !known || !validAction(v.Action) {
		t.Fatalf("%q by agent %q", v.Action, v.Agent)
	}
	p := &process{pid: v.PID, exe: string(v.Program), args: plainTexts(v.Command),
		dir: string(v.Directory), agent: agent}
	for _, a := range v.Ancestors {
		p.ancestors = append(p.ancestors, ancestor{pid: a.PID, exe: string(a.Exe)})
	}
	o := object{environment: string(v.Environment), others: plainTexts(v.Others), newName: string(v.NewName), path: string(v.Path),
		otherPaths: plainTexts(v.Paths), names: plainTexts(v.Names), empty: plainTexts(v.Missing), fromAgent: plainTexts(v.Seen),
		replaced: plainTexts(v.Replaced)}
	o.note(wordings["plain"]+": ", plainTexts(v.Plain))
	for _, tag := range v.Also {
		if alsoNotes[tag] == "" {
			t.Fatalf("also %q", tag)
		}
		o.notes = append(o.notes, alsoNotes[tag])
	}
	return &request{number: v.Number, via: v.Via, action: v.Action, actor: p, claim: string(v.Claim), object: o}
}

// render asks the program's own prompt, and checks the keys that it offers.
func (v *promptVector) render(t *testing.T) string {
	t.Helper()
	at, err := time.Parse("15:04:05", v.Time)
	must(t, err)
	timed := timedGrant
	if v.GrantMax != "" {
		most, err := time.ParseDuration(v.GrantMax)
		must(t, err)
		timed = min(timed, most)
	}
	r := v.request(t)
	offered := choicesFor(r, timed)
	var keys []string
	for _, c := range offered {
		keys = append(keys, string(c.key))
	}
	slices.Sort(keys)
	if want := slices.Sorted(slices.Values(v.Offers)); !slices.Equal(keys, want) {
		t.Errorf("offers %q, want %q", keys, want)
	}
	return renderPrompt(r, offered, v.Passphrase, v.Columns, 200, v.Home, at)
}

// wordings are the words in which this program says what a vector's "says"
// names. Every other implementation has a table of its own.
var wordings = map[string]string{
	"agent":           "an AI agent is, or started, this program",
	"agent-unknown":   "its parents cannot be seen: treated as an AI agent's",
	"values":          "a yes may show it the VALUES",
	"hidden":          "(cannot be read)",
	"claim":           "says it is",
	"seen":            "the agent has seen the value of",
	"plain":           "a plain value, not concealed, which the agent gives",
	"replaces":        "REPLACES the value of",
	"new-environment": "makes the new Environment",
	"replaces-file":   "REPLACES the file by a mount",
	"replaces-files":  "files, each by a mount of the whole Environment",
	"comments":        "does not keep 14 comments",
	"several-files":   "in several of the files, the last of which counts",
	"several-lines":   "on several lines of a file, the last of which counts",
	"git-tracked":     "tracked by Git, whose history keeps the values",
	"ends-mounts":     "ends 1 mount",
	"git-exclude":     "approving adds",
	"several":         "API_KEY is in several",
	"prints":          "to PRINT the VALUES",
	"passphrase":      "a yes costs the passphrase",
}

// squeeze drops what a layout may put anywhere: spaces and line breaks.
func squeeze(text string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\n' {
			return -1
		}
		return r
	}, text)
}

// faults are the ways in which a rendered prompt fails its vector, in any
// layout.
func (v *promptVector) faults(rendered string, words map[string]string) (all []string) {
	fault := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	text := squeeze(rendered)
	for _, fact := range v.Shows {
		if !strings.Contains(text, squeeze(string(fact))) {
			fault("does not show %q", fact)
		}
	}
	rest := text
	for _, fact := range v.Order {
		_, after, found := strings.Cut(rest, squeeze(fact))
		if !found {
			fault("does not show %q after what stands before it", fact)
		}
		rest = after
	}
	for _, fact := range v.Lacks {
		if strings.Contains(rendered, string(fact)) {
			fault("shows %q", fact)
		}
	}
	for tag, wording := range words {
		if says := strings.Contains(text, squeeze(wording)); says != slices.Contains(v.Says, tag) {
			fault("says %q: %t", tag, says)
		}
	}
	for line := range strings.SplitSeq(rendered, "\n") {
		if columns(line) > v.Columns {
			fault("is wider than %d columns: %q", v.Columns, line)
		}
	}
	return all
}

// promptVectors returns the files, of which there must be some.
func promptVectors(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/prompt/*.txt")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files in testdata/prompt, %v", len(files), err)
	}
	return files
}

// TestPromptVectors renders each request as the keeper does. [ASK-3] [ASK-4]
// [ASK-5] [ASK-6] [ASK-7] [ASK-8] [GRT-2] [GRT-3] [GRT-4]
func TestPromptVectors(t *testing.T) {
	spec := specRequirements(t)
	used, tried := map[string]bool{}, map[action]bool{}
	for _, path := range promptVectors(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			v, top, want := readPromptVector(t, path)
			got := v.render(t)
			if *update {
				must(t, os.WriteFile(path, []byte(top+got+"\n"), 0o644))
				want = got + "\n"
			}
			for _, fault := range v.faults(got, wordings) {
				t.Errorf("%s: the prompt %s", v.Comment, fault)
			}
			if got+"\n" != want {
				t.Errorf("the prompt is\n%s\nwant\n%s", got, want)
			}
			for _, tag := range v.Says {
				used[tag] = true
				if wordings[tag] == "" {
					t.Errorf("says %q, for which there are no words", tag)
				}
			}
			for _, id := range v.Requirements {
				if _, ok := spec[id]; !ok {
					t.Errorf("tests %q, which SPEC.md does not define", id)
				}
			}
			tried[v.Action] = true
		})
	}
	for tag := range wordings {
		if !used[tag] {
			t.Errorf("no vector says %q", tag)
		}
	}
	for _, a := range actions {
		if !tried[a] {
			t.Errorf("no vector is about %q", a)
		}
	}
}

// TestPromptVectorsFault: each kind of fault is found, or the vectors prove
// nothing.
func TestPromptVectorsFault(t *testing.T) {
	v := promptVector{Columns: 20, Shows: []vectorText{"a b"}, Order: []string{"1", "2"},
		Lacks: []vectorText{"\x1b"}, Says: []string{"x"}}
	words := map[string]string{"x": "the x", "y": "the y"}
	for text, want := range map[string]string{
		"a\n b 1 2 the x":             "",
		"a 1 2 the x":                 `does not show "a b"`,
		"a b 2 1 the x":               `does not show "2" after what stands before it`,
		"a b 1 2 the x\x1b":           `shows "\x1b"`,
		"a b 1 2":                     `says "x": false`,
		"a b 1 2\nthe x\nthe y":       `says "y": true`,
		"a b 1 2 the x and much more": `is wider than 20 columns: "a b 1 2 the x and much more"`,
	} {
		if got := strings.Join(v.faults(text, words), "; "); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// TestPromptVectorsWording: what the vectors' notes say is what the keeper does.
func TestPromptVectorsWording(t *testing.T) {
	var source strings.Builder
	for _, name := range goFiles(t, false) {
		source.WriteString(readDoc(t, name))
	}
	for tag, want := range map[string]string{"new-environment": `"makes the new Environment "+`,
		"replaces-file": `"` + alsoNotes["replaces-file"] + `"`, "comments": `"does not keep "+count(comments, "comment")`,
		"replaces-files": `"REPLACES the %d files, each by a mount of the whole Environment, "+`,
		"several-files":  `"` + wordings["several-files"] + `: "`, "several-lines": `"` + wordings["several-lines"] + `: "`,
		"git-tracked": `"` + wordings["git-tracked"] + `: "`, "ends-mounts": `"ends %s, the first %s"`,
		"several": `"%s is in several: the one of %q counts"`, "git-exclude": `" to the work tree's .git/info/exclude"`, "plain": `"` + wordings["plain"] + `: "`} {
		if !strings.Contains(source.String(), want) {
			t.Errorf("%s: the program does not hold %s", tag, want)
		}
	}
}
