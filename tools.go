package main

// The tools, as one table: what a client is shown and what is accepted from it
// are made from the same entries [TUL-1] (SPEC §9.2).
//
// Names and arguments are the original's, so that its skills work unchanged.
// Schemas are flat [TUL-3] and use only type, description, properties, required, items
// and additionalProperties: the rest makes some client drop the tool, or is not
// shown to the model. Limits are therefore said in the descriptions.

import (
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The kinds of argument and result.
const (
	kindText    = "a string"
	kindBool    = "true or false"
	kindTexts   = "an array of strings"
	kindObjects = "an array of objects"
	kindObject  = "an object"
	kindCount   = "an integer"
)

// field describes one argument or one member of a result.
type field struct {
	name     string
	kind     string
	text     string // what it is, for descriptions and for errors
	optional bool
	members  []field // of each object of an array
}

// tool is one row of the table. Its title and description are prose for models
// and stand in docs/mcp/tools.md.
type tool struct {
	name                              string
	in, out                           []field
	readOnly, destructive, idempotent bool
}

func textField(name, text string) field  { return field{name: name, kind: kindText, text: text} }
func boolField(name, text string) field  { return field{name: name, kind: kindBool, text: text} }
func textsField(name, text string) field { return field{name: name, kind: kindTexts, text: text} }

func objectsField(name, text string, members ...field) field {
	return field{name: name, kind: kindObjects, text: text, members: members}
}

func optional(f field) field {
	f.optional = true
	return f
}

// Arguments and results that several tools share.
var (
	argAccount     = textField("accountId", "from authenticate")
	argEnvironment = textField("environmentId", "from list_environments")
	argName        = textField("environmentName",
		"1 to 128 bytes of printable text, no space at either end, unique, case-sensitive")
	argMountPath = textField("mountPath", "absolute path of the mounted file")
	outID        = textField("environmentId", "the id, which never changes")
	outName      = textField("name", "the name")
	outEnabled   = boolField("enabled", "whether the mount is served")
	argDialect   = textField("dialect", "how values are quoted for the program that reads them: "+
		dialectNames()+"; default portable")
	outWarnings = objectsField("warnings", "variables that some kinds of reader do not get exactly",
		textField("name", "the variable's name"), outDialect,
		textsField("readers", "the kinds of reader that differ"), textField("advice", "what to do"))
	outDialect = textField("dialect", "how values are quoted")
)

var tools = []tool{
	{name: "authenticate",
		out: []field{textField("account_id", "pass it as accountId to the other tools")}},
	{name: "list_environments", readOnly: true, in: []field{argAccount},
		out: []field{objectsField("environments", "all Environments", outID, outName)}},
	{name: "create_environment", in: []field{argAccount, argName}, out: []field{outID, outName}},
	{name: "rename_environment", in: []field{argAccount, argEnvironment, argName},
		out: []field{outID, outName}},
	{name: "list_variables", readOnly: true, in: []field{argAccount, argEnvironment},
		out: []field{textsField("variableNames", "the names, in the Environment's order"),
			objectsField("variables", "the same variables, one object each",
				textField("name", "the variable's name"),
				boolField("concealed", "whether it is treated as a secret"),
				boolField("placeholder", "whether it has no value yet"))}},
	{name: "append_variables", idempotent: true,
		in: []field{argAccount, argEnvironment,
			objectsField("variables", "at least one variable, each name once",
				textField("name", "letters, digits and _, no digit first, at most 256 bytes"),
				textField("value", "empty for a placeholder; at most 64 KiB of UTF-8 without NUL"),
				optional(boolField("concealed", "default true; false only for what anybody may "+
					"see, such as ports and public addresses")))},
		out: []field{textsField("added", "names that are new"),
			textsField("updated", "names that existed and have a new value"),
			textsField("placeholders", "names that have no value yet"), outWarnings}},
	{name: "create_local_env_file", idempotent: true,
		in: []field{argAccount, argEnvironment,
			textField("environmentName", "the name that belongs to environmentId"), argMountPath,
			optional(argDialect)},
		out: []field{argMountPath, outID, outEnabled, outDialect}},
	{name: "list_local_env_files", readOnly: true, in: []field{argAccount, argEnvironment},
		out: []field{objectsField("localEnvFiles", "the mounts", argMountPath, outEnabled, outDialect,
			textField("state", "such as orphaned, when the folder has gone"))}},
	{name: "import_env_file", destructive: true,
		in: []field{argAccount, argName,
			optional(textField("path", "absolute path of the file to import; path or paths, not both")),
			optional(textsField("paths", "absolute paths of 1 to 16 files to import together, such as .env "+
				"and .env.local; of a name in several files the last one counts")),
			optional(boolField("mount", "default false; true replaces each file by a mount"))},
		out: []field{outID, textsField("imported", "names of the imported variables"),
			textsField("replaced", "those that had another value before"),
			{name: "notKept", kind: kindObject, text: "what the vault did not take over", members: []field{
				{name: "comments", kind: kindCount, text: "how many comments"},
				textsField("duplicates", "names of which only the last of several lines counts")}},
			textsField("notes", "lines that other readers of such files read otherwise"),
			optional(textField("mountPath", "where it is mounted, if path is")),
			optional(textsField("mountPaths", "where they are mounted, if paths are")), outWarnings}},
	{name: "remove_variables", destructive: true,
		in: []field{argAccount, argEnvironment,
			textsField("variableNames", "at least one name, from list_variables")},
		out: []field{textsField("removed", "names that were removed")}},
	{name: "delete_environment", destructive: true, in: []field{argAccount, argEnvironment},
		out: []field{outID}},
	{name: "remove_local_env_file", in: []field{argAccount, argMountPath},
		out: []field{argMountPath}},
}

// instructions go to the client once a session: under 2,000 characters, since
// some clients cut them. [TUL-21]
//
//go:embed docs/mcp/instructions.md
var instructions string

//go:embed docs/mcp/*.md
var documents embed.FS

// resource is a document that a client may read, embedded from docs/mcp.
type resource struct{ uri, name, description string }

var resources = []resource{
	{"keepmum://docs/getting-started", "getting-started",
		"The workflow, step by step, and what to do when a call does not succeed."},
	{"keepmum://docs/environments-guide", "environments-guide",
		"Mounts, import, Git, concealed values, and what never to do."},
}

// toolNamed returns the tool of that name, or nil.
func toolNamed(name string) *tool {
	if i := slices.IndexFunc(tools, func(t tool) bool { return t.name == name }); i >= 0 {
		return &tools[i]
	}
	return nil
}

// schema makes a JSON schema of fields; the root is always a plain object.
func schema(fields []field) map[string]any {
	properties, required := map[string]any{}, []string{}
	for _, f := range fields {
		p := map[string]any{"type": "string",
			"description": strings.ToUpper(f.text[:1]) + f.text[1:] + "."}
		switch f.kind {
		case kindBool:
			p["type"] = "boolean"
		case kindTexts:
			p["type"], p["items"] = "array", map[string]any{"type": "string"}
		case kindObjects:
			p["type"], p["items"] = "array", schema(f.members)
		case kindCount:
			p["type"] = "integer"
		case kindObject:
			text := p["description"]
			p = schema(f.members)
			p["description"] = text
		}
		properties[f.name] = p
		if !f.optional {
			required = append(required, f.name)
		}
	}
	return map[string]any{"type": "object", "properties": properties,
		"required": required, "additionalProperties": false}
}

// prose returns the tool's title and description.
func (t *tool) prose() (title, description string) {
	text, _ := documents.ReadFile("docs/mcp/tools.md")
	_, mine, _ := strings.Cut(string(text), "\n# "+t.name+": ")
	title, mine, _ = strings.Cut(mine, "\n")
	mine, _, _ = strings.Cut(mine, "\n# ")
	return title, strings.Join(strings.Fields(mine), " ")
}

// describe returns the tool as tools/list shows it under a revision. It
// implements *MCP* (SPEC §9).
func (t *tool) describe(revision string) map[string]any {
	title, description := t.prose()
	d := map[string]any{"name": t.name, "description": description, "inputSchema": schema(t.in)}
	if revision >= "2025-03-26" {
		d["annotations"] = map[string]bool{"readOnlyHint": t.readOnly,
			"destructiveHint": t.destructive, "idempotentHint": t.idempotent,
			"openWorldHint": false}
	}
	if revision >= "2025-06-18" { // [TUL-4]
		d["title"], d["outputSchema"] = title, schema(t.out)
	}
	return d
}

// toolArgs holds the arguments of any tool. Set says which were there.
type toolArgs struct {
	AccountID, EnvironmentID, EnvironmentName, NewName, MountPath, Path, Dialect string

	Variables     []variableArg
	VariableNames []string
	Paths         []string
	// EnvironmentNames are run's, which is no tool.
	EnvironmentNames []string

	Mount bool
	Set   map[string]bool
}

// variableArg is one item of append_variables. Without a value, or with an
// empty one, it asks for a placeholder.
type variableArg struct {
	Name, Value         string
	Concealed, HasValue bool
}

// misuse says what is wrong with arguments. It never quotes a value. [TUL-6]
func misuse(format string, args ...any) error { return wireErrorf(codeMisuse, format, args...) }

// decodeArgs reads arguments by the union of all tools: names, types and
// limits [TUL-8]. What a single tool requires is check's. It implements *MCP*
// (SPEC §9).
func decodeArgs(raw json.RawMessage) (toolArgs, error) {
	a := toolArgs{Set: map[string]bool{}}
	if raw == nil {
		return a, nil
	}
	members, err := decodeObject(raw)
	if err != nil {
		return toolArgs{}, misuse("arguments: %v", err)
	}
	texts := map[string]*string{"accountId": &a.AccountID, "environmentId": &a.EnvironmentID,
		"environmentName": &a.EnvironmentName, "newName": &a.NewName,
		"mountPath": &a.MountPath, "path": &a.Path, "dialect": &a.Dialect}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		what, value := fmt.Sprintf("argument %q", cut(name, 64)), members[name]
		switch {
		case texts[name] != nil:
			err = want(what, kindText, value, texts[name])
		case name == "mount":
			err = want(what, kindBool, value, &a.Mount)
		case name == "paths":
			a.Paths, err = wantPaths(what, value)
		case name == "variableNames":
			a.VariableNames, err = wantList(what, value, wantVariableName)
		case name == "environmentNames":
			a.EnvironmentNames, err = wantList(what, value, wantEnvironmentName)
		case name == "variables":
			a.Variables, err = wantVariables(what, value)
		default:
			err = misuse("unknown %s", what)
		}
		if err != nil {
			return toolArgs{}, err
		}
		a.Set[name] = true
	}
	if a.Set["environmentName"] && validEnvironmentName(a.EnvironmentName) != nil {
		return toolArgs{}, misuse(`argument "environmentName": want a string, %s`, argName.text)
	}
	if a.Set["dialect"] && !slices.Contains(dialects, dialect(a.Dialect)) {
		return toolArgs{}, misuse(`argument "dialect": want one of %s`, dialectNames())
	}
	return a, nil
}

