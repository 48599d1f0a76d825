package main

// The vault file, version 1 (SPEC §3): two lines of ASCII, each ended by one
// newline, nothing after.
//
//	line 1   the header: compact JSON, at most 4096 bytes, exactly these
//	         members in this order, written here on three lines
//	         {"format":"keepmum-vault","v":1,"id":B64(16),"seq":N,
//	         "kdf":{"name":"scrypt","ln":17,"r":8,"p":1,"salt":B64(32)},
//	         "check":B64(32),"save":{"salt":B64(32),"commit":B64(32)}}
//	line 2   B64( ciphertext || 16-byte tag )
//
//	root          = scrypt(passphrase, "keepmum-vault/1" || id || kdf.salt,
//	                       N = 2^ln, r, p, 32)
//	check         = HKDF-Expand(SHA-256, root, "keepmum-vault/1 check", 32)
//	key || commit = HKDF(SHA-256, root, save.salt, "keepmum-vault/1 save", 64)
//	ciphertext    = AES-256-GCM(key, nonce = 12 zero bytes, plaintext,
//	                            additional data = line 1 with its newline)
//	audit key     = HKDF-Expand(SHA-256, root, "keepmum-vault/1 audit", 32)
//
// B64 is padded standard base64 with zero spare bits. N is 1 to 2^53-1, the
// highest integer that every JSON reader holds exactly; each save adds one, and
// at the highest no further save is possible. The plaintext is a JSON object in
// UTF-8 followed by spaces up to a multiple of 1024 bytes, at least 1024.
//
// A reader checks in this order and names the first stage that fails: version,
// header, cost, payload (its spelling and length), passphrase (check), commit,
// payload (tag), data. So nothing is spent on a file that cannot be good.
//
// A complete vault without Environments, its passphrase "correct horse battery
// staple". Each of its two lines is folded here.
//
//	line 1
//	    {"format":"keepmum-vault","v":1,"id":"ni5vjIeU5c2gxU5NJ9BjpQ==","seq
//	    ":1,"kdf":{"name":"scrypt","ln":15,"r":8,"p":1,"salt":"cT716vPFukhEg
//	    pgBmdEnrgUPvYQd4Y2egEFFcpQWaGQ="},"check":"FMx5n67sUBo7kjQcS/FHBkPCi
//	    i9pMpCPdOeI4REy+V0=","save":{"salt":"owVvsmGt9EgF6lrWTMxbRZgFOHAQU2l
//	    XraadJyHLQ/E=","commit":"aDTOr5vmo6Ofl7WN5blKLOH2v1r6U88c8HJLJVsq2O4
//	    ="}}
//	line 2
//	    nhnuJGTJWqbyZAsv9kc3lYr2l6v0MV4iMoIYrLe/cNWYvmROlCg57uK8ry/TnSZY8VSk
//	    woUrATUJETbT7EtuudOUzQnLQMixAAMmSUaz4Pe2Tcd/5wiA0e+/AGDmlQ06sWmaCAOZ
//	    u+HRaH8ebeuPT/lXXS0cY6pK96dH6JE5Wfs02IjbJ5oGJxdcKxoj914vhHum1efOhrMR
//	    x4ihal+fY5BiO1x3/PYpmWXWIlBOmxMQO4zWZqk0pQ9WjGGCdd4TpCSPBQWJQ1pqZNnU
//	    SV8dsh42YL/q5QULc9e6XJh4c4bIcmNGRMozWadgvkOpHrvenGc6thPWhbEE1iANIBjE
//	    qhjzLcWr/6mG24jMC6StxqxzTXsT9w0gc+0QHCIDU8aYGxG2bIF8Eby9mSXrKALSuOcG
//	    l2S8H+pQxLKw8VRZ4y/b0XCjgG3SgvhMW9NPjLRDPyj70UIOZfHWVPX7vFHv2m1BLtWE
//	    P2CdgzCBl753VWyYW5QN9/T0Ahplc5qlv07SmmOrF2X+TwzOy0xpHxawq8uHtLaFbncX
//	    9vp4oRfbZw6kilHPzkBs8HvTZw40twUu/ZSTL5gNu2XxIouNVXlV1QrhlO7p+fJ0PEqc
//	    Bl3QjfsUeLiy5VKLzvNzwI6K1YJic5FByMgVohTgYHBxPb6t9vp8ql60e0XiAv7dXotQ
//	    hJ1eJnKmiDpGW3l84QMokUvUlRxumJ7hmHTSp/Qg4jUNtkT7o0PjiesgoIFwI28rAYtG
//	    rtR9N1dZtgkLxFM+sBeWv2ZHFCgzbm9hPXBaD7kB6P0LoBAnHoCZIDeJ7VIskaOSFjBu
//	    41ySeI+B8f+x2uOXUlY2KgzWF6gXHJsobtxOUWG5TB6lReoFAddvwA4/kYhdvM1PxrpE
//	    yBr2yFNwpP9NI5Lv5j0QfF4Fr8aqtZieeS6bFJ5oIyjxY2vxIWiMFMNZwTBSkxXyMtQk
//	    4NSnHSvgWvlK5RpJglRCgBKPz0LmGiW/e1J4Vqkb/pde66+FaYK5wOCyJLdeB2gWL94N
//	    U8EePz6AQ0y8DZQWcQEimsn0BvXiM15Fn9fe7EDCWEefR0jJ7fDDy+he5JyBbVOYGMZc
//	    ZTVRSrTWsvaHjlJ7G+c1EI9i0PC4mpvajgye7iNbnF8AMWWshY0l/4U/l25So9wcn6j8
//	    xTfe2ePM141d8kFBb8h+l52Zl6BpG0WjUaQNsbhz5kQATMWSDVfJ7lqiaPnE9sHXJHtz
//	    iM6RsxQafgFsDzMVRXvcptF4BglVs5459h+H2Ddf583WrfswFFMjnSonDSaAKNmrMBZ3
//	    dJAJd4vbbnvu/EVJKWJ8ffQaYPXuTiqoXdXg6GSMMUps8tvWRlts4MUYz1MjwdIm7N3w
//	    MFLsnn/xfky6EepEU2PUBUNEKEk=
//
// The rules on what stands in the plaintext are in vault_data.go.

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/scrypt"
)

