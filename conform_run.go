package main

// Running cases, several at a time, each in a process of its own: a case that
// hangs, crashes or leaves processes behind costs its own result and no other.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	workerGrace  = 15 * time.Second // beyond the case's own limit
	manualGrace  = 10 * time.Minute // where a person answers
	workerLinger = 2 * time.Second  // for its output to end after it
	workerOutput = 32 << 20         // bytes of a result
	workerErrors = 16 << 10         // bytes of what a crash says
)

// Statuses of a result.
const (
	statusPass  = "pass"
	statusFail  = "fail"
	statusSkip  = "skip"
	statusError = "error" // of the case or the suite: says nothing about the subject
)

// conformTask is one run of a case: in a revision, or skipped for a reason.
type conformTask struct {
	*conformCase
	revision, skip string
}

func (t conformTask) name() string {
	if t.revision == "" {
		return t.id
	}
	return t.id + "@" + t.revision
}

func (t conformTask) result(status string, failures ...string) conformResult {
	return conformResult{Case: t.id, Revision: t.revision, Status: status, Failures: failures}
}

// conformWatch is told what happens, never by two at a time.
type conformWatch interface {
	began(conformTask)
	ended(task conformTask, result conformResult, kept string)
}

// conformRun is one run of the suite.
type conformRun struct {
	subject *subject
	name    string // of the subject, as it was given
	server  []string
	dir     string // of all that is made
	shared  json.RawMessage
	command func() *exec.Cmd
	grace   time.Duration
	keep    bool // the folders of cases that failed
	adopts  bool // every child that is not in ours is an orphan

	mu   sync.Mutex // held while a worker is started, and while orphans end
	ours map[int]bool

	person *os.File // the terminal of the person who is told what to do

	tell sync.Mutex // held while the watch is told
	kept bool
}

// workerCommand is this program again, which the terminal's signals do not
// reach: the parent ends it.
func workerCommand() *exec.Cmd {
	cmd := again("conform-worker")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

func runConformWorker(c *cli, _ []string) error { return serveWorker(c, runWorker) }

// serveWorker runs the case that standard input names. Standard input stays
// open for as long as the parent lives; when it ends, so does all.
func serveWorker(c *cli, work func(workerInput) conformResult) error {
	var in workerInput
	d := json.NewDecoder(c.in)
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return &noVerdict{"conform-worker is started by keepmum conform: " + err.Error()}
	}
	go func() {
		io.Copy(io.Discard, c.in)
		endDescendants(os.Getpid(), nil)
		os.Exit(1)
	}()
	_, err := c.out.Write(append(encodeJSON(work(in)), '\n'))
	return err
}

// prepare makes what all cases share. An interrupt ends the processes that do.
func (r *conformRun) prepare(ctx context.Context, progress io.Writer) (err error) {
	shared := r.path("s")
	if err := os.Mkdir(shared, 0o700); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { endDescendants(os.Getpid(), nil) })
	defer stop()
	r.shared, err = r.subject.prepare(shared, r.server, r.person, progress)
	r.ours = map[int]bool{}
	for _, pid := range descendantsOf(os.Getpid(), nil) {
		r.ours[pid] = true // what was left running is meant to
	}
	return err
}

func (r *conformRun) path(name string) string { return filepath.Join(r.dir, name) }

