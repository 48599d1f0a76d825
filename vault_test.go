package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var testVaultPass = []byte("correct horse")

// newVault makes a vault in a folder of its own, with cheap keys and one
// Environment "acme-dev".
func newVault(t testing.TB) *vault {
	t.Helper()
	lowCost(t)
	home := filepath.Join(t.TempDir(), "home")
	if err := ensureHome(home); err != nil {
		t.Fatal(err)
	}
	v, err := createVault(filepath.Join(home, "vault"), testVaultPass)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.close)
	if err := v.update(func(d *vaultData) error {
		_, err := d.addEnvironment("acme-dev", testTime)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return v
}

// reopen opens the vault again with testVaultPass.
func openAgain(t testing.TB, v *vault) *vault {
	t.Helper()
	again, err := openVault(v.path, testVaultPass)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.close)
	return again
}

// setting returns a change that sets a variable of acme-dev.
func setting(name, value string) func(*vaultData) error {
	return func(d *vaultData) error {
		_, err := d.environmentByName("acme-dev").set(name, secret(value), true)
		return err
	}
}

// names returns the names in acme-dev as the vault shows them.
func names(v *vault) string {
	return strings.Join(v.view().environmentByName("acme-dev").names(), " ")
}

// listing returns the names in the vault's folder.
func listing(t testing.TB, v *vault) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(v.path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// TestVaultRoundTrip: what was saved comes back, and the file does not show it.
// [FIL-7] [VLT-8] [VLT-16] [VLT-34]
func TestVaultRoundTrip(t *testing.T) {
	v := newVault(t)
	if err := v.update(setting("A", "value of A")); err != nil {
		t.Fatal(err)
	}
	again := openAgain(t, v)
	e := again.view().environmentByName("acme-dev")
	if e == nil || string(e.variables[0].value) != "value of A" || again.id != v.id || again.header.Seq != 3 {
		t.Errorf("opened %v, seq %d", e.names(), again.header.Seq)
	}
	file, err := os.ReadFile(v.path)
	if err != nil || bytes.Contains(file, []byte("value of A")) || bytes.Contains(file, []byte("acme")) {
		t.Errorf("the file shows what it holds (%v)", err)
	}
	info, err := os.Lstat(v.path)
	if err != nil || info.Mode() != 0o600 || listing(t, v) != "vault vault.lock" {
		t.Errorf("mode %v, folder %s, %v", info.Mode(), listing(t, v), err)
	}
	if _, err := openVault(v.path, []byte("correct horses")); err != errPassphrase {
		t.Errorf("another passphrase: %v", err)
	}
	if _, err := openVault(v.path+"x", testVaultPass); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no vault: %v", err)
	}
	if v.checkPassphrase(testVaultPass) != nil || v.checkPassphrase([]byte("x")) != errPassphrase {
		t.Error("checkPassphrase is wrong")
	}
}

// TestVaultSalts: no save uses a salt, and with it a key, again. [VLT-12]
func TestVaultSalts(t *testing.T) {
	v := newVault(t)
	seen := map[string]bool{}
	for range 20 {
		if err := v.update(func(*vaultData) error { return nil }); err != nil {
			t.Fatal(err)
		}
		seen[string(v.header.Save.Salt)] = true
	}
	if len(seen) != 20 {
		t.Errorf("20 saves had %d salts", len(seen))
	}
}

// TestVaultCreateKeepsWhatIsThere: be it a vault or not. [VLT-36]
func TestVaultCreateKeepsWhatIsThere(t *testing.T) {
	v := newVault(t)
	folder := filepath.Dir(v.path)
	for name, make := range map[string]func(path string) error{
		"vault":  func(path string) error { return nil },
		"file":   func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) },
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"link":   func(path string) error { return os.Symlink("nowhere", path) },
	} {
		path := filepath.Join(folder, name)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		before, _ := os.Lstat(path)
		if v, err := createVault(path, testVaultPass); !errors.Is(err, fs.ErrExist) || v != nil {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s is not what it was", name)
		}
	}
	openAgain(t, v)
}

// TestVaultRefusedChange: after an error of the change nothing has changed.
// [VLT-27] [VLT-28] [VLT-30]
func TestVaultRefusedChange(t *testing.T) {
	v := newVault(t)
	if err := v.update(setting("A", "1")); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(v.path)
	refused := errors.New("refused")
	for name, change := range map[string]func(*vaultData) error{
		"own error": func(d *vaultData) error {
			d.environments = nil
			return refused
		},
		"bad name": func(d *vaultData) error {
			d.environments[0].variables[0].name = "1"
			return nil
		},
		"remembers nil": func(d *vaultData) error {
			d.remember = nil
			return nil
		},
		"year 10000": func(d *vaultData) error {
			d.environments[0].changed = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
			return nil
		},
		"too large": func(d *vaultData) error {
			e := d.environments[0]
			for i := range 800 { // one value shared, over 64 MiB when written
				e.variables = append(e.variables, &variable{name: fmt.Sprint("N", i), value: large})
			}
			return nil
		},
	} {
		err := v.update(change)
		after, _ := os.ReadFile(v.path)
		if err == nil || !bytes.Equal(before, after) || names(v) != "A" || listing(t, v) != "vault vault.lock" {
			t.Errorf("%s: %v, names %s", name, err, names(v))
		}
	}
	if err := v.update(func(*vaultData) error { return refused }); err != refused {
		t.Errorf("got %v, want the change's own error", err)
	}
}

