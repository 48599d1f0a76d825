package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fakeWork is what the worker of the tests does, by the id of its case.
func fakeWork(in workerInput) conformResult {
	result := conformResult{Case: in.Case, Revision: in.Revision, Status: statusPass}
	switch in.Case {
	case "x-fail":
		result.Status, result.Failures = statusFail, []string{"line 3: no"}
		os.WriteFile(filepath.Join(in.Dir, "left"), nil, 0o600)
	case "x-panic":
		panic("a fault of the suite")
	case "x-exit":
		os.Exit(3)
	case "x-rubbish":
		fmt.Println("{}{")
	case "x-twice":
		fmt.Printf("%s\n", encodeJSON(result))
	case "x-other":
		result.Case = "x-pass"
	case "x-status":
		result.Status = "fine"
	case "x-silent":
		result.Status = statusFail
	case "x-input":
		result.Status, result.Failures = statusFail, append([]string{in.Subject, string(in.Shared)}, in.Server...)
	case "x-leave", "x-hang":
		// An orphan in a session of its own, as a keeper's child may be.
		cmd := exec.Command("sh", "-c", `sleep 600 <&- >&- 2>&- & echo $! > "$1.new"; mv "$1.new" "$1"`, "sh",
			os.Getenv("KEEPMUM_TEST_FILE"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.Run()
		if in.Case == "x-leave" {
			os.Exit(3)
		}
		select {}
	}
	return result
}

func init() {
	helpers["conform-fake"] = func() {
		adoptOrphans()
		if serveWorker(&cli{in: os.Stdin, out: os.Stdout, err: os.Stderr}, fakeWork) != nil {
			os.Exit(2)
		}
	}
	// A parent, since only a process without other children can take its
	// orphans for those of its workers.
	helpers["conform-parent"] = func() {
		adoptOrphans()
		dir := os.Getenv("KEEPMUM_TEST_FOLDER")
		r := fakeRun(dir, os.Getenv("KEEPMUM_TEST_FILE"))
		r.adopts = true
		var seen seenRows
		r.run(context.Background(), fakeTasks("x-leave", "x-pass"), 1, &seen)
		for _, row := range seen.rows {
			fmt.Println(row.Case, row.Status)
		}
	}
}

// fakeRun runs fakeWork, which writes the number of what it leaves into file.
func fakeRun(dir, file string) *conformRun {
	return &conformRun{subject: &subject{Name: "s"}, name: "acme", server: []string{"serve", "-x"}, dir: dir,
		shared: []byte(`{"a":1}`), grace: workerGrace, command: func() *exec.Cmd {
			cmd := workerCommand()
			cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
				return strings.HasPrefix(v, "KEEPMUM_TEST_")
			}), "KEEPMUM_TEST_HELPER=conform-fake", "KEEPMUM_TEST_FILE="+file)
			return cmd
		}}
}

func fakeTasks(ids ...string) (tasks []conformTask) {
	for _, id := range ids {
		tasks = append(tasks, conformTask{&conformCase{id: id, level: levelMust, limit: 20 * time.Second}, "r1", ""})
	}
	return tasks
}

// seenRows is a watch that keeps what it was told.
type seenRows struct {
	mu       sync.Mutex
	started  []string
	rows     []conformRow
	together bool // told two things at once
}

func (s *seenRows) began(task conformTask) {
	s.together = s.together || !s.mu.TryLock()
	s.started = append(s.started, task.name())
	time.Sleep(2 * time.Millisecond) // long enough for another to come in between
	s.mu.Unlock()
}

func (s *seenRows) ended(task conformTask, result conformResult, kept string) {
	s.together = s.together || !s.mu.TryLock()
	s.rows = append(s.rows, conformRow{task.conformCase, result, kept})
	s.mu.Unlock()
}

