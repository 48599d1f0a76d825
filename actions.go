package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

const maxText = 1 << 20 // bytes of an Environment as text [VLT-28]

// caller is who sent a request, before it is known for whom.
type caller struct {
	peer, self *process
	conn       uint64
}

// call is one request on its way through prepare, allow and perform.
type call struct {
	k      *keeper
	r      *request
	args   toolArgs
	env    *environment   // as prepare saw it; perform looks again
	handed []*environment // whose values are asked for; likewise
	place  *place
	git    gitInfo
	files  []*importedFile
	answer answer
}

// method is what the keeper does for one name. prepare checks what costs
// nothing and fills in the request's object; perform runs once it is approved.
type method struct {
	action  action
	prepare func(*call) error
	perform func(*call) (any, error)
}

// methods are the tools of SPEC §9, by name, check, run and export; the command
// line uses the same [SOC-16]. What needs no approval is in freely.
var methods = map[string]method{
	"authenticate":          {actConnect, nothing, (*call).authenticate},
	"list_environments":     {actList, nothing, (*call).listEnvironments},
	"create_environment":    {actCreate, (*call).newName, (*call).createEnvironment},
	"rename_environment":    {actRename, (*call).otherName, (*call).renameEnvironment},
	"check":                 {actList, (*call).anyEnvironment, (*call).check},
	"list_variables":        {actList, (*call).findEnvironment, (*call).listVariables},
	"append_variables":      {actAppend, (*call).newValues, (*call).appendVariables},
	"create_local_env_file": {actMount, (*call).newMount, (*call).mount},
	"list_local_env_files":  {actList, (*call).findEnvironment, (*call).listMounts},
	"import_env_file":       {actImport, (*call).newImport, (*call).importFiles},
	"remove_variables":      {actRemove, (*call).knownNames, (*call).removeVariables},
	"delete_environment":    {actDelete, (*call).everyName, (*call).deleteEnvironment},
	"remove_local_env_file": {actUnmount, (*call).knownMount, (*call).unmount},
	"run":                   {actRun, (*call).newRun, (*call).handOver},
	"export":                {actExport, (*call).newExport, (*call).handOver},
}

func nothing(*call) error { return nil }

// dispatch does what one message asks, for whoever it is. It is the one way
// in, for bridges, commands and the keeper of one command alike (SPEC §4).
func (k *keeper) dispatch(ctx context.Context, who *caller, name string, params json.RawMessage) (any, error) {
	if f := freely[name]; f != nil {
		return f(k, params)
	}
	m, known := methods[name]
	if !known {
		return nil, misuse("unknown method %q", name)
	}
	p, err := decodeParams(params)
	if err != nil {
		return nil, misuse("%v", err)
	}
	actor, via, err := k.actorOf(who.peer, who.self)
	if err != nil {
		return nil, wireErrorf(codeRefused, "not approved: %v", err)
	}
	if actor != who.peer {
		actor.close() // what remembers an actor takes hold of it anew
	}
	r := &request{actor: actor, via: via, claim: p.claim, conn: who.conn, action: m.action}
	c := &call{k: k, r: r, args: p.args}
	if err := c.inScope(); err != nil { // each call for itself: one that it joins is another's
		return nil, err
	}
	key := fmt.Sprintf("%d/%d %s %x", actor.pid, actor.start, name, p.digest)
	run := func(ctx context.Context) (any, error) { return c.run(ctx, m) }
	result, err := k.join(ctx, key, who.conn, run)
	if err == nil && m.action == actConnect && !c.connected() { // the yes was for another connection
		return k.join(ctx, key, who.conn, run)
	}
	return result, err
}

// run takes one call through its stages.
func (c *call) run(ctx context.Context, m method) (any, error) {
	if c.k.policy.MCP || c.r.via != viaMCP {
		if err := m.prepare(c); err != nil {
			c.done()
			return nil, err
		}
	}
	defer c.done()
	var err error
	c.answer, err = c.k.allow(ctx, c.r)
	defer c.answer.done()
	if err != nil {
		return nil, err
	}
	err = c.unchanged()
	var result any
	if err == nil {
		result, err = m.perform(c)
	}
	if err != nil {
		return nil, c.k.fail(c.r, err)
	}
	return result, nil
}

// unchanged makes sure that the Environment is still the one that was shown:
// the person may have thought for minutes.
func (c *call) unchanged() error {
	all := []**environment{&c.env}
	for i := range c.handed {
		all = append(all, &c.handed[i])
	}
	for _, e := range all {
		if *e == nil {
			continue
		}
		now := c.k.vault.view().environmentByID(idText((*e).id))
		if now == nil || now.name != (*e).name || !slices.Equal(now.names(), (*e).names()) {
			return fmt.Errorf("the Environment %q changed while the question was open: call again", (*e).name)
		}
		*e = now
	}
	return nil
}