// run runs the tasks, jobs at a time, until all are done or ctx is.
func (r *conformRun) run(ctx context.Context, tasks []conformTask, jobs int, watch conformWatch) {
	next := make(chan int)
	var workers sync.WaitGroup
	for range jobs {
		workers.Go(func() {
			for n := range next {
				r.task(ctx, tasks[n], r.path(strconv.Itoa(n)), watch)
			}
		})
	}
	for n := range tasks {
		select {
		case next <- n:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	workers.Wait()
}

// task runs one task in its folder. What was interrupted has no result.
func (r *conformRun) task(ctx context.Context, task conformTask, dir string, watch conformWatch) {
	if ctx.Err() != nil {
		return
	}
	r.tell.Lock()
	watch.began(task)
	r.tell.Unlock()
	began, result := time.Now(), task.result(statusSkip)
	result.Reason = task.skip
	if task.skip == "" {
		result = r.work(ctx, task, dir)
	}
	if ctx.Err() != nil {
		return
	}
	if result.Seconds == 0 && task.skip == "" {
		result.Seconds = time.Since(began).Seconds()
	}
	kept := ""
	if r.keep && (result.Status == statusFail || result.Status == statusError) {
		kept = dir
	} else {
		removeTree(dir)
	}
	r.tell.Lock()
	defer r.tell.Unlock()
	r.kept = r.kept || kept != ""
	watch.ended(task, result, kept)
}

// work has a worker run the task and returns what came of it, whatever became
// of the worker.
func (r *conformRun) work(ctx context.Context, task conformTask, dir string) conformResult {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return task.result(statusError, err.Error())
	}
	cmd := r.command()
	out, errs := &capped{limit: workerOutput}, &capped{limit: workerErrors}
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, errs, workerLinger
	if r.person != nil {
		cmd.ExtraFiles = []*os.File{r.person} // personFile
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return task.result(statusError, err.Error())
	}
	if err := r.start(cmd); err != nil {
		return task.result(statusError, "cannot start a worker: "+err.Error())
	}
	limit := task.limit + r.grace
	ended := make(chan error, 1)
	go func() {
		// A worker that is dead or does not read shows below.
		stdin.Write(encodeJSON(workerInput{Case: task.id, Revision: task.revision, Subject: r.name,
			Server: r.server, Dir: dir, Shared: r.shared, Person: r.person != nil}))
		ended <- cmd.Wait()
	}()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case err = <-ended:
		r.endOrphans(cmd.Process.Pid)
		return task.read(out.Bytes(), errs.Bytes(), err)
	case <-late.C:
	case <-ctx.Done(): // what is returned is not used
	}
	endFamily(cmd.Process.Pid)
	<-ended
	r.endOrphans(cmd.Process.Pid)
	return task.result(statusFail,
		fmt.Sprintf("the case did not end within %v and was killed", limit))
}

// start starts a worker and notes that it is none of the orphans.
func (r *conformRun) start(cmd *exec.Cmd) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	if r.ours == nil {
		r.ours = map[int]bool{}
	}
	r.ours[cmd.Process.Pid] = true
	return nil
}

// endOrphans kills what a worker that has ended left behind.
func (r *conformRun) endOrphans(worker int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ours, worker)
	if r.adopts {
		endDescendants(os.Getpid(), r.ours)
	}
}

// read returns the result that a worker has printed. Anything but exactly one
// result of this task is an error, with what the worker said about it.
func (t conformTask) read(out, errs []byte, ended error) conformResult {
	var result conformResult
	d := json.NewDecoder(bytes.NewReader(out))
	d.DisallowUnknownFields()
	err := d.Decode(&result)
	_, more := d.Token()
	known := slices.Contains([]string{statusPass, statusFail, statusSkip, statusError}, result.Status)
	why := ""
	switch {
	case ended != nil && !errors.Is(ended, exec.ErrWaitDelay):
		why = "the worker died: " + ended.Error()
	case err != nil || !errors.Is(more, io.EOF):
		why = "the worker printed no result"
	case result.Case != t.id || result.Revision != t.revision || !known:
		why = "the worker printed a result of something else"
	case result.Status == statusFail && len(result.Failures) == 0:
		why = "the worker gave no reason for a failure"
	default:
		return result
	}
	result = t.result(statusError, why)
	if said := strings.TrimSpace(string(errs)); said != "" {
		result.Failures = append(result.Failures, strings.Split(said, "\n")[0])
	}
	result.Transcript = string(errs)
	return result
}

// removeAll removes the folder, but for what is kept.
func (r *conformRun) removeAll(err io.Writer) {
	dir := r.dir
	if r.kept {
		dir = r.path("s")
	}
	if failed := removeTree(dir); failed != nil {
		fmt.Fprintf(err, "keepmum: warning: cannot remove the folder of the run: %v\n", failed)
	}
}

// removeTree removes a folder, also with folders in it that a case has made
// unwritable.
func removeTree(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if e != nil && e.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// capped keeps the first bytes that are written to it.
type capped struct {
	bytes.Buffer
	limit int
}

// Write takes all, so that who writes is not held up.
func (c *capped) Write(b []byte) (int, error) {
	c.Buffer.Write(b[:min(len(b), c.limit-c.Len())])
	return len(b), nil
}
