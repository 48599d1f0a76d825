package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const minPassphrase = 12 // characters

// homeDir is keepmum's own directory. Not XDG: clients launch servers with an
// environment that lacks it, and both ends must agree (SPEC §2) [FIL-1].
func homeDir() (home, user string, err error) {
	user, err = os.UserHomeDir()
	home = os.Getenv("KEEPMUM_HOME")
	// [FIL-2]: neither a home nor a ~ of the policy depends on the folder of a project.
	switch {
	case home != "" && !filepath.IsAbs(home):
		return "", "", fmt.Errorf("KEEPMUM_HOME %q is not absolute", home)
	case err == nil && !filepath.IsAbs(user):
		return "", "", fmt.Errorf("HOME %q is not absolute", user)
	case home != "":
		return filepath.Clean(home), user, nil
	case err != nil:
		return "", "", errors.New("HOME is not set: set it, or KEEPMUM_HOME")
	}
	return filepath.Join(user, ".keepmum"), user, nil
}

func vaultPath(home string) string  { return filepath.Join(home, "vault") }
func auditPath(home string) string  { return filepath.Join(home, "audit.jsonl") }
func policyPath(home string) string { return filepath.Join(home, "policy.json") }

// adminPolicy comes before the person's own policy (SPEC §6).
var adminPolicy = "/etc/keepmum/policy.json"

// unlock is the keeper of a terminal, from its first question to its lock. It
// implements *Keeper and socket* (SPEC §4).
func unlock(notify string, again bool) error {
	home, user, err := homeDir()
	if err != nil {
		return err
	}
	if err := checkSocketPath(socketPath(home)); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT,
		syscall.SIGQUIT) // which would show the stacks of all that runs
	defer stop()
	lock, err := takeHome(home)
	if err != nil {
		return err
	}
	defer lock.Close()
	p, err := loadPolicy(adminPolicy, policyPath(home), user)
	if err != nil {
		return err
	}
	t, err := openTerminal()
	if err != nil {
		return err
	}
	defer t.close()
	v, err := openAtTerminal(ctx, t, home, again)
	if err != nil {
		return err
	}
	k, err := newKeeper(home, user, v, p)
	if err != nil {
		v.close()
		return err
	}
	k.lock = lock
	why := ""
	if err = k.confirmPolicy(ctx, t); err == nil {
		why, err = k.keep(ctx, t, notify)
	}
	k.close()
	if err != nil {
		return err
	}
	t.print("%s  locked: %s\n", time.Now().Format("15:04:05"), why)
	if why == idleLock {
		// [KPR-22]: a new program image, so that nothing of the open vault is
		// left in memory.
		t.close()
		lock.Close() // an exec may take its time where a file system does not answer
		return startAgain(notify)
	}
	return nil
}

const idleLock = "nothing was approved for the time the policy sets"

// startAgain replaces this process by one that offers to unlock again.
func startAgain(notify string) error {
	self, err := ownProgram()
	if err != nil {
		return err
	}
	args := []string{os.Args[0], "unlock", "--again"}
	if notify != "" {
		args = append(args, "--notify", notify)
	}
	return unix.Exec(self, args, os.Environ())
}

// openAtTerminal asks for the passphrase, and makes the vault on first use
// (SPEC §4). Who is told to end while scrypt works serves nothing. [CLI-13]
func openAtTerminal(ctx context.Context, t *terminal, home string, again bool) (*vault, error) {
	v, err := askAndOpen(ctx, t, home, again)
	if ctx.Err() == nil {
		return v, err
	}
	if err == nil {
		v.close()
	}
	return nil, errInterrupt
}

func askAndOpen(ctx context.Context, t *terminal, home string, again bool) (*vault, error) {
	path := vaultPath(home)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return createAtTerminal(ctx, t, path)
	}
	if err := checkVault(path); err != nil {
		return nil, err
	}
	if again {
		t.print("   press Enter to unlock again, Ctrl-C to leave")
		for key := byte(0); key != '\r' && key != '\n'; {
			var err error
			if key, err = t.key(ctx); err != nil {
				t.print("\n")
				return nil, err
			}
		}
		t.print("\n")
	}
	for range maxTries { // [KPR-5]
		pass, err := t.secret(ctx, "passphrase: ")
		if err != nil {
			return nil, err
		}
		v, err := openUnlessTold(ctx, path, pass)
		if !errors.Is(err, errPassphrase) {
			return v, err
		}
		t.print("%v\n", err)
	}
	return nil, errPassphrase
}

