package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

var commands []*command

// keeperPatience is longer than a keeper that works lets a caller wait.
const keeperPatience = maxWait + 15*time.Second

// errNoKeeper matches every error that says no keeper runs, errLost that of a
// connection that ended.
var (
	errNoKeeper = wireErrorf(codeLocked, "keepmum is locked: %s", unlockHint)
	errLost     = &wireError{Code: codeFailed}
)

var errNoAnswer = errors.New("the keeper does not answer: look at its terminal")

func jsonFlag(f *flag.FlagSet, o *options) { f.BoolVar(&o.json, "json", false, "print JSON") }

// init fills the table: a literal that mentions help would be a cycle.
func init() {
	commands = slices.Concat(keeperCommands(), variableCommands(), useCommands(), rightsCommands(), ownCommands())
}

// keeperCommands run the keeper, and show what it holds.
func keeperCommands() []*command {
	return []*command{
		{name: "unlock", args: "[--notify PROGRAM]", short: "open the vault here and ask about requests", run: runUnlock,
			long: "Opens the vault in this terminal, makes it on first use, and stays: requests appear here\n" +
				"and wait for a key. Ctrl-C locks: grants and mounts end, the key is wiped.",
			flags: func(f *flag.FlagSet, o *options) {
				f.StringVar(&o.notify, "notify", "", "run `PROGRAM` with one line of text for each request")
				f.BoolVar(&o.again, "again", false, "offer to unlock again after an idle lock")
			}},
		{name: "lock", short: "lock: end the keeper, its grants and mounts", run: runLock,
			long: "Ends the keeper, wherever it runs. Every grant is dropped and every mount removed."},
		{name: "status", args: "[--json]", short: "show the keeper, mounts, last reads, grants", run: runStatus,
			flags: jsonFlag, long: "Shows whether a keeper runs, its mounts with their latest read, and the grants in force."},
		{name: "list", args: "[--json] [ENV]", short: "list Environments, or the variables of one", run: runList,
			flags: jsonFlag, long: "Lists names, never values."},
	}
}

// variableCommands change what is stored.
func variableCommands() []*command {
	return []*command{
		{name: "check", args: "[--json] [ENV]", short: "say which readers do not get a value exactly", run: runCheck,
			flags: jsonFlag, long: "Reads each variable back as every kind of reader does, from the dialects of the\n" +
				"Environment's mounts, or from portable. Names variables, kinds of reader that get\n" +
				"something else, and what to do; never a value. Ends with 0, also with findings."},
		{name: "set", args: "[--plain] ENV NAME", short: "set a variable; the value is typed unseen", run: runSet,
			long: "Reads the value unseen from the terminal, or from standard input, of which one final\n" +
				"newline is dropped. Makes the Environment where there is none.",
			flags: func(f *flag.FlagSet, o *options) {
				f.BoolVar(&o.plain, "plain", false, "the value is no secret: do not conceal it in output")
			}},
		{name: "unset", args: "ENV NAME...", short: "remove variables", run: runUnset,
			long: "Removes variables and their values."},
		{name: "import", args: "[flags] ENV FILE...", short: "import .env files", run: runImport,
			long: "Stores the variables of .env files in an Environment, made where there is none. Of a name\n" +
				"in several files the last one counts:\n\n" +
				"  keepmum import acme .env .env.local\n\n" +
				"With --mount each file is replaced by a mount of the whole Environment. With --split each\n" +
				"file gets an Environment of its own, and is asked about by itself: here acme and acme-local.",
			flags: func(f *flag.FlagSet, o *options) {
				jsonFlag(f, o)
				f.BoolVar(&o.mount, "mount", false, "replace each file by a mount, once its variables are stored")
				f.BoolVar(&o.split, "split", false, "make an Environment of each file, named after it")
			}},
	}
}

