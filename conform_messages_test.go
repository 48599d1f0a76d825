package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Openings of sessions, in the marks of replay.
const (
	statelessMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
		`"io.modelcontextprotocol/clientCapabilities":{}}`
	listTool = `{"name":"t","inputSchema":{"type":"object"},"outputSchema":{"type":"object",` +
		`"properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}}`
)

// agreed opens a session of a legacy revision.
func agreed(revision string) string {
	return fmt.Sprintf(`> {"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":%q,`+
		`"capabilities":{},"clientInfo":{"name":"c","version":"1"}}}
< {"jsonrpc":"2.0","id":0,"result":{"protocolVersion":%q,"capabilities":{},"serverInfo":{"name":"s","version":"1"}}}
> {"jsonrpc":"2.0","method":"notifications/initialized"}
`, revision, revision)
}

// asks writes a request as id 1; in the stateless revision with its _meta.
func asks(revision, method, params string) string {
	if revision == modern {
		return fmt.Sprintf(`> {"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`+"\n", method,
			strings.TrimSuffix(statelessMeta+","+params, ","))
	}
	return agreed(revision) + fmt.Sprintf(`> {"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`+"\n", method, params)
}

// calls lists the tool and calls it as id 1.
func calls(revision string) string {
	list := strings.Replace(asks(revision, "tools/list", ""), `"id":1`, `"id":2`, 1)
	more := ""
	if revision == modern {
		more = `,"resultType":"complete","ttlMs":0,"cacheScope":"public"`
	}
	call := asks(revision, "tools/call", `"name":"t","arguments":{}`)
	call = call[strings.LastIndex(call[:len(call)-1], "\n")+1:]
	return list + `< {"jsonrpc":"2.0","id":2,"result":{"tools":[` + listTool + `]` + more + "}}\n" + call
}

// replay gives the lines of a transcript to a messageCheck, by the marks of
// TestMCPTranscripts, and returns how many lines of the server there were and
// what was wrong with them.
func replay(c *messageCheck, transcript string) (lines int, faults []error) {
	for line := range strings.Lines(transcript) {
		switch mark, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); mark {
		case ">", ">>":
			c.sent([]byte(rest))
		case "<":
			lines++
			faults = append(faults, c.received([]byte(rest))...)
		}
	}
	return lines, faults
}

