package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func runStatus(c *cli, args []string) error {
	if err := c.want(args, 0, 0); err != nil {
		return err
	}
	home, _, err := homeDir()
	if err != nil {
		return err
	}
	s := statusReport{State: "locked", Mounts: []mountReport{}, Grants: []grantReport{}}
	client, err := dialKeeper(home)
	if err == nil {
		defer client.close()
		var raw json.RawMessage
		if raw, err = c.sendRequest(context.Background(), client, "status", nil); err == nil {
			err = json.Unmarshal(raw, &s)
		}
	}
	if errors.Is(err, errNoKeeper) {
		err = unreached(home)
	}
	if err != nil {
		return err
	}
	return c.print(s, func(w io.Writer) { printStatus(w, &s) })
}

func runList(c *cli, args []string) error {
	if err := c.want(args, 0, 1); err != nil {
		return err
	}
	if len(args) == 0 {
		var out struct {
			Environments []struct{ EnvironmentID, Name string }
		}
		var raw json.RawMessage
		if err := c.withKeeper("list_environments", nil, &raw); err != nil {
			return err
		}
		json.Unmarshal(raw, &out)
		return c.print(raw, func(w io.Writer) {
			for _, e := range out.Environments {
				fmt.Fprintf(w, "%s\t%s\n", clean(e.Name, 128), e.EnvironmentID)
			}
		})
	}
	var out struct {
		Variables []struct {
			Name                   string
			Concealed, Placeholder bool
		}
	}
	var raw json.RawMessage
	if err := c.withKeeper("list_variables", map[string]any{"environmentName": args[0]}, &raw); err != nil {
		return err
	}
	json.Unmarshal(raw, &out)
	return c.print(raw, func(w io.Writer) {
		for _, v := range out.Variables {
			kind := "concealed"
			if !v.Concealed {
				kind = "plain"
			}
			if v.Placeholder {
				kind += ", no value yet"
			}
			fmt.Fprintf(w, "%s\t%s\n", v.Name, kind)
		}
	})
}

func runSet(c *cli, args []string) error {
	if err := c.want(args, 2, 2); err != nil {
		return err
	}
	if err := validVariableName(args[1]); err != nil {
		return &usageError{c.command, err.Error()}
	}
	value, err := c.readValue(args[1])
	if err != nil {
		return err
	}
	defer wipe(value)
	if len(value) == 0 { // [CLI-5]
		return errors.New("no value was given: nothing was set")
	}
	if err := validValue(value); err != nil {
		return err
	}
	var out struct{ Warnings []finding }
	err = c.withKeeper("append_variables", map[string]any{"environmentName": args[0], "variables": []any{
		map[string]any{"name": args[1], "value": string(value),
			"concealed": !c.opt.plain}}}, &out) // [CLI-6]
	if err == nil {
		fmt.Fprintf(c.out, "set %s in %q\n", args[1], args[0])
		printFindings(c.out, "", out.Warnings)
	}
	return err
}

func runUnset(c *cli, args []string) error {
	if err := c.want(args, 2, -1); err != nil {
		return err
	}
	err := c.withKeeper("remove_variables", map[string]any{"environmentName": args[0], "variableNames": args[1:]}, nil)
	if err == nil {
		fmt.Fprintf(c.out, "removed %s from %q\n", strings.Join(args[1:], ", "), args[0])
	}
	return err
}

func runMount(c *cli, args []string) error {
	if err := c.want(args, 1, 2); err != nil {
		return err
	}
	path, err := absolute(strings.Join(args[1:], ""))
	if err != nil {
		return err
	}
	if _, err := c.dialect(); err != nil {
		return err
	}
	params := map[string]any{"environmentName": args[0], "mountPath": path}
	if c.opt.dialect != "" {
		params["dialect"] = c.opt.dialect
	}
	var out struct{ MountPath, Dialect string }
	err = c.withKeeper("create_local_env_file", params, &out)
	when := "while a keeper runs"
	if c.alone { // [KPR-29]
		when = "from the next keepmum unlock on"
	}
	if err == nil {
		fmt.Fprintf(c.out, "%q is mounted at %s %s\n", args[0], clean(out.MountPath, 200), when)
	}
	if err == nil && out.Dialect != string(dialectPortable) {
		fmt.Fprintf(c.out, "its dialect is %s\n", clean(out.Dialect, 20))
	}
	return err
}

