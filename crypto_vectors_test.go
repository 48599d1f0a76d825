package main

// The primitives under the vault, held to vectors that others made: those of
// Project Wycheproof, which look for the known mistakes of implementations, and
// those of RFC 7914. testdata/wycheproof/README.md says how they were reduced.

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/bits"
	"testing"
)

// hexText is bytes that JSON holds in hex.
type hexText []byte

func (h *hexText) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// wycheproofTest is one test of either algorithm.
type wycheproofTest struct {
	ID     int    `json:"tcId"`
	Result string `json:"result"`

	Key, IV, AAD, Msg, CT, Tag hexText // AES-GCM
	IKM, Salt, Info, OKM       hexText // HKDF
	Size                       int
}

// wycheproofGroup is the tests with one set of parameters.
type wycheproofGroup struct {
	KeySize, IVSize, TagSize int
	Tests                    []wycheproofTest
}

// readWycheproof returns the groups of a file, whose tests are as many as it
// says, and how many of them are to be accepted and refused.
func readWycheproof(t *testing.T, name string) (groups []wycheproofGroup, valid, invalid int) {
	t.Helper()
	var file struct {
		NumberOfTests int
		TestGroups    []wycheproofGroup
	}
	must(t, json.Unmarshal([]byte(readDoc(t, "testdata/wycheproof/"+name)), &file))
	for _, g := range file.TestGroups {
		for _, v := range g.Tests {
			switch v.Result {
			case "valid":
				valid++
			case "invalid":
				invalid++
			default:
				t.Fatalf("test %d has the result %q", v.ID, v.Result)
			}
		}
	}
	if valid+invalid != file.NumberOfTests {
		t.Fatalf("%s has %d tests, says %d", name, valid+invalid, file.NumberOfTests)
	}
	return file.TestGroups, valid, invalid
}

// TestWycheproofGCM: the cipher that seals a vault. [VLT-10]
func TestWycheproofGCM(t *testing.T) {
	groups, valid, invalid := readWycheproof(t, "aes_gcm_test.json")
	if valid < 30 || invalid < 20 {
		t.Fatalf("%d valid and %d invalid tests", valid, invalid)
	}
	for _, g := range groups {
		if g.KeySize != 8*keySize || g.IVSize != 8*nonceSize || g.TagSize != 8*tagSize {
			t.Errorf("a group of other sizes than ours: %d, %d, %d", g.KeySize, g.IVSize, g.TagSize)
		}
		for _, v := range g.Tests {
			aead, sealed := newAEAD(v.Key), append(bytes.Clone(v.CT), v.Tag...)
			plain, err := aead.Open(nil, v.IV, sealed, v.AAD)
			if (err == nil) != (v.Result == "valid") {
				t.Errorf("test %d is %s: %v", v.ID, v.Result, err)
			}
			if err != nil && len(plain) > 0 || err == nil && !bytes.Equal(plain, v.Msg) {
				t.Errorf("test %d opens to %x (%v)", v.ID, plain, err)
			}
			again := aead.Seal(nil, v.IV, v.Msg, v.AAD)
			if bytes.Equal(again, sealed) != (v.Result == "valid") {
				t.Errorf("test %d is %s and seals to %x", v.ID, v.Result, again)
			}
		}
	}
}

// TestWycheproofHKDF: both calls by which keys, check and commit are made.
// [VLT-10]
func TestWycheproofHKDF(t *testing.T) {
	groups, valid, invalid := readWycheproof(t, "hkdf_sha256_test.json")
	if valid < 70 || invalid < 3 {
		t.Fatalf("%d valid and %d invalid tests", valid, invalid)
	}
	for _, g := range groups {
		for _, v := range g.Tests {
			okm, err := hkdf.Key(sha256.New, v.IKM, v.Salt, string(v.Info), v.Size)
			prk, extracted := hkdf.Extract(sha256.New, v.IKM, v.Salt)
			must(t, extracted)
			expanded, errExpand := hkdf.Expand(sha256.New, prk, string(v.Info), v.Size)
			good := v.Result == "valid"
			if (err == nil) != good || (errExpand == nil) != good {
				t.Errorf("test %d is %s: %v, %v", v.ID, v.Result, err, errExpand)
			}
			if good && (!bytes.Equal(okm, v.OKM) || !bytes.Equal(expanded, v.OKM)) {
				t.Errorf("test %d: %x and %x, want %x", v.ID, okm, expanded, []byte(v.OKM))
			}
		}
	}
}

// TestScryptVectors takes the four vectors of RFC 7914 §12 through the call that
// makes root. It takes the first half of them: PBKDF2, the last step, makes its
// blocks of 32 bytes each by itself. [VLT-10]
func TestScryptVectors(t *testing.T) {
	for _, v := range []struct {
		pass, salt string
		n, r, p    uint64
		want       string
	}{
		{"", "", 16, 1, 1, "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"},
		{"password", "NaCl", 1024, 8, 16, "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"},
		{"pleaseletmein", "SodiumChloride", 16384, 8, 1, "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"},
		{"pleaseletmein", "SodiumChloride", 1 << 20, 8, 1, "2101cb9b6a511aaeaddbbe09cf70f881ec568d574a2ffd4dabe5ee9820adaa47"},
	} {
		if v.n == 1<<20 && !*long {
			continue // a gigabyte
		}
		ln := uint64(bits.Len64(v.n) - 1)
		root, err := stretch([]byte(v.pass), []byte(v.salt), headerKDF{Ln: ln, R: v.r, P: v.p})
		if err != nil || hex.EncodeToString(root) != v.want {
			t.Errorf("N %d: %x, %v, want %s", v.n, root, err, v.want)
		}
	}
}
