package main

// What Git knows about a mount's path. A repository is hostile until shown
// otherwise: its configuration may name programs, so everything that would run
// one is switched off, and git itself is never taken from the project.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const gitExcludeMax = 1 << 20 // bytes

// testOnlyGitDeadline is how long git may take; only the tests change it.
// [MNT-6]
var testOnlyGitDeadline = 5 * time.Second

// gitSafe comes before every command: no program that the repository's own
// configuration names is run (SPEC §12). [MNT-8]
var gitSafe = []string{"--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null",
	"-c", "core.untrackedCache=false", "-c", "safe.bareRepository=explicit"}

// gitInfo is what Git says about one path (SPEC §7.1).
type gitInfo struct {
	inWorkTree, tracked, ignored bool

	exclude string // the work tree's local exclude file
	pattern string // what ignores this path and no other, such as /.env
	git     string // the program
	path    string
}

// gitState asks Git about path, which is resolved. Outside of every work tree
// no program is run. An error means that nobody knows, and so no mount
// (SPEC §7.1). [MNT-6]
func gitState(path string) (s gitInfo, err error) {
	project := gitProject(filepath.Dir(path))
	if project == "" {
		return gitInfo{}, nil
	}
	s = gitInfo{inWorkTree: true, path: path}
	if s.git, err = findGit(project); err == nil {
		err = s.locate()
	}
	if err == nil {
		s.tracked, err = s.ask("ls-files", "--error-unmatch", "--", ":(literal)"+filepath.Base(path))
	}
	if err == nil && !s.tracked {
		s.ignored, err = s.isIgnored()
	}
	if err != nil {
		return gitInfo{}, err
	}
	return s, nil
}

