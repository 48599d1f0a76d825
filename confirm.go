package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// confirmPolicy asks before rules are used that were not there at the last
// unlock: any program of the user can write the file. Without a yes no rule
// allows anything, and each yes of the person costs the passphrase. It
// implements the last paragraph of *Policy* (SPEC §6). [POL-13]
func (k *keeper) confirmPolicy(ctx context.Context, t *terminal) error {
	digest := policyDigest(k.policy)
	before, known := k.vault.view().remember["policy"]
	if known && before != digest {
		yes, err := k.askPolicy(ctx, t)
		if err != nil {
			return err
		}
		if err := k.note("policy changed"); err != nil {
			return err
		}
		if !yes {
			k.policy = k.policy.distrusted()
			return nil // and it asks again next time
		}
	}
	if before == digest {
		return nil
	}
	return k.update(func(d *vaultData) error {
		if d.remember == nil {
			d.remember = map[string]string{}
		}
		d.remember["policy"] = digest
		return nil
	})
}

// askPolicy shows what the files say, all of it, and asks; defaults are left out.
func (k *keeper) askPolicy(ctx context.Context, t *terminal) (bool, error) {
	text := ""
	columns, _ := t.size()
	for _, l := range k.policy.describe() {
		if l.From == "default" {
			continue
		}
		margin := "   " + strings.Repeat(" ", len(l.Name)+1)
		lines := wrap(clean(l.Value+"  ("+l.From+")", wholeText), max(columns, 40)-1-len(margin))
		text += "   " + l.Name + " " + strings.Join(lines, "\n"+margin) + "\n"
	}
	if n := strings.Count(text, "\n"); n > maxLines {
		text += fmt.Sprintf("   note: these are %d lines: read all of them\n", n)
	}
	if err := t.print("The policy is not the one of the last unlock. Now it is:\n%s"+
		"   use it?  [y]es  [N]o, no rule allows and a yes costs the passphrase  > ", text); err != nil {
		return false, nil // what was not shown is not confirmed
	}
	return askYes(ctx, t, k.policy.PromptTimeout)
}

// askYes waits for a y. Anything else, and silence, is a no.
func askYes(ctx context.Context, t *terminal, timeout time.Duration) (bool, error) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := t.settle(limited, earlyKey)
	var key byte
	if err == nil {
		key, err = t.key(limited)
	}
	t.print("\n")
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return false, nil
	}
	return key == 'y', err
}
