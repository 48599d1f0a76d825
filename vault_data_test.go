package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 678, time.FixedZone("", 3600))

// newData returns data with one Environment "acme-dev" and a few variables.
func newData(t testing.TB) (*vaultData, *environment) {
	t.Helper()
	d := &vaultData{remember: map[string]string{}}
	e, err := d.addEnvironment("acme-dev", testTime)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"A", "B", "C"} {
		if added, err := e.set(name, secret("value of "+name), true); err != nil || !added {
			t.Fatal(added, err)
		}
	}
	return d, e
}

func TestSecretHidden(t *testing.T) {
	s := secret("canary")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%T %[1]o"} {
		for _, in := range []any{s, &s, []secret{s}, struct{ S secret }{s}, map[string]secret{"a": s},
			variable{value: s}, &variable{value: s}, []variable{{value: s}}, oldAuditKey{key: s}, &vault{root: s},
			auditMemory{mac: s}, environment{unknownMembers: unknownMembers{"x": json.RawMessage(s)}}} {
			text := fmt.Sprintf(verb, in)
			if strings.Contains(strings.ToLower(text), "canary") || strings.Contains(text, "63616e") ||
				strings.Contains(text, "99 97 110") || strings.Contains(text, "143 141") {
				t.Errorf("%s of %T shows %s", verb, in, text)
			}
		}
	}
	if got := s.String() + s.GoString() + fmt.Sprintf("%s", s); got != strings.Repeat("[secret]", 3) {
		t.Errorf("got %s", got)
	}
	for _, in := range []any{s, []secret{s}, map[string]any{"a": s}, struct{ S secret }{s}} {
		if text, err := json.Marshal(in); err == nil {
			t.Errorf("json wrote %s", text)
		}
	}
	var read secret
	if err := json.Unmarshal([]byte(`"a\u00e9\n"`), &read); err != nil || string(read) != "aé\n" {
		t.Errorf("read %q, %v", []byte(read), err)
	}
}

func TestLockedBytes(t *testing.T) {
	b := lockedBytes(rootSize)
	if len(b) != rootSize || !bytes.Equal(b, make([]byte, rootSize)) {
		t.Fatalf("got %d bytes %x", len(b), b)
	}
	copy(b, "root")
	wipeLocked(b)
	heap := []byte("from the heap")
	wipeLocked(heap)
	if !bytes.Equal(heap, make([]byte, len(heap))) {
		t.Error("the fallback is not wiped")
	}
	from := []byte("0123")
	to := lockedCopy(from)
	if string(to) != "0123" || string(from) != "\x00\x00\x00\x00" {
		t.Errorf("moved %q, left %q", to, from)
	}
	wipeLocked(to)
}

