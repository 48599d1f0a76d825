package main

// The conformance suite's command: which cases, against what, told how. A case
// runs in a worker process of its own (conform_run.go); what came of it is
// told in four formats (conform_report.go, conform_formats.go).

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	levelMust   = "must"
	levelShould = "should"
	levelAll    = "all"
)

const defaultSubject = "keepmum"

const maxJobs = 8 // each has a keeper, whose key derivation takes memory

// conformOptions are the flags of conform.
type conformOptions struct {
	subject, level                   string
	run, skip                        regexps
	list, strict, tap, keep, verbose bool
	baseline, junit, markdown        string
	jobs                             int
}

// regexps is a flag that may be given more than once.
type regexps []*regexp.Regexp

func (r *regexps) String() string { return "" }

func (r *regexps) Set(text string) error {
	re, err := regexp.Compile(text)
	*r = append(*r, re)
	return err
}

// match reports whether any of them matches.
func (r regexps) match(text string) bool {
	return slices.ContainsFunc(r, func(re *regexp.Regexp) bool { return re.MatchString(text) })
}

// noVerdict is an error that leaves open whether the subject conforms: exit 2.
// Without a text everything has been said already.
type noVerdict struct{ text string }

func (e *noVerdict) Error() string { return e.text }

func conformFlags(f *flag.FlagSet, o *options) {
	c := &o.conform
	jsonFlag(f, o)
	f.StringVar(&c.subject, "subject", defaultSubject,
		"how to drive the server: `NAME` of a built-in way, or a file")
	f.Var(&c.run, "run", "only cases whose id matches `REGEX` (repeatable)")
	f.Var(&c.skip, "skip", "no case whose id matches `REGEX` (repeatable)")
	f.StringVar(&c.level, "level", levelAll, "only cases of `LEVEL`: must, should, all")
	f.BoolVar(&c.list, "list", false, "list the cases and run none")
	f.BoolVar(&c.strict, "strict", false,
		"a SHOULD that fails, or a case that is skipped, is a failure")
	f.StringVar(&c.baseline, "baseline", "",
		"`FILE` with lines \"ID[@REVISION] # reason\": failures that are expected")
	f.BoolVar(&c.tap, "tap", false, "print TAP version 14")
	f.StringVar(&c.junit, "junit", "", "write JUnit XML to `FILE` (\"-\": print it)")
	f.StringVar(&c.markdown, "markdown", "",
		"write Markdown without times to `FILE` (\"-\": print it)")
	f.Func("jobs", "run `N` cases at a time (default: two for each CPU, at most 8)", c.setJobs)
	f.BoolVar(&c.keep, "keep", false, "keep the folders of cases that failed")
	f.BoolVar(&c.verbose, "verbose", false, "show what was said in cases that failed")
}

func (o *conformOptions) setJobs(text string) (err error) {
	if o.jobs, err = strconv.Atoi(text); err != nil || o.jobs < 1 {
		return errors.New("want a number from 1 on")
	}
	return nil
}

// misuse says what is wrong with the flags and arguments.
func (o *conformOptions) misuse(c *cli, server []string) error {
	prints := 0
	for _, on := range []bool{c.opt.json, o.tap, o.junit == "-", o.markdown == "-"} {
		if on {
			prints++
		}
	}
	switch {
	case !slices.Contains([]string{levelMust, levelShould, levelAll}, o.level):
		return fmt.Errorf("unknown level %q: must, should or all", o.level)
	case prints > 1:
		return errors.New("one format only can be printed: give the others a file")
	case o.list && (len(server) > 0 || o.tap || o.junit+o.markdown+o.baseline != ""):
		return errors.New("--list runs nothing: it takes --run, --skip, --level and --json")
	case !o.list && len(server) == 0:
		return errors.New(`no server: give its command line after "--"`)
	}
	return nil
}

// selects reports whether the flags choose the case.
func (o *conformOptions) selects(c *conformCase) bool {
	return (o.level == levelAll || o.level == c.level) &&
		(len(o.run) == 0 || o.run.match(c.id)) && !o.skip.match(c.id)
}