// useCommands give values to programs and to people.
func useCommands() []*command {
	return []*command{
		{name: "mount", args: "[--dialect D] ENV [PATH]", short: "serve an Environment as a .env (default ./.env)", run: runMount,
			long: "Serves an Environment at a path. Each process that opens it is shown and must be approved.\n\n" +
				"  portable   right for most readers (the default)\n" +
				"  js         dotenv, node --env-file, deno, dotenvx\n" +
				"  js-expand  dotenv-expand, dotenv-cli, vite, next, bun\n" +
				"  shell      just, mise; bash, dash, ksh, mksh, sh and zsh always get it\n" +
				"  escaped    Docker Compose, Python, PHP, direnv, env-cmd\n" +
				"  raw        docker run --env-file, make\n\n" +
				"Mounting again with another dialect changes it. keepmum check says what differs.",
			flags: func(f *flag.FlagSet, o *options) {
				f.StringVar(&o.dialect, "dialect", "", "quote values in dialect `D`")
			}},
		{name: "unmount", args: "[PATH]", short: "end a mount (default ./.env)", run: runUnmount,
			long: "Removes the mount at a path, also one whose folder is gone."},
		{name: "run", args: "--env ENV -- PROGRAM [ARG...]", short: "run a program with an Environment", run: runRun,
			long: "Runs a program with the variables of an Environment over those that are there; of several\n" +
				"(--env A --env B) the later wins. The prompt shows the whole command. Its signals, exit\n" +
				"status and terminal are as without keepmum.\n\n" +
				"  keepmum run --env acme-dev -- npm start\n\n" +
				"Concealed values are masked in what the program writes: as they are, in base64, hex, URL and\n" +
				"JSON form. That hides accidents. It does not stop a program that means to tell: it may write\n" +
				"to files and connections, or in any other form. Values of fewer than 5 bytes, short numbers\n" +
				"and words such as \"localhost\" are not masked.",
			flags: func(f *flag.FlagSet, o *options) {
				f.Func("env", "`ENV` whose variables the program gets; may be repeated", func(name string) error {
					o.envs = append(o.envs, name)
					return nil
				})
				f.BoolVar(&o.noMasking, "no-masking", false, "become the program: its output does not pass through keepmum")
			}},
		{name: "export", args: "[--dialect D] [--force] ENV", short: "print an Environment, with its values", run: runExport,
			long: "Prints an Environment as a .env, for a person to see. Each time is asked about. The text is\n" +
				"in clear from then on, on the screen and wherever it is redirected to. The dialects are those\n" +
				"of keepmum help mount.",
			flags: func(f *flag.FlagSet, o *options) {
				f.StringVar(&o.dialect, "dialect", "", "quote values in dialect `D`")
				f.BoolVar(&o.force, "force", false, "write to a file or a pipe, too")
			}},
	}
}

// rightsCommands are about Environments, clients and rights.
func rightsCommands() []*command {
	return []*command{
		{name: "env", args: "create|rename|delete ENV [NEW]", short: "make, rename or delete an Environment", run: runEnv,
			long: "keepmum env create ENV\nkeepmum env rename ENV NEW\nkeepmum env delete ENV"},
		{name: "mcp", short: "the MCP server, started by a client", run: runMCP,
			long: "Speaks the Model Context Protocol on standard input and output. A client starts it:\n\n" +
				"  codex mcp add keepmum -- keepmum mcp\n  claude mcp add keepmum -- keepmum mcp"},
		{name: "policy", args: "[--json] [test ACTION [ENV]]", short: "show the policy, or what a request would get", run: runPolicy,
			long: "Shows the policy in force and where each part came from. With test, says what a request\n" +
				"would get and by which rule, without asking anybody.",
			flags: func(f *flag.FlagSet, o *options) {
				jsonFlag(f, o)
				f.StringVar(&o.program, "program", "", "`PATH` of the program that asks")
				f.StringVar(&o.dir, "dir", "", "its working `DIRECTORY` (default: this one)")
				f.StringVar(&o.agent, "agent", "no", "`WHETHER` an agent started it: yes, no, unknown")
				f.StringVar(&o.via, "via", "", "`WAY` it asks: mcp, command, mount (default: by action)")
			}},
		{name: "revoke", args: "[--all] [GRANT...]", short: "end grants", run: runRevoke,
			long: "Ends the grants with these numbers (keepmum status lists them), or all. A \"never\" lasts\n" +
				"until lock.",
			flags: func(f *flag.FlagSet, o *options) {
				f.BoolVar(&o.all, "all", false, "end all grants")
			}},
		{name: "log", args: "[--json] [--verify]", short: "show the audit log, or check it", run: runLog,
			long: "Shows what was asked, decided and delivered. With --verify, names the first line that\n" +
				"was changed, removed or added.",
			flags: func(f *flag.FlagSet, o *options) {
				jsonFlag(f, o)
				f.BoolVar(&o.verify, "verify", false, "check the log; needs a keeper or the passphrase")
			}},
	}
}