func runUnmount(c *cli, args []string) error {
	if err := c.want(args, 0, 1); err != nil {
		return err
	}
	path, err := absolute(strings.Join(args, ""))
	if err != nil {
		return err
	}
	err = c.withKeeper("remove_local_env_file", map[string]any{"mountPath": path}, nil)
	if err == nil {
		fmt.Fprintf(c.out, "%s is no longer mounted\n", clean(path, 200))
	}
	return err
}

func runEnv(c *cli, args []string) error {
	if err := c.want(args, 2, 3); err != nil {
		return err
	}
	words := map[string]int{"create": 2, "rename": 3, "delete": 2}
	if words[args[0]] != len(args) {
		return &usageError{c.command, "use: keepmum env " + c.command.args}
	}
	method := args[0] + "_environment"
	params := map[string]any{"environmentName": args[1]}
	if args[0] == "rename" {
		params["newName"] = args[2]
	}
	err := c.withKeeper(method, params, nil)
	switch {
	case err != nil:
		return err
	case args[0] == "rename":
		fmt.Fprintf(c.out, "renamed %q to %q\n", args[1], args[2])
	default:
		fmt.Fprintf(c.out, "%sd %q\n", args[0], args[1])
	}
	return nil
}

func runRevoke(c *cli, args []string) error {
	if len(args) == 0 && !c.opt.all {
		return &usageError{c.command, "name the grants to end, or --all"}
	}
	ids := []uint64{}
	for _, arg := range args {
		id, err := strconv.ParseUint(arg, 10, 64)
		if err != nil || id == 0 {
			return &usageError{c.command, fmt.Sprintf("%q is no grant's number", arg)}
		}
		ids = append(ids, id)
	}
	home, _, err := homeDir()
	if err != nil {
		return err
	}
	client, err := dialKeeper(home)
	if errors.Is(err, errNoKeeper) {
		if err = unreached(home); err == nil {
			fmt.Fprintln(c.out, "no keeper runs: there are no grants")
		}
		return err
	}
	if err != nil {
		return err
	}
	defer client.close()
	raw, err := c.sendRequest(context.Background(), client, "revoke", map[string]any{"grants": ids})
	if err != nil {
		return err
	}
	var out struct{ Revoked int }
	json.Unmarshal(raw, &out)
	fmt.Fprintf(c.out, "ended %s\n", count(out.Revoked, "grant"))
	return nil
}

func runMCP(c *cli, args []string) error {
	if err := c.want(args, 0, 0); err != nil {
		return err
	}
	home, _, err := homeDir()
	if err != nil {
		return err
	}
	// [MCP-1]: only messages reach standard output, whatever else is printed.
	os.Stdout = os.Stderr
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return serveMCP(ctx, c.in, c.out, c.err, home, versionText())
}

func runLog(c *cli, args []string) error {
	if err := c.want(args, 0, 0); err != nil {
		return err
	}
	if c.opt.verify {
		var out struct{ Lines int }
		if err := c.withKeeper("verify_log", nil, &out); err != nil {
			return err
		}
		return c.print(map[string]int{"lines": out.Lines}, func(w io.Writer) {
			fmt.Fprintf(w, "the audit log is whole: %s\n", count(out.Lines, "line"))
		})
	}
	home, _, err := homeDir()
	if err != nil {
		return err
	}
	f, err := openPrivate(auditPath(home), os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(c.err, "keepmum: note: there is no log yet; keepmum unlock begins it")
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if c.opt.json {
		_, err = io.Copy(c.raw(), f)
		return err
	}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 2*auditLineMax)
	for lines.Scan() {
		fmt.Fprintln(c.out, formatAudit(lines.Bytes()))
	}
	if err := lines.Err(); err != bufio.ErrTooLong {
		return err
	}
	return errors.New("a line of the log is too long, so it was changed: keepmum log --verify says which") // [CLI-9]
}

