package main

// The plaintext of a vault as JSON. Each type has a table of its members; one
// reader and one writer go by the tables. Values do not pass through
// encoding/json's buffers, which would keep them past a lock.

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"unicode/utf8"
)

// unknownMembers holds the members of an object that this version does not
// know, as they were written. It is never changed in place.
type unknownMembers map[string]json.RawMessage

func (u *unknownMembers) unknown() *unknownMembers { return u }

// Format hides every type that this one is embedded in, since fmt would show
// the secrets in it.
func (unknownMembers) Format(f fmt.State, verb rune) { secret(nil).Format(f, verb) }

// jsonField ties a member to the place where it is kept.
type jsonField struct {
	name   string
	at     any   // a pointer, or a jsonList
	absent *bool // says that an optional member is not there
}

// jsonRecord is a type with a table of its members. The table drives reading
// and writing, so the two cannot disagree.
type jsonRecord interface {
	fields() []jsonField
	unknown() *unknownMembers
}

func (d *vaultData) fields() []jsonField {
	return []jsonField{{"environments", listOf(&d.environments), nil}, {"audit", &d.audit, nil},
		{"remember", &d.remember, nil}}
}

func (e *environment) fields() []jsonField {
	return []jsonField{{"id", &e.id, nil}, {"name", &e.name, nil}, {"created", &e.created, nil},
		{"changed", &e.changed, nil}, {"variables", listOf(&e.variables), nil},
		{"mounts", listOf(&e.mounts), nil}}
}

func (v *variable) fields() []jsonField {
	return []jsonField{{"name", &v.name, nil}, {"value", &v.value, &v.placeholder},
		{"concealed", &v.concealed, nil}}
}

func (m *mount) fields() []jsonField {
	return []jsonField{{"path", &m.path, nil}, {"dialect", &m.dialect, nil},
		{"enabled", &m.enabled, nil}, {"excluded", &m.excluded, nil}}
}

func (a *auditMemory) fields() []jsonField {
	return []jsonField{{"number", &a.number, nil}, {"mac", &a.mac, nil},
		{"keys", listOf(&a.keys), nil}}
}

func (k *oldAuditKey) fields() []jsonField {
	return []jsonField{{"through", &k.through, nil}, {"key", &k.key, nil}}
}

// jsonList is a member that lists records of one type.
type jsonList struct {
	len func() int
	at  func(int) jsonRecord
	add func() jsonRecord
}

func listOf[T any, P interface {
	*T
	jsonRecord
}](list *[]P) jsonList {
	return jsonList{
		func() int { return len(*list) },
		func(i int) jsonRecord { return (*list)[i] },
		func() jsonRecord { *list = append(*list, P(new(T))); return (*list)[len(*list)-1] },
	}
}

// halfPairText finds each escape of a JSON text, and in its group one that is half
// of a surrogate pair. encoding/json makes U+FFFD of that without a word, and
// a value would come back changed.
var halfPairText = regexp.MustCompile(`\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]|(u[dD][89a-fA-F])|.)`)

// decodeData reads and checks a plaintext, and overwrites it (SPEC §3).
func decodeData(plain []byte) (*vaultData, error) {
	defer wipe(plain)
	text, d := bytes.TrimRight(plain, " "), &vaultData{}
	for _, at := range halfPairText.FindAllSubmatchIndex(text, -1) {
		if at[2] >= 0 {
			return nil, errors.New("half of a surrogate pair")
		}
	}
	if !utf8.Valid(text) {
		return nil, errors.New("not UTF-8")
	}
	err := readRecord(text, d)
	if err == nil {
		err = d.check()
	}
	if err != nil {
		d.wipe()
		return nil, err
	}
	return d, nil
}

