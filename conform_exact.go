package main

// JSON values as they were written: numbers keep their digits, and what two
// parsers could understand differently is refused (SPEC §9).

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decodeExact decodes one JSON value. A repeated member is refused at every
// depth, and so is half of a surrogate pair, which ends the session of a client
// with a strict parser. json.Valid bounds the depth.
func decodeExact(raw []byte) (any, error) {
	if !utf8.Valid(raw) || !json.Valid(raw) {
		return nil, errNotJSON
	}
	if hasHalfPair(raw) {
		return nil, errors.New("half of a surrogate pair")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	return exactValue(d)
}

func exactValue(d *json.Decoder) (any, error) {
	token, err := d.Token()
	switch {
	case err != nil:
		return nil, err
	case token == json.Delim('{'):
		return exactObject(d)
	case token != json.Delim('['):
		return token, nil
	}
	items := []any{}
	for d.More() {
		item, err := exactValue(d)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	_, err = d.Token() // the bracket
	return items, err
}

func exactObject(d *json.Decoder) (any, error) {
	members := map[string]any{}
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, errNotJSON
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("member %q is there twice", cut(name, 64))
		}
		if members[name], err = exactValue(d); err != nil {
			return nil, err
		}
	}
	_, err := d.Token() // the brace
	return members, err
}

// hasHalfPair reports an escape of one half of a surrogate pair without the
// other. The text is valid JSON, so backslashes are in strings only.
func hasHalfPair(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		switch unit := escapedUnit(raw[i:]); {
		case unit>>10 == 0xDC00>>10:
			return true
		case unit>>10 == 0xD800>>10:
			if escapedUnit(raw[i+6:])>>10 != 0xDC00>>10 {
				return true
			}
			i += 11
		default:
			i++ // what follows the backslash may be another
		}
	}
	return false
}

// escapedUnit reads an escape such as \u00e9, or returns 0.
func escapedUnit(raw []byte) uint64 {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0
	}
	unit, _ := strconv.ParseUint(string(raw[2:6]), 16, 16)
	return unit
}

// decimal is a number without its spelling: 0.digits × 10^exponent, and no zero
// at either end of the digits. Zero has none. It stays small whatever the
// exponent, where big.Rat would write 1e999999999 out.
type decimal struct {
	negative bool
	digits   string
	exponent int64
}

const exponentLimit = 1 << 40 // where two numbers beyond are the same to us

func parseDecimal(number json.Number) decimal {
	text, negative := strings.CutPrefix(string(number), "-")
	var exponent int64
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		exponent, _ = strconv.ParseInt(text[i+1:], 10, 64) // out of range: the nearest
		exponent = min(max(exponent, -exponentLimit), exponentLimit)
		text = text[:i]
	}
	whole, fraction, _ := strings.Cut(text, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	exponent += int64(len(digits) - len(fraction))
	digits = strings.TrimRight(digits, "0")
	if digits == "" {
		return decimal{}
	}
	return decimal{negative, digits, exponent}
}

// whole reports a number without a fraction: 1.0 is an integer to JSON Schema.
func (d decimal) whole() bool { return int64(len(d.digits)) <= d.exponent }

func (d decimal) sign() int {
	switch {
	case d.digits == "":
		return 0
	case d.negative:
		return -1
	}
	return 1
}

// compare orders two numbers as cmp.Compare does.
func (d decimal) compare(e decimal) int {
	if d.sign() != e.sign() || d.sign() == 0 {
		return d.sign() - e.sign()
	}
	order := strings.Compare(d.digits, e.digits)
	if d.exponent < e.exponent {
		order = -1
	} else if d.exponent > e.exponent {
		order = 1
	}
	return order * d.sign()
}

// equalJSON compares two decoded values: numbers by what they are worth, arrays
// in order, objects in none.
func equalJSON(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		return ok && parseDecimal(a) == parseDecimal(b)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equalJSON)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, equalJSON)
	}
	switch b.(type) {
	case []any, map[string]any:
		return false
	}
	return a == b
}
