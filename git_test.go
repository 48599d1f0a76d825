package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testGit returns a work tree with one commit, and a function that runs git.
func testGit(t *testing.T) (dir string, git func(args ...string) string) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git")
	}
	dir = testFolder(t)
	t.Setenv("HOME", testFolder(t))
	git = func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=n", "GIT_AUTHOR_EMAIL=e", "GIT_COMMITTER_NAME=n",
			"GIT_COMMITTER_EMAIL=e", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
		return strings.TrimSuffix(string(out), "\n")
	}
	git("init", "-q")
	put(t, dir+"/tracked", "x")
	put(t, dir+"/sub/.env.tracked", "x")
	put(t, dir+"/.gitignore", "ignored\n*.secret\n!kept.secret\n")
	git("add", "-A")
	git("commit", "-q", "-m", "first")
	return dir, git
}

// [MNT-6] [MNT-10]
func TestGitState(t *testing.T) {
	dir, git := testGit(t)
	put(t, dir+"/both.secret", "x")
	git("add", "-f", "both.secret")
	git("worktree", "add", "-q", dir+"/sub/tree")
	put(t, dir+"/sub/tree/.git-is-a-file", "x")
	git("init", "-q", "--separate-git-dir", dir+"/module.git", dir+"/module")
	for _, c := range []struct {
		path             string
		tracked, ignored bool
		exclude, pattern string
	}{
		{"/.env", false, false, "/.git/info/exclude", "/.env"},
		{"/sub/.env", false, false, "/.git/info/exclude", "/sub/.env"},
		{"/tracked", true, false, "/.git/info/exclude", "/tracked"},
		{"/sub/.env.tracked", true, false, "/.git/info/exclude", "/sub/.env.tracked"},
		{"/ignored", false, true, "/.git/info/exclude", "/ignored"},
		{"/sub/a.secret", false, true, "/.git/info/exclude", "/sub/a.secret"},
		{"/both.secret", true, false, "/.git/info/exclude", "/both.secret"},
		{"/track*", false, false, "/.git/info/exclude", `/track\*`},
		{"/:(top)tracked", false, false, "/.git/info/exclude", "/:(top)tracked"},
		{`/a [b]?\ `, false, false, "/.git/info/exclude", `/a\ \[b\]\?\\\ `},
		{"/-n", false, false, "/.git/info/exclude", "/-n"},
		{"/sub/tree/.env.tree", false, false, "/.git/info/exclude", "/.env.tree"},
		{"/sub/tree/tracked", true, false, "/.git/info/exclude", "/tracked"},
		{"/module/.env", false, false, "/module.git/info/exclude", "/.env"},
	} {
		got, err := gitState(dir + c.path)
		if err != nil {
			t.Errorf("gitState(%q) = %v", c.path, err)
			continue
		}
		if !got.inWorkTree || got.tracked != c.tracked || got.ignored != c.ignored ||
			got.exclude != dir+c.exclude || got.pattern != c.pattern {
			t.Errorf("gitState(%q) = %+v", c.path, got)
		}
		if c.tracked || c.ignored {
			continue
		}
		if err := addExclude(got); err != nil {
			t.Errorf("addExclude for %q: %v", c.path, err)
		} else if again, err := gitState(dir + c.path); err != nil || !again.ignored {
			t.Errorf("after addExclude gitState(%q) = %+v, %v", c.path, again, err)
		}
	}
}

func TestGitOutside(t *testing.T) {
	t.Setenv("PATH", "") // a git that were run would be an error
	if got, err := gitState(testFolder(t) + "/.env"); err != nil || got.inWorkTree {
		t.Errorf("outside of Git: %+v, %v", got, err)
	}
}

