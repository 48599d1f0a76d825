package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const canary = "canary-8f31c2"

// TestCheckArguments: the error names the argument [TUL-8], matched exactly
// [MCP-25], and holds no value [TUL-6].
func TestCheckArguments(t *testing.T) {
	const ids = `"accountId":"A","environmentId":"e"`
	long := strings.Repeat("n", 257)
	for _, test := range []struct{ tool, in, want string }{
		{"authenticate", `{}`, ""},
		{"authenticate", `{"accountId":"A"}`, `unknown argument "accountId": authenticate has no such argument`},
		{"list_environments", `{}`, `missing argument "accountId": a string, from authenticate`},
		{"list_environments", `{"accountID":"A"}`, `unknown argument "accountID"`},
		{"list_environments", `{"accountId":1}`, `argument "accountId": want a string, got a number`},
		{"list_environments", `{"accountId":null}`, `argument "accountId": want a string, got null`},
		{"list_environments", `{"accountId":"A","accountId":"B"}`, `arguments: member "accountId" is there twice`},
		{"list_environments", `{"accountId":"A","path":"/x"}`, `unknown argument "path": list_environments has no such argument`},
		{"create_environment", `{"accountId":"A","environmentName":"a b"}`, ""},
		{"create_environment", `{"accountId":"A","environmentName":""}`, `argument "environmentName": want a string, 1 to 128`},
		{"create_environment", `{"accountId":"A","environmentName":" a"}`, `argument "environmentName": want`},
		{"create_environment", `{"accountId":"A","environmentName":"a\u202eb"}`, `argument "environmentName": want`},
		{"create_environment", `{"accountId":"A","environmentName":"a\u200bb"}`, `argument "environmentName": want`},
		{"create_environment", `{"accountId":"A","environmentName":"a\nb"}`, `argument "environmentName": want`},
		{"create_environment", `{"accountId":"A","environmentName":"` + long[:128] + `"}`, ""},
		{"create_environment", `{"accountId":"A","environmentName":"` + long[:129] + `"}`, `argument "environmentName": want`},
		{"import_env_file", `{"accountId":"A","environmentName":"n","path":"/p"}`, ""},
		{"import_env_file", `{"accountId":"A","environmentName":"n","path":"/p","mount":true}`, ""},
		{"import_env_file", `{"accountId":"A","environmentName":"n","path":"/p","mount":"true"}`,
			`argument "mount": want true or false, got a string`},
		{"import_env_file", `{"accountId":"A","environmentName":"n","paths":["/p","/q"]}`, ""},
		{"import_env_file", `{"accountId":"A","environmentName":"n"}`, `missing argument "path", or "paths"`},
		{"import_env_file", `{"accountId":"A","environmentName":"n","path":"/p","paths":["/q"]}`,
			`argument "paths": "path" is there too`},
		{"import_env_file", `{"accountId":"A","environmentName":"n","paths":[]}`, `argument "paths": want at least one item`},
		{"import_env_file", `{"accountId":"A","environmentName":"n","paths":"/p"}`, `argument "paths": want an array`},
		{"import_env_file", `{"accountId":"A","environmentName":"n","paths":["/p",1]}`, `item 1 of argument "paths": want a string`},
		{"import_env_file", `{"accountId":"A","environmentName":"n","paths":["/p"` + strings.Repeat(`,"/p"`, 15) + `]}`, ""},
		{"import_env_file", `{"accountId":"A","environmentName":"n","paths":["/p"` + strings.Repeat(`,"/p"`, 16) + `]}`,
			`argument "paths": want at most 16 items`},
		{"remove_variables", `{` + ids + `,"variableNames":["A","b_1"]}`, ""},
		{"remove_variables", `{` + ids + `,"variableNames":[]}`, `argument "variableNames": want at least one item`},
		{"remove_variables", `{` + ids + `,"variableNames":"A"}`, `argument "variableNames": want an array, got a string`},
		{"remove_variables", `{` + ids + `,"variableNames":["` + canary + `"]}`, `item 0 of argument "variableNames": want letters`},
		{"remove_variables", `{` + ids + `}`, `missing argument "variableNames": an array of strings, at least one name`},
		{"append_variables", `{` + ids + `,"variables":[{"name":"A","value":""}]}`, ""},
		{"append_variables", `{` + ids + `,"variables":[{"name":"A","value":"x","concealed":false},{"name":"a","value":"x"}]}`, ""},
		{"append_variables", `{` + ids + `,"variables":["A"]}`, `item 0 of argument "variables": want an object with "name" and "value"`},
		{"append_variables", `{` + ids + `,"variables":[{"value":"` + canary + `"}]}`, `item 0 of argument "variables": want an object with`},
		{"append_variables", `{` + ids + `,"variables":[{"name":"A","value":"` + canary + `"},{"name":"A","value":"` + canary + `"}]}`,
			`variable "A" is there twice`},
		{"append_variables", `{` + ids + `,"variables":[{"name":"1` + canary + `","value":"` + canary + `"}]}`,
			`name of item 0 of argument "variables": want letters`},
		{"append_variables", `{` + ids + `,"variables":[{"name":"` + long + `","value":""}]}`, `name of item 0`},
		{"append_variables", `{` + ids + `,"variables":[{"name":"A"}]}`, `missing "value" of "A": a string, empty for a placeholder`},
		{"append_variables", `{` + ids + `,"variables":[{"name":"A","value":1}]}`, `value of variable "A": want a string, got a number`},
		{"append_variables", `{` + ids + `,"variables":[{"name":"A","value":"` + canary + `\u0000"}]}`,
			`value of variable "A": want at most 64 KiB of UTF-8 without NUL`},
		{"append_variables", `{` + ids + `,"variables":[{"name":"A","value":"` + canary + `\ud800"}]}`,
			`value of variable "A": not a string of whole characters`},
		{"append_variables", `{` + ids + `,"variables":[{"name":"A","value":"` + strings.Repeat("x", 64<<10) + `"}]}`, ""},
		{"append_variables", `{` + ids + `,"variables":[{"name":"A","value":"` + strings.Repeat("x", 64<<10+1) + `"}]}`,
			`value of variable "A": want at most 64 KiB`},
		{"append_variables", `{` + ids + `,"variables":[{"name":"A","value":"` + canary + `","concealed":"no"}]}`,
			`concealed of variable "A": want true or false, got a string`},
		{"append_variables", `{` + ids + `,"variables":[{"name":"A","value":"x","` + canary + `":1}]}`,
			`variable "A" takes name, value and concealed, nothing else`},
	} {
		err := toolNamed(test.tool).check(json.RawMessage(test.in))
		got := fmt.Sprint(err)
		if test.want == "" && err != nil || test.want != "" && !strings.HasPrefix(got, test.want) {
			t.Errorf("%s %.200s\n got %s\nwant %s", test.tool, test.in, got, test.want)
		}
		if strings.Contains(got, canary) {
			t.Errorf("%s %s: the error holds a value: %s", test.tool, test.in, got)
		}
	}
}