var large = secret(strings.Repeat("v", maxValue))

// TestVaultWriters: every change of eight writers is there at the end.
// [VLT-8] [VLT-31] [VLT-32]
func TestVaultWriters(t *testing.T) {
	const writers, changes = 8, 20
	v := newVault(t)
	var wg sync.WaitGroup
	for i := range writers {
		// Half of them share a handle, half have their own.
		mine := v
		if i%2 == 0 {
			mine = openAgain(t, v)
		}
		wg.Go(func() {
			for j := range changes {
				if err := mine.update(setting(fmt.Sprintf("V%d_%d", i, j), "x")); err != nil {
					t.Error(err)
				}
				_ = names(mine)
			}
		})
	}
	wg.Wait()
	again := openAgain(t, v)
	got := again.view().environmentByName("acme-dev").names()
	slices.Sort(got)
	if n := len(slices.Compact(got)); n != writers*changes || again.header.Seq != 2+writers*changes {
		t.Errorf("%d of %d changes are there, seq %d", n, writers*changes, again.header.Seq)
	}
}

// TestVaultRekey: a new passphrase is a new key of the same vault. [VLT-7]
// [VLT-15] [VLT-23] [VLT-33]
func TestVaultRekey(t *testing.T) {
	v := newVault(t)
	if err := v.update(func(d *vaultData) error { d.audit.number = 41; return nil }); err != nil {
		t.Fatal(err)
	}
	other, oldKey, newPass := openAgain(t, v), v.auditKey(), []byte("another passphrase")
	oldSalt := v.header.KDF.Salt
	if err := v.rekey(newPass); err != nil {
		t.Fatal(err)
	}
	if _, err := openVault(v.path, testVaultPass); err != errPassphrase {
		t.Errorf("the old passphrase: %v", err)
	}
	if v.checkPassphrase(testVaultPass) != errPassphrase || v.checkPassphrase(newPass) != nil {
		t.Error("the open vault wants the old passphrase")
	}
	again, err := openVault(v.path, newPass)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	if bytes.Equal(again.header.KDF.Salt, oldSalt) || again.id != v.id || names(again) != names(v) {
		t.Errorf("after the change: %+v", again.header)
	}
	keys := again.view().audit.keys
	if len(keys) != 1 || keys[0].through != 41 || !bytes.Equal(keys[0].key, oldKey) {
		t.Errorf("%d old audit keys", len(keys))
	}
	if bytes.Equal(again.auditKey(), oldKey) || !bytes.Equal(again.auditKey(), v.auditKey()) || len(oldKey) != 32 {
		t.Error("the audit key is not the new one")
	}
	if err := v.update(setting("A", "1")); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{"update": other.update(setting("B", "1")), "rekey": other.rekey(testVaultPass)} {
		if err == nil || !strings.Contains(err.Error(), "was changed by another process") {
			t.Errorf("%s by one who has the old key: %v", name, err)
		}
	}
	if names(other) != "" || len(other.view().audit.keys) != 0 {
		t.Error("the failed change is in memory")
	}
}

// TestVaultRekeyWipes: the old key does not outlive its passphrase. [KPR-15]
func TestVaultRekeyWipes(t *testing.T) {
	v := newVault(t)
	old := bytes.Clone(v.root) // on the heap, where it can be looked at
	wipeLocked(v.root)
	v.root = old
	if err := v.rekey([]byte("new")); err != nil || !bytes.Equal(old, make([]byte, rootSize)) {
		t.Errorf("%v, the old key is %x", err, old)
	}
}

// TestVaultRekeyFails: the old passphrase stays good, in memory and on disk.
func TestVaultRekeyFails(t *testing.T) {
	v := newVault(t)
	failSave(t, 3, unix.ENOSPC, func(string) {})
	if err := v.rekey([]byte("new")); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	openAgain(t, v)
	if err := v.update(setting("A", "1")); err != nil || v.checkPassphrase(testVaultPass) != nil {
		t.Error(err)
	}
}

// TestVaultCostNeverFalls: a new passphrase costs what the old one did, or
// more. [VLT-14]
func TestVaultCostNeverFalls(t *testing.T) {
	v := newVault(t)
	for _, step := range []struct{ fallback, want uint64 }{{6, 6}, {5, 6}, {7, 7}, {4, 7}} {
		testOnlyLn = step.fallback
		if err := v.rekey(testVaultPass); err != nil {
			t.Fatal(err)
		}
		if got := openAgain(t, v).header.KDF.Ln; got != step.want {
			t.Errorf("default %d gives %d, want %d", step.fallback, got, step.want)
		}
	}
}

