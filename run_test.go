package main

import (
	"bytes"
	"crypto/sha256"
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

const (
	testKey = "k3y-of-the-tests/4711"
	// allowRuns lets the tests run without a question each.
	allowRuns = `{ "rules": [
		{ "action": ["run", "export", "append"], "decision": "allow" },
		{ "action": ["run", "export", "append"], "agent": true, "decision": "allow" } ] }`
)

// put stores a value without a question.
func (w *world) put(env, name, value string, flags ...string) {
	w.t.Helper()
	cmd := w.command(append([]string{"set", env, name}, flags...)...)
	cmd.Stdin = strings.NewReader(value)
	if _, errOut, code := w.done(cmd); code != 0 {
		w.t.Fatal(errOut)
	}
}

// running is a world in which runs are allowed and "acme" has three variables.
func running(t *testing.T) (*world, *person) {
	t.Helper()
	w := newWorld(t)
	w.policy(allowRuns)
	p := w.unlock()
	w.put("acme", "KEY", testKey)
	w.put("acme", "PORT", "3000")
	w.put("acme", "PLAIN", "plain-and-long", "--plain")
	return w, p
}

// TestRun: the environment, the output, the end. [RUN-12] [RUN-13] [RUN-18]
// [RUN-22] [RUN-17] [RUN-14]
func TestRun(t *testing.T) {
	w, _ := running(t)
	w.put("other", "KEY", "the-key-of-another")
	w.put("other", "MORE", "more-of-another-one")
	w.env = append(w.env, "KEY=inherited", "KEPT=kept")
	script := filepath.Join(w.project, "script.sh")
	must(t, os.WriteFile(script, []byte("#!/bin/sh\necho \"$#\" \"$1\"\n"), 0o700))
	must(t, os.WriteFile(filepath.Join(w.project, "data"), []byte("data"), 0o600))
	const unmasked = "keepmum: note: not masked, too short or too common: PORT\n"
	for _, c := range []struct {
		name, in     string
		args         []string
		out, errOut  string
		code, signal int
	}{
		{name: "the environment over ours", args: []string{"sh", "-c", "test $KEY = " + testKey + " && echo $KEPT $PORT $PLAIN"},
			out: "kept 3000 plain-and-long\n"},
		{name: "masked", args: []string{"sh", "-c", "echo a $KEY.; echo b $KEY. >&2; printf %s $KEY | od -An -tx1 | tr -d ' \\n'"},
			out: "a " + maskText + ".\n" + maskText, errOut: "b " + maskText + ".\n"},
		{name: "standard input", args: []string{"cat"}, in: "in " + testKey, out: "in " + maskText},
		{name: "a status", args: []string{"sh", "-c", "exit 7"}, code: 7},
		{name: "a signal", args: []string{"sh", "-c", "kill -TERM $$"}, signal: int(unix.SIGTERM)},
		{name: "a signal that Go would comment on", args: []string{"sh", "-c", "kill -QUIT $$"}, code: 131},
		{name: "arguments", args: []string{"./script.sh", "a  b'", "--env"}, out: "2 a  b'\n"},
		{name: "a path", args: []string{script}, out: "0 \n"},
		{name: "no such program", args: []string{"nowhere-4711"}, code: 127,
			errOut: "keepmum: error: cannot run \"nowhere-4711\": no such program\n"},
		{name: "no such path", args: []string{"./nowhere"}, code: 127,
			errOut: "keepmum: error: cannot run \"./nowhere\": no such program\n"},
		{name: "not executable", args: []string{"./data"}, code: 126,
			errOut: "keepmum: error: cannot run \"./data\": permission denied\n"},
		{name: "a directory", args: []string{"/"}, code: 126, errOut: "keepmum: error: cannot run \"/\": is a directory\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := w.command(append([]string{"run", "--env", "acme", "--"}, c.args...)...)
			cmd.Stdin = strings.NewReader(c.in)
			out, errOut, code := w.done(cmd)
			if c.code < 126 || c.code > 127 {
				c.errOut = unmasked + c.errOut
			}
			if out != c.out || errOut != c.errOut {
				t.Errorf("wrote %q and %q, want %q and %q", out, errOut, c.out, c.errOut)
			}
			status := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if c.signal != 0 && (!status.Signaled() || int(status.Signal()) != c.signal) || c.signal == 0 && code != c.code {
				t.Errorf("ended with %v", cmd.ProcessState)
			}
		})
	}
	must(t, os.WriteFile(script, []byte("#!/nowhere-4711\n"), 0o700)) // found, so asked about
	for _, flags := range [][]string{{"--no-masking"}, {}} {
		_, errOut, code := w.done(w.command(slices.Concat([]string{"run", "--env", "acme"}, flags, []string{"--", script})...))
		if code != 127 || !strings.Contains(errOut, "its interpreter is not there") {
			t.Errorf("a script without its interpreter: %d %q", code, errOut)
		}
	}
	// [RUN-7]: the later one wins.
	out, _, _ := w.done(w.command("run", "--env", "acme", "--env", "other", "--no-masking", "--",
		"sh", "-c", "echo $KEY $MORE $PORT"))
	if out != "the-key-of-another more-of-another-one 3000\n" {
		t.Errorf("of two Environments: %q", out)
	}
	for _, args := range [][]string{{"run"}, {"run", "--env", "acme"}, {"run", "--env", "acme", "ls"},
		{"run", "--", "ls"}, {"run", "--env", "acme", "--"}, {"run", "x", "--env", "acme", "--", "ls"}} {
		if _, errOut, code := w.done(w.command(args...)); code != 2 || !strings.Contains(errOut, "use: keepmum run") {
			t.Errorf("%v: %d %q", args, code, errOut)
		}
	}
}

