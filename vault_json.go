package main

// The plaintext of a vault as JSON. Each type has one list of its members, by
// which it is read and written, so the two cannot disagree. What lies inside
// encoding/json for a while cannot be wiped; it ends with the keeper's process
// image (SPEC §4).

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// unknownMembers holds the members of an object that this version does not
// know, as they were written. It is never changed in place.
type unknownMembers map[string]json.RawMessage

// Format hides every type that this one is embedded in, since fmt would show
// the secrets in it.
func (unknownMembers) Format(f fmt.State, verb rune) { secret(nil).Format(f, verb) }

// member ties a member's name to the place where its value is kept.
type member struct {
	name   string
	at     any
	absent *bool // says that an optional member is not there
}

func (d *vaultData) members() []member {
	return []member{{"environments", (*list[environment, *environment])(&d.environments), nil},
		{"audit", &d.audit, nil}, {"remember", &d.remember, nil}}
}

func (e *environment) members() []member {
	return []member{{"id", (*idBytes)(&e.id), nil}, {"name", &e.name, nil},
		{"created", &e.created, nil}, {"changed", &e.changed, nil},
		{"variables", (*list[variable, *variable])(&e.variables), nil},
		{"mounts", (*list[mount, *mount])(&e.mounts), nil}}
}

func (v *variable) members() []member {
	return []member{{"name", &v.name, nil}, {"value", &v.value, &v.placeholder},
		{"concealed", &v.concealed, nil}}
}

func (m *mount) members() []member {
	return []member{{"path", &m.path, nil}, {"dialect", &m.dialect, nil},
		{"enabled", &m.enabled, nil}, {"excluded", &m.excluded, nil}}
}

func (a *auditMemory) members() []member {
	return []member{{"number", &a.number, nil}, {"mac", (*base64Bytes)(&a.mac), nil},
		{"keys", (*list[oldAuditKey, *oldAuditKey])(&a.keys), nil}}
}

func (k *oldAuditKey) members() []member {
	return []member{{"through", &k.through, nil}, {"key", (*base64Bytes)(&k.key), nil}}
}

func (a *auditMemory) UnmarshalJSON(b []byte) error { return a.read(b, a.members()) }

func (a *auditMemory) MarshalJSON() ([]byte, error) { return a.write(a.members()) }

// list is a list of records as JSON. The records themselves have no such
// methods: one that strays into an answer shows nothing.
type list[T any, R record[T]] []*T

type record[T any] interface {
	*T
	members() []member
	read([]byte, []member) error
	write([]member) ([]byte, error)
}

func (l *list[T, R]) UnmarshalJSON(raw []byte) error {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return errMember
	}
	for _, item := range items {
		r := R(new(T))
		if err := r.read(item, r.members()); err != nil {
			return err
		}
		*l = append(*l, r)
	}
	return nil
}

func (l *list[T, R]) MarshalJSON() (text []byte, err error) {
	items := make([]json.RawMessage, len(*l))
	for i, r := range *l {
		if items[i], err = R(r).write(R(r).members()); err != nil {
			return nil, err
		}
	}
	return json.Marshal(items)
}

// base64Bytes is bytes as base64, in its one canonical spelling.
type base64Bytes []byte

func (b base64Bytes) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, b), nil
}

func (b *base64Bytes) UnmarshalText(text []byte) (err error) {
	*b, err = decodeBase64(text)
	return err
}

// idBytes is base64Bytes of an id's length.
type idBytes [idSize]byte

func (id *idBytes) MarshalText() ([]byte, error) { return base64Bytes(id[:]).MarshalText() }

func (id *idBytes) UnmarshalText(text []byte) error {
	b, err := decodeBase64(text)
	if err != nil || len(b) != idSize {
		return errMember
	}
	*id = idBytes(b)
	return nil
}

var errMember = errors.New("missing, repeated or not of its type")

// read reads one object, each member by its exact name. No error quotes a
// value, as those of encoding/json do (SPEC §3.4) [VLT-21] [VLT-25].
func (u *unknownMembers) read(raw []byte, known []member) error {
	members, err := decodeObject(raw)
	if err != nil {
		return errMember
	}
	for _, m := range known {
		value, found := members[m.name]
		delete(members, m.name)
		if m.absent != nil {
			if *m.absent = !found; !found {
				continue
			}
		}
		err := errMember // null, too, which encoding/json takes for nothing to read
		if string(value) != "null" {
			err = json.Unmarshal(value, m.at)
		}
		if err != nil && !errors.Is(err, errMember) {
			err = errMember
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	*u = members
	return nil
}

// write writes an object: the known members, then the unknown ones. Here alone
// a secret is written as JSON (SPEC §3.4) [VLT-26].
func (u unknownMembers) write(members []member) ([]byte, error) {
	for _, name := range slices.Sorted(maps.Keys(u)) {
		members = append(members, member{name, u[name], nil})
	}
	text := []byte{'{'}
	for _, m := range members {
		if m.absent != nil && *m.absent {
			continue
		}
		if value, ok := m.at.(*secret); ok {
			m.at = string(*value)
		}
		value, err := json.Marshal(m.at)
		if err != nil {
			return nil, err
		}
		grown := slices.Concat(text, encodeJSON(m.name), []byte{':'}, value, []byte{','})
		wipe(text)
		wipe(value)
		text = grown
	}
	return append(bytes.TrimSuffix(text, []byte{','}), '}'), nil
}

// halfPairText finds each escape of a JSON text, and in its group one that is half
// of a surrogate pair. encoding/json makes U+FFFD of that without a word, and
// a value would come back changed (SPEC §3.4) [VLT-25].
var halfPairText = lazily(`\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]|(u[dD][89a-fA-F])|.)`)

// decodeData reads and checks a plaintext, and overwrites it (SPEC §3).
func decodeData(plain []byte) (*vaultData, error) {
	defer wipe(plain)
	for _, at := range halfPairText().FindAllSubmatchIndex(plain, -1) {
		if at[2] >= 0 {
			return nil, errors.New("half of a surrogate pair")
		}
	}
	d := &vaultData{}
	err := d.read(bytes.TrimRight(plain, " "), d.members())
	if err == nil {
		err = d.check()
	}
	if err != nil {
		d.wipe()
		return nil, err
	}
	return d, nil
}

// encode checks the data and returns the plaintext, padded so that its length
// says little of the values'. Whoever gets it wipes it (SPEC §3.4) [VLT-20].
func (d *vaultData) encode() ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	text, err := d.write(d.members())
	if err != nil {
		return nil, err
	}
	defer wipe(text)
	plain := bytes.Repeat([]byte{' '}, (len(text)+padSize-1)/padSize*padSize)
	copy(plain, text)
	return plain, nil
}