func (c *call) done() {
	if c.place != nil {
		c.place.close()
	}
	for _, f := range c.files {
		f.close()
	}
}

// inScope refuses a client that has not been connected, or names an account
// that is not this vault's. [TUL-9]
func (c *call) inScope() error {
	if c.r.via != viaMCP || c.r.action == actConnect || !c.k.policy.MCP ||
		c.args.AccountID == accountID(c.k.vault.id) && c.connected() {
		return nil
	}
	// [AUD-6]: once a minute, lest a client fill the log.
	if c.k.firstInMinute(fmt.Sprintf("scope of %d/%d", c.r.actor.pid, c.r.actor.start)) {
		c.k.record(c.r, "", "deny", "not connected", "")
	}
	scope := "environments:list"
	if c.r.action != actList {
		scope = "environments:write"
	}
	return wireErrorf(codeScope, "Missing required scope: %s. Call the authenticate tool first.", scope)
}

// connected reports whether a grant of connect covers this connection. [GRT-10]
func (c *call) connected() bool {
	connect := *c.r
	connect.action = actConnect
	now := time.Now()
	return slices.ContainsFunc(c.k.grants.inForce(now), func(g *grant) bool { return g.covers(&connect, now) })
}

// params are a request's as they travel on the socket.
type params struct {
	args   toolArgs
	claim  string
	digest [sha256.Size]byte // of the arguments, which may hold values
}

// decodeParams reads {"arguments":{…},"claim":"…"}.
func decodeParams(raw json.RawMessage) (params, error) {
	var p params
	object, err := decodeObject(raw)
	if err != nil {
		return p, err
	}
	if claim, ok := object["claim"]; ok {
		if json.Unmarshal(claim, &p.claim) != nil {
			return p, errors.New("claim is no string")
		}
		if len(p.claim) > maxClaim {
			return p, errors.New("claim is longer than 64 KiB")
		}
	}
	p.args, err = decodeArgs(object["arguments"])
	if err != nil {
		return p, err
	}
	canonical, err := json.Marshal(p.args)
	p.digest = sha256.Sum256(canonical)
	clear(canonical)
	return p, err
}

// findEnvironment takes the Environment by id, or for our commands by name.
func (c *call) findEnvironment() error {
	d := c.k.vault.view()
	switch {
	case c.args.EnvironmentID != "":
		c.env = d.environmentByID(c.args.EnvironmentID)
		if c.env == nil {
			return misuse("no Environment has the id %q: list_environments gives the ids", c.args.EnvironmentID)
		}
	default:
		c.env = d.environmentByName(c.args.EnvironmentName)
		if c.env == nil {
			return misuse("no Environment is named %q", c.args.EnvironmentName)
		}
	}
	c.r.object.environment, c.r.object.environmentID = c.env.name, idText(c.env.id)
	return nil
}

// change applies fn to this call's Environment in the vault, and keeps it
// within what a mount can carry.
func (c *call) change(fn func(*vaultData, *environment) error) error {
	now := time.Now()
	return c.k.update(func(d *vaultData) error {
		e := d.environmentByID(c.r.object.environmentID)
		if e == nil {
			return fmt.Errorf("the Environment %q is gone", c.r.object.environment)
		}
		e.changed = now
		if err := fn(d, e); err != nil {
			return err
		}
		return fits(e)
	})
}

// fits checks the limit of an Environment's text (SPEC §3.4) [VLT-28].
func fits(e *environment) error {
	text, err := encodeEnv(dialectPortable, e.name, e.variables)
	if err != nil {
		return err
	}
	defer wipe(text)
	if len(text) > maxText {
		return fmt.Errorf("the Environment %q would be larger than 1 MiB as text", e.name)
	}
	return nil
}

func (c *call) authenticate() (any, error) {
	c.k.knowClient(c.r.actor)
	now := time.Now()
	for _, g := range c.k.grants.inForce(now) {
		if g.covers(c.r, now) {
			return result{"account_id": accountID(c.k.vault.id)}, nil
		}
	}
	if strings.HasPrefix(c.answer.by, "person:") {
		return nil, errors.New("the connection that asked has ended: call authenticate again")
	}
	// Allowed by a rule: the scope is this client's as long as it lives.
	c.k.grants.add(c.r, answerProcess, c.k.policy.GrantMax, -1, now)
	return result{"account_id": accountID(c.k.vault.id)}, nil
}

// result is an object of an answer.
type result map[string]any

func (c *call) listEnvironments() (any, error) {
	list := []result{}
	for _, e := range c.k.vault.view().environments {
		list = append(list, result{"environmentId": idText(e.id), "name": e.name})
	}
	return result{"environments": list}, nil
}