// TestRunInPlace: without masking we become the program, with its mask for new
// files and without a core. [RUN-12] [RUN-15]
func TestRunInPlace(t *testing.T) {
	w, _ := running(t)
	for _, flags := range [][]string{{"--no-masking"}, {}} {
		cmd := w.command(slices.Concat([]string{"run", "--env", "acme"}, flags, []string{"--", "sh", "-c",
			"umask; ulimit -c; echo $$ $PPID $KEY; cat /proc/$$/comm"})...)
		old := unix.Umask(0o027)
		out, errOut, code := w.done(cmd)
		unix.Umask(old)
		if !strings.HasPrefix(out, "0027\n0\n") || code != 0 {
			t.Errorf("%v: %q %q", flags, out, errOut)
		}
		inPlace := strings.Contains(out, fmt.Sprintf("\n%d ", cmd.Process.Pid))
		if inPlace != (len(flags) > 0) || strings.Contains(out, testKey) != (len(flags) > 0) {
			t.Errorf("%v, pid %d: %q", flags, cmd.Process.Pid, out)
		}
	}
	// There is nothing to mask in an Environment of plain values.
	w.put("plain", "A", "plain-and-long", "--plain")
	cmd := w.command("run", "--env", "plain", "--", "sh", "-c", "echo $$")
	if out, errOut, _ := w.done(cmd); out != fmt.Sprintln(cmd.Process.Pid) {
		t.Errorf("plain values: %q %q", out, errOut)
	}
}

// TestRunAsks: the whole command is shown, a no starts nothing, and what cannot
// be done is not asked. [RUN-3] [RUN-4] [RUN-5] [RUN-6] [ASK-4]
func TestRunAsks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "KEY", testKey)
	w.set(p, "prod", "KEY", "another")
	long := strings.Repeat("word ", 200)
	cmd := w.command("run", "--env", "acme", "--env", "prod", "--", "touch", "a b", "it's\x1b[2J", long)
	must(t, cmd.Start())
	question := p.answers("run", "n")
	for _, fact := range []string{"run --env acme --env prod -- touch 'a b' 'it'\\''s<U+001B>[2J'", long,
		`1 variable of "acme", "prod"`, "/touch", `KEY is in several: the one of "prod" counts`, "lines: read all of it"} {
		if !strings.Contains(squeeze(strings.ReplaceAll(question, "\r", "")), squeeze(fact)) {
			t.Errorf("the question does not show %q", fact)
		}
	}
	cmd.Wait()
	if _, err := os.Stat(filepath.Join(w.project, "a b")); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("after a no: %v, %v", err, cmd.ProcessState)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"too long":        {[]string{"--env", "acme", "--", "ls", strings.Repeat("x", 5000)}, "put it into a script"},
		"unknown":         {[]string{"--env", "nowhere", "--", "ls"}, `no Environment is named "nowhere"`},
		"one of them":     {[]string{"--env", "acme", "--env", "no", "--", "ls"}, `no Environment is named "no"`},
		"twice":           {[]string{"--env", "acme", "--env", "acme", "--", "ls"}, "is given twice"},
		"no such program": {[]string{"--env", "acme", "--", "nowhere-4711"}, "no such program"},
	} {
		_, errOut, code := w.done(w.command(append([]string{"run"}, c.args...)...))
		if code == 0 || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: %d %q", name, code, errOut)
		}
	}
	p.nothingAsked()
	cmd = w.command("export", "--force", "acme")
	must(t, cmd.Start())
	if question := p.answers("export", "n"); !strings.Contains(question, `to PRINT the VALUES of 1 variable of "acme"`) ||
		strings.Contains(question, "[t]imed") {
		t.Errorf("an export asks: %s", question)
	}
	cmd.Wait()
	var seen []string
	for _, l := range w.logged() {
		if l.Event == "run" || l.Event == "export" {
			seen = append(seen, fmt.Sprintf("%s %s %s %v %s", l.Event, l.Environment, filepath.Base(l.Path), l.Names, l.Decision))
		}
	}
	if want := `run "acme", "prod" touch [KEY] deny, export acme . [KEY] deny`; strings.Join(seen, ", ") != want {
		t.Errorf("the log says %q, want %q", strings.Join(seen, ", "), want)
	}
}

