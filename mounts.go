package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The states of a mount. [MNT-12]
const (
	mountServed   = "served"
	mountOrphaned = "orphaned" // its folder is gone: listed, and not counted
	mountBlocked  = "blocked"  // something else stands at the path
	mountLocked   = "locked"   // remembered; served from the next unlock
)

// served is what the keeper knows of one mount while it is unlocked.
type served struct {
	path, target string
	state, why   string
	place        *place
	last         *lastRead
}

// lastRead is the latest read of a mount, for status.
type lastRead struct {
	Time    time.Time `json:"time"`
	Program string    `json:"program"`
	PID     int       `json:"pid"`
	Outcome string    `json:"outcome"`
}

// openRead is a read under way: its request, and the dialect it was given.
type openRead struct {
	request uint64
	dialect dialect
}

// find returns the Environment and the mount at a path.
func (d *vaultData) mountAt(path string) (*environment, *mount) {
	for _, e := range d.environments {
		for _, m := range e.mounts {
			if m.path == path {
				return e, m
			}
		}
	}
	return nil, nil
}

// newMount checks a path before anybody is asked. It implements *Making one*
// (SPEC §7.1). [MNT-4] [REQ-4]
func (c *call) newMount() error {
	if err := c.findEnvironment(); err != nil {
		return err
	}
	if given := c.args.EnvironmentName; given != "" && given != c.env.name {
		return misuse("the Environment with this id is named %q, not %q", c.env.name, given)
	}
	if err := c.openPlace(c.args.MountPath); err != nil {
		return err
	}
	if e, _ := c.k.vault.view().mountAt(c.place.path); e != nil && e.id != c.env.id {
		return misuse("%q is mounted already, from the Environment %q: unmount it first", c.place.path, e.name)
	}
	kind, err := c.place.occupant(c.k.ourTarget)
	switch {
	case err != nil:
		return misuse("%v", err)
	case kind == placeFile:
		return misuse("%q is a regular file: import it with import_env_file and mount, or move it away", c.place.path)
	case kind != placeEmpty && kind != placeOurs:
		return misuse("%q is in the way (%s): move it away, or mount elsewhere", c.place.path, kind)
	}
	c.r.object.names = c.env.names()
	c.newDialect()
	if c.git, err = c.mayMount(c.place, 0); err == nil {
		c.noteExclude(c.git)
	}
	return err
}

// noteExclude says what a yes adds to Git's local exclude file. [MNT-10]
func (c *call) noteExclude(all ...gitInfo) {
	var patterns []string
	for _, git := range all {
		if git.inWorkTree && !git.ignored {
			patterns = append(patterns, git.pattern)
		}
	}
	if len(patterns) > 0 {
		c.r.object.notes = append(c.r.object.notes, "approving adds "+strings.Join(patterns, ", ")+
			" to the work tree's .git/info/exclude")
	}
}

// newDialect settles what the mount is to write: what is asked for, else what
// it wrote before, else portable. What a shell would run is said. [TXT-32]
// (SPEC §8.3)
func (c *call) newDialect() {
	o, before := &c.r.object, dialectPortable
	_, m := c.k.vault.view().mountAt(c.place.path)
	if m != nil {
		before = orPortable(m.dialect)
	}
	o.dialect = cmp.Or(dialect(c.args.Dialect), before)
	note := fmt.Sprintf("values are written in the dialect %s", o.dialect)
	if m != nil && o.dialect != before {
		note += fmt.Sprintf(", no longer %s", before)
	}
	if !o.dialect.runsNothing() {
		note += "; a program that sources it as a shell does may RUN what is in a value"
	}
	if o.dialect != dialectPortable || o.dialect != before {
		o.notes = append(o.notes, note)
	}
}

// openPlace holds the folder of a path and shows the path as resolved. [REQ-9]
func (c *call) openPlace(path string) (err error) {
	if c.place, err = openPlace(path, c.k.forbidden()...); err != nil {
		return misuse("%v", err)
	}
	c.r.object.path = c.place.path
	return nil
}

// mayMount looks at Git and at the limit, to which the mounts count that the
// same request makes before. [MNT-4]
func (c *call) mayMount(p *place, before int) (git gitInfo, err error) {
	if err = p.mayWrite(); err == nil {
		git, err = gitState(p.path)
	}
	if err != nil {
		return git, misuse("%v", err)
	}
	if git.tracked {
		return git, misuse("%q is tracked by Git: run git rm --cached on it and commit, then mount", p.path)
	}
	n := before
	for _, e := range c.k.vault.view().environments {
		for _, m := range e.mounts {
			if c.k.stateOf(m.path) != mountOrphaned && m.path != p.path {
				n++
			}
		}
	}
	if n >= c.k.policy.MaxMounts {
		return git, misuse("%d mounts exist already, as many as the policy allows (maxMounts): unmount one", n)
	}
	return git, nil
}