// newName checks the name of an Environment to be made.
func (c *call) newName() error {
	if err := c.freeName(c.args.EnvironmentName); err != nil {
		return err
	}
	c.r.object.environment = c.args.EnvironmentName
	return nil
}

func (c *call) freeName(name string) error {
	if err := validEnvironmentName(name); err != nil {
		return misuse("%v", err)
	}
	if c.k.vault.view().environmentByName(name) != nil {
		return misuse("an Environment named %q exists: use it, or choose another name", name)
	}
	return nil
}

func (c *call) createEnvironment() (any, error) {
	var e *environment
	err := c.k.update(func(d *vaultData) (err error) {
		e, err = d.addEnvironment(c.r.object.environment, time.Now())
		return err
	})
	if err != nil {
		return nil, err
	}
	return result{"environmentId": idText(e.id), "name": e.name}, nil
}

// otherName checks both ends of a renaming.
func (c *call) otherName() error {
	name := c.args.EnvironmentName
	if c.args.NewName != "" { // our command names the Environment by name
		name = c.args.NewName
	}
	if err := c.findEnvironment(); err != nil {
		return err
	}
	c.r.object.newName = name
	return c.freeName(name)
}

func (c *call) renameEnvironment() (any, error) {
	err := c.change(func(d *vaultData, e *environment) error { return d.rename(e, c.r.object.newName) })
	if err != nil {
		return nil, err
	}
	c.k.touch(c.r.object.environmentID)
	return result{"environmentId": c.r.object.environmentID, "name": c.r.object.newName}, nil
}

// everyName shows what goes with an Environment that is deleted.
func (c *call) everyName() error {
	if err := c.findEnvironment(); err != nil {
		return err
	}
	c.r.object.names = c.env.names()
	if n := len(c.env.mounts); n > 0 {
		c.r.object.notes = append(c.r.object.notes,
			fmt.Sprintf("ends %s, the first %s", count(n, "mount"), c.env.mounts[0].path))
	}
	return nil
}

func (c *call) deleteEnvironment() (any, error) {
	var mounts []*mount
	err := c.k.update(func(d *vaultData) error {
		e := d.environmentByID(c.r.object.environmentID)
		if e == nil {
			return fmt.Errorf("the Environment %q is gone", c.r.object.environment)
		}
		mounts = e.mounts
		d.remove(e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		c.k.unserve(m.path)
	}
	return result{"environmentId": c.r.object.environmentID}, nil
}

// auditKeyFor returns the key of one line: an earlier one up to a change of the
// passphrase.
func (k *keeper) auditKeyFor(number uint64) []byte {
	for _, old := range k.vault.view().audit.keys {
		if number <= old.through {
			return old.key
		}
	}
	return k.vault.auditKey()
}

// freely are the methods that need no approval: they take rights away, or say
// what any program of the user can see anyway (SPEC §4) [SOC-17].
var freely map[string]func(*keeper, json.RawMessage) (any, error)

func init() {
	freely = map[string]func(*keeper, json.RawMessage) (any, error){
		"status":     func(k *keeper, _ json.RawMessage) (any, error) { return k.status(), nil },
		"lock":       func(k *keeper, _ json.RawMessage) (any, error) { k.stop("keepmum lock"); return result{}, nil },
		"revoke":     (*keeper).revoke,
		"verify_log": func(k *keeper, _ json.RawMessage) (any, error) { return k.verifyLog() },
	}
}

// revoke drops the grants named by number, or all of them. A "never" stays: it
// is a right taken away, which no program gives back (SPEC §4) [SOC-17].
func (k *keeper) revoke(raw json.RawMessage) (any, error) {
	outer, err := decodeObject(raw)
	if err != nil {
		return nil, misuse("%v", err)
	}
	object, err := decodeObject(outer["arguments"])
	if err != nil {
		return nil, misuse("%v", err)
	}
	var ids []uint64
	if raw, ok := object["grants"]; ok && json.Unmarshal(raw, &ids) != nil {
		return nil, misuse("grants is no list of numbers")
	}
	if len(ids) == 0 {
		n := k.grants.revoke(func(*grant) bool { return true })
		return result{"revoked": n}, nil
	}
	n := k.grants.revoke(func(g *grant) bool { return slices.Contains(ids, g.id) })
	if n == 0 {
		return nil, misuse("no grant has that number: keepmum status lists them")
	}
	return result{"revoked": n}, nil
}

// verifyLog checks the audit log against what the vault and this keeper
// remember (SPEC §10).
func (k *keeper) verifyLog() (any, error) {
	f, err := openPrivate(auditPath(k.home), os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines, err := verifyAudit(f, k.auditKeyFor, k.audit.head())
	if err != nil {
		return nil, fmt.Errorf("audit log: %v", err)
	}
	return result{"lines": lines}, nil
}
