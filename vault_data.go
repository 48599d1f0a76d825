package main

// What a vault holds, in memory and as JSON (SPEC §3):
//
//	{"environments":[{"id":B64(16),"name":…,"created":RFC3339,"changed":RFC3339,
//	   "variables":[{"name":…,"value":…,"concealed":true},…],
//	   "mounts":[{"path":…,"dialect":…,"enabled":true,"excluded":false},…]},…],
//	 "audit":{"number":N,"mac":B64(32) or "","keys":[{"through":N,"key":B64(32)},…]},
//	 "remember":{…any names…: any texts}}
//
// Every member is required, save that a placeholder has no "value". Whitespace
// and order are free. Repeated members of the objects above, remember's own
// apart, and halves of surrogate pairs are refused. Unknown members are kept at
// every level, unread, and written back: a newer keepmum may have put them
// there.

import (
	"bytes"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	maxVariableName    = 256
	maxValue           = 64 << 10
	maxEnvironmentName = 128
)

// variable is a name with a value, or a placeholder that waits for one.
type variable struct {
	name                   string
	value                  secret // never changed in place: clones share it
	placeholder, concealed bool
	unknownMembers
}

// mount is a path at which an Environment is served.
type mount struct {
	path, dialect     string
	enabled, excluded bool // excluded: we added it to Git's local exclude file
	unknownMembers
}

// environment is a named set of variables, in the person's order.
type environment struct {
	id               [idSize]byte
	name             string
	created, changed time.Time // changed is set by who changes
	variables        []*variable
	mounts           []*mount
	unknownMembers
}

// auditMemory is the end of the audit as it was at the last save (SPEC §10).
type auditMemory struct {
	number uint64
	mac    []byte         // none before the first line
	keys   []*oldAuditKey // never changed in place
	unknownMembers
}

// oldAuditKey checks the audit lines up to a change of passphrase (SPEC §10).
type oldAuditKey struct {
	through uint64 // the last line under this key
	key     []byte
	unknownMembers
}

// vaultData is the plaintext of a vault (SPEC §3).
type vaultData struct {
	environments []*environment
	audit        auditMemory
	remember     map[string]string // what the keeper must not forget
	unknownMembers
}

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").
	WithPadding(base32.NoPadding)

func newID() [idSize]byte { return [idSize]byte(randomBytes(idSize)) }

// idText returns the 26 characters that stand for an Environment (SPEC §3.4)
// [VLT-29].
func idText(id [idSize]byte) string { return base32Lower.EncodeToString(id[:]) }

// accountID returns the 26 characters that stand for a vault (SPEC §3.4)
// [VLT-29].
func accountID(id [idSize]byte) string { return strings.ToUpper(idText(id)) }

var variableName = lazily(`^[A-Za-z_][A-Za-z0-9_]*$`)

// validVariableName checks a variable's name. Whatever a shell would not take
// as a name is refused, since the text may be sourced; it is not quoted, as it
// may be NAME=VALUE (SPEC §3.4) [VLT-27].
func validVariableName(name string) error {
	if len(name) > maxVariableName || !variableName().MatchString(name) {
		return fmt.Errorf("malformed variable name: want letters, digits and _, no digit first,"+
			" at most %d bytes", maxVariableName)
	}
	return nil
}

// validValue checks a value and says nothing of it (SPEC §3.4) [VLT-27].
func validValue(value secret) error {
	switch {
	case len(value) > maxValue:
		return fmt.Errorf("value too long: at most %d KiB", maxValue>>10)
	case bytes.IndexByte(value, 0) >= 0:
		return errors.New("value contains NUL, which no environment can hold: store it as base64")
	case !utf8.Valid(value):
		return errors.New("value is not UTF-8: store it as base64")
	}
	return nil
}

func validVariable(name string, value secret) error {
	if err := validVariableName(name); err != nil {
		return err
	}
	if err := validValue(value); err != nil {
		return fmt.Errorf("variable %q: %w", name, err)
	}
	return nil
}

// validEnvironmentName refuses names that could be shown as something else:
// control, bidirectional and zero-width characters, spaces at the ends
// (SPEC §3.4) [VLT-27].
func validEnvironmentName(name string) error {
	if name == "" || len(name) > maxEnvironmentName || strings.Trim(name, " ") != name ||
		!utf8.ValidString(name) || strings.ContainsFunc(name, unseen) {
		return fmt.Errorf("malformed Environment name %+q: want 1 to %d bytes, printable,"+
			" no space at either end", name, maxEnvironmentName)
	}
	return nil
}

