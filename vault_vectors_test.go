package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// This file writes testdata/vault; vault_format_test.go reads it.

func writeVectors(t *testing.T) {
	if err := os.RemoveAll(vectorFolder); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(vectorFolder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectorTable(t) {
		head := fmt.Sprintf("expect: %s\npassphrase: %s\ncomment: %s\n", v.expect, v.passphrase, v.comment)
		if v.expect == "success" {
			data, err := decodeData(bytes.Clone(v.plain))
			if err != nil {
				t.Fatalf("%s: %v", v.name, err)
			}
			n := 0
			for _, e := range data.environments {
				n += len(e.variables)
			}
			head += fmt.Sprintf("plaintext-sha256: %x\nenvironments: %d\nvariables: %d\n",
				sha256.Sum256(v.plain), len(data.environments), n)
		}
		path := filepath.Join(vectorFolder, v.name)
		if _, err := os.Lstat(path); err == nil {
			t.Fatalf("two vectors named %s", v.name)
		}
		if err := os.WriteFile(path, append([]byte(head+"\n"), v.file...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// vectorBytes returns n bytes that look random and are always the same.
func vectorBytes(what string, n int) []byte {
	b, err := hkdf.Key(sha256.New, []byte("keepmum vault vectors"), nil, what, n)
	if err != nil {
		panic(err)
	}
	return b
}

// vectorHeader returns the header that the vectors start from.
func vectorHeader() *header {
	h := &header{Format: vaultFormat, V: vaultVersion, ID: vectorBytes("id", idSize), Seq: 7}
	h.KDF = headerKDF{Name: kdfName, Ln: minLn, R: scryptR, P: scryptP, Salt: vectorBytes("kdf.salt", saltSize)}
	h.Save.Salt = vectorBytes("save.salt", saltSize)
	return h
}

// sealVector seals plain, which need not be right, under the header as edit
// leaves it.
func sealVector(t *testing.T, pass string, plain []byte, edit func(*header)) []byte {
	t.Helper()
	h := vectorHeader()
	if edit != nil {
		edit(h)
	}
	root, err := vectorRoot(h, pass)
	if err != nil {
		t.Fatal(err)
	}
	if h.Check, err = checkOf(root); err != nil {
		t.Fatal(err)
	}
	file, err := h.seal(root, plain)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// padded returns text as a plaintext.
func padded(text string) []byte {
	return []byte(text + strings.Repeat(" ", (padSize-len(text)%padSize)%padSize))
}

const (
	vectorEmpty = `{"environments":[],"audit":{"number":0,"mac":"","keys":[]},"remember":{}}`

	vectorSmall = `{"environments":[{"id":"AAECAwQFBgcICQoLDA0ODw==","name":"acme-dev",` +
		`"created":"2026-01-02T03:04:05Z","changed":"2026-02-03T04:05:06Z","variables":[` +
		`{"name":"API_KEY","value":"s3cret","concealed":true},{"name":"LATER","concealed":false}],` +
		`"mounts":[{"path":"/src/acme/.env","dialect":"","enabled":true,"excluded":false}]}],` +
		`"audit":{"number":3,"mac":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","keys":[` +
		`{"through":2,"key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]},` +
		`"remember":{"policy":"none"}}`
)

// vectorTable makes every vector.
func vectorTable(t *testing.T) []vector {
	return slices.Concat(goodVectors(t), headerVectors(t), keyVectors(t), payloadVectors(t), dataVectors(t))
}

func goodVectors(t *testing.T) []vector {
	var table []vector
	add := func(name, pass, comment string, plain []byte, edit func(*header)) {
		table = append(table, vector{name, "success", pass, comment, sealVector(t, pass, plain, edit), plain})
	}
	many, _ := json.Marshal(vectorVariables(1000, 16))
	large, _ := json.Marshal(vectorVariables(32, 32700))
	if n := len(large); n < 1<<20-4096 || n > 1<<20+4096 {
		t.Fatalf("the large Environment has %d bytes", n)
	}
	environment := func(variables []byte) []byte {
		return padded(strings.Replace(vectorSmall, `{"name":"LATER","concealed":false}`,
			strings.Trim(string(variables), "[]"), 1))
	}
	add("good_empty", vectorPassphrase, "a vault without Environments", padded(vectorEmpty), nil)
	add("good_small", vectorPassphrase, "a value, a placeholder, a mount and an audit", padded(vectorSmall), nil)
	add("good_1000_variables", vectorPassphrase, "an Environment with 1001 variables", environment(many), nil)
	add("good_large", vectorPassphrase, "an Environment of about 1 MiB", environment(large), nil)
	add("good_passphrase_unicode", "pässwörd 密码 🔑 ", "the passphrase is the bytes typed, here UTF-8 in NFC with a space at the end",
		padded(vectorEmpty), nil)
	add("good_seq_highest", vectorPassphrase, "seq is 2^53-1: it opens, and cannot be saved again",
		padded(vectorEmpty), func(h *header) { h.Seq = maxSeq })
	add("good_unknown_members", vectorPassphrase, "unknown members at every level, to be kept",
		padded(withUnknown(vectorSmall)), nil)
	add("good_spaces", vectorPassphrase, "whitespace within the plaintext, and more padding than it takes",
		append(padded(strings.ReplaceAll(vectorSmall, ",", " ,\n")), bytes.Repeat([]byte{' '}, padSize)...), nil)
	add("good_escapes", vectorPassphrase, "a value written in escapes, one of them a surrogate pair, one U+FFFD",
		padded(strings.Replace(vectorSmall, "s3cret", `\u0073\ud83d\udd11\ufffd\\ud800\n`, 1)), nil)
	return table
}

// withUnknown adds an unknown member to every object of a plaintext but the
// free one.
func withUnknown(text string) string {
	text = strings.ReplaceAll(text, `{"id"`, `{"color":"red","id"`)
	text = strings.ReplaceAll(text, `{"name"`, `{"note":[1,{"a":null}],"name"`)
	text = strings.ReplaceAll(text, `{"path"`, `{"ttl":1.50,"path"`)
	text = strings.ReplaceAll(text, `{"number"`, `{"file":"audit","number"`)
	text = strings.ReplaceAll(text, `{"through"`, `{"since":1e0,"through"`)
	return `{"groups":{"b":2,"a":1},` + text[1:]
}

// vectorVariables returns n variables whose values have size bytes each.
func vectorVariables(n, size int) []map[string]any {
	var variables []map[string]any
	for i := range n {
		value := ""
		for chunk := 0; len(value) < size; chunk++ {
			value += base64.StdEncoding.EncodeToString(vectorBytes(fmt.Sprint(i, chunk), 3000))
		}
		variables = append(variables, map[string]any{"name": fmt.Sprintf("NAME_%d", i),
			"value": value[:size], "concealed": i%2 == 0})
	}
	return variables
}

// b64 is base64 of n bytes 0x55, for members of a wrong length.
func b64(n int) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0x55}, n))
}

// replaced returns file with the one place of old in it replaced.
func replaced(t *testing.T, file []byte, old, new string) []byte {
	t.Helper()
	if n := bytes.Count(file, []byte(old)); n != 1 || old == new {
		t.Fatalf("%q is %d times in the file, want once", old, n)
	}
	return bytes.Replace(file, []byte(old), []byte(new), 1)
}

// headerVectors are those that fail before anything is spent.
func headerVectors(t *testing.T) []vector {
	base := sealVector(t, vectorPassphrase, padded(vectorSmall), nil)
	line, body, _ := splitVault(base)
	h, err := parseHeader(line)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString
	id, salt, check := text(h.ID), text(h.KDF.Salt), text(h.Check)
	saveSalt, commit := text(h.Save.Salt), text(h.Save.Commit)
	var table []vector
	whole := func(name, stage, comment string, file []byte) {
		table = append(table, vector{name, stage + " failure", vectorPassphrase, comment, file, nil})
	}
	edit := func(name, stage, comment, old, new string) {
		t.Helper()
		whole(name, stage, comment, append(replaced(t, line, old, new), body...))
	}
	whole("header_empty_file", "header", "a file without a byte", nil)
	whole("header_cut", "header", "the file ends within line 1", line[:len(line)-40])
	whole("header_no_newline", "header", "line 1 without its newline", line[:len(line)-1])
	whole("header_empty_line", "header", "a newline before line 1", append([]byte("\n"), base...))
	whole("header_bom", "header", "a byte order mark before line 1", append([]byte("\ufeff"), base...))
	whole("header_4097_bytes", "header", "line 1 is longer than 4096 bytes",
		slices.Concat(line[:len(line)-1], bytes.Repeat([]byte(" "), 4097-(len(line)-1)), []byte("\n"), body))
	whole("header_null", "header", "line 1 is null", append([]byte("null\n"), body...))
	whole("header_array", "header", "line 1 is an array", slices.Concat([]byte("["), line[:len(line)-1], []byte("]\n"), body))
	edit("header_crlf", "header", "line 1 ends in CR LF", "}}\n", "}}\r\n")
	edit("header_space_inside", "header", "a space after a colon", `"v":1`, `"v": 1`)
	edit("header_space_before", "header", "a space before the object", `{"format"`, ` {"format"`)
	edit("header_space_after", "header", "a space after the object", "}}\n", "}} \n")
	edit("header_two_objects", "header", "a second object on line 1", "}}\n", "}}{}\n")
	edit("header_unclosed", "header", "line 1 is not JSON", "}}\n", "}\n")
	edit("header_order", "header", "seq stands before id", `"id":"`+id+`","seq":7`, `"seq":7,"id":"`+id+`"`)
	edit("header_unknown_member", "header", "a member that is not known", "}}\n", "},\"x\":1}\n")
	edit("header_unknown_kdf_member", "header", "a member of kdf that is not known", `"p":1`, `"p":1,"m":1`)
	edit("header_repeated_member", "header", "seq stands there twice", `"seq":7`, `"seq":7,"seq":7`)
	edit("header_case", "header", "a member in another case", `"seq"`, `"Seq"`)
	edit("header_missing_member", "header", "check is missing", `"check":"`+check+`",`, "")
	edit("header_escape", "header", "a letter written as an escape", `"scrypt"`, `"\u0073crypt"`)
	edit("format_other", "header", "another format", `"keepmum-vault"`, `"keepmum-vaults"`)
	edit("version_string", "header", "the version is a string", `"v":1`, `"v":"1"`)
	edit("version_float", "header", "the version is 1.0", `"v":1`, `"v":1.0`)
	edit("version_leading_zero", "header", "the version is 01", `"v":1`, `"v":01`)
	edit("version_negative", "header", "the version is -1", `"v":1`, `"v":-1`)
	edit("version_0", "version", "version 0", `"v":1`, `"v":0`)
	edit("version_2", "version", "version 2", `"v":1`, `"v":2`)
	edit("version_11", "version", "version 11", `"v":1`, `"v":11`)
	whole("version_2_alone", "version", "version 2, with a header of its own",
		[]byte("{\"format\":\"keepmum-vault\",\"v\":2}\n"))
	edit("seq_0", "header", "seq is 0", `"seq":7`, `"seq":0`)
	edit("seq_too_high", "header", "seq is 2^53", `"seq":7`, `"seq":9007199254740992`)
	edit("seq_leading_zero", "header", "seq is 07", `"seq":7`, `"seq":07`)
	edit("seq_plus", "header", "seq is +7", `"seq":7`, `"seq":+7`)
	edit("seq_negative", "header", "seq is -7", `"seq":7`, `"seq":-7`)
	edit("seq_float", "header", "seq is 7.0", `"seq":7`, `"seq":7.0`)
	edit("seq_exponent", "header", "seq is 7e0", `"seq":7`, `"seq":7e0`)
	edit("seq_string", "header", "seq is a string", `"seq":7`, `"seq":"7"`)
	edit("seq_null", "header", "seq is null", `"seq":7`, `"seq":null`)
	edit("ln_leading_zero", "header", "ln is 015", `"ln":15`, `"ln":015`)
	edit("ln_plus", "header", "ln is +15", `"ln":15`, `"ln":+15`)
	edit("ln_negative", "header", "ln is -15", `"ln":15`, `"ln":-15`)
	edit("ln_float", "header", "ln is 15.0", `"ln":15`, `"ln":15.0`)
	edit("ln_string", "header", "ln is a string", `"ln":15`, `"ln":"15"`)
	edit("ln_0", "cost", "ln is 0", `"ln":15`, `"ln":0`)
	edit("ln_9", "cost", "ln is 9", `"ln":15`, `"ln":9`)
	edit("ln_14", "cost", "ln is one too low", `"ln":15`, `"ln":14`)
	edit("ln_21", "cost", "ln is one too high", `"ln":15`, `"ln":21`)
	edit("ln_24", "cost", "ln is 24, 16 GiB", `"ln":15`, `"ln":24`)
	edit("ln_31", "cost", "ln is 31", `"ln":15`, `"ln":31`)
	edit("ln_63", "cost", "ln is 63", `"ln":15`, `"ln":63`)
	edit("ln_79", "cost", "ln is 79, which is 15 modulo 64", `"ln":15`, `"ln":79`)
	edit("r_0", "cost", "r is 0", `"r":8`, `"r":0`)
	edit("r_9", "cost", "r is 9", `"r":8`, `"r":9`)
	edit("p_0", "cost", "p is 0", `"p":1`, `"p":0`)
	edit("p_2", "cost", "p is 2", `"p":1`, `"p":2`)
	edit("kdf_name", "header", "another kdf", `"scrypt"`, `"argon2id"`)
	edit("id_short", "header", "the id has 15 bytes", id, b64(idSize-1))
	edit("id_long", "header", "the id has 17 bytes", id, b64(idSize+1))
	edit("id_null", "header", "the id is null", `"`+id+`"`, "null")
	edit("salt_short", "header", "kdf.salt has 31 bytes", salt, b64(saltSize-1))
	edit("salt_long", "header", "kdf.salt has 33 bytes", salt, b64(saltSize+1))
	edit("salt_empty", "header", "kdf.salt is empty", salt, "")
	edit("check_short", "header", "check has 31 bytes", check, b64(checkSize-1))
	edit("save_salt_short", "header", "save.salt has 31 bytes", saveSalt, b64(saltSize-1))
	edit("commit_short", "header", "commit has 31 bytes", commit, b64(commitSize-1))
	edit("base64_unpadded", "header", "the id lacks its padding", id, strings.TrimRight(id, "="))
	edit("base64_spare_bits", "header", "a spare bit of the id is set", id, spareBit(id))
	edit("base64_line_break", "header", "a line break, escaped, within base64", salt, salt[:8]+`\n`+salt[8:])
	edit("base64_space", "header", "a space within base64", salt, salt[:8]+" "+salt[8:])
	edit("base64_url", "header", "check in the alphabet for addresses", check, urlAlphabet(t, check))
	return table
}

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// spareBit sets the lowest bit of the last character before the padding.
func spareBit(text string) string {
	i := len(strings.TrimRight(text, "=")) - 1
	return text[:i] + string(base64Alphabet[strings.IndexByte(base64Alphabet, text[i])|1]) + text[i+1:]
}

func urlAlphabet(t *testing.T, text string) string {
	if !strings.ContainsAny(text, "+/") {
		t.Fatalf("%q is the same in both alphabets", text)
	}
	return strings.NewReplacer("+", "-", "/", "_").Replace(text)
}

// flipped returns base64 text with one bit of the byte at i flipped.
func flipped(t *testing.T, text string, i int) string {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	b[i] ^= 0x10
	return base64.StdEncoding.EncodeToString(b)
}

// keyVectors are those that fail once the key is there, before anything opens.
func keyVectors(t *testing.T) []vector {
	base := sealVector(t, vectorPassphrase, padded(vectorSmall), nil)
	line, _, _ := splitVault(base)
	h, err := parseHeader(line)
	if err != nil {
		t.Fatal(err)
	}
	var table []vector
	pass := func(name, pass, comment string) {
		table = append(table, vector{name, "passphrase failure", pass, comment, base, nil})
	}
	flip := func(name, stage, comment string, member []byte) {
		text := base64.StdEncoding.EncodeToString(member)
		table = append(table, vector{name, stage + " failure", vectorPassphrase, comment,
			replaced(t, base, text, flipped(t, text, 3)), nil})
	}
	pass("passphrase_other", "correct horse battery stable", "another passphrase")
	pass("passphrase_empty", "", "an empty passphrase")
	pass("passphrase_space", vectorPassphrase+" ", "a space after the passphrase")
	pass("passphrase_case", "Correct horse battery staple", "the passphrase in another case")
	nfd := sealVector(t, "pässwörd", padded(vectorEmpty), nil)
	table = append(table, vector{"passphrase_nfd", "passphrase failure", "pa\u0308sswo\u0308rd",
		"sealed with the passphrase in NFC, given in NFD: it is bytes", nfd, nil})
	flip("id_changed", "passphrase", "a bit of the id is flipped, which changes the key", h.ID)
	flip("salt_changed", "passphrase", "a bit of kdf.salt is flipped", h.KDF.Salt)
	flip("check_changed", "passphrase", "a bit of check is flipped", h.Check)
	table = append(table, vector{"ln_changed", "passphrase failure", vectorPassphrase,
		"ln is 16, which changes the key", replaced(t, base, `"ln":15`, `"ln":16`), nil})
	flip("commit_changed", "commit", "a bit of commit is flipped", h.Save.Commit)
	flip("save_salt_changed", "commit", "a bit of save.salt is flipped", h.Save.Salt)
	table = append(table, vector{"commit_other_label", "commit failure", vectorPassphrase,
		"commit was made under another label", otherLabel(t, h, padded(vectorSmall)), nil})
	return table
}

// otherLabel seals with a key and a commitment that stem from another label.
func otherLabel(t *testing.T, h *header, plain []byte) []byte {
	root, err := vectorRoot(h, vectorPassphrase)
	if err != nil {
		t.Fatal(err)
	}
	both, err := hkdf.Key(sha256.New, root, h.Save.Salt, "keepmum-vault/2 save", keySize+commitSize)
	if err != nil {
		t.Fatal(err)
	}
	other := *h
	other.Save.Commit = both[keySize:]
	line, _ := other.encode()
	return sealWith(t, both[:keySize], saveNonce, plain, line, line)
}

// sealWith returns line and, sealed under all that is given, plain.
func sealWith(t *testing.T, key, nonce, plain, aad, line []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	sealed := base64.StdEncoding.EncodeToString(aead.Seal(nil, nonce, plain, aad))
	return slices.Concat(line, []byte(sealed), []byte("\n"))
}

// payloadVectors are those whose line 2 is wrong, in its spelling or its tag.
func payloadVectors(t *testing.T) []vector {
	plain := padded(vectorSmall)
	base := sealVector(t, vectorPassphrase, plain, nil)
	line, body, _ := splitVault(base)
	h, err := parseHeader(line)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.TrimSuffix(string(body), "\n")
	var table []vector
	add := func(name, comment, body string) {
		table = append(table, vector{name, "payload failure", vectorPassphrase, comment,
			append(bytes.Clone(line), body...), nil})
	}
	whole := func(name, comment string, file []byte) {
		table = append(table, vector{name, "payload failure", vectorPassphrase, comment, file, nil})
	}
	add("payload_missing", "the file ends after line 1", "")
	add("payload_empty", "line 2 is empty", "\n")
	add("payload_no_newline", "line 2 without its newline", text)
	add("payload_newline_after", "an empty third line", text+"\n\n")
	add("payload_garbage_after", "something after line 2", text+"\nAAAA\n")
	add("payload_crlf", "line 2 ends in CR LF", text+"\r\n")
	add("payload_unpadded", "line 2 lacks its padding", strings.TrimRight(text, "=")+"\n")
	add("payload_spare_bits", "a spare bit of line 2 is set", spareBit(text)+"\n")
	add("payload_url", "line 2 in the alphabet for addresses", urlAlphabet(t, text)+"\n")
	add("payload_folded", "a newline within line 2", text[:76]+"\n"+text[76:]+"\n")
	add("payload_space", "a space before line 2", " "+text+"\n")
	add("payload_tag_only", "line 2 has 16 bytes, a tag alone", b64(tagSize)+"\n")
	add("payload_15_bytes", "line 2 has fewer bytes than a tag", b64(tagSize-1)+"\n")
	add("payload_changed_first", "a bit of the first byte is flipped", flipped(t, text, 0)+"\n")
	add("payload_changed_last", "a bit of the ciphertext's last byte is flipped", flipped(t, text, len(plain)-1)+"\n")
	add("payload_changed_tag", "a bit of the tag is flipped", flipped(t, text, len(plain)+tagSize-1)+"\n")
	whole("payload_1023_bytes", "the plaintext is not a multiple of 1024",
		sealVector(t, vectorPassphrase, plain[:len(plain)-1], nil))
	whole("payload_0_bytes", "the plaintext is empty", sealVector(t, vectorPassphrase, nil, nil))
	whole("payload_seq_changed", "seq is another than at sealing", replaced(t, base, `"seq":7`, `"seq":8`))
	other := sealVector(t, vectorPassphrase, plain, func(h *header) { h.Save.Salt = vectorBytes("other", saltSize) })
	otherLine, _, _ := splitVault(other)
	whole("payload_other_save", "line 1 of another save of the same vault", append(bytes.Clone(otherLine), body...))
	root, _ := vectorRoot(h, vectorPassphrase)
	both, err := hkdf.Key(sha256.New, root, h.Save.Salt, labelSave, keySize+commitSize)
	if err != nil {
		t.Fatal(err)
	}
	key, nonce := both[:keySize], append(make([]byte, nonceSize-1), 1)
	whole("payload_nonce", "sealed under a nonce that is not zero", sealWith(t, key, nonce, plain, line, line))
	whole("payload_aad_newline", "sealed without line 1's newline",
		sealWith(t, key, saveNonce, plain, line[:len(line)-1], line))
	whole("payload_aad_none", "sealed without line 1", sealWith(t, key, saveNonce, plain, nil, line))
	whole("payload_other_key", "sealed under commit in place of key", sealWith(t, both[keySize:], saveNonce, plain, line, line))
	return table
}

// dataFaults are plaintexts with one fault each: what to replace in
// vectorSmall, and with what.
var dataFaults = []struct{ name, comment, old, new string }{
	{"array", "the plaintext is an array", vectorSmall, "[]"},
	{"blank", "the plaintext is padding alone", vectorSmall, ""},
	{"two_objects", "something after the object", `"none"}}`, `"none"}}{}`},
	{"unclosed", "the plaintext is not JSON", `"none"}}`, `"none"}`},
	{"newline_padding", "the padding starts with NUL", `"none"}}`, "\"none\"}}\x00"},
	{"repeated_member", "a member twice", `"remember":{`, `"remember":{},"remember":{`},
	{"repeated_inner", "a variable's member twice", `"value":"s3cret"`, `"value":"s3cret","value":"s3cret"`},
	{"case", "a member in another case", `"remember"`, `"Remember"`},
	{"no_environments", "environments is missing", `{"environments":[`, `{"others":[`},
	{"no_audit", "audit is missing", `"audit":`, `"others":`},
	{"no_concealed", "concealed is missing", `"s3cret","concealed":true`, `"s3cret"`},
	{"no_variables", "variables is missing", `"variables":`, `"others":`},
	{"null_environment", "an Environment is null", `"environments":[`, `"environments":[null,`},
	{"null_list", "mounts is null", `[{"path":"/src/acme/.env","dialect":"","enabled":true,"excluded":false}]`, "null"},
	{"null_value", "a value is null", `"s3cret"`, "null"},
	{"null_remember", "remember is null", `{"policy":"none"}`, "null"},
	{"number_value", "a value is a number", `"s3cret"`, "3"},
	{"string_flag", "concealed is a string", `"concealed":true`, `"concealed":"true"`},
	{"float_number", "a number is 3.0", `"number":3`, `"number":3.0`},
	{"negative_number", "a number is -3", `"number":3`, `"number":-3`},
	{"bad_time", "a time is not of RFC 3339", "2026-01-02T03:04:05Z", "2026-01-02 03:04:05"},
	{"id_short", "an id has 15 bytes", "AAECAwQFBgcICQoLDA0ODw==", b64(15)},
	{"id_spare_bits", "a spare bit of an id is set", "ODw==", "ODx=="},
	{"mac_short", "a mac has 31 bytes", `"mac":"` + b64zero(32), `"mac":"` + b64zero(31)},
	{"key_empty", "an old audit key is empty", `"key":"` + b64zero(32), `"key":"`},
	{"variable_digit", "a variable's name starts with a digit", "API_KEY", "1API"},
	{"variable_dash", "a variable's name has a dash", "API_KEY", "API-KEY"},
	{"variable_empty", "a variable's name is empty", "API_KEY", ""},
	{"variable_long", "a variable's name has 257 bytes", "API_KEY", strings.Repeat("A", 257)},
	{"variable_twice", "two variables have one name", `"LATER"`, `"API_KEY"`},
	{"value_nul", "a value contains NUL", "s3cret", `s3\u0000cret`},
	{"value_long", "a value has 65,537 bytes", "s3cret", strings.Repeat("v", maxValue+1)},
	{"value_not_utf8", "a value is not UTF-8", "s3cret", "s3\xffcret"},
	{"value_half_pair", "a value has half of a surrogate pair", "s3cret", `s3\ud800cret`},
	{"value_swapped_pair", "a surrogate pair in the wrong order", "s3cret", `\udd11\ud83d`},
	{"environment_empty", "an Environment's name is empty", "acme-dev", ""},
	{"environment_long", "an Environment's name has 129 bytes", "acme-dev", strings.Repeat("e", 129)},
	{"environment_space", "an Environment's name ends in a space", "acme-dev", "acme-dev "},
	{"environment_control", "an Environment's name has a control character", "acme-dev", `acme\u001bdev`},
	{"environment_bidi", "an Environment's name has U+202E", "acme-dev", "acme\u202edev"},
	{"environment_zero_width", "an Environment's name has U+200B", "acme-dev", "acme\u200bdev"},
	{"environment_twice", "two Environments have one name", `"environments":[`,
		`"environments":[{"id":"` + b64(16) + `","name":"acme-dev","created":"2026-01-02T03:04:05Z",` +
			`"changed":"2026-01-02T03:04:05Z","variables":[],"mounts":[]},`},
	{"environment_id_twice", "two Environments have one id", `"environments":[`,
		`"environments":[{"id":"AAECAwQFBgcICQoLDA0ODw==","name":"other","created":"2026-01-02T03:04:05Z",` +
			`"changed":"2026-01-02T03:04:05Z","variables":[],"mounts":[]},`},
	{"mount_relative", "a mount's path is relative", "/src/acme/.env", "src/acme/.env"},
}

func b64zero(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }

// dataVectors are sealed as they should be; what they hold is wrong.
func dataVectors(t *testing.T) []vector {
	var table []vector
	for _, f := range dataFaults {
		plain := padded(string(replaced(t, []byte(vectorSmall), f.old, f.new)))
		if len(plain) == 0 {
			plain = bytes.Repeat([]byte{' '}, padSize)
		}
		table = append(table, vector{"data_" + f.name, "data failure", vectorPassphrase, f.comment,
			sealVector(t, vectorPassphrase, plain, nil), nil})
	}
	return table
}
