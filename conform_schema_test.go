package main

import (
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// decodeTest decodes a value of a test.
func decodeTest(t testing.TB, text string) any {
	t.Helper()
	value, err := decodeExact([]byte(text))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return value
}

// wantFault compares an error with the text that it is to have in it; "" is none.
func wantFault(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// TestSchemaFiles: the files are those that the README names, unchanged, and
// each one compiles.
func TestSchemaFiles(t *testing.T) {
	if got, want := schemaRevisions(), append(slices.Clone(legacy), modern); !slices.Equal(got, want) {
		t.Fatalf("schemas of %q, want %q", got, want)
	}
	readme, err := os.ReadFile("conform/schema/README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([0-9-]+)\\.json` .*`([0-9a-f]{40})` \\|$").FindAllStringSubmatch(string(readme), -1)
	if len(rows) != len(schemaRevisions()) {
		t.Fatalf("README.md names %d files, want %d", len(rows), len(schemaRevisions()))
	}
	formats := regexp.MustCompile(`"format": "([^"]*)"`)
	for _, row := range rows {
		text, err := os.ReadFile(filepath.Join("conform/schema", row[1]+".json"))
		if err != nil {
			t.Fatal(err)
		}
		blob := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(text), text))
		if got := fmt.Sprintf("%x", blob); got != row[2] {
			t.Errorf("%s.json is blob %s, want %s", row[1], got, row[2])
		}
		if s, err := schemaFor(row[1]); err != nil || s.results["tools/call"] != "CallToolResult" {
			t.Errorf("schemaFor(%s): %v", row[1], err)
		}
		for _, format := range formats.FindAllStringSubmatch(string(text), -1) {
			if rule, _ := formatRule(format[1]); rule == nil {
				t.Errorf("format %q of %s is not checked", format[1], row[1])
			}
		}
	}
}

func TestSchemaForUnknownRevision(t *testing.T) {
	for _, revision := range []string{"1900-01-01", "", "../schema/2025-06-18", "LICENSE"} {
		_, err := schemaFor(revision)
		wantFault(t, err, fmt.Sprintf("no schema for revision %q", revision))
	}
}

// TestSchemaMethods: names in a schema that decide what an answer is held
// against. A method that is missing here would go unchecked.
func TestSchemaMethods(t *testing.T) {
	for _, test := range []struct{ revision, method, result string }{
		{"2024-11-05", "initialize", "InitializeResult"},
		{"2024-11-05", "ping", "EmptyResult"},
		{"2024-11-05", "server/discover", ""},
		{"2025-03-26", "resources/templates/list", "ListResourceTemplatesResult"},
		{"2025-06-18", "logging/setLevel", "EmptyResult"},
		{"2025-11-25", "tasks/get", "GetTaskResult"},
		{"2025-11-25", "resources/read", "ReadResourceResult"},
		{"2026-07-28", "server/discover", "DiscoverResult"},
		{"2026-07-28", "subscriptions/listen", "SubscriptionsListenResult"},
		{"2026-07-28", "tools/list", "ListToolsResult"},
		{"2026-07-28", "ping", ""},
		{"2026-07-28", "initialize", ""},
	} {
		s, err := schemaFor(test.revision)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.results[test.method]; got != test.result {
			t.Errorf("%s: %s is answered by %q, want %q", test.revision, test.method, got, test.result)
		}
	}
	s, _ := schemaFor(modern)
	asking := []string{"prompts/get", "resources/read", "tools/call"}
	if got := slices.Sorted(maps.Keys(s.mayAsk)); !slices.Equal(got, asking) {
		t.Errorf("%q may ask, want %q", got, asking)
	}
	if got, want := slices.Sorted(maps.Keys(s.errors)), []string{"-32020", "-32021", "-32022"}; !slices.Equal(got, want) {
		t.Errorf("codes %q have definitions, want %q", got, want)
	}
}