// isPlaceholder reports whether nothing is at path, or an empty file or folder:
// agents' sandboxes put those where a .git could be made, and Git takes neither
// for a repository. [MNT-9]
func isPlaceholder(path string) bool {
	info, err := os.Lstat(path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	if info.IsDir() {
		entries, err := os.ReadDir(path)
		return err == nil && len(entries) == 0
	}
	return info.Mode().IsRegular() && info.Size() == 0
}

// gitProject returns the outermost folder at or above dir that has a .git, of
// whatever kind, or "".
func gitProject(dir string) (project string) {
	for below := ""; dir != below; below, dir = dir, filepath.Dir(dir) {
		if git := filepath.Join(dir, ".git"); !isPlaceholder(git) {
			project = dir
		}
	}
	return project
}

// findGit returns the git of PATH, if it lies outside of the project and others
// cannot rewrite it. LookPath itself refuses one found through a relative entry.
// [MNT-7]
func findGit(project string) (string, error) {
	name, err := exec.LookPath("git")
	if err != nil {
		return "", fmt.Errorf("%q is a Git work tree and git cannot be used (%v):"+
			" install git, or mount outside of it", project, err)
	}
	real, err := filepath.EvalSymlinks(name)
	if err != nil || within(name, project) || within(real, project) {
		return "", fmt.Errorf("the git of PATH, %q, belongs to the project:"+
			" take that folder out of PATH", name)
	}
	if info, err := os.Stat(real); err != nil || info.Mode()&0o022 != 0 {
		return "", fmt.Errorf("the git of PATH, %q, is writable by others: run chmod go-w on it", real)
	}
	return name, nil
}

// within reports whether path is dir or below it. Both are clean.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// locate finds the exclude file and the pattern. The exclude file must be the
// repository's own: a symbolic link in its way would have us write elsewhere.
func (s *gitInfo) locate() error {
	var out bytes.Buffer
	_, err := s.run(&out, 0, "rev-parse", "--path-format=absolute", "--is-inside-work-tree",
		"--show-toplevel", "--git-common-dir", "--git-path", "info/exclude")
	line := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if err == nil && (len(line) != 4 || line[0] != "true") {
		err = s.failed("rev-parse", errors.New("not in a work tree"))
	}
	if err != nil {
		return err
	}
	top := line[1]
	if s.exclude = line[3]; s.exclude != filepath.Join(line[2], "info", "exclude") {
		return fmt.Errorf("the exclude file of %q is %q, outside of its Git folder:"+
			" remove the symbolic link", top, s.exclude)
	}
	if s.path == top || !within(s.path, top) {
		return fmt.Errorf("%q is not in the work tree %q that Git names: check core.worktree",
			s.path, top)
	}
	s.pattern = gitPattern(strings.TrimPrefix(s.path, strings.TrimSuffix(top, "/")))
	return nil
}

// gitPattern spells a path that starts with a slash so that gitignore takes
// every character for itself.
func gitPattern(path string) string {
	return regexp.MustCompile(`[][\\*? ]`).ReplaceAllString(path, `\$0`)
}

// isIgnored asks whether Git ignores the path. Without --no-index it would match
// the name as a pattern against the index.
func (s *gitInfo) isIgnored() (bool, error) {
	return s.ask("check-ignore", "-q", "--no-index", "--", "./"+filepath.Base(s.path))
}

// ask runs a command that answers yes or no by its exit status, 0 or 1.
func (s *gitInfo) ask(args ...string) (bool, error) {
	code, err := s.run(nil, 1, args...)
	return code == 0, err
}

// failed words a git that gave no answer.
func (s *gitInfo) failed(command string, err error) error {
	return fmt.Errorf("git %s gave no answer about %q (%v): run git status there, or mount elsewhere",
		command, s.path, err)
}

// run starts git beside the path; an exit status of up to worst is an answer.
// Nothing of our environment but HOME goes along, and no transport is allowed:
// a missing object would else be fetched by a program that the repository names.
// [MNT-8]
func (s *gitInfo) run(out io.Writer, worst int, args ...string) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), testOnlyGitDeadline)
	defer cancel()
	// Git goes there by itself: a file system that does not answer would hold a child
	// of ours before its exec, and with it every other one and our own descriptors.
	cmd := exec.CommandContext(ctx, s.git, slices.Concat([]string{"-C", filepath.Dir(s.path)}, gitSafe, args)...)
	cmd.Dir, cmd.Stdout, cmd.WaitDelay = "/", out, time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // not on the keeper's terminal
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + os.Getenv("HOME"), "LC_ALL=C",
		"GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none",
		"GIT_TERMINAL_PROMPT=0"}
	var ran error
	if !withinTime(testOnlyGitDeadline+2*time.Second, func() { ran = cmd.Run() }) {
		return 0, s.failed(args[0], context.DeadlineExceeded) // not even the system can end it
	}
	var exit *exec.ExitError
	if errors.As(ran, &exit) && exit.Exited() && exit.ExitCode() <= worst {
		return exit.ExitCode(), nil
	} else if ran != nil {
		return 0, s.failed(args[0], ran)
	}
	return 0, nil
}

// addExclude makes Git ignore the path of info in this clone alone, and sees
// that it does: a rule in a .gitignore file comes after the exclude file. It
// does nothing where the line is there (SPEC §7.1). [MNT-10]
func addExclude(info gitInfo) error {
	folder := filepath.Dir(info.exclude)
	if err := os.Mkdir(folder, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot make %q: %v", folder, err)
	}
	dir, err := openFolder(folder)
	if err != nil {
		return err
	}
	defer dir.Close()
	f, _, err := openOwn(int(dir.Fd()), "exclude", unix.O_RDWR|unix.O_APPEND|unix.O_CREAT, 0o666)
	if err != nil {
		return fmt.Errorf("cannot use %q: %v", info.exclude, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, gitExcludeMax+1))
	if err != nil || len(text) > gitExcludeMax {
		return fmt.Errorf("cannot read %q, or it is too large: ignore %q by hand",
			info.exclude, info.path)
	}
	if !bytes.Contains(append([]byte("\n"), text...), []byte("\n"+info.pattern+"\n")) {
		line := info.pattern + "\n"
		if len(text) > 0 && text[len(text)-1] != '\n' {
			line = "\n" + line
		}
		if _, err := f.WriteString(line); err != nil {
			return fmt.Errorf("cannot write %q: %v", info.exclude, err)
		}
	}
	ignored, err := info.isIgnored()
	if err == nil && !ignored { // [MNT-11]
		err = fmt.Errorf("git still does not ignore %q: a rule with ! in a .gitignore wins, remove it",
			info.path)
	}
	return err
}