// unseen reports characters that show nothing or change what is around them.
// IsPrint has no format characters, yet fillers, joiners and selectors.
func unseen(r rune) bool {
	return !unicode.IsPrint(r) ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// environmentByID returns the Environment with this id, or nil.
func (d *vaultData) environmentByID(text string) *environment {
	return find(d.environments, func(e *environment) bool { return idText(e.id) == text })
}

// environmentByName returns the Environment with this name, or nil.
func (d *vaultData) environmentByName(name string) *environment {
	return find(d.environments, func(e *environment) bool { return e.name == name })
}

// find returns the first that matches, or nil.
func find[T any](list []*T, match func(*T) bool) *T {
	if i := slices.IndexFunc(list, match); i >= 0 {
		return list[i]
	}
	return nil
}

// setOf returns what is in the list, for whoever asks often.
func setOf(list []string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, s := range list {
		set[s] = true
	}
	return set
}

// freeName refuses a name that is not valid or that another Environment has.
func (d *vaultData) freeName(name string) error {
	if err := validEnvironmentName(name); err != nil {
		return err
	}
	if d.environmentByName(name) != nil {
		return fmt.Errorf("there is an Environment %q already", name)
	}
	return nil
}

// addEnvironment makes an Environment without variables.
func (d *vaultData) addEnvironment(name string, now time.Time) (*environment, error) {
	if err := d.freeName(name); err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second)
	e := &environment{id: newID(), name: name, created: now, changed: now}
	d.environments = append(d.environments, e)
	return e, nil
}

// rename gives e, one of d's, another name. Its own name again is not an error.
func (d *vaultData) rename(e *environment, name string) error {
	if e.name == name {
		return nil
	}
	if err := d.freeName(name); err != nil {
		return err
	}
	e.name = name
	return nil
}

// remove takes e out of d.
func (d *vaultData) remove(e *environment) {
	d.environments = slices.DeleteFunc(d.environments, func(o *environment) bool { return o == e })
}

// variable returns the variable with this name, or nil.
func (e *environment) variable(name string) *variable {
	return find(e.variables, func(v *variable) bool { return v.name == name })
}

// set adds a variable at the end or updates it in its place, and reports
// whether it was added. A nil value makes a placeholder, an empty one does not.
func (e *environment) set(name string, value secret, concealed bool) (added bool, err error) {
	if err := validVariable(name, value); err != nil {
		return false, err
	}
	v := e.variable(name)
	if added = v == nil; added {
		v = e.add(name)
	}
	v.put(value, concealed)
	return added, nil
}

// add makes a variable at the end, where there is none of that name.
func (e *environment) add(name string) *variable {
	v := &variable{name: name}
	e.variables = append(e.variables, v)
	return v
}

// put gives the variable a value; nil makes it a placeholder.
func (v *variable) put(value secret, concealed bool) {
	v.value, v.placeholder, v.concealed = value, value == nil, concealed
}

// unset removes a variable and reports whether there was one.
func (e *environment) unset(name string) bool {
	before := len(e.variables)
	e.variables = slices.DeleteFunc(e.variables, func(v *variable) bool { return v.name == name })
	return len(e.variables) < before
}

// byName has the variables by name, for whoever looks up many: there may be
// 200,000.
func (e *environment) byName() map[string]*variable {
	m := make(map[string]*variable, len(e.variables))
	for _, v := range e.variables {
		m[v.name] = v
	}
	return m
}

func (e *environment) names() []string {
	names := make([]string, len(e.variables))
	for i, v := range e.variables {
		names[i] = v.name
	}
	return names
}

// clone returns a copy that can be changed without touching d. Values and
// unknown members are shared: neither is ever changed in place.
func (d *vaultData) clone() *vaultData {
	c := *d
	c.environments = cloneEach(d.environments)
	for _, e := range c.environments {
		e.variables = cloneEach(e.variables)
		e.mounts = cloneEach(e.mounts)
	}
	c.audit.keys = cloneEach(d.audit.keys)
	c.remember = maps.Clone(d.remember)
	return &c
}

// cloneEach copies a slice of pointers and what they point to.
func cloneEach[T any](from []*T) []*T {
	to := make([]*T, len(from))
	for i, p := range from {
		c := *p
		to[i] = &c
	}
	return to
}

// wipe overwrites every value and key. Nothing that shares them may be used
// afterwards.
func (d *vaultData) wipe() {
	for _, e := range d.environments {
		for _, v := range e.variables {
			wipe(v.value)
		}
	}
	for _, k := range d.audit.keys {
		wipe(k.key)
	}
}

// check applies the rules of SPEC §3.4 to everything, on reading and on writing
// [VLT-27].
func (d *vaultData) check() error {
	if n := len(d.audit.mac); n != 0 && n != auditSize {
		return fmt.Errorf("audit: mac is not %d bytes", auditSize)
	}
	for _, k := range d.audit.keys {
		if len(k.key) != auditSize {
			return fmt.Errorf("audit: a key is not %d bytes", auditSize)
		}
	}
	names, ids := map[string]bool{}, map[[idSize]byte]bool{}
	for i, e := range d.environments {
		if err := e.check(); err != nil {
			return fmt.Errorf("environments[%d]: %w", i, err)
		}
		if names[e.name] || ids[e.id] {
			return fmt.Errorf("environments[%d]: name or id twice", i)
		}
		names[e.name], ids[e.id] = true, true
	}
	return nil
}

func (e *environment) check() error {
	if err := validEnvironmentName(e.name); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, v := range e.variables {
		if err := validVariable(v.name, v.value); err != nil {
			return err
		}
		if seen[v.name] {
			return fmt.Errorf("variable %q: twice", v.name)
		}
		seen[v.name] = true
	}
	for _, m := range e.mounts {
		if !filepath.IsAbs(m.path) || strings.ContainsRune(m.path, 0) || !utf8.ValidString(m.path) {
			return fmt.Errorf("mount %q: not an absolute path in UTF-8", m.path)
		}
	}
	return nil
}