const (
	vaultFormat  = "keepmum-vault"
	vaultVersion = 1
	kdfName      = "scrypt"

	labelRoot  = "keepmum-vault/1"
	labelCheck = "keepmum-vault/1 check"
	labelSave  = "keepmum-vault/1 save"
	labelAudit = "keepmum-vault/1 audit"

	idSize     = 16
	saltSize   = 32
	rootSize   = 32
	checkSize  = 32
	auditSize  = 32
	keySize    = 32 // AES-256
	commitSize = 32
	nonceSize  = 12
	tagSize    = 16
	padSize    = 1024

	maxHeader = 4096      // bytes of line 1 without its newline
	maxVault  = 64 << 20  // bytes of the file
	maxSeq    = 1<<53 - 1 // RFC 8259 §6: the integers on which readers agree

	minLn     = 15 // below it a stolen vault is too cheap to guess at
	defaultLn = 17 // [VLT-13]; OWASP Password Storage: scrypt N=2^17, r=8, p=1
	maxLn     = 20 // 1 GiB: a hostile header must not exhaust the machine
	scryptR   = 8
	scryptP   = 1
)

// testOnlyMinLn and testOnlyLn let tests use a cost that takes no time.
var (
	testOnlyMinLn uint64 = minLn
	testOnlyLn    uint64 = defaultLn
)

// errPassphrase also stands for a changed id, kdf or check: the format cannot
// tell those from another passphrase.
var errPassphrase = errors.New("incorrect passphrase")

// damagedError says which part of a vault is not as it was written: header,
// cost, commit, payload or data.
type damagedError struct{ part, reason string }

func (e *damagedError) Error() string {
	return fmt.Sprintf("damaged vault: %s: %s", e.part, e.reason)
}

// versionError is the version of a vault that is not ours to read.
type versionError string

func (v versionError) Error() string {
	return fmt.Sprintf("unsupported vault version %s: use a newer keepmum", string(v))
}

// header is line 1 of a vault. The field order is the members' order
// (SPEC §3.1) [VLT-2].
type header struct {
	Format string    `json:"format"`
	V      uint64    `json:"v"`
	ID     []byte    `json:"id"`
	Seq    uint64    `json:"seq"`
	KDF    headerKDF `json:"kdf"`
	Check  []byte    `json:"check"`
	Save   struct {
		Salt   []byte `json:"salt"`
		Commit []byte `json:"commit"`
	} `json:"save"`

	line []byte // as it lies in the file, with its newline: what GCM binds
}

// headerKDF says how root is made of the passphrase.
type headerKDF struct {
	Name string `json:"name"`
	Ln   uint64 `json:"ln"`
	R    uint64 `json:"r"`
	P    uint64 `json:"p"`
	Salt []byte `json:"salt"`
}