// [MNT-6] [MNT-7]
func TestGitRefused(t *testing.T) {
	for _, c := range []struct {
		name, path, want string
		spoil            func(t *testing.T, dir string, git func(...string) string)
	}{
		{"no git in PATH", "/.env", "install git", func(t *testing.T, dir string,
			_ func(...string) string) {
			t.Setenv("PATH", dir+"/nowhere")
		}},
		{"git of the project", "/.env", "out of PATH", func(t *testing.T, dir string,
			_ func(...string) string) {
			plant(t, dir+"/bin/git", dir+"/canary")
			t.Setenv("PATH", dir+"/bin:"+os.Getenv("PATH"))
		}},
		{"git of the project, a link out of it", "/.env", "out of PATH",
			func(t *testing.T, dir string, _ func(...string) string) {
				real, err := exec.LookPath("git")
				must(t, err)
				must(t, os.Symlink(real, dir+"/git"))
				t.Setenv("PATH", dir)
			}},
		{"git through a link into the project", "/.env", "out of PATH",
			func(t *testing.T, dir string, _ func(...string) string) {
				plant(t, dir+"/bin/git", dir+"/canary")
				bin := testFolder(t)
				must(t, os.Symlink(dir+"/bin/git", bin+"/git"))
				t.Setenv("PATH", bin)
			}},
		{"git of a relative folder", "/.env", "cannot be used", func(t *testing.T, dir string,
			_ func(...string) string) {
			plant(t, dir+"/git", dir+"/canary")
			t.Chdir(dir)
			t.Setenv("PATH", ".:"+os.Getenv("PATH"))
		}},
		{"git writable by others", "/.env", "writable by others", func(t *testing.T, dir string,
			_ func(...string) string) {
			bin := testFolder(t)
			plant(t, bin+"/git", dir+"/canary")
			must(t, os.Chmod(bin+"/git", 0o777))
			t.Setenv("PATH", bin)
		}},
		{"git hangs", "/.env", "no answer", func(t *testing.T, dir string, _ func(...string) string) {
			bin := testFolder(t)
			put(t, bin+"/git", "#!/bin/sh\nkill -STOP $$\n")
			testOnlyGitDeadline = 100 * time.Millisecond
			t.Cleanup(func() { testOnlyGitDeadline = 5 * time.Second })
			must(t, os.Chmod(bin+"/git", 0o755))
			t.Setenv("PATH", bin)
		}},
		{"broken .git", "/.env", "no answer", func(t *testing.T, dir string, _ func(...string) string) {
			must(t, os.RemoveAll(dir+"/.git"))
			must(t, os.Mkdir(dir+"/.git", 0o755))
			put(t, dir+"/.git/config", "")
		}},
		{".git leads nowhere", "/.env", "no answer", func(t *testing.T, dir string,
			_ func(...string) string) {
			must(t, os.RemoveAll(dir+"/.git"))
			put(t, dir+"/.git", "gitdir: /nowhere\n")
		}},
		{"inside .git", "/.git/.env", "no answer", nil},
		{"damaged index", "/.env", "no answer", func(t *testing.T, dir string, _ func(...string) string) {
			put(t, dir+"/.git/index", "garbage")
		}},
		{"work tree elsewhere", "/.env", "", func(t *testing.T, dir string, git func(...string) string) {
			git("config", "core.worktree", testFolder(t))
		}},
		{"exclude is a link", "/.env", "outside of its Git folder",
			func(t *testing.T, dir string, _ func(...string) string) {
				must(t, os.Remove(dir+"/.git/info/exclude"))
				must(t, os.Symlink("/etc/hosts", dir+"/.git/info/exclude"))
			}},
		{"info is a link", "/.env", "outside of its Git folder",
			func(t *testing.T, dir string, _ func(...string) string) {
				must(t, os.RemoveAll(dir+"/.git/info"))
				must(t, os.Symlink(testFolder(t), dir+"/.git/info"))
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, git := testGit(t)
			if c.spoil != nil {
				c.spoil(t, dir, git)
			}
			got, err := gitState(dir + c.path)
			if err == nil || !strings.Contains(err.Error(), c.want) || got.inWorkTree {
				t.Errorf("gitState = %+v, %v, want %q", got, err, c.want)
			}
			if _, err := os.Lstat(dir + "/canary"); err == nil {
				t.Error("the project's program was run")
			}
		})
	}
}

// plant makes a program that leaves a file where it was run.
func plant(t *testing.T, path, canary string) {
	t.Helper()
	put(t, path, "#!/bin/sh\n: >'"+canary+"'\n")
	must(t, os.Chmod(path, 0o755))
}