// mount remembers the mount, then serves it.
func (c *call) mount() (any, error) {
	if c.git.inWorkTree && !c.git.ignored {
		if err := addExclude(c.git); err != nil {
			return nil, err
		}
	}
	path := c.place.path
	err := c.change(func(_ *vaultData, e *environment) error {
		wanted := string(c.r.object.dialect)
		if i := slices.IndexFunc(e.mounts, func(m *mount) bool { return m.path == path }); i >= 0 {
			e.mounts[i].dialect = wanted
			return nil
		}
		e.mounts = append(e.mounts, &mount{path: path, dialect: wanted, enabled: true,
			excluded: c.git.inWorkTree && !c.git.ignored})
		return nil
	})
	if err != nil {
		return nil, err
	}
	held := c.place
	c.place = nil // the mount's now
	if err := c.k.serve(path, held); err != nil {
		c.forget(path)
		return nil, err
	}
	return result{"mountPath": path, "environmentId": c.r.object.environmentID, "enabled": true,
		"dialect": c.r.object.dialect}, nil
}

// forget takes a mount back that could not be served.
func (c *call) forget(path string) {
	c.change(func(_ *vaultData, e *environment) error {
		e.mounts = slices.DeleteFunc(e.mounts, func(m *mount) bool { return m.path == path })
		return nil
	})
	c.k.unserve(path)
}

// knownMount finds the mount to be ended, also one whose folder is gone.
func (c *call) knownMount() error {
	path := c.args.MountPath
	e, _ := c.k.vault.view().mountAt(path)
	if e == nil {
		if parent, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
			path = filepath.Join(parent, filepath.Base(path))
			e, _ = c.k.vault.view().mountAt(path)
		}
	}
	if e == nil {
		return misuse("nothing is mounted at %q", c.args.MountPath)
	}
	c.env = e
	c.r.object.environment, c.r.object.environmentID, c.r.object.path = e.name, idText(e.id), path
	return nil
}