// readRecord reads one object, each member by its exact name. It wipes what it
// has read, and no message quotes a value.
func readRecord(raw []byte, to jsonRecord) error {
	members, err := decodeObject(raw)
	if err != nil {
		return errors.New("not a JSON object, or a member twice")
	}
	for _, f := range to.fields() {
		value, found := members[f.name]
		delete(members, f.name)
		if f.absent != nil {
			*f.absent = !found
		}
		if f.absent != nil && !found {
			continue
		}
		if err := readMember(value, f.at); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		wipe(value)
	}
	for name, value := range members {
		members[name] = bytes.Clone(value)
	}
	*to.unknown() = members
	return nil
}

var errMember = errors.New("missing, or not of its type")

// readMember reads a member's value. null is no value of any member.
func readMember(raw []byte, at any) error {
	var err error
	switch at := at.(type) {
	case jsonRecord:
		return readRecord(raw, at)
	case jsonList:
		return readList(raw, at)
	case *[]byte:
		var text secret
		if err = json.Unmarshal(raw, &text); err == nil {
			*at, err = decodeBase64(text)
		}
		wipe(text)
	case *[idSize]byte:
		var id []byte
		if err = readMember(raw, &id); len(id) != idSize {
			return errMember
		}
		*at = [idSize]byte(id)
	default:
		err = json.Unmarshal(raw, at)
	}
	if err != nil || string(raw) == "null" {
		return errMember
	}
	return nil
}

func readList(raw []byte, to jsonList) error {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || list == nil {
		return errMember
	}
	for i, item := range list {
		if err := readRecord(item, to.add()); err != nil {
			return fmt.Errorf("%d: %w", i, err)
		}
		wipe(item)
	}
	return nil
}

// plainText is JSON in the making. encoding/json keeps its buffers, with all
// that went through them; this wipes what it outgrows.
type plainText []byte

func (p *plainText) add(text ...byte) {
	if len(*p)+len(text) > cap(*p) {
		grown := append(make(plainText, 0, 2*cap(*p)+len(text)+padSize), *p...)
		wipe(*p)
		*p = grown
	}
	*p = append(*p, text...)
}

// quote adds a JSON string, with the escapes that JSON demands and no others.
func (p *plainText) quote(text []byte) {
	p.add('"')
	start := 0
	for i, c := range text {
		if c < ' ' || c == '"' || c == '\\' {
			p.add(text[start:i]...)
			p.add(fmt.Appendf(nil, `\u%04x`, c)...)
			start = i + 1
		}
	}
	p.add(text[start:]...)
	p.add('"')
}

// comma goes before everything that is not the first of its object or list.
func (p *plainText) comma() {
	if last := (*p)[len(*p)-1]; last != '{' && last != '[' {
		p.add(',')
	}
}

// record adds an object: its table's members, then the unknown ones.
func (p *plainText) record(r jsonRecord) {
	p.add('{')
	for _, f := range r.fields() {
		if f.absent == nil || !*f.absent {
			p.member(f.name, f.at)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(*r.unknown())) {
		p.member(name, (*r.unknown())[name])
	}
	p.add('}')
}

func (p *plainText) member(name string, at any) {
	p.comma()
	p.quote([]byte(name))
	p.add(':')
	switch at := at.(type) {
	case jsonRecord:
		p.record(at)
	case jsonList:
		p.add('[')
		for i := range at.len() {
			p.comma()
			p.record(at.at(i))
		}
		p.add(']')
	case *secret:
		p.quote(*at)
	case *[]byte:
		text := base64.StdEncoding.AppendEncode(nil, *at)
		p.quote(text)
		wipe(text)
	case *[idSize]byte:
		p.quote(base64.StdEncoding.AppendEncode(nil, at[:]))
	case json.RawMessage:
		p.add(at...)
	default: // a name, number, time or flag: nothing secret
		text, _ := json.Marshal(at) // what fails here does not pass save's reading back
		p.add(text...)
	}
}

// encode checks the data and returns the plaintext, padded so that its length
// says little of the values'. Whoever gets it wipes it (SPEC §3).
func (d *vaultData) encode() ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	p := &plainText{}
	p.record(d)
	for len(*p)%padSize != 0 {
		p.add(' ')
	}
	return *p, nil
}