// check holds arguments against this tool's own schema: the error names the
// member and what was expected [TUL-8]. It implements *MCP* (SPEC §9).
func (t *tool) check(raw json.RawMessage) error {
	a, err := decodeArgs(raw)
	if err != nil {
		return err
	}
	for _, f := range t.in {
		if !f.optional && !a.Set[f.name] {
			return misuse("missing argument %q: %s, %s", f.name, f.kind, f.text)
		}
		delete(a.Set, f.name)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Set)) {
		return misuse("unknown argument %q: %s has no such argument", name, t.name)
	}
	if t.name == "import_env_file" {
		if _, err := a.filePaths(); err != nil {
			return err
		}
	}
	for _, v := range a.Variables {
		if !v.HasValue {
			return misuse(`missing "value" of %q: a string, empty for a placeholder`, v.Name)
		}
	}
	return nil
}

// filePaths returns the files of an import. That it takes one of two arguments
// is no schema's to say: some clients drop a tool for it. [IMP-4] (SPEC §9.2)
func (a *toolArgs) filePaths() ([]string, error) {
	switch {
	case a.Path != "" && a.Paths != nil:
		return nil, misuse(`argument "paths": "path" is there too, give one of them`)
	case a.Path == "" && a.Paths == nil:
		return nil, misuse(`missing argument "path", or "paths": absolute paths of the files to import`)
	case a.Path != "":
		return []string{a.Path}, nil
	}
	return a.Paths, nil
}

