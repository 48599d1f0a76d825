package main

// The tools, as one table: what a client is shown and what is accepted from it
// are made from the same entries (SPEC §9).
//
// Names and arguments are the original's, so that its skills work unchanged.
// Schemas are flat and use only type, description, properties, required, items
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
)

// field describes one argument or one member of a result.
type field struct {
	name     string
	kind     string
	text     string // what it is, for descriptions and for errors
	optional bool
	members  []field // of each object of an array
}

// tool is one row of the table.
type tool struct {
	name, title, description          string
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
)

var tools = []tool{
	{
		name: "authenticate", title: "Connect to keepmum",
		description: "Connect to keepmum and get the account id that every other tool needs. " +
			"Call it first. The person may have to approve in keepmum's terminal. No arguments.",
		out: []field{textField("account_id", "pass it as accountId to the other tools")},
	},
	{
		name: "list_environments", title: "List Environments", readOnly: true,
		description: "List the Environments of the account: id and name. Match names exactly; " +
			"ask the person if none or several could be meant.",
		in:  []field{argAccount},
		out: []field{objectsField("environments", "all Environments", outID, outName)},
	},
	{
		name: "create_environment", title: "Create an Environment",
		description: "Create an empty Environment. List first: a name that exists is refused.",
		in:          []field{argAccount, argName},
		out:         []field{outID, outName},
	},
	{
		name: "rename_environment", title: "Rename an Environment",
		description: "Give an Environment another name. Its id, variables and mounts stay.",
		in:          []field{argAccount, argEnvironment, argName},
		out:         []field{outID, outName},
	},
	{
		name: "list_variables", title: "List variable names", readOnly: true,
		description: "List the names of an Environment's variables. No tool ever returns values.",
		in:          []field{argAccount, argEnvironment},
		out: []field{textsField("variableNames", "the names, in the Environment's order"),
			objectsField("variables", "the same variables, one object each",
				textField("name", "the variable's name"),
				boolField("concealed", "whether it is treated as a secret"),
				boolField("placeholder", "whether it has no value yet"))},
	},
	{
		name: "append_variables", title: "Add or update variables", idempotent: true,
		description: "Add variables to an Environment, or update those that exist, in place. " +
			"Leave value empty for anything secret: that makes a placeholder, and the person " +
			"types the value where you cannot see it. A non-empty concealed value has passed " +
			"through you: the person is told so, and policy may refuse it.",
		in: []field{argAccount, argEnvironment,
			objectsField("variables", "at least one variable, each name once",
				textField("name", "letters, digits and _, no digit first, at most 256 bytes"),
				textField("value", "empty for a placeholder; at most 64 KiB of UTF-8 without NUL"),
				optional(boolField("concealed", "default true; false only for what anybody may "+
					"see, such as ports and public addresses")))},
		out: []field{textsField("added", "names that are new"),
			textsField("updated", "names that existed and have a new value"),
			textsField("placeholders", "names that have no value yet")},
	},
	{
		name: "create_local_env_file", title: "Mount an Environment as .env", idempotent: true,
		description: "Mount an Environment as a .env file at a path. Nothing is written to disk: " +
			"approved programs get the values when they open it. Never read the mounted file: " +
			"run the program that needs it, and verify with list_local_env_files. Refused where " +
			"a file is in the way (use import_env_file) or Git tracks the path.",
		in: []field{argAccount, argEnvironment,
			textField("environmentName", "the name that belongs to environmentId"), argMountPath},
		out: []field{argMountPath, outID, outEnabled},
	},
	{
		name: "list_local_env_files", title: "List mounted .env files", readOnly: true,
		description: "List the mounts of an Environment. This is how to verify a mount: never " +
			"read a mounted file, not even to test it.",
		in: []field{argAccount, argEnvironment},
		out: []field{objectsField("localEnvFiles", "the mounts", argMountPath, outEnabled,
			textField("state", "such as orphaned, when the folder has gone"))},
	},
	{
		name: "import_env_file", title: "Import a .env file", destructive: true,
		description: "Import a .env file into an Environment, made if there is none of that " +
			"name. keepmum reads the file itself after the person approved: do not read it. The answer " +
			"has names only. With mount true the file is then replaced by a mount at the same " +
			"path; if anything fails the file is as it was.",
		in: []field{argAccount, argName, textField("path", "absolute path of the file to import"),
			optional(boolField("mount", "default false; true replaces the file by a mount"))},
		out: []field{outID, textsField("imported", "names of the imported variables"),
			optional(textField("mountPath", "where it is mounted, if it is"))},
	},
	{
		name: "remove_variables", title: "Remove variables", destructive: true,
		description: "Remove variables and their values from an Environment. It cannot be undone.",
		in: []field{argAccount, argEnvironment,
			textsField("variableNames", "at least one name, from list_variables")},
		out: []field{textsField("removed", "names that were removed")},
	},
	{
		name: "delete_environment", title: "Delete an Environment", destructive: true,
		description: "Delete an Environment with its variables and mounts. It cannot be undone.",
		in:          []field{argAccount, argEnvironment},
		out:         []field{outID},
	},
	{
		name: "remove_local_env_file", title: "Remove a mounted .env file",
		description: "Take away a mount. The Environment and its variables stay.",
		in:          []field{argAccount, argMountPath},
		out:         []field{argMountPath},
	},
}

