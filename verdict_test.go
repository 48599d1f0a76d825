package main

// With -verdicts FILE a run leaves what its bridges wrote, and what our validator
// says of it, for scripts/clients.sh to compare with another validator (SPEC §9).

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
)

// heldValue is one value, the definition that it was held against, and whether it
// passed. Made is what was made of a message of the bridge by one change.
type heldValue struct {
	Revision   string `json:"revision"`
	Method     string `json:"method"` // of the request or the notification
	Definition string `json:"definition"`
	Value      any    `json:"value"`
	Valid      bool   `json:"valid"`
	Made       bool   `json:"made"`
}

var verdicts struct {
	sync.Mutex
	seen map[string]bool
	file *os.File
}

// noteVerdicts writes the messages of a tape, and of every one that is new also
// each with one member or item left out or replaced.
func noteVerdicts(tape string) {
	verdicts.Lock()
	defer verdicts.Unlock()
	c := newMessageCheck()
	for line := range strings.Lines(tape) {
		mark, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch mark {
		case ">":
			c.sent([]byte(rest))
		case "<":
			for _, part := range partsOf(rest) {
				for _, v := range c.verdictsOn(part) {
					writeVerdict(v)
				}
			}
			c.received([]byte(rest))
		}
	}
}

// verdictsOn finds what a message is to be held against: the envelope, and what
// is in it.
func (c *messageCheck) verdictsOn(part any) (all []heldValue) {
	m, _ := part.(map[string]any)
	method, revision := "", c.session()
	if method, _ = m["method"].(string); method == "" {
		open := c.open[idKey(m["id"])]
		if i := slices.IndexFunc(open, func(r *openRequest) bool { return !r.cancelled }); len(open) > 0 {
			method, revision = open[max(i, 0)].method, c.revisionOf(open[max(i, 0)])
		}
	}
	result := objectAt(m, "result")
	if agreed, ok := result["protocolVersion"].(string); ok && method == "initialize" {
		revision = agreed
	}
	s, err := schemaFor(revision)
	if err != nil {
		return nil // asked in a revision that nobody has
	}
	add := func(definition string, value any) {
		if s.definitions[definition] != nil {
			all = append(all, heldValue{Revision: revision, Method: method, Definition: definition, Value: value})
		}
	}
	add("JSONRPCMessage", m)
	switch {
	case m["method"] != nil:
		add(s.notices[method], m)
	case result != nil:
		add(s.results[method], result)
	default:
		add("JSONRPCError", m)
		add("JSONRPCErrorResponse", m)
		code, _ := objectAt(m, "error")["code"].(json.Number)
		add(s.errors[string(code)], m)
	}
	return all
}

// writeVerdict adds a value to the file, unless one of its form is there: the
// same but for texts and numbers.
func writeVerdict(v heldValue) {
	if verdicts.file == nil {
		verdicts.seen = map[string]bool{}
		var err error
		if verdicts.file, err = os.Create(*verdictFile); err != nil {
			panic(err)
		}
	}
	put := func(v heldValue) {
		s, _ := schemaFor(v.Revision)
		v.Valid = s.valid(v.Definition, v.Value) == nil
		verdicts.file.Write(append(encodeJSON(v), '\n'))
	}
	put(v)
	key := fmt.Sprint(v.Revision, " ", v.Method, " ", v.Definition, " ", formOf(v.Value))
	if !verdicts.seen[key] {
		verdicts.seen[key] = true
		for _, changed := range changedOnce(v.Value) {
			made := v
			made.Value, made.Made = changed, true
			put(made)
		}
	}
}

// formOf is a value without what its texts and numbers say.
func formOf(value any) string {
	switch value := value.(type) {
	case map[string]any:
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(value)) {
			parts = append(parts, name+":"+formOf(value[name]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case []any:
		var parts []string
		for _, item := range value {
			parts = append(parts, formOf(item))
		}
		slices.Sort(parts)
		return "[" + strings.Join(slices.Compact(parts), ",") + "]"
	}
	return fmt.Sprintf("%T", value)
}

// changedOnce returns a value with one place changed, in every place: a member
// or item left out, or of another type. Of an array's items the first stands for
// all.
func changedOnce(value any) (all []any) {
	for _, other := range []any{nil, true, json.Number("-1"), json.Number("0.5"), "other", []any{}, map[string]any{}} {
		all = append(all, other)
	}
	switch value := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			without := maps.Clone(value)
			delete(without, name)
			all = append(all, without)
			for _, changed := range changedOnce(value[name]) {
				with := maps.Clone(value)
				with[name] = changed
				all = append(all, with)
			}
		}
	case []any:
		if len(value) > 0 {
			for _, changed := range changedOnce(value[0]) {
				all = append(all, append([]any{changed}, value[1:]...))
			}
		}
	}
	return all
}