// TestRunChanged: each of the Environments is still as it was shown, or nothing
// is given. [REQ-8]
func TestRunChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy(strings.ReplaceAll(allowRuns, `"run", "export", `, ""))
	p := w.unlock()
	w.put("acme", "KEY", testKey)
	w.put("other", "KEY", testKey)
	for i, changed := range []string{"acme", "other"} {
		cmd := w.command("run", "--env", "acme", "--env", "other", "--", "touch", "started")
		var errOut bytes.Buffer
		cmd.Stderr = &errOut
		must(t, cmd.Start())
		p.asked("run")
		w.put(changed, fmt.Sprintf("NEW%d", i), "value")
		p.presses("o")
		cmd.Wait()
		if !strings.Contains(errOut.String(), fmt.Sprintf("%q changed while the question was open", changed)) {
			t.Errorf("%s: %q", changed, errOut.String())
		}
	}
	if _, err := os.Stat(filepath.Join(w.project, "started")); err == nil {
		t.Error("it was started")
	}
}

// TestRunTooLarge: what the socket cannot carry is not asked about. [RUN-6]
func TestRunTooLarge(t *testing.T) {
	var list []*environment
	for e := range 4 {
		one := &environment{name: fmt.Sprint(e)}
		for i := range 15 {
			one.variables = append(one.variables, &variable{name: fmt.Sprintf("V%d_%d", e, i), value: make(secret, maxValue)})
		}
		list = append(list, one)
		c := &call{handed: list}
		err := c.fitsLine()
		if text := handed(merged(list)).encode(); len(text) > handedSize(merged(list)) || (err == nil) != (len(text) <= maxHanded) {
			t.Errorf("%d Environments, %d bytes: %v", len(list), len(text), err)
		}
	}
	if c := (&call{handed: list}); c.fitsLine() == nil {
		t.Error("4 MiB of values are taken: the test cannot fail")
	}
}

// TestRunGrant: a timed yes is for this command in this terminal, and each
// delivery is in the log. [RUN-8] [RUN-10]
func TestRunGrant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	w.set(p, "acme", "KEY", testKey)
	run := func(args ...string) *exec.Cmd {
		return w.command(append([]string{"run", "--env", "acme", "--"}, args...)...)
	}
	cmd := run("true")
	must(t, cmd.Start())
	p.answers("run", "t")
	must(t, cmd.Wait())
	if _, errOut, code := w.done(run("true")); code != 0 {
		t.Errorf("the same command: %s", errOut)
	}
	p.nothingAsked()
	var seen []string
	for _, l := range w.logged() { // [RUN-8]
		if l.Event == "run" {
			seen = append(seen, fmt.Sprintf("%d %s%s %s", l.Request, l.Decision, l.Outcome, l.By))
		}
	}
	if got := strings.Join(seen, ", "); got != "2 allow person: timed, 2 delivered , 3 allow grant 1, 3 delivered " {
		t.Errorf("the log says %q", got)
	}
	p.showed(fmt.Sprintf("true (pid %d)\r\n", cmd.Process.Pid))
	cmd = run("true", "more")
	must(t, cmd.Start())
	p.answers("run", "n")
	cmd.Wait()
	elsewhere := w.seat(run("true"))
	p.answers("run", "n")
	if elsewhere.ends() != 1 {
		t.Error("the grant holds in another terminal")
	}
}

