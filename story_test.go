package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

// TestDemo runs the demo as a stranger does and wants nothing left of it. [CLI-14]
func TestDemo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cmd := w.command("demo")
	cmd.Env = append(cmd.Env, "TMPDIR="+w.project)
	out, errOut, code := w.done(cmd)
	if code != 0 || !strings.Contains(out, "Everything was as told") || strings.Contains(out, "  NOT ") {
		t.Fatalf("demo ended with %d: %s\n%s", code, errOut, out)
	}
	if left, _ := os.ReadDir(w.project); len(left) > 0 {
		t.Errorf("the demo left %v", left)
	}
}

// deafOnce is a keeper that takes the first key for one that was typed ahead.
type deafOnce struct {
	screen  *screen
	pressed int
}

func (k *deafOnce) Write(key []byte) (int, error) {
	if k.pressed += len(key); k.pressed == 2 {
		k.screen.Write([]byte("allowed\n"))
	}
	return len(key), nil
}

// TestDemoPressesAgain: on a busy machine a key may come too early. [CLI-14]
func TestDemoPressesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{out: io.Discard}
		k := &deafOnce{screen: s}
		s.to = k
		s.Write([]byte("allow?  > "))
		if err := s.play(step{"> $", "o"}, step{"allowed", ""}); err != nil || k.pressed != 2 {
			t.Errorf("%v after %d keys", err, k.pressed)
		}
	})
}

// reads starts a process that reads a mount to its end.
func (w *world) reads(path string) (cmd *exec.Cmd, out *bytes.Buffer) {
	w.t.Helper()
	cmd, out = exec.Command("cat", path), new(bytes.Buffer)
	cmd.Dir, cmd.Stdout = w.project, out
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, out
}

// TestStory is the main job: an agent prepares, the program reads, the agent
// does not. [GRT-3] [DLV-18] [DLV-19] [MNT-12]
func TestStory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	c := w.client()
	if _, text := c.result(c.call("list_environments", map[string]any{"accountId": "X"})); !strings.Contains(text, "Call the authenticate tool first") {
		t.Errorf("before authenticate: %q", text)
	}
	c.connect(p, "p")
	made, text := c.asked(p, "create", "o", "create_environment", map[string]any{"environmentName": "acme-dev"})
	if text != "" {
		t.Fatal(text)
	}
	id := made["environmentId"]
	call := c.call("append_variables", map[string]any{"environmentId": id, "variables": []any{
		map[string]any{"name": "A", "value": ""}, map[string]any{"name": "B", "value": ""}}})
	p.answers("append", "e")
	p.type_(`1 of 2, A \(not shown.*?: $`, "it's a $ecret\r")
	p.type_(`2 of 2, B \(not shown.*?: $`, "\r")
	if r, text := c.result(call); fmt.Sprint(r["added"], r["placeholders"]) != "[A] [B]" {
		t.Errorf("append: %v %s", r, text)
	}
	path := filepath.Join(w.project, ".env")
	mount := map[string]any{"environmentId": id, "environmentName": "acme-dev", "mountPath": path}
	if _, text := c.asked(p, "mount", "o", "create_local_env_file", mount); text != "" {
		t.Fatal(text)
	}
	// The agent is this test's process, and so all it starts is an agent's.
	cmd, out := w.reads(path)
	if q := p.answers("read", "\r"); !strings.Contains(q, "AI agent") || strings.Contains(q, "until locked") {
		t.Errorf("the question does not tell of the agent: %s", q)
	}
	p.sees("NO VALUES")
	if err := cmd.Wait(); err != nil || out.String() != lineRefused {
		t.Errorf("refused reader: %v %q", err, out)
	}
	cmd, out = w.reads(path)
	p.answers("read", "o")
	want := "# keepmum: acme-dev\nA=\"it's a \\$ecret\"\n# B= (no value yet)\n"
	if err := cmd.Wait(); err != nil || out.String() != want {
		t.Errorf("approved reader: %v %q, want %q", err, out, want)
	}
	// A placeholder asked for again never takes a value away.
	r, text := c.asked(p, "append", "o", "append_variables", map[string]any{"environmentId": id,
		"variables": []any{map[string]any{"name": "A", "value": ""}}})
	if fmt.Sprint(r["updated"], r["placeholders"]) != "[] []" {
		t.Errorf("append of a placeholder: %v %s", r, text)
	}
	log, _, _ := w.done(w.command("log"))
	for _, word := range []string{"connect", "create", "append", "mount", "read", "delivered", "refused", "deny"} {
		if !strings.Contains(log, word) {
			t.Errorf("the log has no %q:\n%s", word, log)
		}
	}
	if _, errOut, code := w.done(w.command("log", "--verify")); code != 0 {
		t.Errorf("log --verify: %s", errOut)
	}
	w.done(w.command("lock"))
	if p.ends() != 0 {
		t.Error("the keeper ended badly")
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("the mount outlives the lock")
	}
	p = w.unlock()
	p.showed("1 mount served")
}

