package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// matchJSON compares a JSON text with a pattern and returns the first
// difference. The pattern is a subset: an object may have more members than it
// names, unless it has "$only":true. "*" is anything that is there, a string
// that begins with ~ a regular expression, {"$absent":true} a member that must
// not be there, "..." at the end of an array any further elements, and
// {"$some":[…]} an array in which each of these is somewhere.
func matchJSON(pattern string, got json.RawMessage) error {
	var want, is any
	if err := decodeAny([]byte(pattern), &want); err != nil {
		return faultf("the pattern %s is no JSON: %v", pattern, err)
	}
	if err := decodeAny(got, &is); err != nil {
		return fmt.Errorf("%q is no JSON: %v", cut(string(got), 200), err)
	}
	if err := matchValue("", want, is); err != nil {
		return fmt.Errorf("%w, in %s", err, cut(string(got), 1000))
	}
	return nil
}

// decodeAny keeps numbers as they were written.
func decodeAny(raw []byte, to *any) error {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	return d.Decode(to)
}

// matchValue compares one value; at is its JSON pointer.
func matchValue(at string, want, is any) error {
	switch want := want.(type) {
	case map[string]any:
		return matchObject(at, want, is)
	case []any:
		return matchArray(at, want, is)
	case string:
		return matchString(at, want, is)
	}
	if want != is {
		return mismatch(at, want, is)
	}
	return nil
}

func mismatch(at string, want, is any) error {
	if at == "" {
		at = "/"
	}
	return fmt.Errorf("%s is %s, want %s", at, cut(string(encodeJSON(is)), 200), cut(string(encodeJSON(want)), 200))
}

func matchString(at, want string, is any) error {
	if want == "*" {
		return nil
	}
	pattern, ok := strings.CutPrefix(want, "~")
	if !ok {
		if want != is {
			return mismatch(at, want, is)
		}
		return nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return faultf("the pattern %q: %v", want, err)
	}
	text, ok := is.(string)
	if !ok {
		text = string(encodeJSON(is))
	}
	if !re.MatchString(text) {
		return mismatch(at, want, is)
	}
	return nil
}

func matchObject(at string, want map[string]any, is any) error {
	if some, ok := want["$some"].([]any); ok {
		return matchSome(at, some, is)
	}
	object, ok := is.(map[string]any)
	if !ok {
		return mismatch(at, want, is)
	}
	if want["$only"] == true {
		want = maps.Clone(want)
		delete(want, "$only")
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if _, named := want[name]; !named {
				return fmt.Errorf("%s/%s is there", at, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		value, there := object[name]
		if rule, ok := want[name].(map[string]any); ok && rule["$absent"] == true {
			if there {
				return fmt.Errorf("%s/%s is there", at, name)
			}
			continue
		}
		if !there {
			return fmt.Errorf("%s/%s is not there", at, name)
		}
		if err := matchValue(at+"/"+name, want[name], value); err != nil {
			return err
		}
	}
	return nil
}

// matchSome wants each pattern matched by some element, in whatever order. It
// tells how the element that came closest differs: of one with the same name.
func matchSome(at string, want []any, is any) error {
	array, ok := is.([]any)
	if !ok {
		return mismatch(at, want, is)
	}
	for _, w := range want {
		found := mismatch(at, w, is)
		for i, element := range array {
			err := matchValue(fmt.Sprintf("%s/%d", at, i), w, element)
			if err == nil {
				found = nil
				break
			}
			if name := nameOf(w); name != "" && name == nameOf(element) {
				found = err
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

func nameOf(value any) string {
	object, _ := value.(map[string]any)
	name, _ := object["name"].(string)
	return name
}

func matchArray(at string, want []any, is any) error {
	array, ok := is.([]any)
	if !ok {
		return mismatch(at, want, is)
	}
	open := len(want) > 0 && want[len(want)-1] == "..."
	if open {
		want = want[:len(want)-1]
	}
	if len(array) < len(want) || !open && len(array) > len(want) {
		return fmt.Errorf("%s has %d elements, want %d", at, len(array), len(want))
	}
	for i, w := range want {
		if err := matchValue(fmt.Sprintf("%s/%d", at, i), w, array[i]); err != nil {
			return err
		}
	}
	return nil
}