func TestDecodeArgsReadsEverything(t *testing.T) {
	a, err := decodeArgs(json.RawMessage(`{"accountId":"A","environmentId":"e","environmentName":"n",
		"mountPath":"/m","path":"/p","paths":["/a","/b"],"dialect":"raw","mount":true,"variableNames":["X"],
		"environmentNames":["n","o"],
		"variables":[{"name":"A","value":"v"},{"name":"B","value":"","concealed":false},{"name":"C"}]}`))
	got := fmt.Sprintf("%v %+v", err, a)
	want := `<nil> {AccountID:A EnvironmentID:e EnvironmentName:n NewName: MountPath:/m Path:/p Dialect:raw ` +
		`Variables:[{Name:A Value:v Concealed:true HasValue:true} {Name:B Value: Concealed:false HasValue:true} ` +
		`{Name:C Value: Concealed:true HasValue:false}] VariableNames:[X] Paths:[/a /b] EnvironmentNames:[n o] Mount:true ` +
		`Set:map[accountId:true dialect:true environmentId:true environmentName:true environmentNames:true mount:true ` +
		`mountPath:true path:true paths:true variableNames:true variables:true]}`
	if got != want {
		t.Errorf("decodeArgs\n got %s\nwant %s", got, want)
	}
}

// TestToolTable holds the table to the specification's: names, arguments with
// ? for optional, results, and the annotations that clients act on. [TUL-1]
func TestToolTable(t *testing.T) {
	want := []string{
		"authenticate() account_id",
		"list_environments(accountId) environments readOnly",
		"create_environment(accountId environmentName) environmentId name",
		"rename_environment(accountId environmentId environmentName) environmentId name",
		"list_variables(accountId environmentId) variableNames variables readOnly",
		"append_variables(accountId environmentId variables) added updated placeholders warnings idempotent",
		"create_local_env_file(accountId environmentId environmentName mountPath dialect?) mountPath environmentId enabled dialect idempotent",
		"list_local_env_files(accountId environmentId) localEnvFiles readOnly",
		"import_env_file(accountId environmentName path? paths? mount?) environmentId imported replaced notKept " +
			"notes mountPath? mountPaths? warnings destructive",
		"remove_variables(accountId environmentId variableNames) removed destructive",
		"delete_environment(accountId environmentId) environmentId destructive",
		"remove_local_env_file(accountId mountPath) mountPath",
	}
	names := func(fields []field) string {
		var list []string
		for _, f := range fields {
			list = append(list, f.name+map[bool]string{true: "?"}[f.optional])
		}
		return strings.Join(list, " ")
	}
	var got []string
	for _, tool := range tools {
		if title, description := tool.prose(); title == "" || len(description) < 40 ||
			strings.Contains(description, "#") {
			t.Errorf("%s: title %q, description %q", tool.name, title, description)
		}
		row := tool.name + "(" + names(tool.in) + ") " + names(tool.out)
		for name, set := range map[string]bool{" readOnly": tool.readOnly,
			" destructive": tool.destructive, " idempotent": tool.idempotent} {
			if set {
				row += name
			}
		}
		got = append(got, row)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestSchemasArePortable: some client refuses every other keyword, a list of
// types, an array without items, or a long name. [TUL-2] [TUL-3]
func TestSchemasArePortable(t *testing.T) {
	var walk func(where string, schema map[string]any)
	walk = func(where string, schema map[string]any) {
		kind, _ := schema["type"].(string)
		for key := range schema {
			if !slices.Contains([]string{"type", "description", "properties", "required", "items",
				"additionalProperties"}, key) {
				t.Errorf("%s: keyword %q", where, key)
			}
		}
		switch kind {
		case "string", "boolean", "integer":
		case "array":
			walk(where+"[]", schema["items"].(map[string]any))
		case "object":
			if schema["additionalProperties"] != false || schema["required"] == nil {
				t.Errorf("%s: additionalProperties %v, required %v", where,
					schema["additionalProperties"], schema["required"])
			}
			for name, property := range schema["properties"].(map[string]any) {
				walk(where+"."+name, property.(map[string]any))
			}
		default:
			t.Errorf("%s: type %q", where, kind)
		}
	}
	for _, tool := range tools {
		var shown map[string]any
		if err := json.Unmarshal(encodeJSON(tool.describe(modern)), &shown); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"inputSchema", "outputSchema"} {
			if root := shown[name].(map[string]any); root["type"] != "object" {
				t.Errorf("%s: %s is not an object", tool.name, name)
			} else {
				walk(tool.name+" "+name, root)
			}
		}
		if len(tool.name) > 24 {
			t.Errorf("%s: name longer than 24", tool.name)
		}
		hints := shown["annotations"].(map[string]any)
		if hints["readOnlyHint"] == true && hints["destructiveHint"] == true || hints["openWorldHint"] != false {
			t.Errorf("%s: annotations %v", tool.name, hints)
		}
	}
}

// TestDocumentsForTheAgent: the texts are short enough [TUL-21], say what must
// be said [TUL-22] and are there [TUL-23].
func TestDocumentsForTheAgent(t *testing.T) {
	if len(instructions) == 0 || len(instructions) >= 2000 {
		t.Errorf("instructions have %d bytes, want 1 to 1999", len(instructions))
	}
	// In this order: the calls, and then what each refusal says.
	rest := instructions
	for _, word := range []string{"authenticate", "list_environments", "create_environment",
		"append_variables", "create_local_env_file", "Verify with list_local_env_files",
		"Never read a mounted .env", "Git tracks", "still waits", "locked", "not approved"} {
		_, after, ok := strings.Cut(rest, word)
		if !ok {
			t.Errorf("the instructions do not say %q after what comes before it", word)
			continue
		}
		rest = after
	}
	for _, r := range resources {
		text, err := documents.ReadFile("docs/mcp/" + r.name + ".md")
		if err != nil || len(text) == 0 {
			t.Errorf("%s: %v", r.uri, err)
		}
		if !strings.Contains(instructions, r.uri) {
			t.Errorf("the instructions do not name %s", r.uri)
		}
		for _, word := range strings.FieldsFunc(string(text), func(r rune) bool {
			return r != '_' && (r < 'a' || r > 'z')
		}) {
			if strings.Contains(word, "_") && word != "account_id" && toolNamed(word) == nil {
				t.Errorf("%s names %q, which is no tool", r.uri, word)
			}
		}
	}
}

// TestResultsConform is the shape of every result that a keeper must give.
// [TUL-4]
func TestResultsConform(t *testing.T) {
	list := toolNamed("list_variables")
	for in, want := range map[string]string{
		`{"variableNames":[],"variables":[]}`:                                                     "",
		`{"variableNames":["A"],"variables":[{"name":"A","concealed":true,"placeholder":false}]}`: "",
		`{"variableNames":["A"]}`:                                                                 `variables is missing`,
		`{"variableNames":null,"variables":[]}`:                                                   `variableNames is no array`,
		`{"variableNames":[],"variables":[],"x":1}`:                                               `x is not in the schema`,
		`{"variableNames":[],"variables":[{"name":"A","concealed":1,"placeholder":false}]}`:       `concealed has the wrong type`,
	} {
		if got := nonConforming(list.out, json.RawMessage(in)); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

// nonConforming says what of a result its outputSchema does not allow: clients
// throw away results that do not conform.
func nonConforming(fields []field, raw json.RawMessage) string {
	members, err := decodeObject(raw)
	if err != nil {
		return err.Error()
	}
	for _, f := range fields {
		value, there := members[f.name]
		delete(members, f.name)
		var items []json.RawMessage
		switch {
		case !there && f.optional:
			continue
		case !there:
			return f.name + " is missing"
		case f.kind == kindText && value[0] != '"', f.kind == kindBool && value[0] != 't' && value[0] != 'f':
			return f.name + " has the wrong type"
		case f.kind == kindText, f.kind == kindBool:
		case value[0] != '[' || json.Unmarshal(value, &items) != nil:
			return f.name + " is no array"
		}
		for _, item := range items {
			if f.kind == kindTexts && item[0] != '"' {
				return f.name + " holds what is no string"
			}
			if f.kind == kindObjects {
				if bad := nonConforming(f.members, item); bad != "" {
					return bad
				}
			}
		}
	}
	for name := range members {
		return name + " is not in the schema"
	}
	return ""
}