// TestRunSensitive: one of the Environments is enough. [RUN-11]
func TestRunSensitive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy(`{ "sensitive": ["prod*"] }`)
	p := w.unlock()
	w.set(p, "acme", "KEY", testKey)
	cmd := w.command("set", "prod", "KEY")
	cmd.Stdin = strings.NewReader("another")
	must(t, cmd.Start())
	p.answers("append", "o")
	p.type_("passphrase.*: $", testPass+"\r")
	must(t, cmd.Wait())
	cmd = w.command("run", "--env", "acme", "--env", "prod", "--", "true")
	must(t, cmd.Start())
	p.answers("run", "o")
	p.type_("passphrase.*: $", testPass+"\r")
	must(t, cmd.Wait())
}

// TestRunPolicy: of several Environments the strictest word counts. [RUN-1]
// [RUN-11]
func TestRunPolicy(t *testing.T) {
	says := func(env, word string) rule { return rule{environment: env, decision: word, where: word + " " + env} }
	p := &policy{MCP: true, Approval: "confirm", AgentValues: "ask", Sensitive: []string{"s"},
		Rules: []rule{says("a", "allow"), says("b", "allow"), says("d", "deny"), says("s", "allow")}}
	for _, c := range []struct {
		via, envs string
		want      string
	}{{viaCommand, "a", "allow"}, {viaCommand, "a b", "allow"}, {viaCommand, "a x", "ask"}, {viaCommand, "x a", "ask"},
		{viaCommand, "a d", "deny"}, {viaCommand, "d x", "deny"}, {viaCommand, "a s", "allow"},
		{viaCommand, "x s", "ask passphrase"}, {viaMCP, "a", "deny"}} {
		envs := strings.Fields(c.envs)
		r := &request{via: c.via, action: actRun, actor: &process{agent: agentNo},
			object: object{environment: envs[0], others: envs[1:]}}
		d := p.weigh(r, "")
		got := d.word
		if d.passphrase {
			got += " passphrase"
		}
		if got != c.want {
			t.Errorf("%s by %s: %s (%s), want %s", c.envs, c.via, got, d.rule, c.want)
		}
	}
}

// TestRunOfOthers: values go to run and export alone, which the keeper knows by
// their command line. [RUN-1] [RUN-2] [SOC-15]
func TestRunOfOthers(t *testing.T) {
	w, p := running(t)
	l := w.dial()
	for _, method := range []string{"run", "export"} {
		fmt.Fprintf(l, `{"jsonrpc":"2.0","id":1,"method":%q,"params":{"arguments":{"environmentName":"acme"%s}}}`+"\n",
			method, map[string]string{"run": `,"environmentNames":["acme"],"path":"/bin/sh"`}[method])
		if m := l.hear(); m.err == nil || !strings.Contains(m.err.Message, "values go to keepmum "+method+" alone") {
			t.Errorf("%s: %s %v", method, m.result, m.err)
		}
	}
	c := w.client()
	c.connect(p, "p")
	for _, tool := range []string{"run", "export"} {
		if m := c.wait(c.call(tool, map[string]any{"environmentName": "acme"})); m["error"] == nil {
			t.Errorf("the tool %s is there: %v", tool, m)
		}
	}
}

// TestRunSignals: those sent to us reach the program. What the test's caller
// ignores, as nohup does, is caught here, so that run starts without it. [RUN-14]
func TestRunSignals(t *testing.T) {
	t.Parallel()
	w, _ := running(t)
	for s, name := range map[syscall.Signal]string{unix.SIGTERM: "TERM", unix.SIGHUP: "HUP", unix.SIGUSR1: "USR1",
		unix.SIGUSR2: "USR2", unix.SIGINT: "INT", unix.SIGQUIT: "QUIT"} {
		cmd := w.command("run", "--env", "acme", "--", "sh", "-c",
			"trap 'echo got; exit 9' "+name+"; echo ready; n=0; while [ $n -lt 600 ]; do sleep 0.05; n=$((n+1)); done")
		caught := make(chan os.Signal, 1)
		signal.Notify(caught, s)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal, no front
		out := new(lockedBuffer)
		cmd.Stdout = out
		must(t, cmd.Start())
		waitFor(t, "the program", func() bool { return strings.Contains(out.String(), "ready") })
		must(t, cmd.Process.Signal(s))
		cmd.Wait()
		signal.Stop(caught)
		if cmd.ProcessState.ExitCode() != 9 || !strings.Contains(out.String(), "got") {
			t.Errorf("%s: %v %q", name, cmd.ProcessState, out.String())
		}
	}
}

