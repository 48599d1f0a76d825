package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// sharedState is what all cases of a run begin with: a home in which the seeds
// already are, and what they are.
type sharedState struct {
	Home   string // to copy; empty where each case seeds for itself
	Copy   string // of this executable
	Values map[string]map[string]string
	IDs    map[string]string
}

// seeds are the Environments that every case finds. PORT is plain and no secret.
var seeds = []struct {
	env   string
	names []string
}{{"acme", []string{"API_KEY", "DATABASE_URL", "PORT"}}, {"other", []string{"OTHER_KEY"}}}

const plainSeed = "3000"

// newCanary is a value that occurs nowhere by accident.
func newCanary() string { return "km" + rand.Text() }

// prepare makes what the cases share. dir is a folder that lives as long as the
// run.
func (s *subject) prepare(dir string, server []string, person *os.File, progress io.Writer) (json.RawMessage, error) {
	ours := filepath.Join(dir, "keepmum")
	if err := copyOurselves(ours); err != nil {
		return nil, err
	}
	if err := s.probe(filepath.Join(dir, "probe"), ours, server); err != nil {
		return nil, err
	}
	if s.Keeper == nil || s.Keeper.Store == "" || s.lacksSeeds() != "" {
		return encodeJSON(sharedState{Copy: ours}), nil
	}
	fmt.Fprintf(progress, "seeding %s\n", s.Name)
	r, err := newCaseRun(&conformCase{id: "seed", limit: time.Minute}, s, s.newest(), filepath.Join(dir, "seed"), server)
	if err != nil {
		return nil, err
	}
	r.person = person
	err = r.prepareHome()
	r.finish()
	if err == nil && len(r.failures) > 0 {
		err = errors.New(strings.Join(r.failures, "; "))
	}
	if err != nil {
		return nil, fmt.Errorf("the subject %q cannot be started and seeded: %w\n%s", s.Name, err,
			last(r.transcript.String(), 3000))
	}
	ids := map[string]string{}
	for name, value := range r.vars {
		if env, ok := strings.CutPrefix(name, "env."); ok {
			ids[env] = value
		}
	}
	return encodeJSON(sharedState{filepath.Join(r.home, s.Keeper.Store), ours, r.values, ids}), nil
}

