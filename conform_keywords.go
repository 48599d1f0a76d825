package main

// The keywords of JSON Schema that conform_schema.go compiles, each a rule that
// a value keeps or breaks. What is not the kind of value that a keyword speaks
// of keeps it.

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// schemaAnnotations say nothing about what is valid. "definitions" and "$defs" are
// read by compileSchema, "$schema" by checkDialect.
var schemaAnnotations = []string{"$comment", "$defs", "$schema", "default", "definitions",
	"deprecated", "description", "examples", "readOnly", "title", "writeOnly"}

// schemaKeywords are in the order in which they are applied: members before
// "required", so that an alternative that is another type of object is told by
// its "const" and not by what it lacks.
var schemaKeywords = []string{"$ref", "type", "const", "enum", "minimum", "maximum", "minLength",
	"maxLength", "pattern", "format", "minItems", "maxItems", "items", "properties",
	"required", "additionalProperties", "allOf", "anyOf", "oneOf"}

// keyword compiles one keyword of a schema; nil where it has no effect.
func (c *schemaCompiler) keyword(word string, schema map[string]any) (schemaRule, error) {
	raw := schema[word]
	switch word {
	case "$ref":
		return c.refRule(raw)
	case "type":
		return typeRule(raw)
	case "const":
		return enumRule(word, []any{raw}), nil
	case "enum":
		values, ok := raw.([]any)
		if !ok {
			return nil, errors.New("not an array")
		}
		return enumRule(word, values), nil
	case "minimum", "maximum":
		return limitRule(word, raw)
	case "minLength", "maxLength", "minItems", "maxItems":
		return sizeRule(word, raw)
	case "pattern":
		return patternRule(raw)
	case "format":
		return formatRule(raw)
	case "items":
		return c.itemsRule(raw)
	case "properties":
		return c.propertiesRule(raw)
	case "required":
		return requiredRule(raw)
	case "additionalProperties":
		return c.additionalRule(schema)
	}
	return c.combined(word, raw)
}

// refRule follows a reference inside the document. Nothing is ever fetched.
func (c *schemaCompiler) refRule(raw any) (schemaRule, error) {
	ref, ok := raw.(string)
	if !ok || !strings.HasPrefix(ref, "#") {
		return nil, fmt.Errorf("%q is outside this schema", fmt.Sprint(raw))
	}
	c.refs = append(c.refs, ref)
	return func(v *validation, value any) *schemaError {
		return v.check(c.definitions[ref], value)
	}, nil
}

var jsonTypes = []string{"array", "boolean", "integer", "null", "number", "object", "string"}

// typeOf names the type of a decoded value, in the words of JSON Schema.
func typeOf(value any) string {
	switch value := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case json.Number:
		if parseDecimal(value).whole() {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	}
	return fmt.Sprintf("%T", value)
}

func typeRule(raw any) (schemaRule, error) {
	types, err := textList(raw)
	if one, ok := raw.(string); ok {
		types, err = []string{one}, nil
	}
	if err != nil {
		return nil, err
	}
	for _, name := range types {
		if !slices.Contains(jsonTypes, name) {
			return nil, fmt.Errorf("unknown type %q", name)
		}
	}
	return func(_ *validation, value any) *schemaError {
		have := typeOf(value)
		if slices.Contains(types, have) || have == "integer" && slices.Contains(types, "number") {
			return nil
		}
		return violation("type", "want %s, have %s",
			strings.Join(types, " or "), have)
	}, nil
}

func enumRule(word string, values []any) schemaRule {
	return func(_ *validation, value any) *schemaError {
		for _, one := range values {
			if equalJSON(one, value) {
				return nil
			}
		}
		return violation(word, "%q is none of %q",
			cut(string(encodeJSON(value)), 64), cut(string(encodeJSON(values)), 200))
	}
}

func limitRule(word string, raw any) (schemaRule, error) {
	number, ok := raw.(json.Number)
	if !ok {
		return nil, errors.New("not a number")
	}
	limit := parseDecimal(number)
	return func(_ *validation, value any) *schemaError {
		n, ok := value.(json.Number)
		if !ok {
			return nil
		}
		if order := parseDecimal(n).compare(limit); order < 0 && word == "minimum" ||
			order > 0 && word == "maximum" {
			return violation(word, "%q is beyond %s", cut(string(n), 64), number)
		}
		return nil
	}, nil
}

func sizeRule(word string, raw any) (schemaRule, error) {
	number, _ := raw.(json.Number)
	limit, err := strconv.Atoi(string(number))
	if err != nil || limit < 0 {
		return nil, errors.New("not a size")
	}
	return func(_ *validation, value any) *schemaError {
		size, what := 0, "characters"
		switch value := value.(type) {
		case string:
			size = utf8.RuneCountInString(value)
		case []any:
			size, what = len(value), "items"
		}
		if typeOf(value) != "string" && strings.HasSuffix(word, "Length") ||
			typeOf(value) != "array" && strings.HasSuffix(word, "Items") {
			return nil
		}
		if size < limit && word[:3] == "min" || size > limit && word[:3] == "max" {
			return violation(word, "%d %s, the limit is %d", size, what, limit)
		}
		return nil
	}, nil
}