// TestSchemaLoad: one fault in a schema each.
func TestSchemaLoad(t *testing.T) {
	for _, test := range []struct{ schema, want string }{
		{`{"type":"object"}`, ""},
		{`true`, ""},
		{`{"title":"t","description":"d","default":1,"x-mark":1,"$comment":"c"}`, ""},
		{`{"$schema":"http://json-schema.org/draft-07/schema#"}`, ""},
		{`{"$ref":"#"}`, ""},
		{`{"$defs":{"a":{}},"$ref":"#/$defs/a"}`, ""},
		{`{"unevaluatedProperties":false}`, `unknown keyword "unevaluatedProperties"`},
		{`{"properties":{"a":{"Type":"string"}}}`, `unknown keyword "Type"`},
		{`{"$defs":{"a":{"typ":"string"}}}`, `definition "a": unknown keyword "typ"`},
		{`{"anyOf":[{},{"if":true}]}`, `anyOf: 1: unknown keyword "if"`},
		{`{"$schema":"https://example.com/mine"}`, `unknown $schema`},
		{`{"$ref":"#/$defs/a"}`, `leads nowhere`},
		{`{"$ref":"https://example.com/a"}`, `outside this schema`},
		{`{"$ref":1}`, `outside this schema`},
		{`{"$defs":[]}`, `"$defs" is not an object`},
		{`{"type":"text"}`, `unknown type "text"`},
		{`{"type":null}`, `type: not an array`},
		{`{"type":["string",1]}`, `not an array of strings`},
		{`{"enum":1}`, `enum: not an array`},
		{`{"required":"a"}`, `required: not an array`},
		{`{"properties":[]}`, `properties: not an object`},
		{`{"properties":{"a":1}}`, `a schema is an object`},
		{`{"items":[{}]}`, `items: a schema is an object`},
		{`{"items":null}`, `items: a schema is an object`},
		{`{"additionalProperties":0}`, `additionalProperties: a schema is an object`},
		{`{"minimum":"1"}`, `minimum: not a number`},
		{`{"maxItems":-1}`, `maxItems: not a size`},
		{`{"maxLength":1.5}`, `maxLength: not a size`},
		{`{"pattern":"("}`, `pattern: "(" is no regular expression`},
		{`{"pattern":1}`, `pattern: "1" is no regular expression`},
		{`{"format":1}`, `format: not a string`},
		{`{"anyOf":[]}`, `anyOf: not an array of schemas`},
		{`[]`, `a schema is an object, true or false, not array`},
	} {
		t.Run(test.schema, func(t *testing.T) {
			_, _, err := compileSchema(decodeTest(t, test.schema))
			wantFault(t, err, test.want)
		})
	}
}

