package main

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// shownSecret is what is shown in place of a secret.
const shownSecret = "[secret]"

// secret is a value that must not be shown: fmt prints [secret] for every verb
// but %p and encoding/json refuses it, so that a value that strays into a
// message, a log line or a reply stays unread. fmt does not ask the methods of
// unexported fields: a type with a secret in one has a Format of its own
// (SPEC §12).
type secret []byte

func (secret) String() string { return shownSecret }

func (secret) GoString() string { return shownSecret }

// Format serves the verbs that ask neither String nor GoString, such as %x.
func (secret) Format(f fmt.State, _ rune) { io.WriteString(f, shownSecret) }

func (secret) MarshalJSON() ([]byte, error) {
	return nil, errors.New("internal error: a secret is not written as JSON")
}

// UnmarshalText lets encoding/json read a secret without making a string of
// it: a string cannot be wiped.
func (s *secret) UnmarshalText(text []byte) error {
	*s = append(secret{}, text...)
	return nil
}

// wipe overwrites b.
func wipe(b []byte) { clear(b) }

// lockedBytes returns n zero bytes outside the Go heap, which the collector
// never copies and the system, where its limit allows, never swaps out. The
// limit is small for ordinary users on many systems, so a refusal is not an
// error. Give them back with wipeLocked (SPEC §4) [KPR-14].
func lockedBytes(n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n)
	}
	_ = unix.Mlock(b)
	return b
}

// wipeLocked overwrites what lockedBytes returned and gives it back. No copy
// of the slice may be used afterwards.
func wipeLocked(b []byte) {
	wipe(b)
	// It knows its own mappings and refuses the fallback's heap memory.
	_ = unix.Munmap(b)
}

// lockedCopy moves b to locked memory and wipes it.
func lockedCopy(b []byte) []byte {
	defer wipe(b)
	locked := lockedBytes(len(b))
	copy(locked, b)
	return locked
}

var _ fmt.Formatter = secret(nil)
