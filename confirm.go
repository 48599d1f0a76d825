package main

import (
	"context"
	"errors"
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
		k.showPolicy(t)
		yes, err := askYes(ctx, t, k.policy.PromptTimeout)
		if err != nil {
			return err
		}
		k.note("policy changed")
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

// showPolicy lists what the files say; defaults are left out.
func (k *keeper) showPolicy(t *terminal) {
	t.print("The policy is not the one of the last unlock. Now it is:\n")
	for _, l := range k.policy.describe() {
		if l.From != "default" {
			t.print("   %s %s  (%s)\n", clean(l.Name, 40), clean(l.Value, 200), clean(l.From, 80))
		}
	}
	t.print("   use it?  [y]es  [N]o, no rule allows and a yes costs the passphrase  > ")
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