// workers is how many cases run at a time. A person can answer one.
func (o *conformOptions) workers(s *subject) int {
	switch {
	case s.manual():
		return 1
	case o.jobs > 0:
		return o.jobs
	}
	return min(2*runtime.NumCPU(), maxJobs)
}

// runConform is `conform` of *Command line* (SPEC §11). It ends with 1 where
// something failed and with 2 where that cannot be told.
func runConform(c *cli, server []string) error {
	o := &c.opt.conform
	if err := o.misuse(c, server); err != nil {
		return &usageError{c.command, "conform: " + err.Error()}
	}
	cases, err := loadCases()
	if err != nil {
		return &noVerdict{err.Error()}
	}
	chosen := slices.DeleteFunc(slices.Clone(cases),
		func(k *conformCase) bool { return !o.selects(k) })
	if len(chosen) == 0 {
		return &usageError{c.command, "conform: no case is chosen: see keepmum conform --list"}
	}
	if o.list {
		return c.listCases(chosen)
	}
	s, err := loadSubject(o.subject)
	if err != nil {
		return &usageError{c.command, "conform: " + err.Error()}
	}
	if err := s.check(cases, server); err != nil {
		return &usageError{c.command, fmt.Sprintf("conform: subject file %q: %v", o.subject, err)}
	}
	report := newReport(s, o.strict)
	if report.baseline, err = readBaseline(o.baseline); err != nil {
		return &noVerdict{err.Error()}
	}
	to, err := openReports(c)
	if err != nil {
		return &noVerdict{err.Error()}
	}
	if err := c.conform(report, s, chosen, server); err != nil {
		return &noVerdict{err.Error()}
	}
	report.finish(cases, chosen)
	if err := to.write(report); err != nil {
		return &noVerdict{err.Error()}
	}
	return conformEnd(report.exit())
}

// conformEnd is the error with which the program ends with code.
func conformEnd(code int) error {
	switch code {
	case 0:
		return nil
	case 1:
		return errSilent
	}
	return &noVerdict{}
}

// listed is a case as --list shows it.
type listed struct {
	ID           string   `json:"id"`
	Level        string   `json:"level"`
	Requirements []string `json:"requirements"`
	Needs        []string `json:"needs"`
	Revisions    []string `json:"revisions"`
	Title        string   `json:"title"`
	Why          string   `json:"why"`
}

// listCases shows the cases that were chosen.
func (c *cli) listCases(cases []*conformCase) error {
	all := make([]listed, len(cases))
	for i, k := range cases {
		all[i] = listed{k.id, k.level, k.requirements, append([]string{}, k.needs...), k.revisions,
			k.title, k.why}
	}
	return c.print(all, func(w io.Writer) {
		for _, l := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n",
				l.ID, l.Level, strings.Join(l.Requirements, " "), l.Title)
		}
	})
}

// conform runs the chosen cases in a throw-away folder and fills the report.
// An interrupt ends it early, without an error.
func (c *cli) conform(report *conformReport, s *subject, chosen []*conformCase,
	server []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM,
		syscall.SIGHUP)
	defer stop()
	defer surviveBrokenPipes()()
	if _, err := exec.LookPath(server[0]); err != nil {
		return fmt.Errorf("the server cannot be started: %v", err)
	}
	// Short, since a socket's path has at most 104 bytes; and without links,
	// since a subject may look at its own path.
	dir, err := os.MkdirTemp("", "km")
	if err != nil {
		return err
	}
	r := &conformRun{subject: s, server: absoluteFiles(server), dir: dir, name: c.opt.conform.subject,
		keep: c.opt.conform.keep, adopts: true, command: workerCommand, grace: workerGrace}
	defer r.removeAll(c.err)
	if s.manual() {
		r.grace = manualGrace
		if r.person, err = openPerson(); err != nil {
			return err
		}
	}
	if r.dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	if err := adoptOrphans(); err != nil {
		return fmt.Errorf("cannot hold the processes of a case: %v", err)
	}
	began := time.Now()
	show := newShow(c, report)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	show.out, show.err = endsWith{show.out, cancel}, endsWith{show.err, cancel}
	if err := r.prepare(ctx, show.notes); err != nil && ctx.Err() == nil {
		if c.opt.conform.subject == defaultSubject {
			return fmt.Errorf("%w\nanother server than keepmum needs --subject FILE, which tells how it "+
				"is started and answered: docs/conformance.md", err)
		}
		return err
	}
	tasks := conformTasks(s, chosen)
	show.total = len(tasks)
	r.run(ctx, tasks, c.opt.conform.workers(s), show)
	show.clear()
	report.interrupted, report.planned = ctx.Err() != nil, len(tasks)
	report.elapsed = time.Since(began)
	return nil
}