// TestWorkers: whatever becomes of a worker, its task has the one right result.
func TestWorkers(t *testing.T) {
	want := map[string][]string{ // status, and a part of what is said
		"x-pass":    {statusPass},
		"x-fail":    {statusFail, "line 3: no"},
		"x-panic":   {statusError, "worker died", "panic: a fault of the suite"},
		"x-exit":    {statusError, "worker died: exit status 3"},
		"x-rubbish": {statusError, "no result"},
		"x-twice":   {statusError, "no result"},
		"x-other":   {statusError, "something else"},
		"x-status":  {statusError, "something else"},
		"x-silent":  {statusError, "no reason"},
		"x-input":   {statusFail, "acme", `{"a":1}`, "serve", "-x"},
	}
	var ids []string
	for id := range want {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	dir := t.TempDir()
	r, seen := fakeRun(dir, ""), &seenRows{}
	r.keep = true
	r.run(context.Background(), fakeTasks(ids...), 3, seen)
	if len(seen.rows) != len(want) || len(seen.started) != len(want) || seen.together {
		t.Fatalf("%d started, %d ended of %d, two at once: %v", len(seen.started), len(seen.rows), len(want), seen.together)
	}
	for _, row := range seen.rows {
		said := strings.Join(append(row.Failures, row.Transcript), "\n")
		for i, part := range want[row.id] {
			if i == 0 && row.Status != part || i > 0 && !strings.Contains(said, part) {
				t.Errorf("%s: %s %q, want %q", row.id, row.Status, said, want[row.id])
			}
		}
		_, err := os.Stat(filepath.Join(dir, strconv.Itoa(slices.Index(ids, row.id))))
		if kept := row.Status != statusPass; kept != (row.kept != "") || kept != (err == nil) || row.Seconds <= 0 {
			t.Errorf("%s: kept in %q (%v), %v s", row.id, row.kept, err, row.Seconds)
		}
	}
}

// TestWorkerIsLate: a case that does not end is a failure, and is ended.
func TestWorkerIsLate(t *testing.T) {
	dir := t.TempDir()
	r, seen, tasks := fakeRun(dir, filepath.Join(dir, "pid")), &seenRows{}, fakeTasks("x-hang")
	tasks[0].limit, r.grace = 0, 50*time.Millisecond
	r.run(context.Background(), tasks, 1, seen)
	if len(seen.rows) != 1 || seen.rows[0].Status != statusFail || !strings.Contains(seen.rows[0].Failures[0], "was killed") {
		t.Errorf("%+v", seen.rows)
	}
	if _, err := os.Stat(r.path("0")); err == nil {
		t.Error("its folder is there")
	}
}

// leftBehind waits until a worker has written the number of its orphan.
func leftBehind(t *testing.T, file string) (pid int) {
	t.Helper()
	waitFor(t, "an orphan", func() bool {
		text, _ := os.ReadFile(file)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return pid > 0
	})
	t.Cleanup(func() { syscall.Kill(pid, syscall.SIGKILL) })
	return pid
}

func gone(pid int) bool { _, there := processParents()[pid]; return !there }

// TestInterruptedRun: workers end with all that is theirs, and what was not
// done has no result.
func TestInterruptedRun(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "pid")
	r, seen := fakeRun(dir, file), &seenRows{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.run(ctx, fakeTasks("x-hang", "x-pass"), 1, seen) }()
	pid := leftBehind(t, file)
	if gone(pid) {
		t.Fatal("the orphan has gone by itself")
	}
	cancel()
	<-done
	waitFor(t, "the orphan's end", func() bool { return gone(pid) })
	if len(seen.rows) != 0 || len(seen.started) != 1 {
		t.Errorf("started %q, rows %+v", seen.started, seen.rows)
	}
}

// TestOrphansOfADeadWorker: the parent ends what a crashed worker leaves.
func TestOrphansOfADeadWorker(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "pid")
	cmd := again()
	cmd.Env = append(os.Environ(), "KEEPMUM_TEST_HELPER=conform-parent", "KEEPMUM_TEST_FOLDER="+dir, "KEEPMUM_TEST_FILE="+file)
	out, err := cmd.Output()
	if err != nil || string(out) != "x-leave error\nx-pass pass\n" {
		t.Errorf("%v %q", err, out)
	}
	pid := leftBehind(t, file)
	if runtime.GOOS == "linux" && !gone(pid) {
		t.Errorf("process %d still runs", pid)
	}
}

// TestWorkerOfADeadParent: a worker whose standard input ends goes, with all.
func TestWorkerOfADeadParent(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	cmd := fakeRun("", file).command()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	stdin.Write(encodeJSON(workerInput{Case: "x-hang"}))
	pid := leftBehind(t, file)
	stdin.Close()
	cmd.Wait()
	waitFor(t, "the orphan's end", func() bool { return gone(pid) })
}

// TestRemoveTree: a case may leave folders that cannot be written.
func TestRemoveTree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	os.MkdirAll(filepath.Join(dir, "b", "c"), 0o700)
	os.WriteFile(filepath.Join(dir, "b", "c", "f"), nil, 0o400)
	os.Symlink("/", filepath.Join(dir, "b", "link"))
	os.Chmod(filepath.Join(dir, "b", "c"), 0)
	os.Chmod(filepath.Join(dir, "b"), 0o500)
	if err := removeTree(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("the folder is there")
	}
	if _, err := os.Stat("/etc"); err != nil {
		t.Error("a link was followed")
	}
}

// TestKeptFolders: with a failure that is kept, only what was shared goes.
func TestKeptFolders(t *testing.T) {
	for _, kept := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "km")
		os.MkdirAll(filepath.Join(dir, "s"), 0o700)
		os.MkdirAll(filepath.Join(dir, "3"), 0o700)
		(&conformRun{dir: dir, kept: kept}).removeAll(io.Discard)
		_, shared := os.Stat(filepath.Join(dir, "s"))
		_, of := os.Stat(filepath.Join(dir, "3"))
		if shared == nil || (of == nil) != kept {
			t.Errorf("kept %v: shared %v, case %v", kept, shared, of)
		}
	}
}