// TestVariableNames: what a shell takes as a name, and no more. [VLT-27]
func TestVariableNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"A": true, "_": true, "a1": true, "_9": true, "zZ_09": true, strings.Repeat("A", 256): true,
		"": false, "1": false, "1A": false, "A-B": false, "A B": false, "A=": false, "A\n": false, "Ä": false,
		"A.B": false, "@": false, "[": false, "`": false, "{": false, "A\x00": false, "a/": false, "a:": false,
		strings.Repeat("A", 257): false,
	} {
		if err := validVariableName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestValues: what an environment can hold. [VLT-27]
func TestValues(t *testing.T) {
	for value, ok := range map[string]bool{
		"": true, "x": true, "a\nb\r\n\t\x01\x7f": true, "ü🔑": true, strings.Repeat("v", 65536): true,
		strings.Repeat("v", 65537): false, "a\x00": false, "\xff": false, "\xed\xa0\x80": false,
	} {
		err := validValue(secret(value))
		if (err == nil) != ok {
			t.Errorf("value of %d bytes: %v", len(value), err)
		}
		if err != nil && strings.Contains(err.Error(), "65537") {
			t.Errorf("the message tells the length: %v", err)
		}
	}
}

// TestEnvironmentNames: nothing that is not seen. [VLT-27]
func TestEnvironmentNames(t *testing.T) {
	good := []string{"a", "acme dev", "Ümläut", "密码", "🔑", strings.Repeat("e", 128), "a.b/c:d", "\"'$`\\"}
	bad := []string{"", " a", "a ", " ", strings.Repeat("e", 129), strings.Repeat("é", 65), "a\xffb", "a\u00a0b",
		"a\ufffeb", "a\ue000b", "a\u2028b"}
	// C0, DEL, C1; Bidi_Control; zero-width, fillers, selectors, tags.
	for r := rune(0); r < 0xa0; r++ {
		if r < 0x20 || r >= 0x7f {
			bad = append(bad, "a"+string(r)+"b")
		}
	}
	for _, r := range []rune{0x061c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069,
		0x00ad, 0x034f, 0x115f, 0x1160, 0x17b4, 0x180b, 0x180e, 0x200b, 0x200c, 0x200d, 0x2060, 0x2061, 0x3164, 0xfe0f,
		0xfeff, 0xffa0, 0xfff9, 0xe0001, 0xe0041, 0xe007f, 0xe0100} {
		bad = append(bad, "a"+string(r)+"b")
	}
	for _, name := range good {
		if err := validEnvironmentName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range bad {
		err := validEnvironmentName(name)
		if err == nil {
			t.Errorf("%+q is accepted", name)
		} else if strings.ContainsFunc(err.Error(), unseen) {
			t.Errorf("the message shows it raw: %+q", err)
		}
	}
}

// TestIDText: an id has one spelling. [VLT-29]
func TestIDText(t *testing.T) {
	id := [idSize]byte{0xff, 1, 2, 15: 0xff}
	text := idText(id)
	if len(text) != 26 || text != strings.ToLower(text) || accountID(id) != strings.ToUpper(text) {
		t.Errorf("id %q, account %q", text, accountID(id))
	}
	d := &vaultData{environments: []*environment{{id: id}}}
	if d.environmentByID(text) != d.environments[0] {
		t.Errorf("%q is not found", text)
	}
	// The last character has 3 bits of the id and 2 spare ones.
	last := map[byte]string{'4': "5", '7': "7"}[text[25]]
	for _, bad := range []string{"", text[:25], text + "a", strings.ToUpper(text), text[:25] + last, text[:25] + "1",
		text[:25] + "=", text[:13] + "\n" + text[13:], " " + text[1:], strings.Repeat("a", 25) + "b"} {
		if bad == text {
			t.Fatalf("%q is the good one", bad)
		}
		if d.environmentByID(bad) != nil {
			t.Errorf("%q is found", bad)
		}
	}
	if newID() == newID() {
		t.Error("two ids are the same")
	}
}

func TestEnvironments(t *testing.T) {
	d, e := newData(t)
	if e.created != e.changed || e.created.Format(time.RFC3339Nano) != "2026-01-02T02:04:05Z" {
		t.Errorf("created %v, changed %v", e.created, e.changed)
	}
	if d.environmentByID(idText(e.id)) != e || d.environmentByName("acme-dev") != e {
		t.Error("not found")
	}
	for _, text := range []string{"", accountID(e.id), idText(newID()), "acme-dev"} {
		if d.environmentByID(text) != nil {
			t.Errorf("%q is found", text)
		}
	}
	if d.environmentByName("Acme-dev") != nil {
		t.Error("a name in another case is found")
	}
	if again, err := d.addEnvironment("acme-dev", testTime); err == nil || again != nil {
		t.Error("two with one name")
	}
	other, err := d.addEnvironment("other", testTime)
	if err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{"other": true, "acme-dev": false, "": false, "a\x1b": false} {
		if err := d.rename(other, name); (err == nil) != ok || other.name != "other" {
			t.Errorf("renamed to %q: %v, now %q", name, err, other.name)
		}
	}
	if err := d.rename(other, "third"); err != nil || d.environmentByName("third") != other {
		t.Error(err)
	}
	d.remove(e)
	if d.environmentByName("acme-dev") != nil || len(d.environments) != 1 {
		t.Error("not removed")
	}
}

// TestVariables: a placeholder is no empty value. [VLT-21]
func TestVariables(t *testing.T) {
	_, e := newData(t)
	if added, err := e.set("B", secret("new"), false); err != nil || added {
		t.Error(added, err)
	}
	if b := e.variables[1]; string(b.value) != "new" || b.concealed || b.placeholder {
		t.Errorf("B is %+v", b)
	}
	if _, err := e.set("C", nil, true); err != nil || !e.variables[2].placeholder {
		t.Error("no placeholder", err)
	}
	if _, err := e.set("C", secret{}, true); err != nil || e.variables[2].placeholder {
		t.Error("an empty value is a placeholder", err)
	}
	if got := fmt.Sprint(e.names()); got != "[A B C]" {
		t.Errorf("names %s", got)
	}
	for name, value := range map[string]string{"1": "x", "D": "\x00"} {
		_, err := e.set(name, secret(value), true)
		if err == nil || len(e.variables) != 3 {
			t.Errorf("%q is set: %v", name, err)
		}
	}
	if !e.unset("A") || e.unset("A") || e.unset("a") || fmt.Sprint(e.names()) != "[B C]" {
		t.Errorf("left %v", e.names())
	}
}

// TestClone changes everything in a clone and looks at the original.
func TestClone(t *testing.T) {
	d, err := decodeData(padded(withUnknown(vectorSmall)))
	if err != nil {
		t.Fatal(err)
	}
	before, err := d.encode()
	if err != nil {
		t.Fatal(err)
	}
	c := d.clone()
	e := c.environments[0]
	e.set("API_KEY", secret("another"), false)
	e.set("MORE", secret("x"), true)
	e.unset("LATER")
	c.rename(e, "renamed")
	e.changed = testTime
	e.mounts[0].enabled, e.mounts[0].path = false, "/elsewhere"
	e.mounts = append(e.mounts, &mount{path: "/more"})
	c.audit.number, c.audit.mac = 99, bytes.Repeat([]byte{1}, auditSize)
	c.audit.keys = append(c.audit.keys[:0], &oldAuditKey{key: make([]byte, auditSize)})
	c.remember["policy"], c.remember["more"] = "changed", "x"
	c.addEnvironment("second", testTime)
	c.remove(e)
	if after, err := d.encode(); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the original became\n%s (%v), was\n%s", after, err, before)
	}
}

// TestUnknownMembers: they come back as they were, at every level. [VLT-26]
func TestUnknownMembers(t *testing.T) {
	d, err := decodeData(padded(withUnknown(vectorSmall)))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := d.clone().encode()
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{`"groups":{"b":2,"a":1}`: 1, `"color":"red"`: 1, `"note":[1,{"a":null}]`: 2,
		`"ttl":1.50`: 1, `"file":"audit"`: 1, `"since":1e0`: 1} {
		if got := bytes.Count(plain, []byte(text)); got != want {
			t.Errorf("%s is there %d times, want %d: %s", text, got, want, plain)
		}
	}
}

// TestPadding: the length says little about the values. [VLT-20]
func TestPadding(t *testing.T) {
	seen := map[int]bool{}
	for n := range 1100 {
		d, e := newData(t)
		e.set("A", secret(strings.Repeat("v", n)), true)
		plain, err := d.encode()
		if err != nil || len(plain)%1024 != 0 || len(plain) == 0 {
			t.Fatalf("a value of %d bytes gives %d, %v", n, len(plain), err)
		}
		seen[len(plain)] = true
	}
	if len(seen) != 2 && len(seen) != 3 {
		t.Errorf("values of 0 to 1099 bytes give %d lengths", len(seen))
	}
}

// TestValueRoundTrip: every character, in a value, comes back.
func TestValueRoundTrip(t *testing.T) {
	var all strings.Builder
	for r := rune(1); r < 0x3000; r++ {
		all.WriteRune(r)
	}
	for _, value := range []string{"", all.String(), "\\ud800", "\\", `"`, "\ufffd", "🔑\U0010ffff", `\\\"\u0000`} {
		d, e := newData(t)
		if _, err := e.set("A", secret(value), true); err != nil {
			t.Fatal(err)
		}
		plain, err := d.encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeData(plain)
		if err != nil {
			t.Fatal(err)
		}
		if got := back.environments[0].variables[0]; string(got.value) != value || got.placeholder {
			t.Errorf("%.40q came back as %.40q", value, []byte(got.value))
		}
	}
}

// TestHalfPairs: a whole pair is a character, half of one is damage. [VLT-25]
func TestHalfPairs(t *testing.T) {
	for text, ok := range map[string]bool{
		`\ud83d\udd11`: true, `\uD83D\uDD11`: true, `\\ud800`: true, `\\\\ud800`: true, `\u0041`: true, `\ufffd`: true,
		`\ud7ff\ue000`: true, `\\\ud83d\udd11`: true, `\ud83d\udd11\ud83d\udd11`: true,
		`\ud800`: false, `\udc00`: false, `\ud83dx`: false, `\ud83d\n`: false, `\ud83d\u0041`: false,
		`\ud83d\ud83d\udd11`: false, `\udd11\ud83d`: false, `\\\ud800`: false, `\uDFFF`: false, `\ud83d\udd11\udd11`: false,
	} {
		plain := padded(strings.Replace(vectorSmall, "s3cret", text, 1))
		d, err := decodeData(plain)
		if (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
		if err == nil && slices.ContainsFunc([]rune(string(d.environments[0].variables[0].value)), utf16.IsSurrogate) {
			t.Errorf("%s: a surrogate came through", text)
		}
	}
}

// TestDecodeWipes: neither the plaintext nor, after wipe, a value stays.
// [KPR-15]
func TestDecodeWipes(t *testing.T) {
	plain := padded(vectorSmall)
	d, err := decodeData(plain)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(plain, make([]byte, len(plain))) {
		t.Errorf("the plaintext is still there: %s", plain)
	}
	value := d.environments[0].variables[0].value
	if string(value) != "s3cret" {
		t.Fatal("the value went with the plaintext")
	}
	d.wipe()
	if string(value) != "\x00\x00\x00\x00\x00\x00" {
		t.Error("the value is still there")
	}
}

// TestEncodeDataRefuses: what breaks a rule is never written. [VLT-27]
func TestEncodeDataRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*vaultData, *environment){
		"variable name":     func(d *vaultData, e *environment) { e.variables[0].name = "1" },
		"value":             func(d *vaultData, e *environment) { e.variables[0].value = secret("\x00") },
		"variable twice":    func(d *vaultData, e *environment) { e.variables[0].name = "B" },
		"environment name":  func(d *vaultData, e *environment) { e.name = "a\xff" },
		"environment twice": func(d *vaultData, e *environment) { d.environments = append(d.environments, e) },
		"mount path":        func(d *vaultData, e *environment) { e.mounts = []*mount{{path: "/a\xff"}} },
		"mac":               func(d *vaultData, e *environment) { d.audit.mac = []byte{1} },
		"audit key":         func(d *vaultData, e *environment) { d.audit.keys = []*oldAuditKey{{key: []byte{1}}} },
	} {
		d, e := newData(t)
		spoil(d, e)
		if plain, err := d.encode(); err == nil || plain != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMemberOrder: the order of members is free, and spaces are. [VLT-24]
func TestMemberOrder(t *testing.T) {
	const turned = `{ "remember":{},"audit":{"keys":[],"mac":"","number":0} ,` + "\n\t" + `"environments":[]}`
	for _, plain := range [][]byte{padded(turned), append(padded(turned), padded("")...), []byte(turned + "\r\n")} {
		if _, err := decodeData(bytes.Clone(plain)); err != nil {
			t.Errorf("%q: %v", plain, err)
		}
	}
}

// TestEnvironmentTooLarge: what a mount cannot carry is not saved. [VLT-28]
func TestEnvironmentTooLarge(t *testing.T) {
	v := newVault(t)
	k := &keeper{vault: v, audit: &auditLog{}}
	c := &call{k: k, r: &request{object: object{environmentID: idText(v.view().environments[0].id)}}}
	add := func(n int) error {
		return c.change(func(_ *vaultData, e *environment) error {
			for i := range n {
				if _, err := e.set(fmt.Sprint("V", i), large, true); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := add(15); err != nil {
		t.Fatal(err)
	}
	if err := add(16); err == nil || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("got %v", err)
	}
	if n := len(openAgain(t, v).view().environments[0].variables); n != 15 {
		t.Errorf("%d variables are saved", n)
	}
}
