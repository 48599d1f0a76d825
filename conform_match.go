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
// not be there, {"$may":…} one that may be missing, "..." at the end of an array
// any further elements, {"$some":[…]} an array in which each of these is
// somewhere, and {"$each":…} one of which every element is like this.
func matchJSON(pattern string, got json.RawMessage) error {
	var want, is any
	if err := decodeAny([]byte(pattern), &want); err != nil {
		return faultf("the pattern %s is no JSON: %v", pattern, err)
	}
	if err := decodeAny(got, &is); err != nil {
		return fmt.Errorf("%q is no JSON: %v", cut(string(got), 200), err)
	}
	if err := matchValue("", want, is); err != nil {
		return fmt.Errorf("%w, in %s", err, cut(string(got), 400))
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
	if each, ok := want["$each"]; ok {
		return matchEach(at, each, is)
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
		if err := matchMember(at+"/"+name, want[name], object, name); err != nil {
			return err
		}
	}
	return nil
}

// matchMember compares a member that must be there, may be, or must not.
func matchMember(at string, want any, object map[string]any, name string) error {
	value, there := object[name]
	rule, _ := want.(map[string]any)
	may, optional := rule["$may"]
	switch {
	case rule["$absent"] == true && there:
		return fmt.Errorf("%s is there", at)
	case rule["$absent"] == true || optional && !there:
		return nil
	case optional:
		return matchValue(at, may, value)
	case !there:
		return fmt.Errorf("%s is not there", at)
	}
	return matchValue(at, want, value)
}

// matchSome wants each pattern matched by some element, in whatever order. It
// tells how the element that came closest differs.
func matchSome(at string, want []any, is any) error {
	array, ok := is.([]any)
	if !ok {
		return mismatch(at, want, is)
	}
	for _, w := range want {
		found := fmt.Errorf("%s is empty, want an element like %s", at, cut(string(encodeJSON(w)), 200))
		best := -1
		for i, element := range array {
			err := matchValue(fmt.Sprintf("%s/%d", at, i), w, element)
			if err == nil {
				found = nil
				break
			}
			if near := closeness(w, element); near > best {
				best = near
				found = fmt.Errorf("%w; of %d elements this comes closest to %s", err, len(array),
					cut(string(encodeJSON(w)), 200))
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// closeness is how much of a pattern a value has. A name outweighs all.
func closeness(want, is any) (near int) {
	pattern, ok := want.(map[string]any)
	if !ok {
		if matchValue("", want, is) == nil {
			return 1
		}
		return 0
	}
	object, _ := is.(map[string]any)
	for name := range pattern {
		if value, there := object[name]; there {
			near += 1 + closeness(pattern[name], value)
			if name == "name" && matchValue("", pattern[name], value) == nil {
				near += 1000
			}
		}
	}
	return near
}

// matchEach wants every element to match.
func matchEach(at string, want, is any) error {
	array, ok := is.([]any)
	if !ok || len(array) == 0 {
		return mismatch(at, []any{want, "..."}, is)
	}
	for i, element := range array {
		if err := matchValue(fmt.Sprintf("%s/%d", at, i), want, element); err != nil {
			return err
		}
	}
	return nil
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