// TestMessagesTranscripts: every line of every transcript is as it must be.
func TestMessagesTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/mcp/*.txt")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d transcripts, %v, want at least 12", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines, faults := replay(newMessageCheck(), string(text))
		if err := errors.Join(faults...); lines == 0 || err != nil {
			t.Errorf("%s: %d lines of the bridge, %v", file, lines, err)
		}
	}
}

// TestMessages: a session that is right but for the last line, which breaks the
// rule that the error names, or none.
func TestMessages(t *testing.T) {
	const (
		old, batch, june, nov = "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"
		methods               = `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"m"}}`
		nothing               = `{"jsonrpc":"2.0","id":1,"result":{}}`
		unread                = `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}`
		structured            = `"structuredContent":{"a":"b"}`
		sameText              = `"content":[{"type":"text","text":"{ \"a\": \"\u0062\" }"}]`
		complete              = `,"resultType":"complete"`
	)
	answer := func(result string) string { return `{"jsonrpc":"2.0","id":1,"result":{` + result + `}}` }
	failure := func(code, data string) string {
		return `{"jsonrpc":"2.0","id":1,"error":{"code":` + code + `,"message":"m"` + data + `}}`
	}
	listen := asks(modern, "subscriptions/listen", `"notifications":{}`)
	note := func(method, id, params string) string {
		return `{"jsonrpc":"2.0","method":"notifications/` + method + `","params":{"_meta":{"` +
			metaSubscription + `":` + id + `}` + params + `}}`
	}
	progress := func(token, value string) string {
		return `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + token + `,"progress":` + value + `}}`
	}
	ping := asks(nov, "ping", "")
	waits := asks(nov, "tools/call", `"name":"t","_meta":{"progressToken":"p"}`)
	for _, test := range []struct{ name, before, line, want string }{
		{"an answer", ping, nothing, ""},
		{"white space around", ping, " " + nothing + "\r", ""},
		{"not UTF-8", ping, strings.Replace(nothing, "{}", "{\"a\":\"\xff\"}", 1), "not JSON in UTF-8"},
		{"not JSON", ping, "ready", "not JSON in UTF-8"},
		{"an empty line", ping, "", "not JSON in UTF-8"},
		{"two objects", ping, nothing + nothing, "not JSON in UTF-8"},
		{"no object", ping, `"ready"`, "not a JSON object"},
		{"a repeated member", ping, `{"jsonrpc":"2.0","id":1,"id":1,"result":{}}`, `member "id" is there twice`},
		{"a repeated member below", ping, answer(`"_meta":{"a":{"b":1,"b":1}}`), `member "b" is there twice`},
		{"half a pair", ping, answer(`"a":"\ud800"`), "half of a surrogate pair"},
		{"no version", ping, `{"id":1,"result":{}}`, `"jsonrpc" is not "2.0"`},
		{"version as a number", ping, `{"jsonrpc":2.0,"id":1,"result":{}}`, `"jsonrpc" is not "2.0"`},
		{"version in capitals", ping, `{"JSONRPC":"2.0","id":1,"result":{}}`, `"jsonrpc" is not "2.0"`},
		{"result and error", ping, `{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"m"}}`, `one of "result" and "error"`},
		{"result and null error", ping, `{"jsonrpc":"2.0","id":1,"result":{},"error":null}`, `one of "result" and "error"`},
		{"neither", ping, `{"jsonrpc":"2.0","id":1}`, `one of "result" and "error"`},
		{"result in capitals", ping, `{"jsonrpc":"2.0","id":1,"Result":{}}`, `one of "result" and "error"`},
		{"a method and a result", ping, `{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}`, "a method and an answer"},
		{"no result object", ping, `{"jsonrpc":"2.0","id":1,"result":null}`, `at "": type: want object`},

		{"no id", ping, `{"jsonrpc":"2.0","result":{}}`, "the id is no string and no integer"},
		{"a fraction", ping, `{"jsonrpc":"2.0","id":1.0,"result":{}}`, "the id is no string and no integer"},
		{"a string for an integer", ping, `{"jsonrpc":"2.0","id":"1","result":{}}`, "not requested"},
		{"another id", ping, `{"jsonrpc":"2.0","id":2,"result":{}}`, "not requested"},
		{"answered twice", ping + "< " + nothing, nothing, "has been answered"},
		{"a result, then an error", ping + "< " + nothing, methods, "has been answered"},
		{"asked twice", ping + "> " + `{"jsonrpc":"2.0","id":1,"method":"x"}` + "\n< " + methods, nothing, ""},
		{"asked again", ping + "< " + nothing + "\n" + `> {"jsonrpc":"2.0","id":1,"method":"ping"}`, nothing, ""},
		{"a notification answered", agreed(nov), nothing, "not requested"},
		{"an escaped id", agreed(nov) + `> {"jsonrpc":"2.0","id":"é","method":"ping"}`, `{"jsonrpc":"2.0","id":"\u00e9","result":{}}`, ""},
		{"a big id", agreed(nov) + `> {"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}`, `{"jsonrpc":"2.0","id":9007199254740992,"result":{}}`, "not requested"},
		{"cancelled, and on its way", ping + `> {"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, nothing, ""},

		{"an error", ping, methods, ""},
		{"a code in quotes", ping, failure(`"-32601"`, ""), `at "/error/code": type`},
		{"a code with a fraction", ping, failure("-1.5", ""), `at "/error/code": type`},
		{"no message", ping, `{"jsonrpc":"2.0","id":1,"error":{"code":1}}`, `member "message"`},
		{"an error in words", ping, `{"jsonrpc":"2.0","id":1,"error":"no"}`, `at "/error": type`},
		{"null for garbage", agreed(old) + "> {", unread, ""},
		{"no id for garbage", agreed(june) + "> {", strings.Replace(unread, `"id":null,`, "", 1), ""},
		{"null for a null id", agreed(nov) + `> {"jsonrpc":"2.0","id":null,"method":"ping"}`, strings.Replace(unread, "700", "600", 1), ""},
		{"null for an array", agreed(nov) + `> [` + methods + `]`, unread, ""},
		{"null for a line too long", agreed(nov) + `> ` + strings.Repeat("1", lineLimit+1), unread, ""},
		{"null, and all could be read", ping, unread, "the id of every line could be read"},
		{"null twice", agreed(nov) + "> {\n< " + unread, unread, "the id of every line could be read"},
		{"null with another code", agreed(nov) + "> {", strings.Replace(unread, "32700", "32601", 1), "not -32700 or -32600"},
		{"null and no message", agreed(nov) + "> {", `{"jsonrpc":"2.0","id":null,"error":{"code":-32700}}`, `member "message"`},
		{"a repeated id", agreed(nov) + `> {"jsonrpc":"2.0","id":1,"id":"2","method":"ping"}`, failure("-32600", ""), ""},
		{"a result for no request", agreed(nov) + `> {"jsonrpc":"1.0","id":1,"method":"ping"}`, nothing, "what was no request"},

		{"an unknown method", asks(nov, "no/such", ""), nothing, `no method "no/such"`},
		{"a method of later", asks(nov, "server/discover", ""), nothing, `no method "server/discover"`},
		{"a method of before", asks(modern, "ping", ""), answer(`"resultType":"complete"`), `no method "ping"`},
		{"ping before initialize", `> {"jsonrpc":"2.0","id":1,"method":"ping"}`, nothing, ""},
		{"initialize to later", strings.SplitAfter(agreed(nov), "\n")[0],
			`{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2026-07-28"}}`, `no method "initialize"`},
		{"initialize to nowhere", strings.SplitAfter(agreed(nov), "\n")[0],
			`{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"1.0"}}`, `no schema for revision "1.0"`},
		{"initialize and no name", strings.SplitAfter(agreed(nov), "\n")[0],
			`{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}`, `member "serverInfo"`},
		{"no tools", asks(old, "tools/list", ""), nothing, `member "tools"`},
		{"a tool without a schema", asks(june, "tools/list", ""), answer(`"tools":[{"name":"t"}]`), `at "/tools/0": required`},
		{"a schema that is none", asks(june, "tools/list", ""),
			answer(`"tools":[{"name":"t","inputSchema":{"type":"object","properties":{"a":{"type":"text"}}}}]`), `inputSchema of tool "t"`},
		{"resources without a name", asks(old, "resources/list", ""), answer(`"resources":[{"uri":"a:b"}]`), `member "name"`},
		{"no templates", asks(old, "resources/templates/list", ""), nothing, `member "resourceTemplates"`},
		{"a document without text", asks(june, "resources/read", `"uri":"a:b"`), answer(`"contents":[{"uri":"a:b"}]`), `at "/contents/0": anyOf`},
		{"no content", asks(old, "tools/call", `"name":"t"`), nothing, `member "content"`},
		{"its own revision", agreed(june) + asks(modern, "tools/list", ""), answer(`"tools":[]`), "of revision 2026-07-28"},
		{"the agreed revision", asks(modern, "server/discover", "") + strings.Replace(asks(june, "tools/list", ""), `"id":1`, `"id":3`, 1),
			`{"jsonrpc":"2.0","id":3,"result":{"tools":[]}}`, ""},
		{"a revision of nobody", strings.Replace(asks(modern, "tools/list", ""), modern, "1900-01-01", 1), answer(`"tools":[]`), `no schema for revision "1900-01-01"`},
		{"a revision of nobody refused", strings.Replace(asks(modern, "tools/list", ""), modern, "1900-01-01", 1),
			failure("-32022", `,"data":{"supported":["2026-07-28"],"requested":"1900-01-01"}`), ""},
		{"refused without saying what is supported", strings.Replace(asks(modern, "tools/list", ""), modern, "1900-01-01", 1),
			failure("-32022", `,"data":{"requested":"1900-01-01"}`), `member "supported"`},

		{"no resultType", asks(modern, "server/discover", ""), answer(`"supportedVersions":[],"capabilities":{},"ttlMs":0,"cacheScope":"public"`), `member "resultType"`},
		{"an unknown resultType", calls(modern), answer(`"content":[],"resultType":"partial"`), "a resultType"},
		{"a list that asks", asks(modern, "tools/list", ""), answer(`"requestState":"s","resultType":"input_required"`), `member "cacheScope"`},
		{"a call that asks", calls(modern), answer(`"requestState":"s","resultType":"input_required"`), ""},
		{"a call that asks nothing", calls(modern), answer(`"resultType":"input_required"`), "without inputRequests"},
		{"a call that asks wrongly", calls(modern), answer(`"inputRequests":{"a":{"method":"ping"}},"resultType":"input_required"`), `at "/inputRequests/a"`},
		{"a code of before", asks(modern, "resources/read", `"uri":"a:b"`), failure("-32002", ""), "error code -32002"},
		{"the same before", asks(nov, "resources/read", `"uri":"a:b"`), failure("-32002", ""), ""},
		{"a reserved code", calls(modern), failure("-32042", ""), "error code -32042"},
		{"a code that is free", calls(modern), failure("-31000", ""), ""},

		{"structured", calls(june), answer(structured + "," + sameText), ""},
		{"structured, later", calls(modern), answer(structured + "," + sameText + complete), ""},
		{"another text", calls(june), answer(structured + `,"content":[{"type":"text","text":"{\"a\":\"c\"}"}]`), "without the same JSON as text"},
		{"no text", calls(june), answer(structured + `,"content":[]`), "without the same JSON as text"},
		{"against its schema", calls(june), answer(`"structuredContent":{"a":1},"content":[{"type":"text","text":"{\"a\":1}"}]`), `at "/a": type`},
		{"too much for its schema", calls(modern), answer(`"structuredContent":{"a":"b","c":1},"content":[{"type":"text","text":"{\"a\":\"b\",\"c\":1}"}]` + complete), `at "/c": false`},
		{"not structured", calls(june), answer(sameText), "without structuredContent"},
		{"a tool's error", calls(june), answer(`"content":[{"type":"text","text":"no"}],"isError":true`), ""},
		{"an error against the schema", calls(june), answer(`"content":[],"isError":true,"structuredContent":{}`), `member "a"`},
		{"not listed", asks(june, "tools/call", `"name":"t"`), answer(`"structuredContent":{"z":1},"content":[{"type":"text","text":"{\"z\":1.0}"}]`), ""},
		{"before there was structure", calls(batch), answer(sameText), ""},

		{"a batch", agreed(batch) + `> [{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]`,
			`[` + nothing + `,{"jsonrpc":"2.0","id":2,"result":{}}]`, ""},
		{"an array in another revision", ping, `[` + nothing + `]`, "only revision 2025-03-26"},
		{"an array before any revision", `> {"jsonrpc":"2.0","id":1,"method":"ping"}`, `[` + nothing + `]`, "only revision 2025-03-26"},
		{"an empty array", agreed(batch) + `> []`, `[]`, "only revision 2025-03-26"},
		{"answered twice in an array", asks(batch, "ping", ""), `[` + nothing + `,` + nothing + `]`, "has been answered"},
		{"no answer in an array", asks(batch, "ping", ""), `[{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}]`, "no answer"},
		{"a number in an array", asks(batch, "ping", ""), `[1]`, "no answer"},
		{"a batch refused", agreed(batch) + `> []`, unread, ""},

		{"a list has changed", agreed(old), `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`, ""},
		{"an unknown notification", agreed(nov), `{"jsonrpc":"2.0","method":"notifications/hello"}`, "no notification"},
		{"a client's notification", agreed(nov), `{"jsonrpc":"2.0","method":"notifications/initialized"}`, "no notification"},
		{"a notification of later", agreed(nov), `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{}}}`, "no notification"},
		{"a method that is no text", agreed(nov), `{"jsonrpc":"2.0","method":1}`, "no notification"},
		{"parameters in an array", agreed(nov), `{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":[]}`, `at "/params": type`},
		{"a log without data", agreed(nov), `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}}`, `member "data"`},
		{"progress", waits, progress(`"p"`, "1"), ""},
		{"more progress", waits + "< " + progress(`"p"`, "1"), progress(`"p"`, "1.5"), ""},
		{"no more progress", waits + "< " + progress(`"p"`, "1"), progress(`"p"`, "1.0"), "does not increase"},
		{"another's progress", waits, progress(`"q"`, "1"), "no open request"},
		{"progress that nobody wants", ping, progress(`1`, "1"), "no open request"},
		{"progress of what has ended", waits + "< " + methods, progress(`"p"`, "1"), "no open request"},
		{"progress in words", waits, progress(`"p"`, `"half"`), `at "/params/progress": type`},
		{"acknowledged", listen, note("subscriptions/acknowledged", "1", `,"notifications":{}`), ""},
		{"acknowledged twice", listen + "< " + note("subscriptions/acknowledged", "1", `,"notifications":{}`),
			note("subscriptions/acknowledged", "1", `,"notifications":{}`), "first, and once"},
		{"acknowledged too late", listen, note("tools/list_changed", "1", ""), "first, and once"},
		{"a change", listen + "< " + note("subscriptions/acknowledged", "1", `,"notifications":{}`), note("tools/list_changed", "1", ""), ""},
		{"another's subscription", listen, note("subscriptions/acknowledged", `"1"`, `,"notifications":{}`), "does not exist"},
		{"a change without subscription", listen, `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`, "without the id of its subscription"},
		{"the end of a subscription", listen, answer(`"resultType":"complete","_meta":{"` + metaSubscription + `":1}`), ""},
		{"the end of another", listen, answer(`"resultType":"complete","_meta":{"` + metaSubscription + `":2}`), "the id of another"},

		{"a server's ping", agreed(old), `{"jsonrpc":"2.0","id":1,"method":"ping"}`, ""},
		{"a server's request of later", agreed(old), `{"jsonrpc":"2.0","id":1,"method":"elicitation/create"}`, "no request"},
		{"a server's request that is wrong", agreed(june), `{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"m"}}`, `member "requestedSchema"`},
		{"a server's null id", agreed(nov), `{"jsonrpc":"2.0","id":null,"method":"ping"}`, "no string and no integer"},
		{"a server's id again", agreed(nov) + `< {"jsonrpc":"2.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "used before"},
		{"a stateless server's request", asks(modern, "server/discover", ""), `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "no request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newMessageCheck()
			if _, faults := replay(c, test.before); len(faults) > 0 {
				t.Fatalf("before: %v", faults)
			}
			faults := c.received([]byte(test.line))
			wantError(t, errors.Join(faults...), test.want)
			if quoted := fmt.Sprintf("%q", cut(test.line, 200)); test.want != "" {
				wantError(t, errors.Join(faults...), quoted)
			}
		})
	}
}

// TestMessagesRevision: who decides the revision.
func TestMessagesRevision(t *testing.T) {
	c := newMessageCheck()
	c.revision = modern
	if _, faults := replay(c, `> {"jsonrpc":"2.0","id":1,"method":"tools/list"}`); len(faults) > 0 {
		t.Fatal(faults)
	}
	faults := c.received([]byte(`{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}`))
	wantError(t, errors.Join(faults...), "of revision "+modern)
	for _, revision := range legacy {
		replay(c, agreed(revision))
		if c.revision != revision {
			t.Errorf("initialize agreed %q, the check has %q", revision, c.revision)
		}
	}
}

// FuzzMessages: whatever is written on either side, nothing fails, and no answer
// with an id is accepted twice.
func FuzzMessages(f *testing.F) {
	files, _ := filepath.Glob("testdata/mcp/*.txt")
	if len(files) == 0 {
		f.Fatal("no seeds")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add(calls(modern) + `< {"jsonrpc":"2.0","id":1,"result":{"content":[],"resultType":"complete","structuredContent":{"a":"b"}}}`)
	f.Fuzz(func(t *testing.T, transcript string) {
		c := newMessageCheck()
		for line := range strings.Lines(transcript) {
			mark, rest, _ := strings.Cut(line, " ")
			if mark != "<" {
				c.sent([]byte(rest))
				continue
			}
			if len(c.received([]byte(rest))) > 0 {
				continue
			}
			m, err := decodeObject([]byte(rest))
			key := rawKey(m["id"])
			if err == nil && m["method"] == nil && key != "" && len(c.open[key]) == 0 &&
				len(c.received([]byte(rest))) == 0 {
				t.Errorf("accepted twice: %q", rest)
			}
		}
	})
}