// TestGitHostile sets what a repository's own configuration may name as a
// program, shows that plain git runs it, and that gitState does not. [MNT-8]
func TestGitHostile(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, dir, program string, git func(...string) string)
		plain []string
	}{
		{"fsmonitor", func(t *testing.T, dir, program string, git func(...string) string) {
			git("config", "core.fsmonitor", program)
		}, []string{"ls-files", "--error-unmatch", "--", "tracked"}},
		{"fetch of a missing .gitignore", func(t *testing.T, dir, program string,
			git func(...string) string) {
			git("init", "-q", "--bare", dir+"/remote.git")
			git("config", "remote.origin.url", dir+"/remote.git")
			git("config", "remote.origin.promisor", "true")
			git("config", "remote.origin.uploadpack", program)
			git("config", "extensions.partialClone", "origin")
			git("config", "core.repositoryFormatVersion", "1")
			git("config", "protocol.file.allow", "always")
			id := git("rev-parse", ":.gitignore")
			git("update-index", "--skip-worktree", ".gitignore")
			must(t, os.Remove(dir+"/.gitignore"))
			must(t, os.Remove(filepath.Join(dir, ".git/objects", id[:2], id[2:])))
		}, []string{"check-ignore", "-q", "--", "ignored"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, git := testGit(t)
			canary := testFolder(t) + "/canary"
			program := testFolder(t) + "/program"
			plant(t, program, canary)
			c.spoil(t, dir, program, git)
			gitState(dir + "/.env") // an answer or an error, both are well
			if _, err := os.Lstat(canary); err == nil {
				t.Fatal("gitState ran the repository's program")
			}
			plain := exec.Command("git", c.plain...)
			plain.Dir = dir
			plain.Run()
			if _, err := os.Lstat(canary); err != nil {
				t.Error("plain git does not run it either: this test shows nothing")
			}
		})
	}
}

// [MNT-10]
func TestAddExclude(t *testing.T) {
	for _, c := range []struct{ name, before, after string }{
		{"empty", "", "/.env\n"},
		{"other lines", "a\nb\n", "a\nb\n/.env\n"},
		{"no newline at the end", "a\nb", "a\nb\n/.env\n"},
		{"there", "a\n/.env\nb\n", "a\n/.env\nb\n"},
		{"there, first", "/.env\n", "/.env\n"},
		{"there without a newline", "/.env", "/.env\n/.env\n"},
		{"part of another", "/.env.local\n/sub/.env\n", "/.env.local\n/sub/.env\n/.env\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := testGit(t)
			put(t, dir+"/.git/info/exclude", c.before)
			info, err := gitState(dir + "/.env")
			must(t, err)
			for range 2 {
				must(t, addExclude(info))
			}
			if got, _ := os.ReadFile(dir + "/.git/info/exclude"); string(got) != c.after {
				t.Errorf("exclude is %q, want %q", got, c.after)
			}
		})
	}
}

// [MNT-11]
func TestAddExcludeRefused(t *testing.T) {
	dir, _ := testGit(t)
	info, err := gitState(dir + "/.env")
	must(t, err)
	must(t, os.RemoveAll(dir+"/.git/info"))
	must(t, addExclude(info)) // a clone need not have the folder

	put(t, dir+"/.gitignore", "!.env\n")
	if err := addExclude(info); err == nil || !strings.Contains(err.Error(), "still does not ignore") {
		t.Errorf("a rule that wins: %v", err)
	}
	elsewhere := testFolder(t)
	put(t, elsewhere+"/victim", "keep")
	must(t, os.Remove(dir+"/.git/info/exclude"))
	must(t, os.Symlink(elsewhere+"/victim", dir+"/.git/info/exclude"))
	if err := addExclude(info); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("exclude swapped for a link: %v", err)
	}
	must(t, os.RemoveAll(dir+"/.git/info"))
	must(t, os.Symlink(elsewhere, dir+"/.git/info"))
	must(t, os.Rename(elsewhere+"/victim", elsewhere+"/exclude"))
	if err := addExclude(info); err == nil {
		t.Error("info swapped for a link was followed")
	}
	if text, _ := os.ReadFile(elsewhere + "/exclude"); string(text) != "keep" {
		t.Errorf("a foreign file is now %q", text)
	}
}

// TestGitPlaceholder: what an agent's sandbox puts in the place of a .git is no
// repository. [MNT-9]
func TestGitPlaceholder(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"file":   func(path string) error { return os.WriteFile(path, nil, 0o600) },
	} {
		dir := testFolder(t)
		must(t, make(dir+"/.git"))
		if s, err := gitState(dir + "/.env"); err != nil || s.inWorkTree {
			t.Errorf("an empty %s called .git: %+v, %v", name, s, err)
		}
	}
}
