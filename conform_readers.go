package main

// The readers of the conformance suite: real processes that open a mounted
// .env, each in a way in which programs do it or in which an attacker would.
// A reader writes exactly what it got to standard output, and nothing else
// (SPEC §7.2). Those that are built in end with 0; with 1, having said on
// standard error what happened; with 2 where they were wrongly asked for; or
// with 3 after a minute, whatever they wait for. No value is ever in an
// argument or on standard error.

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// readerSeparator stands between what a reader got from one open and from the
// next.
const readerSeparator = "--\n"

// readerMost is the largest number a reader takes: a minute in milliseconds.
const readerMost = 60_000

// testOnlyReaderAlarm is how long a built-in reader lives.
var testOnlyReaderAlarm = time.Minute

// readerKind is one way to read a mounted .env (SPEC §7.2). It has either argv
// or run.
type readerKind struct {
	name, what string
	program    string                          // looked up in PATH
	lacks      func(program string) string     // why it will not do here, or ""
	argv       func(path, arg string) []string // the program's arguments

	run    func(r *readerRun) error // built in: keepmum conform-reader NAME PATH [ARG]
	system string                   // the only system that has it, by Go's name
	inner  bool                     // started by another kind only

	arg   string // what ARG is: MS, TIMES, FD, FOLDER; "" takes none
	usual int    // a number that is not given
}

// readerKinds are all ways of reading. First come programs of the system, then
// those that are built in.
var readerKinds = slices.Concat(programReaders, ownReaders)

// programReaders are what people, scripts and languages read a .env with. The
// whole text comes out as it is, except with head-line, which ends after one
// line, and with those that source or load the file: they print their whole
// environment as NAME=value lines, with the new names in it.
var programReaders = []readerKind{
	{name: "cat", what: "the file as an argument, large reads",
		program: "cat", argv: pathLast()},
	{name: "stdin", what: "a shell opens the file, then becomes or starts cat",
		program: "sh", argv: pathLast("-c", `cat < "$1"`, "sh")},
	{name: "dd1", what: "a system call for each byte",
		program: "dd", argv: func(path, _ string) []string {
			return []string{"if=" + path, "bs=1", "status=none"}
		}},
	{name: "dd64k", what: "reads as large as a pipe",
		program: "dd", argv: func(path, _ string) []string {
			return []string{"if=" + path, "bs=65536", "status=none"}
		}},
	{name: "head-line", what: "prints one line and leaves, whatever is still to come",
		program: "head", argv: pathLast("-n", "1")},
	{name: "tail", what: "from the first line on; looks at the size and tries to seek",
		program: "tail", argv: pathLast("-n", "+1")},
	{name: "grep", what: "every line, as an agent would search",
		program: "grep", argv: pathLast("")},
	{name: "awk", what: "every line", program: "awk", argv: pathLast("{ print }")},
	{name: "sed", what: "every line", program: "sed", argv: pathLast("-n", "p")},
	{name: "cp", what: "a copy of the file's content to standard output",
		program: "cp", argv: func(path, _ string) []string { return []string{path, "/dev/stdout"} }},
	{name: "sh-read", what: "the shell itself, byte by byte and line by line", program: "sh",
		argv: pathLast("-c", `while IFS= read -r l; do printf '%s\n' "$l"; done < "$1"`, "sh")},
	{name: "sh-source", what: "a shell sources the file; prints its environment",
		program: "sh", argv: pathLast("-c", `set -a; . "$1" && env`, "sh")},
	{name: "bash-source", what: "the same with bash",
		program: "bash", argv: pathLast("-c", `set -a; source "$1" && env`, "bash")},
	{name: "bash-words", what: "bash reads the file in a subshell of its own",
		program: "bash", argv: pathLast("-c", `printf '%s\n' "$(<"$1")"`, "bash")},
	{name: "perl", what: "the whole file at once",
		program: "perl", argv: pathLast("-0777", "-ne", "print")},
	{name: "python", what: "open().read(), which asks for size and position first",
		program: "python3", argv: pathLast("-c",
			"import sys; sys.stdout.buffer.write(open(sys.argv[1], 'rb').read())")},
	{name: "node", what: "fs.readFileSync, as most libraries for JavaScript",
		program: "node", argv: pathLast("-e",
			`process.stdout.write(require("fs").readFileSync(process.argv[1]))`)},
	{name: "node-env-file", what: "node loads the file by itself; prints its environment",
		program: "node", lacks: nodeLacksEnvFile, argv: func(path, _ string) []string {
			return []string{"--env-file=" + path, "-e",
				`for (const k in process.env) console.log(k + "=" + process.env[k])`}
		}},
	{name: "busybox", what: "cat as small systems have it",
		program: "busybox", argv: pathLast("cat")},
}

