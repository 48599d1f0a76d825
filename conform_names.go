package main

// Tools that a subject calls otherwise than SPEC §9.2: what a case sends gets
// the subject's names, and what comes back the specification's.

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// tool returns the subject's names for a tool.
func (s *subject) tool(name string) *subjectTool {
	t := s.Tools[name]
	if t == nil {
		t = &subjectTool{}
	}
	if t.Name == "" {
		return &subjectTool{Name: name, Arguments: t.Arguments, Results: t.Results}
	}
	return t
}

// renamed returns an object with its members renamed, from the specification's
// names to the subject's or back.
func renamed(object map[string]json.RawMessage, names map[string]string, back bool) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(object))
	for name, value := range object {
		for ours, theirs := range names {
			if back {
				ours, theirs = theirs, ours
			}
			if name == ours {
				name = theirs
				break
			}
		}
		out[name] = value
	}
	return out
}

// listBack returns the answer to tools/list with the specification's names.
func (s *subject) listBack(raw json.RawMessage) json.RawMessage {
	var message any
	if decodeAny(raw, &message) != nil {
		return raw
	}
	list, _ := objectAt(message, "result")["tools"].([]any)
	for _, item := range list {
		object := objectAt(item)
		for name := range s.Tools {
			if t := s.tool(name); s.Tools[name] != nil && object["name"] == t.Name {
				object["name"] = name
				schemaBack(objectAt(object, "inputSchema"), t.Arguments)
				schemaBack(objectAt(object, "outputSchema"), t.Results)
				break
			}
		}
	}
	return encodeJSON(message)
}

// schemaBack renames the properties of a schema from the subject's names.
func schemaBack(schema map[string]any, names map[string]string) {
	back := map[string]string{}
	for ours, theirs := range names {
		back[theirs] = ours
	}
	properties := map[string]any{}
	for name, value := range objectAt(schema, "properties") {
		if ours, ok := back[name]; ok {
			name = ours
		}
		properties[name] = value
	}
	if schema["properties"] != nil {
		schema["properties"] = properties
	}
	required, _ := schema["required"].([]any)
	for i, name := range required {
		text, _ := name.(string)
		if ours, ok := back[text]; ok {
			required[i] = ours
		}
	}
}

// offers reports a tool of the subject file that is not in the server's list.
func (s *subject) offers(raw json.RawMessage) error {
	var message any
	decodeAny(raw, &message) // without a list there is nothing to say
	list, listed := objectAt(message, "result")["tools"].([]any)
	var names []string
	for _, item := range list {
		name, _ := objectAt(item)["name"].(string)
		names = append(names, name)
	}
	for _, ours := range slices.Sorted(maps.Keys(s.Tools)) {
		t := s.tool(ours)
		if listed && s.Tools[ours] != nil && !slices.Contains(names, t.Name) {
			return fmt.Errorf("tools.%s of the subject file: the server offers no tool %q; it offers %s",
				ours, t.Name, strings.Join(names, ", "))
		}
	}
	return nil
}

// callParams returns the parameters of tools/call with the subject's names.
func (s *subject) callParams(params map[string]json.RawMessage) map[string]json.RawMessage {
	name, err := decodeText(params["name"])
	if err != nil || toolNamed(name) == nil {
		return params
	}
	t := s.tool(name)
	params = maps.Clone(params)
	params["name"] = encodeJSON(t.Name)
	if args, err := decodeObject(params["arguments"]); err == nil && len(t.Arguments) > 0 {
		params["arguments"] = encodeJSON(renamed(args, t.Arguments, false))
	}
	return params
}