func (c *call) unmount() (any, error) {
	path := c.r.object.path
	err := c.change(func(_ *vaultData, e *environment) error {
		e.mounts = slices.DeleteFunc(e.mounts, func(m *mount) bool { return m.path == path })
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.k.unserve(path)
	return result{"mountPath": path}, nil
}

func (c *call) listMounts() (any, error) {
	list := []result{}
	for _, m := range c.env.mounts {
		list = append(list, result{"mountPath": m.path, "enabled": m.enabled,
			"dialect": orPortable(m.dialect), "state": c.k.stateOf(m.path)})
	}
	return result{"localEnvFiles": list}, nil
}

// stateOf says how a mount stands. A folder may go at any time.
func (k *keeper) stateOf(path string) string {
	if k.pipes == nil {
		return mountLocked
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return mountOrphaned
	}
	k.mu.Lock()
	s := k.served[path]
	if s == nil {
		k.mu.Unlock()
		return mountLocked
	}
	state, target := s.state, s.target
	k.mu.Unlock() // a file system may not answer
	if state == mountServed {
		if t, err := os.Readlink(path); err != nil || t != target || !k.pipes.serves(path) {
			return mountBlocked
		}
	}
	return state
}

// serveAll serves what the vault remembers, at unlock. [MNT-12]
func (k *keeper) serveAll() {
	for _, e := range k.vault.view().environments {
		for _, m := range e.mounts {
			if err := k.serve(m.path, nil); err != nil {
				k.say("   not mounted: %s\n", clean(err.Error(), 200))
			}
			k.tellLeftovers(m.path)
		}
	}
}

// serve puts a FIFO behind a remembered mount and the link at its path, in the
// folder that is held from the question on; nil: it is opened now.
func (k *keeper) serve(path string, held *place) error {
	e, _ := k.vault.view().mountAt(path)
	if k.pipes == nil || e == nil {
		if held != nil {
			held.close()
		}
		return nil
	}
	k.mu.Lock()
	s := k.served[path]
	k.mu.Unlock()
	if s != nil && k.stateOf(path) == mountServed {
		if held != nil {
			held.close()
		}
		return nil
	}
	k.unserve(path)
	s = &served{path: path, state: mountBlocked, place: held}
	err := k.link(s, e)
	if err != nil {
		s.why = err.Error()
		if _, gone := os.Stat(filepath.Dir(path)); errors.Is(gone, os.ErrNotExist) {
			s.state = mountOrphaned
		}
		k.pipes.remove(path)
	}
	k.mu.Lock()
	k.served[path] = s
	k.mu.Unlock()
	return err
}

// link makes the FIFO and then the name that leads to it. [MNT-2]
func (k *keeper) link(s *served, e *environment) (err error) {
	if s.place == nil {
		if s.place, err = openPlace(s.path, k.forbidden()...); err != nil {
			return err
		}
	}
	if s.target, err = k.pipes.add(s.path, filepath.Base(s.path), e.changed); err == nil {
		k.reaper.add(s.path, s.target) // which says what is wrong
		err = s.place.link(s.target, k.ourTarget)
	}
	if err != nil {
		k.reaper.remove(s.path)
		s.place.close()
		s.place = nil
		return err
	}
	s.state = mountServed
	return nil
}

// unserve ends a mount: name, FIFO, the wait of its readers, and its grants.
// [MNT-13] [GRT-16]
func (k *keeper) unserve(path string) {
	k.mu.Lock()
	s := k.served[path]
	delete(k.served, path)
	k.mu.Unlock()
	if (s == nil || s.place == nil) && !k.locked.Load() {
		sweepLeft([]string{path}) // no link of ours but one that a killed keeper left
	}
	if s == nil {
		return
	}
	if s.place != nil {
		s.place.unlink(s.target)
		s.place.close()
		k.reaper.remove(path)
	}
	k.pipes.remove(path)
	k.grants.revoke(func(g *grant) bool { return g.request.via == viaMount && g.request.object.path == path })
}

// touch tells the mounts of an Environment that it changed: only that, and
// never a read, may look like an edit (SPEC §7.4). [WCH-2]
func (k *keeper) touch(environmentID string) {
	e := k.vault.view().environmentByID(environmentID)
	if e == nil || k.pipes == nil {
		return
	}
	for _, m := range e.mounts {
		k.pipes.touch(m.path, e.changed)
		k.mu.Lock()
		s := k.served[m.path]
		k.mu.Unlock()
		if s != nil && s.place != nil {
			s.place.touch(s.target, e.changed)
		}
	}
}

// approve answers one identified reader: the request of SPEC §5 with the open
// as its action. It implements *One private pipe for each open* (SPEC §7.2),
// step 5 and the record of step 7.
func (k *keeper) approve(ctx context.Context, path string, who *process) ([]byte, error) {
	e, _ := k.vault.view().mountAt(path)
	if e == nil {
		return nil, errors.New("no such mount")
	}
	r := readRequest(e, path, who)
	d := dialect("")
	defer func() {
		k.mu.Lock()
		k.reading[who] = openRead{r.number, d}
		k.mu.Unlock()
	}()
	if k.justRefused(r) {
		k.record(r, "", "deny", "the no of a moment ago", "")
		return nil, errors.New("the no of a moment ago")
	}
	a, err := k.allow(ctx, r)
	a.done()
	if err != nil {
		if strings.HasPrefix(a.by, "person:") { // [GRT-15]
			k.noteRefusal(r)
		}
		return nil, errors.New(a.by)
	}
	// Look again: the Environment may have changed while the person thought.
	// [REQ-8]
	e, m := k.vault.view().mountAt(path)
	if e == nil || readRequest(e, path, who).subject() != r.subject() {
		return nil, errors.New("the Environment changed while the question was open")
	}
	d = dialectOf(m, who)
	return encodeEnv(d, e.name, e.variables)
}

func readRequest(e *environment, path string, who *process) *request {
	return &request{actor: who, via: viaMount, action: actRead, object: object{
		environment: e.name, environmentID: idText(e.id), path: path, names: e.names()}}
}

// dialectOf is the mount's own choice, but for a shell: it would run what is in
// a text that is not for it. [TXT-10]
func dialectOf(m *mount, who *process) dialect {
	if isShell(who.exe) {
		return dialectShell
	}
	return orPortable(m.dialect)
}

// justRefused makes a no cover one load, as a yes does. [GRT-14]
func (k *keeper) justRefused(r *request) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	at, ok := k.recent[readKey(r)]
	return ok && time.Since(at) < refusalLasts
}

func (k *keeper) noteRefusal(r *request) {
	k.firstInMinute(readKey(r)) // forgets what is older
	k.mu.Lock()
	defer k.mu.Unlock()
	k.recent[readKey(r)] = time.Now()
	k.refused++
}

// firstInMinute notes that something happened, and reports whether it had not
// within the last minute.
func (k *keeper) firstInMinute(what string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.recent, func(_ string, at time.Time) bool { return time.Since(at) >= time.Minute })
	_, before := k.recent[what]
	if !before {
		k.recent[what] = time.Now()
	}
	return !before
}

func readKey(r *request) string {
	return fmt.Sprintf("%d/%d %s", r.actor.pid, r.actor.start, r.object.path)
}

// ended records how one open came out, and says aloud what the reader's
// program will not: most libraries run on without variables (SPEC §7.2).
// [DLV-17] [DLV-19]
func (k *keeper) ended(path string, who *process, word, detail string) {
	e, _ := k.vault.view().mountAt(path)
	k.mu.Lock()
	before := k.reading[who]
	delete(k.reading, who)
	k.mu.Unlock()
	e, who = cmp.Or(e, &environment{}), cmp.Or(who, &process{})
	r := readRequest(e, path, who)
	r.number = before.request
	if word == endDelivered && before.dialect != dialectPortable { // [TXT-33]
		detail = string(before.dialect)
	}
	outcome := word
	if detail != "" {
		outcome += ": " + detail
	}
	if err := k.record(r, "", "", "", outcome); err != nil {
		k.say(" the audit log cannot be written: %s\n", clean(err.Error(), 200))
	}
	k.mu.Lock()
	if s := k.served[path]; s != nil {
		s.last = &lastRead{Time: time.Now(), Program: who.exe, PID: who.pid, Outcome: outcome}
	}
	k.mu.Unlock()
	if word == endTainted { // [GRT-16]
		k.grants.revoke(func(g *grant) bool { return g.request.object.path == path })
	}
	k.say("%s", renderRead(r, word, detail, k.user))
}
