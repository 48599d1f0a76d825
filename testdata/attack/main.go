//go:build linux

// Attack is what keepmum has to withstand: programs that run as its own user. One
// program has a mode for each attack, which tries as often as -n says, or else
// until its input ends, and then prints one line of JSON: a report.
//
//	attack MODE [flags] [-- PROGRAM ARGS...]
//
// Readers (readers.go, uring.go) want the text of the mount at -path:
//
//	open       opens it, reads to the end, and again
//	nonblock   opens it without blocking and is soon gone
//	hidden     opens it and lets nobody look at its descriptors
//	thread     opens it in a thread that has a table of descriptors of its own
//	flight     opens it and sends the descriptor to itself while it is looked for
//	uring      opens it by io_uring, which needs no descriptor at all
//	held       holds what has the name by O_PATH, and opens that when another reads
//	linked     makes a hard link to what has the name, and opens that
//	join       opens what process -pid has open, by /proc/PID/fd
//	keeper     does so to the keeper -pid, and asks for its descriptors
//	wait       holds and watches the pipe, and opens it at the moment of a write
//	freeze     stops the keeper -pid at a random moment, joins -victim, lets it go on
//
// Writers (writers.go) want another reader to get what they wrote, or no end:
//
//	plant      opens the mount for writing in the way of -kind, and writes
//
// Others in a reader's skin (actors.go, namespace.go):
//
//	victim     is the reader that may: at each line of its input it reads, or
//	           becomes PROGRAM, with the mount open or not
//	inherit    reads what it was left open
//	agent      shows itself as an agent, and starts PROGRAM so that it seems to be
//	           nobody's, in the way of -kind
//	launch     starts PROGRAM and ends, which leaves it an orphan
//	cover      starts PROGRAM where the file of that name is another one
//	namespace  is the first process of a small namespace of processes, with the
//	           keeper PROGRAM in it, and gives a process's number to another one
//
// Things in the place of a mount (places.go):
//
//	stand      puts a thing of -kind at -path, and says at the end what became of it
//	swap       puts things there and takes them away, as fast as it can
//
// Speakers (speakers.go, floods.go) go to the socket of -home:
//
//	speak      asks for everything, with members that claim to be somebody else
//	bridge     starts the bridge PROGRAM as a client that calls itself -kind
//	hoard      opens connections and says nothing, half a line, or a byte at a time
//	giant      sends lines that are too long, ended or not
//
// And what is weaker than keepmum (weak.go): the same attacks must succeed there.
//
//	weak       serves -text in the way of -kind
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// report is what a mode prints at its end.
type report struct {
	Mode   string         `json:"mode"`
	Tries  int            `json:"tries"`
	Opens  int            `json:"opens"`  // opens, connections or changes that worked
	Pipes  int            `json:"pipes"`  // different pipes among what was opened
	Leaks  int            `json:"leaks"`  // texts with the marker in them
	Told   map[string]int `json:"told"`   // each text that came, and how often
	Failed map[string]int `json:"failed"` // each error, and how often
}

// attack is one run of one mode.
type attack struct {
	path, kind, home, text, victim string
	marker, loot, when, bridge     string
	pid, n                         int
	limit                          time.Duration
	program                        []string // behind the flags
	terminal                       *os.File // of the namespace

	enough  bool
	ended   atomic.Bool // the input has ended
	lines   chan string // of the input
	mu      sync.Mutex
	out     *os.File        // the loot
	pipes   map[string]bool // by file handle
	stopped map[int]bool    // processes

	lastPipe string // that a reader had open
	report
}

var modes = map[string]func(*attack){
	"open": (*attack).reads, "nonblock": (*attack).glances, "hidden": (*attack).hides,
	"thread": (*attack).inThread, "flight": (*attack).inFlight, "uring": (*attack).byRing,
	"held": (*attack).holds, "linked": (*attack).links, "join": (*attack).joins,
	"keeper": (*attack).robsKeeper, "wait": (*attack).waits, "freeze": (*attack).freezes,
	"plant":  (*attack).plants,
	"victim": (*attack).isVictim, "inherit": (*attack).inherits, "agent": (*attack).isAgent, "launch": (*attack).launches,
	"cover": (*attack).covers, "namespace": (*attack).isFirst,
	"stand": (*attack).stands, "swap": (*attack).swaps,
	"speak": (*attack).speaks, "bridge": (*attack).bridges, "hoard": (*attack).hoards,
	"giant": (*attack).sendsGiants, "weak": (*attack).isWeak,
}