// probe starts the server once: nothing can be told of one that leaves even the
// first request without an answer, which needs no keeper. And it has to have the
// tools that the subject file names. [MCP-29]
func (s *subject) probe(dir, ours string, server []string) error {
	r, err := newCaseRun(&conformCase{id: "probe", limit: time.Minute}, s, s.newest(), dir, server)
	if err != nil {
		return err
	}
	r.copy = ours
	defer r.finish()
	if err := r.doServer(caseStep{client: "probe"}); err != nil {
		return err
	}
	c := r.clients["probe"]
	if _, err := c.first(); err != nil {
		return fmt.Errorf("the server does not start: %w", err)
	}
	if s.newest() != stateless {
		c.write(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	}
	if err := c.request("list", "tools/list", nil); err != nil {
		return nil // from here on the cases tell
	}
	if m, err := c.answer("list"); err == nil {
		return s.offers(m.raw)
	}
	return nil
}

// newest is the revision in which the suite itself speaks to the subject.
func (s *subject) newest() string {
	all, _ := s.runs(&conformCase{revisions: []string{"once"}})
	return all[0]
}

// prepareHome starts the subject for the first time, and seeds it.
func (r *caseRun) prepareHome() error {
	if err := r.startKeeper(r.sub.Keeper.First); err != nil {
		return err
	}
	if err := r.ready(); err != nil {
		return err
	}
	return r.seedAll()
}

// seedAll stores the values that every case finds, and learns the ids.
func (r *caseRun) seedAll() error {
	if r.sub.Seed == nil {
		return faultf("subject %s does not say how values get in", r.sub.Name)
	}
	const seeder = "seeder"
	if err := r.doClient(caseStep{client: seeder}); err != nil {
		return err
	}
	if err := r.doConnect(caseStep{client: seeder}); err != nil {
		return err
	}
	for _, s := range seeds {
		for _, name := range s.names {
			value, plain := newCanary(), name == "PORT"
			if plain {
				value = plainSeed
			}
			if err := r.seed(s.env, name, value, plain); err != nil {
				return err
			}
		}
	}
	c := r.clients[seeder]
	if err := r.learnIDs(c); err != nil {
		return err
	}
	c.in.Close()
	if !c.proc.endsBy(r.until()) {
		return errors.New("the server does not end at the end of its input")
	}
	delete(r.clients, seeder)
	return nil
}

// seed stores one value, by a command or by tools.
func (r *caseRun) seed(env, name, value string, plain bool) error {
	if r.values[env] == nil {
		r.values[env] = map[string]string{}
	}
	_, replaces := r.values[env][name]
	r.values[env][name] = value
	if r.sub.Seed.Tools {
		return r.seedByTool(env, name, value, plain, replaces)
	}
	argv := r.sub.Seed.Set
	if plain {
		argv = r.sub.Seed.SetPlain
	}
	r.vars["env"], r.vars["name"] = env, name
	cmd, err := r.subjectCommand(argv)
	if err != nil {
		return err
	}
	cmd.Stdin = strings.NewReader(value)
	p, err := r.start("seed", cmd)
	if err != nil {
		return err
	}
	if r.sub.Seed.Asks {
		if err := r.takeQuestion("append"); err != nil {
			return err
		}
		if err := r.giveAnswer("once"); err != nil {
			return err
		}
	}
	if !p.endsBy(r.until()) || p.exit != 0 {
		return fmt.Errorf("cannot seed %s: %s", name, last(string(p.err.bytes()), 300))
	}
	return nil
}

// seedByTool stores a value as an agent would.
func (r *caseRun) seedByTool(env, name, value string, plain, replaces bool) error {
	c := r.clients["seeder"]
	if c == nil {
		return faultf("this subject is seeded by tools, only before the case")
	}
	if r.vars["env."+env] == "" {
		if err := r.approved(c, "create", "create_environment", map[string]any{"environmentName": env}); err != nil {
			return err
		}
		if err := r.learnIDs(c); err != nil {
			return err
		}
	}
	return r.approved(c, "append", "append_variables", map[string]any{"environmentId": r.vars["env."+env],
		"variables": []any{map[string]any{"name": name, "value": value, "concealed": !plain}}})
}

// approved calls a tool, answers its question with once, and wants success.
func (r *caseRun) approved(c *conformClient, action, tool string, args map[string]any) error {
	parts, err := decodeObject(encodeJSON(args))
	if err != nil {
		return err
	}
	if err := c.callTool("seed", tool, parts); err != nil {
		return err
	}
	if err := r.takeQuestion(action); err != nil {
		return err
	}
	if err := r.giveAnswer("once"); err != nil {
		return err
	}
	result, failure, err := c.toolResult("seed")
	if err == nil && failure != "" {
		err = fmt.Errorf("%s: %s", tool, failure)
	}
	r.vars["result"] = string(result)
	return err
}

// learnIDs asks for the Environments.
func (r *caseRun) learnIDs(c *conformClient) error {
	if err := r.approved(c, "list", "list_environments", map[string]any{}); err != nil {
		return err
	}
	var got struct {
		Environments []struct{ EnvironmentID, Name string }
	}
	if err := json.Unmarshal([]byte(r.vars["result"]), &got); err != nil {
		return fmt.Errorf("list_environments: want environments, each with environmentId and name: %s",
			cut(r.vars["result"], 300))
	}
	for _, e := range got.Environments {
		r.vars["env."+e.Name] = e.EnvironmentID
	}
	return nil
}

// workerInput is what a worker is told.
type workerInput struct {
	Case, Revision, Subject string
	Server                  []string
	Dir                     string
	Shared                  json.RawMessage
	Person                  bool // the person's terminal is there
}

// conformResult is what came of one case in one revision.
type conformResult struct {
	Case, Revision, Status string // pass, fail, skip, error
	Reason                 string // of a skip
	Failures               []string
	Seconds                float64
	Transcript             string // of a failure
}

// runWorker runs one case in one revision, in this process.
func runWorker(in workerInput) conformResult {
	began := time.Now()
	result := conformResult{Case: in.Case, Revision: in.Revision, Status: "error"}
	r, err := newWorker(in)
	if err != nil {
		result.Failures = []string{err.Error()}
		return result
	}
	err = r.runSteps()
	r.finish()
	var fault *caseFault
	var skip *skipped
	switch {
	case errors.As(err, &fault):
		result.Failures = append([]string{err.Error()}, r.failures...)
	case errors.As(err, &skip):
		result.Status, result.Reason = "skip", skip.why
	case len(r.failures) > 0:
		result.Status, result.Failures = "fail", r.failures
	default:
		result.Status = "pass"
	}
	if result.Status == "fail" || result.Status == "error" {
		r.noteErrors()
		result.Transcript = r.transcript.String()
	}
	result.Seconds = time.Since(began).Seconds()
	return result
}

// noteErrors notes the end of what servers, keeper and commands wrote to standard
// error. A reader's is its own.
func (r *caseRun) noteErrors() {
	for _, name := range slices.Sorted(maps.Keys(r.procs)) {
		p := r.procs[name]
		if text := lastLines(p.err.bytes(), 20); text != "" && !p.private {
			r.note("standard error of %s:\n%s", name, last(text, 4000))
		}
	}
}

// newWorker makes a case ready to run.
func newWorker(in workerInput) (*caseRun, error) {
	if err := adoptOrphans(); err != nil {
		return nil, err
	}
	sub, err := loadSubject(in.Subject)
	if err != nil {
		return nil, err
	}
	c, err := loadCase(in.Case)
	if err != nil {
		return nil, err
	}
	if len(in.Server) == 0 {
		return nil, faultf("no server")
	}
	r, err := newCaseRun(c, sub, in.Revision, in.Dir, in.Server)
	if err != nil {
		return nil, err
	}
	var shared sharedState
	if err := json.Unmarshal(in.Shared, &shared); err != nil {
		return nil, err
	}
	if in.Person {
		syscall.CloseOnExec(personFile)
		r.person = os.NewFile(personFile, "the person's terminal")
	}
	for name, id := range shared.IDs {
		r.vars["env."+name] = id
	}
	r.copy = shared.Copy
	if shared.Values != nil {
		r.values = shared.Values
	}
	if shared.Home != "" {
		err = copyPrivate(shared.Home, filepath.Join(r.home, sub.Keeper.Store))
	}
	return r, err
}

// runSteps runs the steps up to the first that fails.
func (r *caseRun) runSteps() error {
	for _, s := range r.c.steps {
		err := r.doStep(s)
		var fault *caseFault
		var skip *skipped
		if errors.As(err, &fault) || errors.As(err, &skip) {
			return fmt.Errorf("line %d: %w", s.line, err)
		}
		if err != nil {
			r.fails("line %d, %v: %v", s.line, cut(s.String(), 120), err)
			return nil
		}
	}
	return nil
}

// copyPrivate copies the files below a folder, for their owner alone.
func copyPrivate(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(from, path)
		if err != nil || relErr != nil {
			return errors.Join(err, relErr)
		}
		switch {
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		case e.Type().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, rel), text, 0o600)
		}
		return nil
	})
}
