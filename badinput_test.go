package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestBadVault: what is wrong with the vault is said in one line, before a
// passphrase is asked where that can be known. [KPR-4] [KPR-5] [VLT-18]
func TestBadVault(t *testing.T) {
	w := newWorld(t)
	p := w.unlock()
	w.done(w.command("lock"))
	p.ends()
	path := filepath.Join(w.home, "vault")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file []byte
		says string
	}{
		"newer":     {bytes.Replace(good, []byte(`"v":1`), []byte(`"v":2`), 1), "unsupported vault version 2"},
		"truncated": {good[:len(good)-100], "damaged vault"},
		"empty":     {nil, "damaged vault"},
		"garbage":   {bytes.Repeat([]byte("x"), 3000), "damaged vault"},
	} {
		os.WriteFile(path, c.file, 0o600)
		p := w.atTerminal("unlock")
		p.sees(c.says)
		if p.ends() != 1 {
			t.Errorf("%s: exit code", name)
		}
		if now, _ := os.ReadFile(path); !bytes.Equal(now, c.file) {
			t.Errorf("%s: the file was touched", name)
		}
	}
	os.WriteFile(path, good, 0o600)
	p = w.atTerminal("unlock")
	for range maxTries {
		p.type_("passphrase: $", "a wrong passphrase\r")
		p.sees("incorrect passphrase")
	}
	if p.ends() != 1 {
		t.Error("exit code after wrong passphrases")
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, good) {
		t.Error("the vault was touched")
	}
}

// TestBadPolicy: the keeper does not start, and names file and line.
func TestBadPolicy(t *testing.T) {
	w := newWorld(t)
	w.policy("{\"mcp\": true,\n \"alow\": 1}")
	p := w.atTerminal("unlock")
	p.sees(`policy\.json:2: .*alow`)
	if p.ends() != 1 {
		t.Error("exit code")
	}
	w.policy(`{}`)
	os.Chmod(filepath.Join(w.home, "policy.json"), 0o666)
	p = w.atTerminal("unlock")
	p.sees(`policy\.json`)
	if p.ends() != 1 {
		t.Error("exit code")
	}
}

// TestBadPaths: each refusal comes without a question and says why.
func TestBadPaths(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "A", "v")
	at := func(name string) string { return filepath.Join(w.project, name) }
	os.WriteFile(at("file.env"), []byte("X=1\n"), 0o600)
	os.Mkdir(at("dir"), 0o700)
	os.Symlink("/etc/passwd", at("link.env"))
	os.Mkdir(at("open"), 0o700)
	os.Chmod(at("open"), 0o777)
	os.Mkdir(at("repo"), 0o700)
	for _, args := range [][]string{{"init", "-q"}, {"add", "-f", ".env"}} {
		os.WriteFile(at("repo/.env"), []byte("X=1\n"), 0o600)
		git := exec.Command("git", args...)
		git.Dir = at("repo")
		if out, err := git.CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	os.Remove(at("repo/.env"))
	for path, why := range map[string]string{
		at("file.env"): "regular file", at("dir"): "directory", at("link.env"): "symbolic link",
		at("open/.env"): "writable by", at("none/.env"): "exist", at("repo/.env"): "tracked by Git",
		filepath.Join(w.home, "x.env"): "keepmum",
	} {
		_, errOut, code := w.done(w.command("mount", "acme", path))
		if code != 1 || !strings.Contains(errOut, why) || strings.Count(errOut, "\n") != 1 {
			t.Errorf("mount %s: %d %q, want %q", path, code, errOut, why)
		}
	}
	c := w.client()
	c.connect(p, "p")
	list, _ := c.asked(p, "list", "p", "list_environments", map[string]any{})
	id := list["environments"].([]any)[0].(map[string]any)["environmentId"]
	for path, why := range map[string]string{"relative/.env": "absolute", w.project + "/a/../.env": "clean", at("x\n.env"): "control"} {
		_, text := c.result(c.call("create_local_env_file", map[string]any{"environmentId": id,
			"environmentName": "acme", "mountPath": path}))
		if !strings.Contains(text, why) {
			t.Errorf("mount at %q: %q, want %q", path, text, why)
		}
	}
	p.nothingAsked()
}

// TestMisuse: exit 2 and a pointer to the help. [CLI-10] [CLI-12]
func TestMisuse(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{{}, {"nonsense"}, {"set", "a"}, {"set", "a", "1bad"}, {"list", "--nope"},
		{"env", "frob", "x"}, {"revoke"}, {"policy", "test", "fly"}, {"completion", "tcsh"}, {"help", "nonsense"}} {
		out, errOut, code := w.done(w.command(args...))
		if code != 2 || out != "" || !strings.Contains(errOut, "keepmum: error: ") || !strings.Contains(errOut, "hint: ") {
			t.Errorf("%v: %d %q %q", args, code, out, errOut)
		}
	}
	for _, cmd := range commands {
		if cmd.hidden {
			continue
		}
		out, errOut, code := w.done(w.command(cmd.name, "--help"))
		if code != 0 || errOut != "" || !strings.HasPrefix(out, "usage: keepmum "+cmd.name) {
			t.Errorf("%s --help: %d %q %q", cmd.name, code, out, errOut)
		}
		for shell, script := range map[string]string{"bash": bashScript(), "zsh": zshScript(), "fish": fishScript()} {
			if !strings.Contains(script, cmd.name) {
				t.Errorf("%s completion lacks %s", shell, cmd.name)
			}
		}
	}
}

// TestSaveFails: a full disk and a home that cannot be written cost nothing
// but the change.
func TestSaveFails(t *testing.T) {
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "A", "v")
	before, _ := os.ReadFile(filepath.Join(w.home, "vault"))
	var limit syscall.Rlimit
	_ = limit
	if os.Getuid() != 0 {
		os.Chmod(w.home, 0o500)
		defer os.Chmod(w.home, 0o700)
		cmd := w.command("set", "acme", "B")
		cmd.Stdin = strings.NewReader("w")
		var errOut bytes.Buffer
		cmd.Stderr = &errOut
		cmd.Start()
		p.answers("append", "o")
		if cmd.Wait() == nil || !strings.Contains(errOut.String(), "permission denied") {
			t.Errorf("read-only home: %q", errOut.String())
		}
	}
	if now, _ := os.ReadFile(filepath.Join(w.home, "vault")); !bytes.Equal(now, before) {
		t.Error("the vault changed")
	}
}

// TestOwnKeeper: without a keeper a command asks for the passphrase and does
// the same. [KPR-28]
func TestOwnKeeper(t *testing.T) {
	w := newWorld(t)
	p := w.atTerminal("env", "create", "acme")
	p.type_("new passphrase: $", testPass+"\r")
	p.type_("the same again: $", testPass+"\r")
	p.sees(`created "acme"`)
	p.ends()
	p = w.atTerminal("list", "--json")
	p.type_("passphrase: $", testPass+"\r")
	p.sees(`"name": "acme"`)
	p.ends()
	// Without a terminal it says what to do.
	cmd := w.command("list")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	_, errOut, code := w.done(cmd)
	if code != 1 || !strings.Contains(errOut, "keepmum unlock") {
		t.Errorf("without a terminal: %d %q", code, errOut)
	}
	p = w.atTerminal("passwd")
	p.type_("passphrase: $", testPass+"\r")
	p.type_("new passphrase: $", "another passphrase\r")
	p.type_("the same again: $", "another passphrase\r")
	p.sees("was changed")
	p.ends()
	p = w.atTerminal("log", "--verify")
	p.type_("passphrase: $", "another passphrase\r")
	p.sees("the audit log is whole")
	p.ends()
}