// TestSchemaKeywords: each keyword keeps and breaks.
func TestSchemaKeywords(t *testing.T) {
	for _, test := range []struct{ schema, value, want string }{
		{`true`, `{"a":1}`, ""},
		{`false`, `1`, `at "": false`},
		{`{"type":"string"}`, `"a"`, ""},
		{`{"type":"string"}`, `1`, `at "": type: want string, have integer`},
		{`{"type":["string","integer"]}`, `1`, ""},
		{`{"type":["string","integer"]}`, `null`, `want string or integer, have null`},
		{`{"type":"integer"}`, `1.0`, ""},
		{`{"type":"integer"}`, `0e-9`, ""},
		{`{"type":"integer"}`, `12e-1`, `have number`},
		{`{"type":"integer"}`, `1e999999999999999999999`, ""},
		{`{"type":"number"}`, `1`, ""},
		{`{"type":"number"}`, `true`, `have boolean`},
		{`{"type":"object"}`, `[]`, `have array`},
		{`{"const":"2.0"}`, `"2.0"`, ""},
		{`{"const":"2.0"}`, `2.0`, `const`},
		{`{"const":null}`, `false`, `const`},
		{`{"const":{"a":[1,2]}}`, `{"a":[1.0,20e-1]}`, ""},
		{`{"const":{"a":[1,2]}}`, `{"a":[2,1]}`, `const`},
		{`{"enum":["a",1]}`, `1`, ""},
		{`{"enum":["a",1]}`, `"b"`, `at "": enum: "\"b\"" is none of`},
		{`{"minimum":0}`, `-0.0`, ""},
		{`{"minimum":0}`, `-1e-400`, `minimum`},
		{`{"maximum":1}`, `1`, ""},
		{`{"maximum":1}`, `1.0000000000000000000001`, `maximum`},
		{`{"maximum":1}`, `"9"`, ""},
		{`{"minLength":2}`, `"é"`, `1 characters, the limit is 2`},
		{`{"maxLength":1}`, `"é"`, ""},
		{`{"maxLength":1}`, `[1,2]`, ""},
		{`{"minItems":1}`, `[]`, `minItems`},
		{`{"maxItems":1}`, `[1,2]`, `2 items, the limit is 1`},
		{`{"maxItems":1}`, `"ab"`, ""},
		{`{"pattern":"^a+$"}`, `"aa"`, ""},
		{`{"pattern":"^a+$"}`, `"ab"`, `pattern`},
		{`{"format":"byte"}`, `"QUI="`, ""},
		{`{"format":"byte"}`, `"QUI"`, `format: "QUI" is not "byte"`},
		{`{"format":"byte"}`, `"QU\nI="`, `format`},
		{`{"format":"uri"}`, `"keepmum://docs/a"`, ""},
		{`{"format":"uri"}`, `"docs/a"`, `format`},
		{`{"format":"uri"}`, `"http://a/b c"`, `format`},
		{`{"format":"uri-template"}`, `"file:///{path}"`, ""},
		{`{"format":"uri-template"}`, `"file:///{path"`, `format`},
		{`{"format":"date-time"}`, `"yesterday"`, ""},
		{`{"items":{"type":"string"}}`, `["a",1]`, `at "/1": type`},
		{`{"properties":{"a/b~":{"type":"string"}}}`, `{"a/b~":1}`, `at "/a~1b~0": type`},
		{`{"properties":{"a":false}}`, `{"b":1}`, ""},
		{`{"required":["a"]}`, `{"a":null}`, ""},
		{`{"required":["a"]}`, `{"A":1}`, `required: member "a" is missing`},
		{`{"required":["a"]}`, `[]`, ""},
		{`{"properties":{"a":true},"additionalProperties":false}`, `{"a":1}`, ""},
		{`{"properties":{"a":true},"additionalProperties":false}`, `{"a":1,"b":1}`, `at "/b": false`},
		{`{"additionalProperties":{"type":"string"}}`, `{"b":1}`, `at "/b": type`},
		{`{"allOf":[{"required":["a"]},{"required":["b"]}]}`, `{"a":1}`, `member "b"`},
		{`{"anyOf":[{"type":"string"},{"type":"null"}]}`, `null`, ""},
		{`{"anyOf":[{"type":"string"},{"type":"null"}]}`, `1`, `anyOf: none of 2 alternatives`},
		{`{"oneOf":[{"type":"string"},{"type":"integer"}]}`, `1`, ""},
		{`{"oneOf":[{"type":"number"},{"type":"integer"}]}`, `1`, `oneOf: 2 alternatives fit`},
		{`{"anyOf":[{"properties":{"t":{"const":"x"}}},{"properties":{"t":{"const":"y"}},"required":["v"]}]}`,
			`{"t":"y"}`, `the nearest fails at "": required: member "v"`},
		{`{"$defs":{"a":{"type":"string"}},"items":{"$ref":"#/$defs/a"}}`, `[1]`, `at "/0": type`},
		{`{"definitions":{"a":{"type":"string"}},"items":{"$ref":"#/definitions/a"}}`, `[1]`, `at "/0": type`},
		{`{"items":{"$ref":"#"},"type":"array"}`, `[[],[[]]]`, ""},
		{`{"items":{"$ref":"#"},"type":"array"}`, `[[],[1]]`, `at "/1/0": type`},
		{`{"$ref":"#"}`, `1`, `limit: the schema takes too much work`},
		{`{"anyOf":[{"$ref":"#"},{"$ref":"#"}]}`, `1`, `too much work`},
		{`{"anyOf":[{"items":{"$ref":"#"}},{"items":{"$ref":"#"}},true]}`,
			strings.Repeat("[", 200) + strings.Repeat("]", 200), ""},
		{`{"$defs":{"x":{"anyOf":[{"minItems":1,"items":{"$ref":"#/$defs/x"}},` +
			`{"minItems":1,"items":{"$ref":"#/$defs/x"}}]}},"oneOf":[true,{"$ref":"#/$defs/x"}]}`,
			strings.Repeat("[", 100) + strings.Repeat("]", 100), `too much work`},
	} {
		t.Run(test.schema, func(t *testing.T) {
			node, _, err := compileSchema(decodeTest(t, test.schema))
			if err != nil {
				t.Fatal(err)
			}
			wantFault(t, node.valid(decodeTest(t, test.value)), test.want)
		})
	}
}