// randomBytes returns n random bytes; crypto/rand.Read does not fail.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// newHeader returns the header of a new vault that was never saved.
func newHeader() header {
	return header{Format: vaultFormat, V: vaultVersion, ID: randomBytes(idSize), KDF: headerKDF{
		Name: kdfName, Ln: testOnlyLn, R: scryptR, P: scryptP, Salt: randomBytes(saltSize)}}
}

// encode returns line 1 with its newline (SPEC §3).
func (h *header) encode() ([]byte, error) {
	line, err := json.Marshal(h)
	return append(line, '\n'), err
}

var versionPattern = lazily(`^\{"format":"keepmum-vault","v":(0|[1-9][0-9]{0,15})[,}]`)

// splitVault cuts a vault file into line 1 with its newline and the rest. A
// version that is not ours is seen here, before a rule that it may not know
// (SPEC §3.3) [VLT-16].
func splitVault(file []byte) (line, body []byte, err error) {
	m := versionPattern().FindSubmatch(file[:min(len(file), maxHeader)])
	if m != nil && string(m[1]) != fmt.Sprint(vaultVersion) {
		return nil, nil, versionError(m[1])
	}
	end := bytes.IndexByte(file[:min(len(file), maxHeader+1)], '\n')
	if end < 0 {
		return nil, nil, &damagedError{"header", fmt.Sprintf("no line end within %d bytes", maxHeader)}
	}
	return file[:end+1], file[end+1:], nil
}

// parseHeader reads line 1 and accepts the one canonical spelling only.
// encoding/json folds case, takes the last of repeated members and reads loose
// base64, so what it understood is written again and must give the same bytes
// (SPEC §3.1) [VLT-2] [VLT-4] [VLT-5] [VLT-6].
func parseHeader(line []byte) (*header, error) {
	h := &header{}
	if json.Unmarshal(line, h) != nil {
		return nil, &damagedError{"header", "malformed JSON or a member of the wrong type"}
	}
	if !bytes.Equal(line, sure(h.encode())) {
		return nil, &damagedError{"header", "not in the canonical spelling"}
	}
	if reason := h.fault(); reason != "" {
		return nil, &damagedError{"header", reason}
	}
	h.line = bytes.Clone(line)
	return h, h.checkCost()
}

// fault names a member with an impossible value, or returns "".
func (h *header) fault() string {
	if h.Format != vaultFormat || h.V != vaultVersion || h.KDF.Name != kdfName {
		return "format, v or kdf.name is another"
	}
	if h.Seq < 1 || h.Seq > maxSeq {
		return "seq is not 1 to 2^53-1"
	}
	if len(h.ID) != idSize || len(h.KDF.Salt) != saltSize || len(h.Check) != checkSize ||
		len(h.Save.Salt) != saltSize || len(h.Save.Commit) != commitSize {
		return "id, check, a salt or commit has another length"
	}
	return ""
}

// checkCost refuses a cost before any of it is spent: the header is not
// authenticated yet, and whoever wrote it chose the memory that scrypt takes
// (SPEC §3.3) [VLT-17].
func (h *header) checkCost() error {
	if h.KDF.Ln < testOnlyMinLn || h.KDF.Ln > maxLn {
		return &damagedError{"cost", fmt.Sprintf("ln %d is not %d to %d", h.KDF.Ln, testOnlyMinLn, maxLn)}
	}
	if h.KDF.R != scryptR || h.KDF.P != scryptP {
		return &damagedError{"cost", fmt.Sprintf("r %d, p %d are not %d, %d",
			h.KDF.R, h.KDF.P, scryptR, scryptP)}
	}
	return nil
}

// decodeBase64 reads padded standard base64 with zero spare bits. Strict still
// skips line breaks, hence the check (SPEC §3.1) [VLT-4].
func decodeBase64(text []byte) ([]byte, error) {
	if bytes.ContainsAny(text, "\r\n") {
		return nil, errors.New("line break in base64")
	}
	return base64.StdEncoding.Strict().AppendDecode(nil, text)
}

// parseBody returns ciphertext and tag of line 2 (SPEC §3.1) [VLT-1] [VLT-3].
func parseBody(body []byte) ([]byte, error) {
	text, found := bytes.CutSuffix(body, []byte("\n"))
	if !found {
		return nil, &damagedError{"payload", "no line end at the end of the file"}
	}
	sealed, err := decodeBase64(text)
	if err != nil {
		return nil, &damagedError{"payload", "malformed base64, or something after it"}
	}
	if n := len(sealed) - tagSize; n < padSize || n%padSize != 0 {
		return nil, &damagedError{"payload", "impossible length"}
	}
	return sealed, nil
}