// instructions go to the client once a session: under 2,000 characters, since
// some clients cut them.
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
		}
		properties[f.name] = p
		if !f.optional {
			required = append(required, f.name)
		}
	}
	return map[string]any{"type": "object", "properties": properties,
		"required": required, "additionalProperties": false}
}

// describe returns the tool as tools/list shows it under a revision. It
// implements *MCP* (SPEC §9).
func (t *tool) describe(revision string) map[string]any {
	d := map[string]any{"name": t.name, "description": t.description, "inputSchema": schema(t.in)}
	if revision >= "2025-03-26" {
		d["annotations"] = map[string]bool{"readOnlyHint": t.readOnly,
			"destructiveHint": t.destructive, "idempotentHint": t.idempotent,
			"openWorldHint": false}
	}
	if revision >= "2025-06-18" {
		d["title"], d["outputSchema"] = t.title, schema(t.out)
	}
	return d
}

// toolArgs holds the arguments of any tool. Set says which were there.
type toolArgs struct {
	AccountID, EnvironmentID, EnvironmentName, NewName, MountPath, Path string

	Variables     []variableArg
	VariableNames []string
	Mount         bool
	Set           map[string]bool
}

// variableArg is one item of append_variables. Without a value, or with an
// empty one, it asks for a placeholder.
type variableArg struct {
	Name, Value         string
	Concealed, HasValue bool
}

// misuse says what is wrong with arguments. It never quotes a value.
func misuse(format string, args ...any) error { return wireErrorf(codeMisuse, format, args...) }

// decodeArgs reads arguments by the union of all tools: names, types and
// limits. What a single tool requires is check's. It implements *MCP* (SPEC §9).
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
		"environmentName": &a.EnvironmentName, "newName": &a.NewName, "mountPath": &a.MountPath, "path": &a.Path}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		what, value := fmt.Sprintf("argument %q", cut(name, 64)), members[name]
		switch {
		case texts[name] != nil:
			*texts[name], err = wantText(what, value)
		case name == "mount":
			a.Mount, err = wantBool(what, value)
		case name == "variableNames":
			a.VariableNames, err = wantList(what, value, wantVariableName)
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
	return a, nil
}

// check holds arguments against this tool's own schema: the error names the
// member and what was expected. It implements *MCP* (SPEC §9).
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
	for _, v := range a.Variables {
		if !v.HasValue {
			return misuse(`missing "value" of %q: a string, empty for a placeholder`, v.Name)
		}
	}
	return nil
}

func wantText(what string, raw json.RawMessage) (string, error) {
	text, err := decodeText(raw)
	if err != nil && raw[0] != '"' {
		return "", misuse("%s: want a string, got %s", what, jsonKind(raw))
	}
	if err != nil {
		return "", misuse("%s: %v", what, err)
	}
	return text, nil
}

func wantBool(what string, raw json.RawMessage) (bool, error) {
	if s := string(raw); s != "true" && s != "false" {
		return false, misuse("%s: want true or false, got %s", what, jsonKind(raw))
	}
	return string(raw) == "true", nil
}

// wantList reads an array of at least one item, each by item.
func wantList[T any](what string, raw json.RawMessage,
	item func(string, json.RawMessage) (T, error)) ([]T, error) {
	var parts []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &parts) != nil {
		return nil, misuse("%s: want an array, got %s", what, jsonKind(raw))
	}
	if len(parts) == 0 {
		return nil, misuse("%s: want at least one item", what)
	}
	list := make([]T, 0, len(parts))
	for i, part := range parts {
		t, err := item(fmt.Sprintf("item %d of %s", i, what), part)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

// wantVariableName reads a variable's name. A name that is refused is not
// quoted: a model that mixes up its members has put a value there.
func wantVariableName(what string, raw json.RawMessage) (string, error) {
	name, err := wantText(what, raw)
	if err == nil && validVariableName(name) != nil {
		err = misuse("%s: want letters, digits and _, no digit first, at most 256 bytes", what)
	}
	return name, err
}

// wantVariables reads the items of append_variables. A name that is there twice
// is refused: which value would win?
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
	if v.Name, err = wantVariableName("name of "+what, members["name"]); err != nil {
		return v, err
	}
	v.Concealed = true
	for _, member := range slices.Sorted(maps.Keys(members)) {
		of := fmt.Sprintf("%s of variable %q", member, v.Name)
		switch member {
		case "name":
		case "value":
			v.HasValue = true
			if v.Value, err = wantText(of, members[member]); err == nil && validValue(secret(v.Value)) != nil {
				err = misuse("%s: want at most 64 KiB of UTF-8 without NUL", of)
			}
		case "concealed":
			v.Concealed, err = wantBool(of, members[member])
		default:
			err = misuse("variable %q takes name, value and concealed, nothing else", v.Name)
		}
		if err != nil {
			return variableArg{}, err
		}
	}
	return v, nil
}

var jsonKinds = map[byte]string{'"': "a string", '{': "an object", '[': "an array",
	't': "a boolean", 'f': "a boolean", 'n': "null"}

// jsonKind says what a JSON value is, without saying the value.
func jsonKind(raw json.RawMessage) string { return cmp.Or(jsonKinds[raw[0]], "a number") }
