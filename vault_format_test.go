package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// The vectors are files of their own, in the manner of C2SP CCTV: lines
// "name: value", an empty line, and the vault's bytes. Each failing one has one
// fault. TestVaultVectors reads them without knowing how they were made;
// with -update, vectorTable below writes them again, the same each time.
//
//	expect: success | header failure | version failure | cost failure |
//	        payload failure | passphrase failure | commit failure | data failure
//	passphrase: the bytes up to the line's end
//	comment: what is the matter
//	plaintext-sha256, environments, variables: of successful ones only

const (
	vectorFolder     = "testdata/vault"
	vectorPassphrase = "correct horse battery staple"
)

// vector is one file of testdata/vault.
type vector struct {
	name, expect, passphrase, comment string
	file                              []byte
	plain                             []byte // of successful ones
}

// stageOf names the stage that an error of decryptVault or decodeData tells of.
func stageOf(err error) string {
	var damaged *damagedError
	var version versionError
	switch {
	case err == nil:
		return "success"
	case errors.Is(err, errPassphrase):
		return "passphrase failure"
	case errors.As(err, &version):
		return "version failure"
	case errors.As(err, &damaged):
		return damaged.part + " failure"
	}
	return "unknown: " + err.Error()
}

// roots spares the vectors the cost of deriving one key a hundred times.
var roots = map[string][]byte{}

func vectorRoot(h *header, pass string) ([]byte, error) {
	key := fmt.Sprintf("%q %x %v", pass, h.ID, h.KDF)
	if roots[key] == nil {
		root, err := h.deriveRoot([]byte(pass))
		if err != nil {
			return nil, err
		}
		roots[key] = root
	}
	return roots[key], nil
}

// TestVaultVectors: each file ends in the stage that it names. [VLT-1] [VLT-2]
// [VLT-3] [VLT-4] [VLT-5] [VLT-6] [VLT-9] [VLT-11] [VLT-16] [VLT-17] [VLT-19]
// [VLT-20] [VLT-21] [VLT-24] [VLT-25] [VLT-27]
func TestVaultVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	paths, err := filepath.Glob(vectorFolder + "/*")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors in %s (%v)", vectorFolder, err)
	}
	expects := map[string]int{}
	for _, path := range paths {
		fields, file := readVaultVector(t, path)
		expects[fields["expect"]]++
		t.Run(filepath.Base(path), func(t *testing.T) { testVector(t, fields, file) })
	}
	good := expects["success"]
	if good < 6 || len(paths)-good < 60 {
		t.Errorf("%d good and %d bad vectors, want 6 and 60 at least", good, len(paths)-good)
	}
	for _, stage := range []string{"header", "version", "cost", "payload", "passphrase", "commit", "data"} {
		if expects[stage+" failure"] == 0 {
			t.Errorf("no vector for a %s failure", stage)
		}
	}
}

func testVector(t *testing.T, fields map[string]string, file []byte) {
	h, plain, err := decryptVault(file, func(h *header) ([]byte, error) {
		return vectorRoot(h, fields["passphrase"])
	})
	sum := sha256.Sum256(plain)
	var data *vaultData
	if err == nil {
		data, err = decodeData(bytes.Clone(plain))
		if err != nil {
			err = &damagedError{"data", err.Error()}
		}
	}
	if got := stageOf(err); got != fields["expect"] {
		t.Fatalf("%s: got %s (%v), want %s", fields["comment"], got, err, fields["expect"])
	}
	if err != nil {
		if data != nil {
			t.Error("data comes with an error")
		}
		return
	}
	variables := 0
	for _, e := range data.environments {
		variables += len(e.variables)
	}
	counts := fmt.Sprint(hex.EncodeToString(sum[:]), len(data.environments), " ", variables)
	want := fields["plaintext-sha256"] + fields["environments"] + " " + fields["variables"]
	if counts != want {
		t.Errorf("plaintext, environments, variables: %s, want %s", counts, want)
	}
	if line, _ := h.encode(); !bytes.HasPrefix(file, line) {
		t.Error("the header encodes to other bytes")
	}
}

// readVaultVector cuts a vector into its fields and the vault.
func readVaultVector(t testing.TB, path string) (map[string]string, []byte) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, file, found := bytes.Cut(content, []byte("\n\n"))
	fields := map[string]string{}
	for line := range strings.SplitSeq(string(head), "\n") {
		name, value, ok := strings.Cut(line, ": ")
		if _, twice := fields[name]; !ok || twice || !found {
			t.Fatalf("%s: malformed line %q", path, line)
		}
		fields[name] = value
	}
	return fields, file
}

// TestVaultFixed seals what the example in vault_format.go holds and compares
// the bytes, so that neither the format nor its description can change unseen.
// [VLT-1] [VLT-2] [VLT-10] [VLT-20]
func TestVaultFixed(t *testing.T) {
	source, err := os.ReadFile("vault_format.go")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(source), "// A complete vault")
	example, _, _ = strings.Cut(example, "\nimport (")
	var want string
	for line := range strings.SplitSeq(example, "\n") {
		if part, ok := strings.CutPrefix(line, "//\t    "); ok {
			want += part
		} else if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\n"
		}
	}
	h := vectorHeader()
	h.Seq = 1
	root, err := vectorRoot(h, vectorPassphrase)
	if err != nil {
		t.Fatal(err)
	}
	if h.Check, err = checkOf(root); err != nil {
		t.Fatal(err)
	}
	data := &vaultData{remember: map[string]string{}}
	plain, err := data.encode()
	if err != nil {
		t.Fatal(err)
	}
	if string(plain) != string(padded(vectorEmpty)) {
		t.Errorf("plaintext %q, want %q", plain, vectorEmpty)
	}
	got, err := h.seal(root, plain)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("sealed\n%s\nwant, as in vault_format.go,\n%s", got, want)
	}
	const auditKey = "74d7dfd880db190fa9f3213dc1326a5a30aef7aa8965f9ad95665719b38ced79"
	if key := (&vault{root: root}).auditKey(); hex.EncodeToString(key) != auditKey {
		t.Errorf("audit key %x, want %s", key, auditKey)
	}
}