// ownCommands are about keepmum itself; it starts the hidden ones itself.
func ownCommands() []*command {
	return []*command{
		{name: "passwd", short: "change the passphrase", run: runPasswd,
			long: "Changes the vault's passphrase. No keeper may run."},
		{name: "demo", short: "the whole story in a throw-away home, by itself", run: runDemo,
			long: "Starts a keeper in a throw-away home, speaks MCP to it as an agent would, answers its\n" +
				"prompts by a script, reads the mount as an approved and as a refused process, and shows\n" +
				"every message. Nothing is left behind. Ends with 1 if anything was not as told."},
		{name: "conform", args: "[flags] -- SERVER [ARG...]", short: "test an MCP server against SPEC.md", run: runConform,
			flags: conformFlags,
			long: "Runs the cases of the conformance suite against a server on standard input and output, each\n" +
				"in a process and a folder of its own. Ends with 0 if no MUST failed, 1 if one did, and 2 if\n" +
				"that cannot be told. A SHOULD that fails is a warning.\n\n" +
				"  keepmum conform -- keepmum mcp\n" +
				"  keepmum conform --list --run '^mount-'\n" +
				"  keepmum conform --verbose --run '^mount-refused' -- keepmum mcp\n\n" +
				"A baseline must fit: a line whose case no longer fails is an error, until it is removed."},
		{name: "completion", args: "bash|zsh|fish", short: "print a completion script", run: runCompletion,
			long: "  bash: source <(keepmum completion bash)\n  zsh:  source <(keepmum completion zsh)\n" +
				"  fish: keepmum completion fish | source"},
		{name: "version", short: "print the version", run: runVersion, long: "Prints the version."},
		{name: "help", args: "[COMMAND]", short: "print this, or the help of a command", run: runHelp,
			long: "Prints help on standard output."},
		{name: "reaper", hidden: true, run: func(c *cli, _ []string) error { runReaper(c.in); return nil }},
		{name: "run-session", hidden: true, run: runSession},
		{name: "demo-agent", hidden: true, run: runDemoAgent},
		{name: "demo-reader", hidden: true, run: runDemoReader},
		{name: "conform-worker", hidden: true, run: runConformWorker},
		{name: "conform-relay", hidden: true, run: runConformRelay},
		{name: "conform-reader", hidden: true, run: runConformReader},
	}
}

func runVersion(c *cli, args []string) error {
	if err := c.want(args, 0, 0); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "keepmum %s\n", versionText())
	return nil
}

func runUnlock(c *cli, args []string) error {
	if err := c.want(args, 0, 0); err != nil {
		return err
	}
	if err := harden(); err != nil {
		return err
	}
	err := unlock(c.opt.notify, c.opt.again)
	if errors.Is(err, errInterrupt) || errors.Is(err, errHangup) || errors.Is(err, context.Canceled) {
		return errSilent
	}
	return err
}