// TestVaultSwapped puts other files in the place of an open vault.
// [VLT-18] [VLT-33]
func TestVaultSwapped(t *testing.T) {
	old := func(t *testing.T, v *vault) []byte {
		file, err := os.ReadFile(v.path)
		if err != nil || v.update(setting("A", "1")) != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, c := range []struct {
		want string
		file func(t *testing.T, v *vault) []byte
	}{
		{"an older copy", old},
		{"another vault", func(t *testing.T, _ *vault) []byte {
			file, err := os.ReadFile(newVault(t).path)
			if err != nil {
				t.Fatal(err)
			}
			return file
		}},
		{"damaged vault: header", func(t *testing.T, v *vault) []byte { return []byte("x\n") }},
		{"damaged vault: payload", func(t *testing.T, v *vault) []byte {
			return bytes.Replace(old(t, v), []byte(`"seq":2`), []byte(`"seq":9`), 1)
		}},
		{"unsupported vault version 2", func(t *testing.T, v *vault) []byte {
			return []byte("{\"format\":\"keepmum-vault\",\"v\":2}\n")
		}},
	} {
		t.Run(c.want, func(t *testing.T) {
			v := newVault(t)
			file := c.file(t, v)
			before := names(v)
			if err := os.WriteFile(v.path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := v.update(setting("B", "1")); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			after, err := os.ReadFile(v.path)
			if err != nil || !bytes.Equal(after, file) || names(v) != before {
				t.Error("file or memory was touched")
			}
		})
	}
	v := newVault(t)
	if err := os.Remove(v.path); err != nil {
		t.Fatal(err)
	}
	if err := v.update(setting("A", "1")); !errors.Is(err, fs.ErrNotExist) || listing(t, v) != "vault.lock" {
		t.Errorf("a vault that is gone: %v", err)
	}
}

// TestVaultLastSave: the highest seq opens and is not saved again. [VLT-9]
func TestVaultLastSave(t *testing.T) {
	_, file := readVaultVector(t, filepath.Join(vectorFolder, "good_seq_highest"))
	path := filepath.Join(t.TempDir(), "vault")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := openVault(path, []byte(vectorPassphrase))
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	err = v.update(func(*vaultData) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "counts no further") {
		t.Errorf("got %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(after, file) {
		t.Error("the file was touched")
	}
}

// TestVaultLock: a lock that is held ends the wait with an error, and the lock
// is free after every save, failed ones too. [VLT-31]
func TestVaultLock(t *testing.T) {
	v := newVault(t)
	defer func(d time.Duration) { lockWait = d }(lockWait)
	lockWait = 30 * time.Millisecond
	unlock, err := lockSaves(v.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.update(setting("A", "1")); err == nil || !strings.Contains(err.Error(), "another process keeps saving") {
		t.Errorf("got %v", err)
	}
	unlock()
	_ = v.update(func(*vaultData) error { return errors.New("refused") })
	if err := v.update(setting("A", "1")); err != nil {
		t.Error(err)
	}
	lock := v.path + ".lock"
	if err := errors.Join(os.Remove(lock), os.Symlink(v.path, lock)); err != nil {
		t.Fatal(err)
	}
	if err := v.update(setting("B", "1")); err == nil || names(v) != "A" {
		t.Errorf("a lock that is a link: %v", err)
	}
}

// TestVaultClose: nothing is left and nothing works. [KPR-15]
func TestVaultClose(t *testing.T) {
	v := newVault(t)
	if err := v.update(setting("A", "value")); err != nil {
		t.Fatal(err)
	}
	value, locked := v.view().environments[0].variables[0].value, v.root
	root := bytes.Clone(locked) // which stays where it can be looked at [KPR-15]
	v.root = root
	v.close()
	v.close()
	wipeLocked(locked)
	if !bytes.Equal(root, make([]byte, rootSize)) {
		t.Errorf("after close there is the root key %x", root)
	}
	if !bytes.Equal(value, make([]byte, len("value"))) || v.root != nil || len(v.view().environments) != 0 {
		t.Errorf("after close there is %q", []byte(value))
	}
	if err := v.update(setting("B", "1")); err != errLocked {
		t.Errorf("update: %v", err)
	}
	if err := v.rekey(testVaultPass); err != errLocked {
		t.Errorf("rekey: %v", err)
	}
	if key := v.auditKey(); key != nil {
		t.Errorf("audit key %x", key)
	}
}

// TestVaultTooLarge: refused by its size, without being read. [VLT-16]
func TestVaultTooLarge(t *testing.T) {
	lowCost(t)
	for _, size := range []int64{maxVault + 1, 1 << 40} {
		path := filepath.Join(t.TempDir(), "vault")
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			err = errors.Join(f.Truncate(size), f.Close()) // takes no room
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := openVault(path, testVaultPass); err == nil || err.Error() != "damaged vault: file: over 64 MiB" {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