// surviveBrokenPipes keeps the program alive, to clean up, when nobody reads what
// it writes any more. The signal has to be taken, since a server would inherit
// that it is ignored; it also comes for pipes to servers that have ended.
func surviveBrokenPipes() (stop func()) {
	taken := make(chan os.Signal, 1)
	signal.Notify(taken, syscall.SIGPIPE)
	return func() { signal.Stop(taken) }
}

// endsWith is a writer that ends the run when nobody reads it any more.
type endsWith struct {
	io.Writer
	end func()
}

func (w endsWith) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		w.end()
	}
	return n, err
}

// absoluteFiles returns a server's command line with the files in it by their
// absolute paths: a case runs in a folder of its own. A program without a slash
// is looked for in PATH.
func absoluteFiles(server []string) []string {
	all := slices.Clone(server)
	for i, arg := range all {
		info, err := os.Stat(arg)
		if err != nil || !info.Mode().IsRegular() || i == 0 && !strings.Contains(arg, "/") {
			continue
		}
		if path, err := filepath.Abs(arg); err == nil {
			all[i] = path
		}
	}
	return all
}

// conformTasks are the runs of the chosen cases: one for each revision in which
// the subject runs it, or one that says why there is none.
func conformTasks(s *subject, chosen []*conformCase) (tasks []conformTask) {
	for _, k := range chosen {
		revisions, skip := s.runs(k)
		if skip != "" {
			tasks = append(tasks, conformTask{k, "", skip})
			continue
		}
		for _, revision := range revisions {
			tasks = append(tasks, conformTask{k, revision, ""})
		}
	}
	return tasks
}

// reportFiles are where the report goes when all is done.
type reportFiles []reportFile

type reportFile struct {
	to     io.Writer
	format func(io.Writer, *conformReport) error
}

// openReports opens them all before the first case runs, which may take long.
func openReports(c *cli) (files reportFiles, err error) {
	o := &c.opt.conform
	for _, f := range []struct {
		path   string
		to     io.Writer
		format func(io.Writer, *conformReport) error
	}{{o.junit, c.out, writeJUnit}, {o.markdown, c.out, writeMarkdown}} {
		if f.path != "" && f.path != "-" {
			if f.to, err = os.Create(f.path); err != nil {
				return nil, fmt.Errorf("cannot write the report: %v", err)
			}
		}
		if f.path != "" {
			files = append(files, reportFile{f.to, f.format})
		}
	}
	switch {
	case c.opt.json:
		files = append(files, reportFile{c.raw(), writeJSONReport})
	case o.tap:
		tap := func(w io.Writer, r *conformReport) error { return writeTAP(w, r, o.verbose) }
		files = append(files, reportFile{c.out, tap})
	case o.junit != "-" && o.markdown != "-":
		files = append(files, reportFile{c.out, writeSummary})
	}
	return files, nil
}

// write writes the report everywhere, and closes files.
func (files reportFiles) write(report *conformReport) error {
	var all error
	for _, f := range files {
		err := f.format(f.to, report)
		if file, ok := f.to.(*os.File); ok && file != os.Stdout {
			err = errors.Join(err, file.Close())
		}
		all = errors.Join(all, err)
	}
	return all
}