// pathLast makes arguments that end with the path.
func pathLast(words ...string) func(path, arg string) []string {
	return func(path, _ string) []string { return append(slices.Clone(words), path) }
}

// nodeLacksEnvFile says why a node cannot load a .env by itself: that came with
// 20.6.
func nodeLacksEnvFile(program string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return fmt.Sprintf("%q does not say its version: %v", program, err)
	}
	var major, minor int
	_, err = fmt.Sscanf(string(out), "v%d.%d.", &major, &minor)
	if err != nil || major < 20 || major == 20 && minor < 6 {
		return fmt.Sprintf("%q has no --env-file: it is older than 20.6", program)
	}
	return ""
}

// findReader returns nil for what is no kind.
func findReader(name string) *readerKind {
	i := slices.IndexFunc(readerKinds, func(k readerKind) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return &readerKinds[i]
}

// number checks ARG and returns it where it is one.
func (k *readerKind) number(arg string) (int, error) {
	switch {
	case k.arg == "" && arg != "":
		return 0, fmt.Errorf("reader %q takes no argument, got %q", k.name, arg)
	case k.arg == "FOLDER" && !filepath.IsAbs(arg):
		return 0, fmt.Errorf("reader %q needs the absolute path of a folder, got %q", k.name, arg)
	case k.arg == "FOLDER" || arg == "":
		return k.usual, nil
	}
	n, err := strconv.Atoi(arg)
	if err != nil || n < 0 || n > readerMost {
		return 0, fmt.Errorf("reader %q needs a number from 0 to %d (%s), got %q",
			k.name, readerMost, k.arg, arg)
	}
	return n, nil
}

// readerCommand returns the command line of a reader of path, or why this
// machine has none of that kind, which skips a case. Self is the path of this
// executable. An error is a fault of the case (SPEC §7.2).
func readerCommand(kind, self, path, arg string) (argv []string, missing string, err error) {
	k := findReader(kind)
	if k == nil || k.inner {
		return nil, "", fmt.Errorf("unknown kind of reader %q", kind)
	}
	if !filepath.IsAbs(path) { // else it could be taken for a flag or a variable
		return nil, "", fmt.Errorf("reader %q needs an absolute path, got %q", kind, path)
	}
	if _, err := k.number(arg); err != nil {
		return nil, "", err
	}
	if k.system != "" && k.system != runtime.GOOS {
		return nil, fmt.Sprintf("reader %q is one of %s", kind, k.system), nil
	}
	program := self
	if k.program != "" {
		if program, err = exec.LookPath(k.program); err != nil {
			return nil, fmt.Sprintf("no %q in PATH", k.program), nil
		}
	}
	if k.lacks != nil {
		if missing = k.lacks(program); missing != "" {
			return nil, missing, nil
		}
	}
	if k.run != nil {
		return append([]string{self}, readerWords(kind, path, arg)...), "", nil
	}
	return append([]string{program}, k.argv(path, arg)...), "", nil
}

// readerWords are the arguments by which this executable is a reader.
func readerWords(kind, path, arg string) []string {
	words := []string{"conform-reader", kind, path}
	if arg != "" {
		words = append(words, arg)
	}
	return words
}

// runReader is this process as a reader that is built in; it returns the exit
// code (SPEC §7.2).
func runReader(kind, path, arg string) int {
	alarm := readerAlarm(testOnlyReaderAlarm, 3, "reader does not end: given up")
	defer alarm.Stop()
	k := findReader(kind)
	if k == nil || k.run == nil {
		fmt.Fprintf(os.Stderr, "keepmum: error: %q is no reader that is built in\n", kind)
		return 2
	}
	n, err := k.number(arg)
	if err != nil {
		fmt.Fprintf(os.Stderr, "keepmum: error: %v\n", err)
		return 2
	}
	if err := k.run(&readerRun{path: path, folder: arg, n: n}); err != nil {
		fmt.Fprintf(os.Stderr, "keepmum: error: reader %q: %v\n", kind, err)
		return 1
	}
	return 0
}

// readerAlarm ends the process in its time. Nothing else can: a thread that
// waits in open or read takes no notice of a context.
func readerAlarm(after time.Duration, code int, why string) *time.Timer {
	return time.AfterFunc(after, func() {
		fmt.Fprintf(os.Stderr, "keepmum: error: %s\n", why)
		os.Exit(code)
	})
}