// TestSchemaDefinitions: real definitions with one fault each.
func TestSchemaDefinitions(t *testing.T) {
	for _, test := range []struct{ revision, definition, value, want string }{
		{"2024-11-05", "Tool", `{"name":"a","inputSchema":{"type":"object"}}`, ""},
		{"2024-11-05", "Tool", `{"name":"a","inputSchema":{"type":"array"}}`, `at "/inputSchema/type": const`},
		{"2025-11-25", "Tool", `{"name":"a","inputSchema":null}`, `at "/inputSchema": type`},
		{"2025-06-18", "TextContent", `{"type":"text"}`, `member "text"`},
		{"2024-11-05", "CallToolResult", `{"content":[{"type":"audio","data":"QQ==","mimeType":"audio/wav"}]}`, `at "/content/0": anyOf`},
		{"2025-03-26", "CallToolResult", `{"content":[{"type":"audio","data":"QQ==","mimeType":"audio/wav"}]}`, ""},
		{"2025-06-18", "CallToolResult", `{"content":[],"structuredContent":[]}`, `at "/structuredContent": type`},
		{"2026-07-28", "CallToolResult", `{"content":[],"structuredContent":[],"resultType":"complete"}`, ""},
		{"2026-07-28", "CallToolResult", `{"content":[]}`, `member "resultType"`},
		{"2026-07-28", "ListToolsResult", `{"tools":[],"resultType":"complete","ttlMs":-1,"cacheScope":"public"}`, `at "/ttlMs": minimum`},
		{"2026-07-28", "ListToolsResult", `{"tools":[],"resultType":"complete","ttlMs":1,"cacheScope":"all"}`, `at "/cacheScope": enum`},
		{"2026-07-28", "ServerCapabilities", `{"extensions":{"a":{"b":[null,1.5,true]}}}`, ""},
		{"2025-06-18", "DiscoverResult", `{}`, `revision 2025-06-18 has no DiscoverResult`},
	} {
		t.Run(test.revision+" "+test.definition, func(t *testing.T) {
			s, err := schemaFor(test.revision)
			if err != nil {
				t.Fatal(err)
			}
			wantFault(t, s.valid(test.definition, decodeTest(t, test.value)), test.want)
		})
	}
}

func TestDecodeExact(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`{"a":{"a":[{"a":1}]}}`, ""},
		{` [1, 2] `, ""},
		{`"\ud83d\ude00 \\ud83d � é"`, ""},
		{`{"a":1,"a":2}`, `member "a" is there twice`},
		{`{"a":1,"\u0061":2}`, `member "a" is there twice`},
		{`[{"b":{"a":null,"a":null}}]`, `member "a" is there twice`},
		{`{"a":1,"A":2}`, ""},
		{`"\ud83d"`, `half of a surrogate pair`},
		{`"\ude00\ud83d"`, `half of a surrogate pair`},
		{`"\ud83dxude00"`, `half of a surrogate pair`},
		{"\"\xff\"", `not JSON in UTF-8`},
		{"\ufeff{}", `not JSON in UTF-8`},
		{`{} {}`, `not JSON in UTF-8`},
		{``, `not JSON in UTF-8`},
		{strings.Repeat("[", 20000) + strings.Repeat("]", 20000), `not JSON in UTF-8`},
	} {
		_, err := decodeExact([]byte(test.text))
		t.Run(cut(test.text, 40), func(t *testing.T) { wantFault(t, err, test.want) })
	}
}

// TestDecimal: numbers in order, each with spellings that are worth the same.
func TestDecimal(t *testing.T) {
	numbers := [][]string{{"-1e400"}, {"-10", "-1e1", "-100e-1"}, {"-9.99"}, {"-0.1"},
		{"0", "-0", "0.0", "0e9"}, {"1e-400", "0.1e-399"}, {"0.1", "1e-1"}, {"1", "1.0", "0.01e2", "1E+0"},
		{"1.01"}, {"9007199254740993"}, {"9007199254740994", "90071992547409940e-1"}, {"1e400", "10E399"}}
	for i, as := range numbers {
		for j, bs := range numbers {
			for _, a := range as {
				for _, b := range bs {
					got := parseDecimal(decodeTest(t, a).(json.Number)).compare(parseDecimal(decodeTest(t, b).(json.Number)))
					if got < 0 != (i < j) || got > 0 != (i > j) {
						t.Errorf("%s compared with %s is %d", a, b, got)
					}
					if equalJSON(decodeTest(t, a), decodeTest(t, b)) != (i == j) {
						t.Errorf("%s equal to %s is %v", a, b, i != j)
					}
				}
			}
		}
	}
}