func patternRule(raw any) (schemaRule, error) {
	text, _ := raw.(string)
	re, err := regexp.Compile(text)
	if err != nil || raw != text {
		return nil, fmt.Errorf("%q is no regular expression that can be checked",
			cut(fmt.Sprint(raw), 64))
	}
	return onText("pattern", text, re.MatchString), nil
}

// onText is a rule that only strings can break.
func onText(rule, name string, fits func(string) bool) schemaRule {
	return func(_ *validation, value any) *schemaError {
		if text, ok := value.(string); ok && !fits(text) {
			return violation(rule, "%q is not %q", cut(text, 64), name)
		}
		return nil
	}
}

var uriTemplate = lazily(`^([^{}]|\{[^{}]+\})*$`)

// formatRule asserts the formats of the official schemas; to JSON Schema any
// other format is a remark.
func formatRule(raw any) (schemaRule, error) {
	switch name, ok := raw.(string); {
	case !ok:
		return nil, errors.New("not a string")
	case name == "byte":
		return onText("format", name, func(text string) bool {
			_, err := base64.StdEncoding.DecodeString(text)
			return err == nil && !strings.ContainsAny(text, "\r\n")
		}), nil
	case name == "uri":
		return onText("format", name, func(text string) bool {
			u, err := url.Parse(text)
			return err == nil && u.IsAbs() && !strings.ContainsAny(text, " \"<>\\^`{|}")
		}), nil
	case name == "uri-template":
		return onText("format", name, uriTemplate().MatchString), nil
	}
	return nil, nil
}

func (c *schemaCompiler) itemsRule(raw any) (schemaRule, error) {
	node, err := c.compile(raw)
	if err != nil {
		return nil, err
	}
	return func(v *validation, value any) *schemaError {
		items, _ := value.([]any)
		for i, item := range items {
			if err := v.check(node, item); err != nil {
				return err.below(strconv.Itoa(i))
			}
		}
		return nil
	}, nil
}

func (c *schemaCompiler) propertiesRule(raw any) (schemaRule, error) {
	members, ok := raw.(map[string]any)
	if !ok {
		return nil, errors.New("not an object")
	}
	names := slices.Sorted(maps.Keys(members)) // the same error every time
	nodes := make([]*schemaNode, len(names))
	for i, name := range names {
		var err error
		if nodes[i], err = c.compile(members[name]); err != nil {
			return nil, fmt.Errorf("%q: %w", name, err)
		}
	}
	return func(v *validation, value any) *schemaError {
		object, _ := value.(map[string]any)
		for i, name := range names {
			if member, there := object[name]; there {
				if err := v.check(nodes[i], member); err != nil {
					return err.below(name)
				}
			}
		}
		return nil
	}, nil
}

func requiredRule(raw any) (schemaRule, error) {
	names, err := textList(raw)
	if err != nil {
		return nil, err
	}
	return func(_ *validation, value any) *schemaError {
		object, ok := value.(map[string]any)
		for _, name := range names {
			if _, there := object[name]; ok && !there {
				return violation("required", "member %q is missing", name)
			}
		}
		return nil
	}, nil
}

func (c *schemaCompiler) additionalRule(schema map[string]any) (schemaRule, error) {
	node, err := c.compile(schema["additionalProperties"])
	if err != nil {
		return nil, err
	}
	named, _ := schema["properties"].(map[string]any)
	return func(v *validation, value any) *schemaError {
		object, _ := value.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if _, known := named[name]; known {
				continue
			}
			if err := v.check(node, object[name]); err != nil {
				return err.below(name)
			}
		}
		return nil
	}, nil
}

// combined compiles allOf, anyOf and oneOf.
func (c *schemaCompiler) combined(word string, raw any) (schemaRule, error) {
	schemas, ok := raw.([]any)
	if !ok || len(schemas) == 0 {
		return nil, errors.New("not an array of schemas")
	}
	nodes := make([]*schemaNode, len(schemas))
	for i, schema := range schemas {
		var err error
		if nodes[i], err = c.compile(schema); err != nil {
			return nil, fmt.Errorf("%d: %w", i, err)
		}
	}
	return func(v *validation, value any) *schemaError {
		fit := 0
		var nearest *schemaError
		for _, node := range nodes {
			err := v.check(node, value)
			if err == nil {
				fit++
			} else if word == "allOf" {
				return err
			} else if nearest == nil || nearest.rule == "const" {
				nearest = err // another "const" is another kind of thing
			}
			if err == nil && word == "anyOf" {
				return nil
			}
		}
		switch {
		case word == "allOf", fit == 1:
			return nil
		case fit == 0:
			return violation(word, "none of %d alternatives fits, "+
				"the nearest fails %v", len(nodes), nearest)
		}
		return violation(word, "%d alternatives fit, not one", fit)
	}, nil
}

func textList(raw any) ([]string, error) {
	values, ok := raw.([]any)
	texts := make([]string, len(values))
	for i, value := range values {
		text, isText := value.(string)
		texts[i], ok = text, ok && isText
	}
	if !ok {
		return nil, errors.New("not an array of strings")
	}
	return texts, nil
}