func init() { runtime.LockOSThread() } // for inThread, which must be in another one

func main() {
	a := &attack{lines: make(chan string), pipes: map[string]bool{}, stopped: map[int]bool{}}
	flag.StringVar(&a.path, "path", "", "the mount")
	flag.StringVar(&a.kind, "kind", "", "a variant of the mode")
	flag.StringVar(&a.home, "home", os.Getenv("KEEPMUM_HOME"), "keepmum's home")
	flag.StringVar(&a.text, "text", "", "a weaker server's secret, or a client's account")
	flag.StringVar(&a.victim, "victim", "", "a program that is trusted, or the process that it is")
	flag.StringVar(&a.marker, "marker", "canary", "what is in every secret")
	flag.StringVar(&a.loot, "loot", "", "a file for every byte that came")
	flag.StringVar(&a.when, "when", "", "a file for whose appearance to wait")
	flag.StringVar(&a.bridge, "bridge", "", "keepmum, to be a client of")
	flag.IntVar(&a.pid, "pid", 0, "another process")
	flag.IntVar(&a.n, "n", 0, "tries; 0 is until the input ends")
	flag.BoolVar(&a.enough, "enough", false, "one leak is enough")
	flag.DurationVar(&a.limit, "limit", 2*time.Minute, "the longest that it takes")
	var mode func(*attack)
	if len(os.Args) > 1 {
		mode = modes[os.Args[1]]
	}
	if mode == nil {
		fmt.Fprintln(os.Stderr, "use: attack MODE [flags] [-- PROGRAM ARGS...]")
		os.Exit(2)
	}
	flag.CommandLine.Parse(os.Args[2:])
	a.Mode, a.Told, a.Failed, a.program = os.Args[1], map[string]int{}, map[string]int{}, flag.Args()
	if a.loot != "" {
		var err error
		a.out, err = os.OpenFile(a.loot, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		a.must(err)
	}
	if a.terminal = os.Stdin; a.Mode == "namespace" && a.kind != "" {
		os.Stdin, os.Stdout = os.NewFile(3, "in"), os.NewFile(4, "out")
	}
	if a.Mode != "launch" && (a.Mode != "namespace" || os.Getpid() == 1) { // else it is another's input
		go a.listen()
	}
	time.AfterFunc(a.limit, func() { a.failed("it takes too long"); a.ends() })
	mode(a)
	a.ends()
}

// listen takes the lines of the input, and notes its end.
func (a *attack) listen() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		a.lines <- in.Text()
	}
	a.ended.Store(true)
	close(a.lines)
}

// stop stops a process, until goOn or the end.
func (a *attack) stop(pid int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped[pid] = true
	unix.Kill(pid, unix.SIGSTOP)
}

func (a *attack) goOn(pid int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped[pid] {
		unix.Kill(pid, unix.SIGCONT)
		delete(a.stopped, pid)
	}
}

// ends prints the report and is the end.
func (a *attack) ends() {
	a.mu.Lock() // for good: nothing is counted and nobody stopped any more
	for pid := range a.stopped {
		unix.Kill(pid, unix.SIGCONT)
	}
	json.NewEncoder(os.Stdout).Encode(a.report)
	os.Exit(0)
}

// more begins another try, if there is to be one.
func (a *attack) more() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n > 0 && a.Tries >= a.n || a.n == 0 && a.ended.Load() || a.enough && a.Leaks > 0 {
		return false
	}
	a.Tries++
	return true
}

// openedPipe counts an open, and which pipe it was: their inodes are used again.
func (a *attack) openedPipe(fd int) {
	name := handleOf(fdPath(fd))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Opens++
	a.pipes[name] = true
	a.Pipes = len(a.pipes)
}

// opened counts what worked.
func (a *attack) opened() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Opens++
}

// got keeps a text that came.
func (a *attack) got(text []byte) {
	a.summed(text, string(text))
}

// summed keeps a text that came, and counts it under a shorter one.
func (a *attack) summed(text []byte, as string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.out != nil {
		a.out.Write(text)
	}
	if strings.Contains(string(text), a.marker) {
		a.Leaks++
	}
	if a.Told[as] == 0 && len(a.Told) == 1000 {
		as = "one more than a thousand different texts"
	}
	a.Told[as]++
}

// failed counts what went wrong, which is part of an attack.
func (a *attack) failed(what any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Failed[fmt.Sprint(what)]++
}

// must ends an attack that cannot be made.
func (a *attack) must(err error) {
	if err != nil {
		a.failed(err)
		a.ends()
	}
}