// want reads a value of one kind into a pointer. To encoding/json null is every
// kind, and half of a surrogate pair is text.
func want(what, kind string, raw json.RawMessage, into any) error {
	if raw[0] == 'n' || json.Unmarshal(raw, into) != nil {
		return misuse("%s: want %s, got %s", what, kind, jsonKind(raw))
	}
	if _, err := decodeText(raw); err != nil && raw[0] == '"' {
		return misuse("%s: %v", what, err)
	}
	return nil
}

// wantList reads an array of at least one item, each by item.
func wantList[T any](what string, raw json.RawMessage,
	item func(string, json.RawMessage) (T, error)) (list []T, err error) {
	var parts []json.RawMessage
	if err := want(what, "an array", raw, &parts); err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, misuse("%s: want at least one item", what)
	}
	list = make([]T, len(parts))
	for i, part := range parts {
		if list[i], err = item(fmt.Sprintf("item %d of %s", i, what), part); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// wantVariableName reads a variable's name. A name that is refused is not
// quoted: a model that mixes up its members has put a value there. [TUL-6]
// (SPEC §9.2)
func wantVariableName(what string, raw json.RawMessage) (name string, err error) {
	err = want(what, kindText, raw, &name)
	if err == nil && validVariableName(name) != nil {
		err = misuse("%s: want letters, digits and _, no digit first, at most 256 bytes", what)
	}
	return name, err
}

// wantPaths reads the files of an import. [IMP-4] (SPEC §9.2)
func wantPaths(what string, raw json.RawMessage) ([]string, error) {
	list, err := wantList(what, raw, func(what string, raw json.RawMessage) (path string, err error) {
		err = want(what, kindText, raw, &path)
		return path, err
	})
	if len(list) > maxImportFiles {
		return nil, misuse("%s: want at most %d items", what, maxImportFiles)
	}
	return list, err
}

// wantEnvironmentName reads the name of an Environment.
func wantEnvironmentName(what string, raw json.RawMessage) (name string, err error) {
	err = want(what, kindText, raw, &name)
	if err == nil && validEnvironmentName(name) != nil {
		err = misuse("%s: want a string, %s", what, argName.text)
	}
	return name, err
}

// wantVariables reads the items of append_variables. A name that is there twice
// is refused: which value would win? [TUL-8] (SPEC §9.2)
func wantVariables(what string, raw json.RawMessage) ([]variableArg, error) {
	list, err := wantList(what, raw, wantVariable)
	seen := map[string]bool{}
	for _, v := range list {
		if seen[v.Name] {
			return nil, misuse("variable %q is there twice", v.Name)
		}
		seen[v.Name] = true
	}
	return list, err
}

// wantVariable reads one item; concealed is true unless it is said to be false.
func wantVariable(what string, raw json.RawMessage) (v variableArg, err error) {
	members, err := decodeObject(raw)
	if err != nil || members["name"] == nil {
		return v, misuse(`%s: want an object with "name" and "value"`, what)
	}
	v.Concealed, v.HasValue = true, members["value"] != nil
	if v.Name, err = wantVariableName("name of "+what, members["name"]); err != nil {
		return v, err
	}
	of := fmt.Sprintf(" of variable %q", v.Name)
	if raw := members["concealed"]; raw != nil {
		err = want("concealed"+of, kindBool, raw, &v.Concealed)
	}
	if v.HasValue && err == nil {
		err = want("value"+of, kindText, members["value"], &v.Value)
	}
	if err == nil && validValue(secret(v.Value)) != nil {
		err = misuse("value%s: want at most 64 KiB of UTF-8 without NUL", of)
	}
	for _, known := range []string{"name", "value", "concealed"} {
		delete(members, known)
	}
	if len(members) > 0 && err == nil {
		err = misuse("variable %q takes name, value and concealed, nothing else", v.Name)
	}
	return v, err
}

var jsonKinds = map[byte]string{'"': "a string", '{': "an object", '[': "an array",
	't': "a boolean", 'f': "a boolean", 'n': "null"}

// jsonKind says what a JSON value is, without saying the value.
func jsonKind(raw json.RawMessage) string { return cmp.Or(jsonKinds[raw[0]], "a number") }