// TestRunIgnored: what is ignored when we start is so for the program, as under
// nohup. [RUN-14]
func TestRunIgnored(t *testing.T) {
	w, _ := running(t)
	const script = `trap "" HUP INT TSTP; exec "$0" run --env acme -- sh -c 'kill -HUP $$; kill -INT $$; kill -TSTP $$; echo alive'`
	cmd := exec.Command("sh", "-c", script, w.command().Path)
	cmd.Env, cmd.Dir = w.env, w.project
	out := new(lockedBuffer)
	cmd.Stdout = out
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	waitFor(t, "the program", func() bool { return out.String() == "alive\n" })
	must(t, os.WriteFile(filepath.Join(w.project, "ignoring"), []byte(script), 0o600))
	p := w.shell()
	p.types("sh -c \"$(cat ignoring)\" keepmum\r")
	p.sees(`\nalive\r\nready> $`)
}

// TestRunOutputLost: the program may end well, but its output has not arrived.
// [RUN-18]
func TestRunOutputLost(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	w, _ := running(t)
	for script, want := range map[string]string{`"$0" run --env acme -- echo x`: "1", `"$0" run --env acme -- sh -c "echo x; exit 7"`: "7"} {
		cmd := exec.Command("sh", "-c", script+` >/dev/full; echo $?`, w.command().Path)
		cmd.Env, cmd.Dir = w.env, w.project
		out, errOut, _ := w.done(cmd)
		if strings.TrimSpace(out) != want || !strings.Contains(errOut, "is lost: ") {
			t.Errorf("%s: %q %q", script, out, errOut)
		}
	}
}

// TestRunLarge: much output comes out as it went in, and a reader that goes is
// noticed. [RUN-18]
func TestRunLarge(t *testing.T) {
	w, _ := running(t)
	file := filepath.Join(w.project, "large")
	text := bytes.Repeat([]byte("some text of a line, 0123456789abcdef k3y-of-the-test\n"), 200_000)
	must(t, os.WriteFile(file, text, 0o600))
	cmd := w.command("run", "--env", "acme", "--", "cat", file)
	var out bytes.Buffer
	cmd.Stdout = &out
	must(t, cmd.Run())
	if sha256.Sum256(out.Bytes()) != sha256.Sum256(text) {
		t.Errorf("%d bytes of %d, or others", out.Len(), len(text))
	}
	head := exec.Command("sh", "-c", `"$0" run --env acme -- yes 2>/dev/null | head -c 100 | wc -c`, w.command().Path)
	head.Env, head.Dir = w.env, w.project
	if out, errOut, code := w.done(head); code != 0 || strings.TrimSpace(out) != "100" {
		t.Errorf("%d %q %q", code, out, errOut)
	}
}

// TestExport: to a terminal, or by force. [RUN-23] [RUN-24]
func TestExport(t *testing.T) {
	w, _ := running(t)
	w.put("acme", "ODD", "a\x1b[2Jb\u202e'c\nd")
	if out, errOut, code := w.done(w.command("export", "acme")); code != 2 || out != "" || !strings.Contains(errOut, "--force") {
		t.Errorf("to a pipe: %d %q %q", code, out, errOut)
	}
	cmd := w.command("export", "--force", "--dialect", "shell", "acme")
	out := new(bytes.Buffer)
	cmd.Stdout = out
	must(t, cmd.Run())
	sh := exec.Command("sh", "-c", `. "$0"; printf '%s|' "$KEY" "$PORT" "$ODD"`, filepath.Join(w.project, "out.env"))
	must(t, os.WriteFile(filepath.Join(w.project, "out.env"), out.Bytes(), 0o600))
	if got, err := sh.Output(); err != nil || string(got) != testKey+"|3000|a\x1b[2Jb\u202e'c\nd|" {
		t.Errorf("a shell reads %q, %v", got, err)
	}
	p := w.atTerminal("export", "acme")
	p.sees(`# keepmum: acme\r\nKEY=` + testKey + `\r\nPORT=3000\r\nPLAIN=plain-and-long\r\n`)
	p.sees(`ODD="a<U\+001B>\[2Jb<U\+202E>'c\r\nd"`)
	if p.ends() != 0 {
		t.Error("ended badly")
	}
	if _, errOut, code := w.done(w.command("export", "--force", "--dialect", "no", "acme")); code != 2 {
		t.Errorf("an unknown dialect: %d %q", code, errOut)
	}
	w.put("acme", "BOTH", "it's `a`\\n")
	for d, lost := range map[dialect]string{dialectJS: "carry BOTH:", dialectRaw: "carry ODD:"} {
		out, errOut, code := w.done(w.command("export", "--force", "--dialect", string(d), "acme"))
		if code != 1 || !strings.Contains(errOut, lost) || !strings.Contains(out, "KEY=") {
			t.Errorf("what %s cannot carry: %d %q", d, code, errOut)
		}
	}
}