// canaries are values that must be seen nowhere.
var canaries = []string{"canary-one-$HOME'\"\\-4711", "CANARY two\twith tab & ümlaut 4712", "canary/three+4713=="}

// forms are the spellings in which a value might leak.
func forms(v string) []string {
	quoted, _ := json.Marshal(v)
	list := []string{v, hex.EncodeToString([]byte(v)), strings.ToUpper(hex.EncodeToString([]byte(v))),
		url.QueryEscape(v), url.PathEscape(v), string(quoted[1 : len(quoted)-1])}
	for skip := range 3 { // base64 at its three offsets, without the ends that depend on neighbours
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString(append(make([]byte, skip), v...))
			list = append(list, text[4:len(text)-4])
		}
	}
	return list
}

func leaksOf(text []byte) (found []string) {
	for _, v := range canaries {
		for _, form := range forms(v) {
			if bytes.Contains(text, []byte(form)) {
				found = append(found, form)
			}
		}
	}
	return found
}

// TestCanary uses every tool well and badly and looks for known values in
// every byte that leaves, and in what lies around. [KPR-13] [SOC-15]
func TestCanary(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	c := w.client()
	c.connect(p, "p")
	// An import that goes wrong must not quote the line it cannot read.
	bad := filepath.Join(w.project, "bad.env")
	os.WriteFile(bad, []byte("A=\""+canaries[0]+"\n"), 0o600)
	imp := map[string]any{"environmentName": "acme", "path": bad}
	if _, text := c.result(c.call("import_env_file", imp)); !strings.Contains(text, "line 1") {
		t.Errorf("bad import: %q", text)
	}
	os.Remove(bad)
	file := filepath.Join(w.project, ".env")
	os.WriteFile(file, []byte("ONE='"+strings.ReplaceAll(canaries[0], "'", "'\\''")+"'\nTWO='"+canaries[1]+"'\nTHREE='"+canaries[2]+"'\n"), 0o600)
	r, text := c.asked(p, "import", "o", "import_env_file", map[string]any{"environmentName": "acme", "path": file, "mount": true})
	if text != "" {
		t.Fatal(text)
	}
	id := r["environmentId"]
	env := map[string]any{"environmentId": id}
	for _, step := range []struct {
		action, key, tool string
		args              map[string]any
	}{
		{"list", "o", "list_environments", map[string]any{}},
		{"list", "o", "list_variables", env},
		{"list", "o", "list_local_env_files", env},
		{"append", "o", "append_variables", with(env, "variables", []any{map[string]any{"name": "FOUR", "value": ""}})},
		{"append", "n", "append_variables", with(env, "variables", []any{map[string]any{"name": "ONE", "value": "x"}})},
		{"rename", "o", "rename_environment", with(env, "environmentName", "acme-two")},
		{"create", "o", "create_environment", map[string]any{"environmentName": "other"}},
		{"remove", "o", "remove_variables", with(env, "variableNames", []any{"FOUR"})},
		{"mount", "o", "create_local_env_file", with(with(env, "environmentName", "acme-two"), "mountPath", filepath.Join(w.project, "b.env"))},
		{"unmount", "o", "remove_local_env_file", map[string]any{"mountPath": filepath.Join(w.project, "b.env")}},
	} {
		r, text := c.asked(p, step.action, step.key, step.tool, step.args)
		if (text != "") != (step.key == "n") {
			t.Errorf("%s: %q", step.tool, text)
		}
		if raw, _ := json.Marshal(r); text == "" {
			if bad := nonConforming(toolNamed(step.tool).out, raw); bad != "" {
				t.Errorf("%s: %s in %s", step.tool, bad, raw)
			}
		}
	}
	for _, args := range []map[string]any{{}, {"environmentId": id, "environmentName": "wrong", "mountPath": "x"},
		with(env, "variables", []any{map[string]any{"name": "1bad", "value": "v"}}), with(env, "variableNames", []any{"NONE"}),
		{"environmentId": "abcdefghijklmnopqrstuvwxyz"}, {"mountPath": "/nowhere/.env"}, {"environmentName": "\x1b[2J"}} {
		for i := range tools {
			if tools[i].name != "authenticate" && (len(args) > 0 || tools[i].name != "list_environments") {
				if _, text := c.result(c.call(tools[i].name, args)); text == "" {
					t.Errorf("%s took %v", tools[i].name, args)
				}
				p.nothingAsked()
			}
		}
	}
	reading, out := w.reads(file)
	p.answers("read", "o")
	p.sees("read by cat")
	reading.Wait()
	if len(leaksOf(out.Bytes())) == 0 && !strings.Contains(out.String(), canaries[2]) {
		t.Errorf("the approved reader did not get the canaries: the test cannot fail: %q", out)
	}
	// What lies around while the keeper runs: argv, environment, files.
	for _, cmd := range []*exec.Cmd{p.cmd, c.cmd} {
		for _, name := range []string{"cmdline", "environ"} {
			if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", cmd.Process.Pid, name)); err == nil {
				w.Write(text)
			}
		}
	}
	w.sweepFiles()
	if _, text := c.asked(p, "delete", "o", "delete_environment", env); text != "" {
		t.Error(text)
	}
	w.done(w.command("status", "--json"))
	w.done(w.command("log"))
	w.done(w.command("log", "--json"))
	w.done(w.command("lock"))
	p.ends()
	w.sweepFiles()
	if found := leaksOf(w.seen()); len(found) > 0 {
		t.Errorf("leaked: %q", found)
	}
	if !bytes.Contains(w.seen(), []byte("acme-two")) {
		t.Error("the transcript is not what it should be: the test cannot fail")
	}
}