// openUnlessTold opens the vault and wipes the passphrase. Who is told to end
// meanwhile does not wait: scrypt cannot be stopped, and ends with the process. [CLI-13]
func openUnlessTold(ctx context.Context, path string, pass []byte) (v *vault, err error) {
	opened := make(chan func() (*vault, error), 1)
	go func() {
		v, err := openVault(path, pass)
		wipe(pass)
		opened <- func() (*vault, error) { return v, err }
	}()
	select {
	case <-ctx.Done():
		return nil, errInterrupt
	case is := <-opened:
		return is()
	}
}

// checkVault looks at what needs no passphrase, so that nobody types one for a
// file that cannot be opened (SPEC §4) [KPR-4].
func checkVault(path string) error {
	file, err := readVault(path)
	if err != nil {
		return err
	}
	line, body, err := splitVault(file)
	if err == nil {
		_, err = parseHeader(line)
	}
	if err == nil {
		_, err = parseBody(body)
	}
	return err
}

// createAtTerminal makes the vault, with a passphrase typed twice, and says
// first that nobody can recover it (SPEC §4) [KPR-3].
func createAtTerminal(ctx context.Context, t *terminal, path string) (*vault, error) {
	t.print("There is no vault yet; this makes one.\n"+
		"Choose a passphrase of at least %d characters. It cannot be recovered: without\n"+
		"it, everything in the vault is lost.\n", minPassphrase)
	pass, err := newPassphrase(ctx, t)
	if err != nil {
		return nil, err
	}
	defer wipe(pass)
	return createVault(path, pass)
}

// newPassphrase asks twice until both are the same and long enough.
func newPassphrase(ctx context.Context, t *terminal) ([]byte, error) {
	for range maxTries {
		one, err := t.secret(ctx, "new passphrase: ")
		if err != nil {
			return nil, err
		}
		if len([]rune(string(one))) < minPassphrase {
			t.print("at least %d characters\n", minPassphrase)
			continue
		}
		two, err := t.secret(ctx, "the same again: ")
		if err != nil {
			return nil, err
		}
		if string(one) == string(two) {
			wipe(two)
			return one, nil
		}
		t.print("those were not the same\n")
	}
	return nil, errors.New("no passphrase was set")
}

// keep serves until something locks, and says what.
func (k *keeper) keep(ctx context.Context, t *terminal, notify string) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	why := make(chan string, 1)
	k.stop = func(reason string) {
		select {
		case why <- reason:
		default:
		}
	}
	asker := newPrompts(t)
	asker.home, asker.grantMax, asker.notify = k.user, k.policy.GrantMax, notify
	asker.passphrase, asker.idle, asker.decided = k.vault.checkPassphrase, k.stateLine, k.decidedNow
	asker.silence, asker.stop = func(r *request) { k.grants.silence(actorKey(r)) }, k.stop
	k.asker, k.say = asker, asker.say
	if err := k.note("unlock"); err != nil { // [AUD-17]
		return "", fmt.Errorf("not unlocked: %w", err)
	}
	go asker.run(ctx)
	if err := k.openSoon(ctx, t, why); err != nil {
		k.noteLock(t)
		return "", err
	}
	var srv *server
	defer func() {
		time.AfterFunc(lockLimit, func() { k.leaveNow(t, srv) })
		k.shut(cancel, asker)
		if srv != nil {
			srv.close() // last: a peer that dawdles holds up no mount's end
		}
		k.noteLock(t)
	}()
	var err error
	if srv, err = k.listen(); err != nil {
		return "", err
	}
	k.greet(os.Getenv)
	go k.watchLock(ctx)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case reason := <-why:
			return reason, nil
		case <-ctx.Done():
			return "signal", nil
		case now := <-tick.C:
			k.grants.inForce(now) // lets go of what has ended
			idle, limit := idleFor(k.idleSince(), now), k.policy.IdleLock
			if k.asker.count() > 0 { // [KPR-18]: an answer may be under way
				limit += k.policy.CommandTimeout
			}
			if k.policy.IdleLock > 0 && idle >= limit {
				return idleLock, nil
			}
		}
	}
}

// noteLock records the lock. Nothing can be refused any more where that fails.
func (k *keeper) noteLock(t *terminal) {
	if err := k.note("lock"); err != nil {
		t.print("   note: the lock is not in the log: %s\n", clean(err.Error(), 300))
	}
}

// idleFor looks at both clocks: the wall clock may be set back, and the other
// stands still while the machine sleeps. [KPR-16]
func idleFor(since, now time.Time) time.Duration {
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}

// lockLimit is how long a lock may take: a file system that has stopped
// answering can hold up each of its steps. [KPR-30]
const lockLimit = 15 * time.Second

