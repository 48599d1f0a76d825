package main

// A small JSON Schema validator: what the official schemas of MCP use, in
// draft-07 and in 2020-12, and a little more for the schemas of tools. A
// keyword that is not known is an error when a schema is read, since a rule
// that is skipped looks like a rule that was kept (SPEC §9).

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
)

//go:embed conform/schema/*.json
var schemaFiles embed.FS

const (
	schemaSteps = 1 << 20 // visits to a schema while one value is checked
	schemaDepth = 512     // schemas inside one another
)

// schemaError says where in a value which rule was broken. The pointer is RFC
// 6901's.
type schemaError struct {
	pointer, rule, text string
}

func (e *schemaError) Error() string {
	return fmt.Sprintf("at %q: %s: %s", e.pointer, e.rule, e.text)
}

func broken(rule, format string, args ...any) *schemaError {
	return &schemaError{rule: rule, text: fmt.Sprintf(format, args...)}
}

// below puts the name of a member or item in front of the pointer.
func (e *schemaError) below(name string) *schemaError {
	if e != nil {
		e.pointer = "/" + pointerEscape.Replace(name) + e.pointer
	}
	return e
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

// schemaNode is one compiled schema: the rules that a value has to pass.
type schemaNode struct {
	rules []schemaRule
}

type schemaRule func(v *validation, value any) *schemaError

// validation is the work on one value. It is bounded, because the schemas of
// tools come from the server: a $ref to itself would never end, and
// alternatives inside alternatives would take for ever (SPEC §9).
type validation struct {
	steps, depth int
}

func (v *validation) check(n *schemaNode, value any) *schemaError {
	v.steps++
	if v.spent() {
		return broken("limit", "the schema takes too much work")
	}
	v.depth++
	defer func() { v.depth-- }()
	for _, rule := range n.rules {
		if err := rule(v, value); err != nil {
			return err
		}
	}
	return nil
}

func (v *validation) spent() bool { return v.steps > schemaSteps || v.depth > schemaDepth }

// valid holds a value, as decodeExact returns it, against the schema. Running
// out of steps inside an alternative is an error too, whatever became of it.
func (n *schemaNode) valid(value any) error {
	v := new(validation)
	err := v.check(n, value)
	if err == nil && v.steps > schemaSteps {
		err = broken("limit", "the schema takes too much work")
	}
	if err != nil {
		return err // a nil *schemaError would not be a nil error
	}
	return nil
}

// schemaCompiler turns one document into nodes. References are looked up by
// name when they are followed, and must all exist in the end.
type schemaCompiler struct {
	definitions map[string]*schemaNode
	refs        []string
}

// compileSchema compiles a whole schema with its definitions (SPEC §9).
func compileSchema(raw any) (*schemaNode, map[string]*schemaNode, error) {
	c := &schemaCompiler{definitions: map[string]*schemaNode{}}
	root, err := c.compile(raw)
	if err != nil {
		return nil, nil, err
	}
	c.definitions["#"] = root
	document, _ := raw.(map[string]any)
	for _, place := range []string{"definitions", "$defs"} {
		members, ok := document[place].(map[string]any)
		if !ok && document[place] != nil {
			return nil, nil, fmt.Errorf("%q is not an object", place)
		}
		for name, schema := range members {
			node, err := c.compile(schema)
			if err != nil {
				return nil, nil, fmt.Errorf("definition %q: %w", name, err)
			}
			c.definitions["#/"+place+"/"+name] = node
		}
	}
	for _, ref := range c.refs {
		if c.definitions[ref] == nil {
			return nil, nil, fmt.Errorf("$ref %q leads nowhere in this schema", ref)
		}
	}
	return root, c.definitions, nil
}

// compile reads one schema. A name that begins with "x-" is the mark of an
// extension.
func (c *schemaCompiler) compile(raw any) (*schemaNode, error) {
	if raw == true {
		return new(schemaNode), nil
	}
	if raw == false {
		return &schemaNode{[]schemaRule{neverValid}}, nil
	}
	schema, ok := raw.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("a schema is an object, true or false, not %s", typeOf(raw))
	}
	for _, word := range slices.Sorted(maps.Keys(schema)) {
		if !slices.Contains(schemaKeywords, word) && !slices.Contains(schemaAnnotations, word) &&
			!strings.HasPrefix(word, "x-") {
			return nil, fmt.Errorf("unknown keyword %q", word)
		}
	}
	if err := checkDialect(schema); err != nil {
		return nil, err
	}
	n := new(schemaNode)
	for _, word := range schemaKeywords {
		if _, there := schema[word]; !there {
			continue
		}
		rule, err := c.keyword(word, schema)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", word, err)
		}
		if rule != nil {
			n.rules = append(n.rules, rule)
		}
	}
	return n, nil
}

func neverValid(*validation, any) *schemaError {
	return broken("false", "nothing is allowed here")
}

// checkDialect refuses a schema in a language of its own: "unknown dialect".
func checkDialect(schema map[string]any) error {
	dialect, ok := schema["$schema"]
	if !ok {
		return nil
	}
	text, _ := dialect.(string)
	switch strings.TrimSuffix(text, "#") {
	case "http://json-schema.org/draft-07/schema", "https://json-schema.org/draft/2020-12/schema":
		return nil
	}
	return fmt.Errorf("unknown $schema %q", text)
}