// sweepFiles reads every regular file of the home and the project.
func (w *world) sweepFiles() {
	filepath.WalkDir(w.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				w.t.Errorf("%v", err)
			}
			w.Write(text)
		}
		return nil
	})
}

// TestKeeperKilled: no FIFO is left, a waiting reader has its end, and the
// next unlock serves again. [KPR-23] [MNT-12]
func TestKeeperKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "A", "v")
	var paths []string
	for i := range 10 {
		dir := fmt.Sprintf("m%d", i)
		os.Mkdir(filepath.Join(w.project, dir), 0o700)
		paths = append(paths, w.mount(p, "acme", dir))
	}
	cmd, out := w.reads(paths[3])
	p.sees(`read\r\n[\s\S]*> $`)
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.ends()
	if err := cmd.Wait(); err != nil || out.Len() > 0 {
		t.Errorf("waiting reader: %v %q", err, out)
	}
	waitFor(t, "the links and FIFOs to go", func() bool {
		left := 0
		for _, path := range paths {
			if _, err := os.Lstat(path); err == nil {
				left++
			}
		}
		filepath.WalkDir(w.home, func(_ string, e fs.DirEntry, err error) error {
			if err == nil && e.Type() == fs.ModeNamedPipe {
				left++
			}
			return nil
		})
		return left == 0
	})
	p = w.unlock()
	p.showed("10 mounts served")
	cmd, out = w.reads(paths[7])
	p.answers("read", "o")
	if err := cmd.Wait(); err != nil || out.String() != "# keepmum: acme\nA=v\n" {
		t.Errorf("after the next unlock: %v %q", err, out)
	}
}

// TestReaperKilledToo: whatever is killed, the next unlock is clean and touches
// nothing that is not ours. [KPR-26] [KPR-27]
func TestReaperKilledToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "A", "v")
	path := w.mount(p, "acme")
	foreign := filepath.Join(w.project, "foreign")
	if err := syscall.Mkfifo(foreign, 0o600); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(p.cmd.Process.Pid, syscall.SIGSTOP) // so that it starts no other reaper
	out, _ := exec.Command("pgrep", "-P", fmt.Sprint(p.cmd.Process.Pid)).Output()
	for _, pid := range strings.Fields(string(out)) {
		exec.Command("kill", "-9", pid).Run()
	}
	p.cmd.Process.Kill()
	p.ends()
	if _, err := os.Lstat(path); err != nil {
		t.Skip("the reaper was not to be found")
	}
	p = w.unlock()
	p.showed("1 mount served")
	if _, err := os.Lstat(foreign); err != nil {
		t.Error("a foreign FIFO was taken away")
	}
	cmd, got := w.reads(path)
	p.answers("read", "o")
	if err := cmd.Wait(); err != nil || got.String() != "# keepmum: acme\nA=v\n" {
		t.Errorf("%v %q", err, got)
	}
}