// smallVault returns a vault of low cost, with passphrase "pass".
func smallVault(t *testing.T) []byte {
	t.Helper()
	lowCost(t)
	h := newHeader()
	h.Seq, h.Save.Salt = 1, randomBytes(saltSize)
	root, err := h.newRoot([]byte("pass"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := h.seal(root, padded(vectorSmall))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// lowCosts counts the tests under way that want cheap keys: some of them run
// side by side, and only the last may put the production values back.
var lowCosts struct {
	sync.Mutex
	users   int
	min, ln uint64
}

// lowCost makes keys cheap until the test ends.
func lowCost(t testing.TB) {
	c := &lowCosts
	c.Lock()
	defer c.Unlock()
	if c.users++; c.users == 1 {
		c.min, c.ln = testOnlyMinLn, testOnlyLn
		testOnlyMinLn, testOnlyLn = 4, 4
	}
	t.Cleanup(func() {
		c.Lock()
		defer c.Unlock()
		if c.users--; c.users == 0 {
			testOnlyMinLn, testOnlyLn = c.min, c.ln
		}
	})
}

// TestVaultCosts holds the production values, which tests lower. [VLT-13]
func TestVaultCosts(t *testing.T) {
	if testOnlyMinLn != 15 || testOnlyLn != 17 || maxLn != 20 {
		t.Errorf("ln is %d to %d, default %d; want 15 to 20, default 17", testOnlyMinLn, maxLn, testOnlyLn)
	}
	if h := newHeader(); h.KDF.Ln != 17 || h.KDF.R != 8 || h.KDF.P != 1 {
		t.Errorf("a new vault has %+v", h.KDF)
	}
}

// TestVaultErrors holds the sentences that people and other programs see.
// [VLT-16]
func TestVaultErrors(t *testing.T) {
	for want, err := range map[string]error{
		"incorrect passphrase":                                    errPassphrase,
		"unsupported vault version 2: use a newer keepmum":        versionError("2"),
		"damaged vault: commit: does not belong to this key":      &damagedError{"commit", "does not belong to this key"},
		"damaged vault: header: not in the canonical spelling":    header1(t, `"v":1`, `"v": 1`),
		"damaged vault: cost: ln 21 is not 15 to 20":              header1(t, `"ln":15`, `"ln":21`),
		"damaged vault: cost: r 9, p 1 are not 8, 1":              header1(t, `"r":8`, `"r":9`),
		"damaged vault: header: no line end within 4096 bytes":    header1(t, "}}\n", "}}"),
		"damaged vault: header: seq is not 1 to 2^53-1":           header1(t, `"seq":7`, `"seq":0`),
		"damaged vault: header: format, v or kdf.name is another": header1(t, `"scrypt"`, `"bcrypt"`),
	} {
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// header1 returns the error that an edited line 1 gives.
func header1(t *testing.T, old, new string) error {
	h := vectorHeader()
	h.Check, h.Save.Commit = make([]byte, checkSize), make([]byte, commitSize)
	line, err := h.encode()
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = decryptVault(replaced(t, line, old, new), nil)
	return err
}

// FuzzVault: what is accepted encodes to the same bytes again.
func FuzzVault(f *testing.F) {
	paths, _ := filepath.Glob(vectorFolder + "/*")
	if len(paths) == 0 {
		f.Fatal("no seeds")
	}
	for _, path := range paths {
		if _, file := readVaultVector(f, path); len(file) < 1<<14 {
			f.Add(file)
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		stop := errors.New("accepted as far as shows without a key")
		var h *header
		_, _, err := decryptVault(file, func(accepted *header) ([]byte, error) {
			h = accepted
			return nil, stop
		})
		if err != stop {
			if stage := stageOf(err); strings.HasPrefix(stage, "unknown") {
				t.Fatal(stage)
			}
			return
		}
		line, body, _ := splitVault(file)
		sealed, _ := parseBody(body)
		again, _ := h.encode()
		again = append(base64.StdEncoding.AppendEncode(again, sealed), '\n')
		if !bytes.Equal(again, file) || !bytes.Equal(h.line, line) {
			t.Fatalf("accepted %q, encodes to %q", file, again)
		}
		if h.KDF.Ln < minLn || h.KDF.Ln > maxLn {
			t.Fatalf("accepted ln %d", h.KDF.Ln)
		}
	})
}

// FuzzVaultData: what is accepted survives a save.
func FuzzVaultData(f *testing.F) {
	f.Add([]byte(vectorEmpty))
	f.Add([]byte(vectorSmall))
	f.Add([]byte(withUnknown(vectorSmall)))
	for _, fault := range dataFaults {
		f.Add([]byte(strings.Replace(vectorSmall, fault.old, fault.new, 1)))
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		d, err := decodeData(bytes.Clone(plain))
		if err != nil {
			if d != nil || !utf8.ValidString(err.Error()) {
				t.Fatalf("%v, %v", d, err)
			}
			return
		}
		first, err := d.encode()
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", plain, err)
		}
		d, err = decodeData(bytes.Clone(first))
		if err != nil {
			t.Fatalf("%q: %v", first, err)
		}
		if second, _ := d.encode(); !bytes.Equal(first, second) || len(first)%padSize != 0 {
			t.Fatalf("%q became %q", first, second)
		}
	})
}
