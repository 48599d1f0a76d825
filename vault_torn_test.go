package main

// Writers that are killed at any moment, and writers that are many: no change
// that was acknowledged is lost.

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func init() { helpers["vault-writer"] = vaultWriter }

// vaultWriter sets NAME_0, NAME_1 and so on in the vault of a folder, each by a
// save of its own, and says the name once the save has said yes.
func vaultWriter() {
	testOnlyMinLn, testOnlyLn = 4, 4
	name, count := os.Args[1], 1<<30
	if len(os.Args) > 2 {
		fmt.Sscan(os.Args[2], &count)
	}
	v, err := openVault(os.Getenv("KEEPMUM_TEST_FOLDER")+"/vault", testVaultPass)
	check(err)
	for i := range count {
		variable := fmt.Sprintf("%s_%d", name, i)
		check(v.update(setting(variable, "x")))
		os.Stdout.WriteString(variable + "\n")
	}
}

// writer is a process that writes to a vault, and what it was told is saved.
type writer struct {
	cmd   *exec.Cmd
	out   *bufio.Reader
	acked []string
}

func startWriter(t testing.TB, v *vault, args ...string) *writer {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	w := &writer{cmd: exec.Command(self, args...)}
	w.cmd.Env = []string{"KEEPMUM_TEST_HELPER=vault-writer", "KEEPMUM_TEST_FOLDER=" + filepath.Dir(v.path)}
	out, err := w.cmd.StdoutPipe()
	must(t, err)
	w.out = bufio.NewReader(out)
	must(t, w.cmd.Start())
	return w
}

// next reads one acknowledgement, and reports whether there was one.
func (w *writer) next() bool {
	line, err := w.out.ReadString('\n')
	if err == nil {
		w.acked = append(w.acked, strings.TrimSuffix(line, "\n"))
	}
	return err == nil
}

// ends reads what is left and waits for the end.
func (w *writer) ends() error {
	for w.next() {
	}
	return w.cmd.Wait()
}

// killSomewhere kills the writer some time after its first save.
func (w *writer) killSomewhere(after time.Duration) error {
	if !w.next() {
		return fmt.Errorf("a writer ended before its first save: %v", w.cmd.Wait())
	}
	killed := make(chan error)
	time.AfterFunc(after, func() { killed <- w.cmd.Process.Kill() })
	rest, _ := io.ReadAll(w.out) // read on, so that a full pipe stops nobody
	for line := range bytes.Lines(rest) {
		if name, whole := strings.CutSuffix(string(line), "\n"); whole {
			w.acked = append(w.acked, name)
		}
	}
	err := <-killed
	w.cmd.Wait()
	return err // an error of the writer's own is a name that no vault has
}

// TestVaultKilledUnderLoad kills processes that write as fast as they can, two at
// a time to one vault, at random moments: whatever was acknowledged is there,
// and at most one change more of each. [VLT-30] [VLT-31] [VLT-35]
func TestVaultKilledUnderLoad(t *testing.T) {
	const vaultKills = 40 // then a new vault, as this one has grown
	kills, changes := 30, 0
	if *long {
		kills = 10_000
	}
	var v *vault
	var acked []string
	for n := 0; n < kills; n += 2 {
		if n%vaultKills == 0 {
			v, acked = newVault(t), nil
		}
		var wg sync.WaitGroup
		writers := []*writer{startWriter(t, v, fmt.Sprint("A", n)), startWriter(t, v, fmt.Sprint("B", n))}
		for _, w := range writers {
			moment := rand.N(20 * time.Millisecond)
			wg.Go(func() {
				if err := w.killSomewhere(moment); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, w := range writers {
			acked = append(acked, w.acked...)
			changes += len(w.acked)
		}
		again, err := openVault(v.path, testVaultPass)
		if err != nil {
			t.Fatalf("after %d kills: %v", n+2, err)
		}
		have := map[string]bool{}
		for _, name := range again.view().environmentByName("acme-dev").names() {
			have[name] = true
		}
		again.close()
		for _, name := range acked {
			if !have[name] {
				t.Fatalf("after %d kills %s is lost, which was acknowledged", n+2, name)
			}
		}
		if more := len(have) - len(acked); more > n%vaultKills+2 {
			t.Fatalf("after %d kills there are %d changes that nobody was told of", n%vaultKills+2, more)
		}
		if t.Failed() {
			return
		}
	}
	must(t, v.update(setting("LAST", "x")))
	if listing(t, v) != "vault vault.lock" {
		t.Errorf("at the end there is %s", listing(t, v))
	}
	t.Logf("%d kills, %d acknowledged changes, all there", kills, changes)
}

// TestVaultProcesses: every change of many processes is there at the end, each in
// a save of its own. [VLT-8] [VLT-31] [VLT-32]
func TestVaultProcesses(t *testing.T) {
	processes, changes := 4, 10
	if *long {
		processes, changes = 8, 100
	}
	v := newVault(t)
	var writers []*writer
	for i := range processes {
		writers = append(writers, startWriter(t, v, fmt.Sprint("P", i), fmt.Sprint(changes)))
	}
	for i, w := range writers {
		if err := w.ends(); err != nil || len(w.acked) != changes {
			t.Errorf("process %d: %d acknowledged, %v", i, len(w.acked), err)
		}
	}
	again := openAgain(t, v)
	got := again.view().environmentByName("acme-dev").names()
	slices.Sort(got)
	want := processes * changes
	if n := len(slices.Compact(got)); n != want || again.header.Seq != v.header.Seq+uint64(want) {
		t.Errorf("%d of %d changes are there, in %d saves", n, want, again.header.Seq-v.header.Seq)
	}
	t.Logf("%d processes, %d changes, %d present", processes, want, len(got))
}