// leaveNow ends a keeper that cannot lock in order. The reaper removes what it
// has mounted. The system may keep the process for as long as the file system does
// not answer, so the key is wiped and keeper.lock is free before.
func (k *keeper) leaveNow(t *terminal, srv *server) {
	k.vault.forget()
	k.lock.Close()
	if srv != nil {
		srv.listener.Close() // or the next keeper takes this one for alive
	}
	t.print("%s  locked, not in order: something did not answer\n", time.Now().Format("15:04:05"))
	t.close()
	os.Exit(1)
}

// openSoon is open where it can be ended: a file system with a mount on it may not
// answer, and then nothing gets ready. [KPR-30]
func (k *keeper) openSoon(ctx context.Context, t *terminal, why chan string) error {
	opened := make(chan error, 1)
	go func() { opened <- k.open() }()
	slow := time.NewTimer(lockLimit / 3)
	defer slow.Stop()
	for {
		select {
		case err := <-opened:
			return err
		case <-slow.C:
			k.say("   the file system of a mount does not answer; Ctrl-C ends\n")
			continue
		case reason := <-why:
			why <- reason
		case <-ctx.Done():
		}
		select {
		case err := <-opened:
			return err
		case <-time.After(lockLimit):
			k.leaveNow(t, nil)
		}
	}
}

// open makes the run folder, the child that clears it if we are killed, and
// the pipes; what an earlier keeper left is taken over first (SPEC §4) [KPR-23]
// [KPR-26].
func (k *keeper) open() (err error) {
	root, err := runRoot(k.home)
	if err != nil {
		return err
	}
	k.runRoots = slices.Compact([]string{root, filepath.Join(k.home, "run")})
	paths, left := k.rememberedLinks(), []string(nil)
	for _, root := range k.runRoots {
		left = append(left, sweep(root, paths)...)
	}
	for _, name := range append(left, sweepLeft(paths)...) {
		k.say("   taken over from a keeper that was killed: %s\n", clean(name, 200))
	}
	if k.runDir, k.freeRun, err = makeRunDir(root); err != nil {
		return err
	}
	if k.reaper, err = startReaper(k.runDir, k.say); err != nil {
		k.freeRun()
		return err
	}
	if k.pipes, err = newPipes(k.runDir, k, false); err != nil {
		k.reaper.stop()
		k.freeRun()
		return err
	}
	k.serveAll()
	return nil
}

// rememberedLinks are the paths where a killed keeper may have left a link.
func (k *keeper) rememberedLinks() []string {
	var list []string
	for _, e := range k.vault.view().environments {
		for _, m := range e.mounts {
			list = append(list, m.path)
		}
	}
	return list
}

// shut ends grants and mounts, then the questions: no reader and no caller is
// left waiting, and a terminal that somebody stopped holds up nothing (SPEC §4)
// [KPR-20].
func (k *keeper) shut(cancel context.CancelFunc, asker *prompts) {
	k.locked.Store(true) // [KPR-19]
	cancel()
	k.grants.revoke(func(*grant) bool { return true })
	k.mu.Lock()
	var paths []string
	for path := range k.served {
		paths = append(paths, path)
	}
	k.mu.Unlock()
	for _, path := range paths {
		k.unserve(path)
	}
	k.pipes.close()
	k.reaper.stop()
	k.freeRun()
	select { // [KPR-21]: the prompt may hang in a terminal that takes no text
	case <-asker.ended:
		asker.flush()
	case <-time.After(3 * writeLimit):
	}
}

// greet is the screen that a person sees at start (SPEC §4) [KPR-6] [KPR-7].
func (k *keeper) greet(getenv func(string) string) {
	k.say("\nkeepmum %s  %s\n", versionText(), cleanPath(k.home, k.user, 60))
	k.say("%s\n", k.stateLine())
	if exact, why := k.pipes.exact(); !exact {
		k.say("   note: opens are not counted exactly here (%s)\n", clean(why, 100))
	}
	if risks := terminalRisks(getenv); len(risks) > 0 {
		k.say("   note: other programs of yours can type into this terminal, by\n   %s.\n"+
			"   Make what must not be forged \"sensitive\" in policy.json: a yes then\n"+
			"   costs the passphrase.\n", strings.Join(risks, ", "))
	}
	if warning := k.audit.warning(); warning != "" {
		k.say("   note: %s\n", warning)
	}
	if n := len(k.policy.Rules); n > 0 {
		k.say("   policy: %s in force (keepmum policy shows them)\n", count(n, "rule"))
	}
	k.say("Requests appear here. Ctrl-C locks.\n")
}
