package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func init() {
	// A bridge that does not wait as long for the person, nor for a keeper that
	// has stopped.
	helpers["hurried"] = func() {
		waitForPerson, progressEvery = 2*time.Second, 500*time.Millisecond
		helpers["main"]()
	}
}

// TestAttackFrozen: a keeper that somebody stops tells nobody anything. Readers and
// commands wait for as long, bridges give up as for a person, and then all goes on.
// [DLV-6] [SOC-8] [WAI-1]
func TestAttackFrozen(t *testing.T) {
	if !*long {
		t.Parallel()
	}
	runRaids(t, newTarget(t, letListed), weaker(t), []raid{{"keeper stopped with SIGSTOP", freezes, freezesWeaker}})
}

// letListed lets every client in, and see names.
const letListed = `{"action":["connect","list"],"agent":true,"decision":"allow"},
	{"action":["connect","list"],"agent":false,"decision":"allow"},` + letReader

// hurried is a client whose bridge gives up soon.
func (a *target) hurried() *session {
	a.t.Helper()
	kept := a.env
	defer func() { a.env = kept }()
	a.env = nil
	for _, v := range kept {
		if !strings.HasPrefix(v, "KEEPMUM_TEST_HELPER=") {
			a.env = append(a.env, v)
		}
	}
	a.env = append(a.env, "KEEPMUM_TEST_HELPER=hurried")
	return a.client()
}

// ending tells when a command has ended.
func (a *target) ending(cmd *exec.Cmd) <-chan error {
	a.t.Helper()
	end := make(chan error, 1)
	cmd.Stdout, cmd.Stderr = a.world, a.world
	must(a.t, cmd.Start())
	go func() { end <- cmd.Wait() }()
	return end
}

func freezes(a *target) (sum raidSum) {
	client := a.hurried()
	client.authenticates()
	for range few(1, 40) {
		a.freezesOnce(client, &sum)
	}
	return sum
}

// freezesOnce stops the keeper, lets readers, a bridge and a command come, and lets
// the keeper go on once the bridge has given up.
func (a *target) freezesOnce(client *session, sum *raidSum) {
	a.t.Helper()
	keeper := a.p.cmd.Process.Pid
	must(a.t, unix.Kill(keeper, unix.SIGSTOP))
	defer unix.Kill(keeper, unix.SIGCONT)
	readers := []*robbery{a.start("reader", "open", "-path", a.path, "-n", "1")}
	for _, mode := range []string{"open", "hidden", "uring"} {
		readers = append(readers, a.start("attack", mode, "-path", a.path, "-n", "1"))
	}
	status := a.ending(a.command("status"))
	if _, text := client.result(client.call("list_environments", map[string]any{})); !strings.Contains(text, "still waits") {
		a.t.Errorf("the bridge of a keeper that has stopped: %q", text)
	}
	for _, r := range readers {
		if len(r.end) > 0 {
			a.t.Errorf("%q has ended while the keeper was stopped: %s", r.cmd.Args, r.out.String())
		}
	}
	if len(status) > 0 {
		a.t.Error("a command was answered by a keeper that has stopped")
	}
	must(a.t, unix.Kill(keeper, unix.SIGCONT))
	var all []attackReport
	for _, r := range readers {
		all = append(all, r.ended())
	}
	a.recorded(true, all...)
	a.whole(all[0])
	a.refused(all[1:]...)
	if err := <-status; err != nil {
		a.t.Errorf("the command: %v", err)
	}
	if r, text := client.result(client.call("list_environments", map[string]any{})); r == nil {
		a.t.Errorf("the bridge, afterwards: %s", text)
	}
	after := a.start("reader", "open", "-path", a.path, "-n", "1").ended()
	a.recorded(true, after)
	a.whole(after)
	if after.Told[a.text] != 1 {
		a.t.Errorf("the reader, afterwards: %v", after)
	}
	for _, s := range all[1:] {
		sum.tries, sum.out = sum.tries+1, sum.out+s.Leaks
	}
}

// freezesWeaker: one pipe for all has been opened by all who came meanwhile.
func freezesWeaker(weak *target) {
	server := weak.weakPipe("fifo")
	must(weak.t, unix.Kill(server.cmd.Process.Pid, unix.SIGSTOP))
	thief := weak.start("attack", "open", "-path", weak.path, "-n", "3")
	must(weak.t, unix.Kill(server.cmd.Process.Pid, unix.SIGCONT))
	weak.robbed(thief.ended())
}