// mcpSchema is the official schema of one revision, and what it says about
// which message belongs to which definition.
type mcpSchema struct {
	revision    string
	definitions map[string]*schemaNode
	results     map[string]string // a request's method: the definition of its result
	mayAsk      map[string]bool   // methods that may be answered by InputRequiredResult
	requests    map[string]string // of the server, by method
	notices     map[string]string // the notifications of the server, by method
	errors      map[string]string // codes with a definition of their own
}

var (
	schemaLock   sync.Mutex
	schemaLoaded = map[string]*mcpSchema{}
)

// schemaFor returns the schema of a revision. Each is compiled once.
func schemaFor(revision string) (*mcpSchema, error) {
	schemaLock.Lock()
	defer schemaLock.Unlock()
	if s := schemaLoaded[revision]; s != nil {
		return s, nil
	}
	text, err := schemaFiles.ReadFile("conform/schema/" + revision + ".json")
	if err != nil {
		return nil, fmt.Errorf("no schema for revision %q: there are %s",
			cut(revision, 64), strings.Join(schemaRevisions(), ", "))
	}
	s, err := loadSchema(revision, text)
	if err != nil {
		return nil, fmt.Errorf("schema of revision %q: %w", revision, err)
	}
	schemaLoaded[revision] = s
	return s, nil
}

// schemaRevisions lists the revisions that have a schema, oldest first.
func schemaRevisions() []string {
	files, err := fs.Glob(schemaFiles, "conform/schema/*.json")
	if err != nil {
		panic(err) // the pattern is ours
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(path.Base(file), ".json")
	}
	return files
}

// loadSchema compiles a schema file. The published JSONValue leaves out null
// and fractions, which the protocol's text has: any value is taken for it.
func loadSchema(revision string, text []byte) (*mcpSchema, error) {
	raw, err := decodeExact(text)
	if err != nil {
		return nil, err
	}
	definitions := objectAt(raw, "definitions")
	if definitions == nil {
		definitions = objectAt(raw, "$defs")
	}
	if definitions["JSONValue"] != nil {
		definitions["JSONValue"] = true
	}
	_, nodes, err := compileSchema(raw)
	if err != nil {
		return nil, err
	}
	s := &mcpSchema{revision: revision, definitions: map[string]*schemaNode{},
		results: map[string]string{}, mayAsk: map[string]bool{}, errors: map[string]string{}}
	for ref, node := range nodes {
		s.definitions[ref[strings.LastIndex(ref, "/")+1:]] = node
	}
	s.requests = methodsOf(definitions, "ServerRequest")
	s.notices = methodsOf(definitions, "ServerNotification")
	s.readResults(definitions)
	s.readErrors(definitions)
	if len(s.results) == 0 || len(s.notices) == 0 {
		return nil, errors.New("no ClientRequest or no ServerNotification")
	}
	return s, nil
}

// readResults finds the definition of each method's result, which the schemas
// tie together by name alone: ListToolsRequest has ListToolsResult, and where
// there is no such definition the result is empty.
func (s *mcpSchema) readResults(definitions map[string]any) {
	for method, request := range methodsOf(definitions, "ClientRequest") {
		name := strings.TrimSuffix(request, "Request")
		s.results[method] = "EmptyResult"
		if definitions[name+"Result"] != nil {
			s.results[method] = name + "Result"
		}
		response := objectAt(definitions, name+"ResultResponse", "properties", "result")
		for _, one := range refsOf(response) {
			if one == "InputRequiredResult" {
				s.mayAsk[method] = true
			}
		}
	}
}

// readErrors finds the definitions of error answers that fix a code.
func (s *mcpSchema) readErrors(definitions map[string]any) {
	for name := range definitions {
		parts, _ := objectAt(definitions, name, "properties", "error")["allOf"].([]any)
		for _, part := range parts {
			if code, ok := objectAt(part, "properties", "code")["const"].(json.Number); ok {
				s.errors[string(code)] = name
			}
		}
	}
}

// methodsOf lists the alternatives of a definition by their "method".
func methodsOf(definitions map[string]any, union string) map[string]string {
	methods := map[string]string{}
	for _, name := range refsOf(objectAt(definitions, union)) {
		if method, ok := objectAt(definitions, name, "properties", "method")["const"].(string); ok {
			methods[method] = name
		}
	}
	return methods
}

// refsOf names the definitions that an anyOf, or a $ref alone, leads to.
func refsOf(schema map[string]any) (names []string) {
	alternatives, _ := schema["anyOf"].([]any)
	for _, one := range append(alternatives, schema) {
		if ref, ok := objectAt(one)["$ref"].(string); ok {
			names = append(names, ref[strings.LastIndex(ref, "/")+1:])
		}
	}
	return names
}

// objectAt follows names through objects; nil if something else is there.
func objectAt(value any, names ...string) map[string]any {
	object, _ := value.(map[string]any)
	for _, name := range names {
		object, _ = object[name].(map[string]any)
	}
	return object
}

// valid holds a value, as decodeExact returns it, against a definition.
func (s *mcpSchema) valid(definition string, value any) error {
	node := s.definitions[definition]
	if node == nil {
		return fmt.Errorf("revision %s has no %s", s.revision, definition)
	}
	if err := node.valid(value); err != nil {
		return fmt.Errorf("no valid %s of revision %s: %w", definition, s.revision, err)
	}
	return nil
}
