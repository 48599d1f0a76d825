package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestRunCanary: of all processes the value is in the environment of the
// program alone, and in no argument. We are closed to others of the user, but
// not before the keeper has seen us. [KPR-12] [KPR-13] [RUN-9]
func TestRunCanary(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keeper := w.unlock()
	w.set(keeper, "acme", "KEY", canaries[0])
	p := w.seat(w.command("run", "--env", "acme", "--", "sh", "-c", `echo "pid $$"; read x; echo "$KEY"`))
	keeper.asked("run")
	if _, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.cmd.Process.Pid)); err != nil {
		t.Errorf("while it asks: %v", err)
	}
	keeper.presses("o")
	var program int
	fmt.Sscanf(p.sees(`pid \d+`), "pid %d", &program)
	with, closed := 0, 0
	helper := childrenOf(t, p.cmd.Process.Pid)
	if len(helper) != 1 || len(childrenOf(t, helper[0])) != 1 || childrenOf(t, helper[0])[0] != program {
		t.Fatalf("below us are %v", helper)
	}
	for _, pid := range []int{keeper.cmd.Process.Pid, p.cmd.Process.Pid, helper[0], program} {
		for _, name := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
			if errors.Is(err, os.ErrPermission) && pid != program {
				closed++
				continue
			}
			must(t, err)
			if bytes.Contains(text, []byte(canaries[0])) {
				with++
				if pid != program || name != "environ" {
					t.Errorf("the value is in the %s of %d", name, pid)
				}
			}
		}
	}
	if with != 1 || os.Getuid() != 0 && closed != 3 {
		t.Errorf("%d have the value, %d are closed", with, closed)
	}
	p.types("\r")
	p.sees(strings.ReplaceAll(maskText, ".", `\.`))
	p.ends()
	w.sweepFiles()
	if found := leaksOf(w.seen()); len(found) > 0 {
		t.Errorf("leaked: %q", found)
	}
}