// withKeeper sends one request to the keeper and waits for what comes of it,
// however long the person takes. Where no keeper runs, this process is one for
// the time of the request: the same code, and the passphrase is the yes.
// [CLI-2] (SPEC §11)
func (c *cli) withKeeper(method string, args map[string]any, into any) error {
	ctx, stop := signal.NotifyContext(context.Background(),
		heeded(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)...)
	defer stop()
	home, user, err := homeDir()
	if err != nil {
		return err
	}
	var raw json.RawMessage
	conn, err := connectKeeper(home)
	switch {
	case err == nil:
		var to io.ReadWriteCloser = conn
		if action(method).carriesValues() {
			to = closedConn{conn}
		}
		client := newClient(to)
		defer client.close()
		raw, err = c.sendRequest(ctx, client, method, args)
	case errors.Is(err, errNoKeeper):
		c.alone = true
		raw, err = c.asOwnKeeper(ctx, home, user, method, args)
	}
	if err != nil {
		return err
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(raw, into)
}

// quietWait is how long a command waits before it says so.
const quietWait = 400 * time.Millisecond

// sendRequest asks the running keeper. The keeper lets a caller wait for 45 s
// at a time; the same call joins the request that still waits.
func (c *cli) sendRequest(ctx context.Context, client *keeperClient, method string, args map[string]any) (json.RawMessage, error) {
	told := time.AfterFunc(quietWait, func() {
		fmt.Fprintln(c.err, "keepmum: waiting for your answer in the keeper's terminal")
	})
	defer told.Stop()
	for {
		p := client.start(method, requestParams(args, ""))
		once, cancel := context.WithTimeout(ctx, keeperPatience)
		raw, err := p.wait(once)
		cancel()
		if ctx.Err() != nil {
			p.cancel()
			return nil, errInterrupt
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, errNoAnswer
		}
		var w *wireError
		if errors.As(err, &w) && w.Code == codeWaiting {
			continue
		}
		return raw, err
	}
}

// requestParams are what travels with a request on the socket.
func requestParams(args map[string]any, claim string) map[string]any {
	if args == nil {
		args = map[string]any{}
	}
	return map[string]any{"arguments": args, "claim": claim}
}

// ownYes is the asker of a keeper of one command: the passphrase typed for it
// was the approval. The policy still denies what it denies.
type ownYes struct{}

func (ownYes) ask(context.Context, *request, bool, time.Duration) answer {
	return answer{word: answerOnce, by: "person: passphrase"}
}

func (ownYes) count() int { return 0 }

// asOwnKeeper opens the vault for one request. It implements the last
// paragraph of *Keeper and socket* (SPEC §4).
func (c *cli) asOwnKeeper(ctx context.Context, home, user, method string, args map[string]any) (json.RawMessage, error) {
	if err := harden(); err != nil {
		return nil, err
	}
	p, err := loadPolicy(adminPolicy, policyPath(home), user)
	if err != nil {
		return nil, err
	}
	lock, err := takeHome(home)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	v, err := openForCommand(ctx, home)
	if err != nil {
		return nil, err
	}
	k, err := newKeeper(home, user, v, p)
	if err != nil {
		v.close()
		return nil, err
	}
	defer k.close()
	c.warn(k)
	k.asker = ownYes{}
	self, err := lookup(os.Getpid())
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(requestParams(args, ""))
	if err != nil {
		return nil, err
	}
	out, err := k.dispatch(ctx, &caller{peer: self, self: self, conn: 1}, method, raw)
	if err != nil {
		return nil, err
	}
	return encodeResult(out)
}

// warn says what the person has to know of the log, which the next save of the
// vault would hide. [AUD-16] (SPEC §10)
func (c *cli) warn(k *keeper) {
	if warning := k.audit.warning(); warning != "" {
		fmt.Fprintf(c.err, "keepmum: note: %s\n", warning)
	}
}

// rekey changes the passphrase. The key of the audit log goes with it, so the
// event and what a killed keeper wrote come first: the vault must know up to
// which line the old key holds. [AUD-4] (SPEC §10)
func (k *keeper) rekey(pass []byte) error {
	self, err := lookup(os.Getpid())
	if err != nil {
		return err
	}
	defer self.close()
	self.agent = agentOf(self, k.agentKnown)
	if err := k.record(&request{actor: self, via: viaCommand}, "passwd", "", "", ""); err != nil {
		return err
	}
	if err := k.update(func(*vaultData) error { return nil }); err != nil {
		return err
	}
	return k.vault.rekey(pass)
}

// openForCommand asks for the passphrase in this command's terminal.
func openForCommand(ctx context.Context, home string) (*vault, error) {
	t, err := openTerminal()
	if err != nil {
		return nil, errors.New(`no keeper runs, and there is no terminal to ask for the passphrase: ` +
			`start "keepmum unlock" in a terminal of your own`)
	}
	defer t.close()
	return openAtTerminal(ctx, t, home, false)
}

// readValue reads a value unseen, or from standard input where that is no
// terminal; there one final newline is dropped. [CLI-4] (SPEC §11)
func (c *cli) readValue(name string) ([]byte, error) {
	if !term.IsTerminal(int(c.in.Fd())) {
		v, err := io.ReadAll(io.LimitReader(c.in, maxValue+2))
		return bytes.TrimSuffix(v, []byte("\n")), err
	}
	t, err := openTerminal()
	if err != nil {
		return nil, err
	}
	defer t.close()
	defer t.pastes()()
	return t.secret(context.Background(), fmt.Sprintf("value of %s (not shown): ", clean(name, 60)))
}

// absolute makes a path given on the command line absolute.
func absolute(path string) (string, error) {
	if path == "" {
		path = ".env"
	}
	return filepath.Abs(path)
}

// print writes JSON where it was asked for, else what text writes. [CLI-11]
// (SPEC §11)
func (c *cli) print(v any, text func(io.Writer)) error {
	if c.opt.json {
		e := json.NewEncoder(c.raw())
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	}
	w := tabwriter.NewWriter(c.out, 0, 8, 2, ' ', 0)
	text(w)
	return w.Flush()
}