// deriveRoot returns root for the passphrase, in locked memory. The costs must
// have been checked (SPEC §3.2) [VLT-10] [VLT-11].
func (h *header) deriveRoot(pass []byte) ([]byte, error) {
	salt := slices.Concat([]byte(labelRoot), h.ID, h.KDF.Salt)
	root, err := stretch(pass, salt, h.KDF)
	if err != nil {
		return nil, fmt.Errorf("failed to derive the vault's key: %v", err)
	}
	return lockedCopy(root), nil
}

// stretch is where time and memory are spent (SPEC §3.2) [VLT-10].
func stretch(pass, salt []byte, cost headerKDF) ([]byte, error) {
	return scrypt.Key(pass, salt, 1<<cost.Ln, int(cost.R), int(cost.P), rootSize)
}

// checkOf returns what the header's check is for root (SPEC §3).
func checkOf(root []byte) ([]byte, error) {
	return hkdf.Expand(sha256.New, root, labelCheck, checkSize)
}

// checkRoot tells a wrong passphrase from a damaged vault, before anything is
// opened (SPEC §3.3) [VLT-16].
func (h *header) checkRoot(root []byte) error {
	if subtle.ConstantTimeCompare(sure(checkOf(root)), h.Check) != 1 {
		return errPassphrase
	}
	return nil
}

// sure returns the value of a call that cannot fail for what it is given, such as
// keys of the lengths above.
func sure[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// saveKey returns the cipher and the commitment of the save that the header's
// save.salt stands for (SPEC §3).
func (h *header) saveKey(root []byte) (aead cipher.AEAD, commit []byte) {
	both := sure(hkdf.Key(sha256.New, root, h.Save.Salt, labelSave, keySize+commitSize))
	defer wipe(both[:keySize])
	return newAEAD(both[:keySize]), both[keySize:]
}

// newAEAD returns AES-256-GCM under key (SPEC §3.2) [VLT-10].
func newAEAD(key []byte) cipher.AEAD { return sure(cipher.NewGCM(sure(aes.NewCipher(key)))) }

// saveNonce is zero: save.salt is random and new for each save, so a key seals
// one message and no nonce can repeat under it.
var saveNonce = make([]byte, nonceSize)

// seal encrypts plain under root and returns the whole file. It completes the
// header with commit and line; save.salt must be new (SPEC §3.2) [VLT-10].
func (h *header) seal(root, plain []byte) ([]byte, error) {
	aead, commit := h.saveKey(root)
	h.Save.Commit = commit
	h.line = sure(h.encode())
	sealed := aead.Seal(nil, saveNonce, plain, h.line)
	file := append(base64.StdEncoding.AppendEncode(bytes.Clone(h.line), sealed), '\n')
	if len(file) > maxVault { // [VLT-28]
		return nil, fmt.Errorf("vault too large: over %d MiB, remove some variables", maxVault>>20)
	}
	return file, nil
}

// open decrypts what parseBody returned. AES-GCM alone would let one ciphertext
// open under two keys, so the commitment is compared first (SPEC §3.3)
// [VLT-16].
func (h *header) open(root, sealed []byte) ([]byte, error) {
	aead, commit := h.saveKey(root)
	if subtle.ConstantTimeCompare(commit, h.Save.Commit) != 1 {
		return nil, &damagedError{"commit", "does not belong to this key"}
	}
	plain, err := aead.Open(nil, saveNonce, sealed, h.line)
	if err != nil {
		return nil, &damagedError{"payload", "was changed, or its header was"}
	}
	return plain, nil
}

// decryptVault goes through every stage up to the plaintext. root is asked for
// once the file can be good as far as that shows without a key (SPEC §3.3)
// [VLT-16] [VLT-17].
func decryptVault(file []byte, root func(*header) ([]byte, error)) (*header, []byte, error) {
	line, body, err := splitVault(file)
	if err != nil {
		return nil, nil, err
	}
	h, err := parseHeader(line)
	if err != nil {
		return nil, nil, err
	}
	sealed, err := parseBody(body)
	if err != nil {
		return nil, nil, err
	}
	key, err := root(h)
	if err != nil {
		return nil, nil, err
	}
	if err := h.checkRoot(key); err != nil {
		return nil, nil, err
	}
	plain, err := h.open(key, sealed)
	if err != nil {
		return nil, nil, err
	}
	return h, plain, nil
}
