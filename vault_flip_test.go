package main

// A vault that was changed or cut anywhere: always a clean error, and never more
// work than the file may ask for.

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
)

// flipBit flips one bit of a file in its place.
func flipBit(t *testing.T, f *os.File, file []byte, bit int) {
	t.Helper()
	file[bit/8] ^= 1 << (bit % 8)
	if _, err := f.WriteAt(file[bit/8:bit/8+1], int64(bit/8)); err != nil {
		t.Fatal(err)
	}
}

// allocated is how many bytes the program has taken from the heap so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// TestVaultBitFlips flips every bit of a vault, opens the file with the right
// passphrase, and gets an error of one stage and no vault: so no value, right
// or wrong. [VLT-1] [VLT-6] [VLT-16] [VLT-18]
func TestVaultBitFlips(t *testing.T) {
	const most = 4 << 20 // bytes of memory, for a file of two kilobytes
	file := smallVault(t)
	path := filepath.Join(t.TempDir(), "vault")
	must(t, os.WriteFile(path, file, 0o600))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	stages := map[string]int{}
	for bit := range 8 * len(file) {
		flipBit(t, f, file, bit)
		before := allocated()
		v, err := openVault(path, []byte("pass"))
		if took := allocated() - before; took > most {
			t.Errorf("bit %d of byte %d takes %d bytes of memory", bit%8, bit/8, took)
		}
		stage := stageOf(err)
		stages[stage]++
		if v != nil || err == nil || strings.HasPrefix(stage, "unknown") || strings.Contains(err.Error(), "\n") {
			t.Fatalf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
		flipBit(t, f, file, bit)
	}
	t.Logf("%d bits: %v", 8*len(file), stages)
	for _, stage := range []string{"header", "version", "payload", "passphrase", "commit"} {
		if stages[stage+" failure"] == 0 {
			t.Errorf("no flip ended in a %s failure: %v", stage, stages)
		}
	}
	if v, err := openVault(path, []byte("pass")); err != nil {
		t.Errorf("flipped back: %v", err)
	} else {
		v.close()
	}
}

// TestVaultCostBounds: with the costs of version 1, no bit flip and no vector
// makes the key be derived at a cost above the bound, and what the stages before
// that refuse costs nothing: the key is not asked for. [VLT-16] [VLT-17]
func TestVaultCostBounds(t *testing.T) {
	_, file := readVaultVector(t, filepath.Join(vectorFolder, "good_small"))
	end := bytes.IndexByte(file, '\n') + 1
	asked, refused := 0, 0
	open := func(what string, bad []byte) string {
		called := false
		_, _, err := decryptVault(bad, func(h *header) ([]byte, error) {
			called = true
			if h.KDF.Ln < minLn || h.KDF.Ln > maxLn || h.KDF.R != scryptR || h.KDF.P != scryptP {
				t.Errorf("%s: the key is derived at the cost %+v", what, h.KDF)
			}
			return nil, errPassphrase
		})
		free := slices.Contains([]string{"header failure", "version failure", "cost failure",
			"payload failure"}, stageOf(err))
		if called == free {
			t.Errorf("%s: key derived %v, then %v", what, called, err)
		}
		if called {
			asked++
		} else {
			refused++
		}
		return stageOf(err)
	}
	for bit := range 8 * end {
		bad := bytes.Clone(file)
		bad[bit/8] ^= 1 << (bit % 8)
		open("a flip in the header", bad)
	}
	if asked < 100 || refused < 100 {
		t.Errorf("%d flips cost a key, %d did not", asked, refused)
	}
	paths, err := filepath.Glob(vectorFolder + "/*")
	must(t, err)
	costs := 0
	for _, path := range paths {
		fields, file := readVaultVector(t, path)
		if got := open(filepath.Base(path), file); fields["expect"] == "cost failure" {
			costs++
			if got != "cost failure" {
				t.Errorf("%s: %s", path, got)
			}
		}
	}
	if costs < 10 {
		t.Errorf("%d vectors of a cost out of bounds", costs)
	}
}

// TestVaultCut cuts the vault's file at every byte: what needs no passphrase
// finds it damaged, and an open vault neither takes it nor touches it.
// [VLT-1] [VLT-18] [KPR-4]
func TestVaultCut(t *testing.T) {
	v := newVault(t)
	must(t, v.update(setting("A", "1")))
	file, err := os.ReadFile(v.path)
	must(t, err)
	for n := len(file) - 1; n >= 0; n-- {
		must(t, os.Truncate(v.path, int64(n)))
		var early, opened *damagedError
		again, err := openVault(v.path, testVaultPass)
		if again != nil || !errors.As(err, &opened) || !errors.As(checkVault(v.path), &early) {
			t.Fatalf("cut after %d of %d bytes: %v, %v", n, len(file), err, early)
		}
		// An open vault keeps what it has in memory where the header is whole: a
		// save then mends the file. Else it refuses.
		if n%97 == 0 && n < len(v.header.line) {
			if err := v.update(setting("B", "2")); !errors.As(err, &opened) {
				t.Fatalf("a save over a vault cut after %d bytes: %v", n, err)
			}
			if after, err := os.ReadFile(v.path); err != nil || !bytes.Equal(after, file[:n]) || names(v) != "A" {
				t.Fatalf("cut after %d bytes: the save touched file or memory", n)
			}
		}
	}
}

// TestVaultNewFileCut leaves the new file of a save that was killed, cut at every
// byte, beside the vault: it is never taken for the vault, and the next save
// removes it. [VLT-30] [VLT-35]
func TestVaultNewFileCut(t *testing.T) {
	v := newVault(t)
	old, err := os.ReadFile(v.path)
	must(t, err)
	must(t, v.update(setting("A", "1")))
	file, err := os.ReadFile(v.path)
	must(t, err)
	must(t, os.WriteFile(v.path, old, 0o600))
	for n := range len(file) + 1 {
		stale := v.path + ".tmp-" + idText(newID())
		must(t, os.WriteFile(stale, file[:n], 0o600))
		again, err := openVault(v.path, testVaultPass)
		if err != nil || names(again) != "" {
			t.Fatalf("new file of %d bytes: %v", n, err)
		}
		if n%97 == 0 || n >= len(file)-1 {
			must(t, again.update(setting("B", "2")))
			if listing(t, v) != "vault vault.lock" || names(openAgain(t, v)) != "B" {
				t.Fatalf("new file of %d bytes: after the next save there is %s", n, listing(t, v))
			}
			must(t, os.WriteFile(v.path, old, 0o600))
		}
		again.close()
		os.Remove(stale)
	}
}