func runPasswd(c *cli, args []string) error {
	if err := c.want(args, 0, 0); err != nil {
		return err
	}
	home, user, err := homeDir()
	if err != nil {
		return err
	}
	if err := harden(); err != nil {
		return err
	}
	lock, err := takeHome(home)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := checkVault(vaultPath(home)); err != nil {
		return err
	}
	t, err := openTerminal()
	if err != nil {
		return err
	}
	defer t.close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	v, err := openAtTerminal(ctx, t, home, false)
	if err != nil {
		return err
	}
	k, err := newKeeper(home, user, v, nil)
	if err != nil {
		v.close()
		return err
	}
	defer k.close()
	c.warn(k)
	t.print("keepmum  %s\n", cleanPath(home, user, 60))
	pass, err := newPassphrase(ctx, t)
	if err != nil {
		return err
	}
	defer wipe(pass)
	if err := k.rekey(pass); err != nil {
		return err
	}
	t.print("the passphrase was changed\n")
	return nil
}

// runPolicy shows the policy in force, or what a request would get.
func runPolicy(c *cli, args []string) error {
	home, user, err := homeDir()
	if err != nil {
		return err
	}
	p, err := loadPolicy(adminPolicy, policyPath(home), user)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		lines := p.describe()
		return c.print(lines, func(w io.Writer) {
			for _, l := range lines {
				between := "\t"
				if l.Name == "rule" { // long: columns would pad every line
					between = "  "
				}
				fmt.Fprintln(w, strings.Join([]string{clean(l.Name, 40), clean(l.Value, wholeText),
					clean(l.From, 80)}, between))
			}
		})
	}
	if args[0] != "test" || len(args) < 2 || len(args) > 3 {
		return &usageError{c.command, "use: keepmum policy " + c.command.args}
	}
	r, err := c.testRequest(args[1:], user)
	if err != nil {
		return err
	}
	d := decide(p, nil, r, time.Now())
	out := map[string]any{"decision": d.word, "rule": d.rule, "passphrase": d.passphrase}
	return c.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s\n", d.word, d.rule)
		if d.passphrase && d.word == "ask" {
			fmt.Fprintln(w, "a yes costs the passphrase")
		}
	})
}

// asInRule reads a path as a rule does: a shell leaves a ~/ in quotes to us, and
// the kernel tells absolute paths without links. [POL-5] [POL-12]
func asInRule(path, user string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join(realPath(user), rest)
	}
	if full, err := filepath.Abs(path); path != "" && err == nil {
		path = full
	}
	return realPath(path)
}

// testRequest builds the request that policy test asks about.
func (c *cli) testRequest(args []string, user string) (*request, error) {
	r := &request{action: action(args[0]), via: c.opt.via,
		actor: &process{exe: asInRule(c.opt.program, user), dir: asInRule(c.opt.dir, user)}}
	if !validAction(r.action) {
		return nil, &usageError{c.command, fmt.Sprintf("unknown action %q: one of %s", args[0], actionNames())}
	}
	if len(args) > 1 {
		r.object.environment = args[1]
	}
	if r.actor.dir == "" {
		r.actor.dir, _ = os.Getwd()
	}
	state, ok := map[string]agentState{"yes": agentYes, "no": agentNo, "unknown": agentUnknown}[c.opt.agent]
	if !ok {
		return nil, &usageError{c.command, fmt.Sprintf("--agent %q: yes, no or unknown", c.opt.agent)}
	}
	r.actor.agent = state
	switch r.via {
	case "":
		r.via = viaMCP
		if r.action == actRead {
			r.via = viaMount
		} else if r.action.carriesValues() {
			r.via = viaCommand
		}
	case viaMCP, viaCommand, viaMount:
	default:
		return nil, &usageError{c.command, fmt.Sprintf("--via %q: mcp, command or mount", c.opt.via)}
	}
	return r, nil
}
