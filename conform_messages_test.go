package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Openings of sessions, in the marks of replaySession.
const (
	statelessMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
		`"io.modelcontextprotocol/clientCapabilities":{}}`
	listTool = `{"name":"t","inputSchema":{"type":"object"},"outputSchema":{"type":"object",` +
		`"properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}}`
)

// sessionOf opens a session of a legacy revision.
func sessionOf(revision string) string {
	return fmt.Sprintf(`> {"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":%q,`+
		`"capabilities":{},"clientInfo":{"name":"c","version":"1"}}}
< {"jsonrpc":"2.0","id":0,"result":{"protocolVersion":%q,"capabilities":{},"serverInfo":{"name":"s","version":"1"}}}
> {"jsonrpc":"2.0","method":"notifications/initialized"}
`, revision, revision)
}

// sessionAsking writes a request as id 1; in the stateless revision with its _meta.
func sessionAsking(revision, method, params string) string {
	if revision == modern {
		return fmt.Sprintf(`> {"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`+"\n", method,
			strings.TrimSuffix(statelessMeta+","+params, ","))
	}
	return sessionOf(revision) + fmt.Sprintf(`> {"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`+"\n", method, params)
}

// sessionCalling lists the tool and calls it as id 1.
func sessionCalling(revision string) string {
	list := strings.Replace(sessionAsking(revision, "tools/list", ""), `"id":1`, `"id":2`, 1)
	more := ""
	if revision == modern {
		more = `,"resultType":"complete","ttlMs":0,"cacheScope":"public"`
	}
	call := sessionAsking(revision, "tools/call", `"name":"t","arguments":{}`)
	call = call[strings.LastIndex(call[:len(call)-1], "\n")+1:]
	return list + `< {"jsonrpc":"2.0","id":2,"result":{"tools":[` + listTool + `]` + more + "}}\n" + call
}

// replaySession gives the lines of a transcript to a messageCheck, by the marks of
// TestMCPTranscripts, and returns how many lines of the server there were and
// what was wrong with them.
func replaySession(c *messageCheck, transcript string) (lines int, faults []error) {
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
		lines, faults := replaySession(newMessageCheck(), string(text))
		if err := errors.Join(faults...); lines == 0 || err != nil {
			t.Errorf("%s: %d lines of the bridge, %v", file, lines, err)
		}
	}
}

// Answers to id 1, and what they are made of.
const (
	answerEmpty    = `{"jsonrpc":"2.0","id":1,"result":{}}`
	answerNoMethod = `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"m"}}`
	answerUnread   = `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}`
	withStructure  = `"structuredContent":{"a":"b"}`
	withText       = `"content":[{"type":"text","text":"{ \"a\": \"\u0062\" }"}]`
	withComplete   = `,"resultType":"complete"`
)

func answerWith(result string) string { return `{"jsonrpc":"2.0","id":1,"result":{` + result + `}}` }

func failWith(code, data string) string {
	return `{"jsonrpc":"2.0","id":1,"error":{"code":` + code + `,"message":"m"` + data + `}}`
}

// tagWith is a notification of a subscription.
func tagWith(method, id, params string) string {
	return `{"jsonrpc":"2.0","method":"notifications/` + method + `","params":{"_meta":{"` +
		metaSubscription + `":` + id + `}` + params + `}}`
}

func progressWith(token, value string) string {
	return `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":` + token +
		`,"progress":` + value + `}}`
}

// messageCase is a session that is right but for its last line, which breaks the
// rule that the error names, or none.
type messageCase struct{ name, before, line, want string }

func checkMessages(t *testing.T, cases []messageCase) {
	t.Helper()
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			c := newMessageCheck()
			if _, faults := replaySession(c, test.before); len(faults) > 0 {
				t.Fatalf("before: %v", faults)
			}
			err := errors.Join(c.received([]byte(test.line))...)
			wantFault(t, err, test.want)
			if test.want != "" {
				wantFault(t, err, fmt.Sprintf("%q", cut(test.line, 200)))
			}
		})
	}
}

// TestMessagesEnvelope: what JSON-RPC says of every message.
func TestMessagesEnvelope(t *testing.T) {
	ping := sessionAsking(legacy[3], "ping", "")
	checkMessages(t, []messageCase{
		{"an answer", ping, answerEmpty, ""},
		{"white space around", ping, " " + answerEmpty + "\r", ""},
		{"not UTF-8", ping, strings.Replace(answerEmpty, "{}", "{\"a\":\"\xff\"}", 1), "not JSON in UTF-8"},
		{"not JSON", ping, "ready", "not JSON in UTF-8"},
		{"an empty line", ping, "", "not JSON in UTF-8"},
		{"two objects", ping, answerEmpty + answerEmpty, "not JSON in UTF-8"},
		{"no object", ping, `"ready"`, "not a JSON object"},
		{"a repeated member", ping, `{"jsonrpc":"2.0","id":1,"id":1,"result":{}}`, `member "id" is there twice`},
		{"a repeated member below", ping, answerWith(`"_meta":{"a":{"b":1,"b":1}}`), `member "b" is there twice`},
		{"half a pair", ping, answerWith(`"a":"\ud800"`), "half of a surrogate pair"},
		{"no version", ping, `{"id":1,"result":{}}`, `"jsonrpc" is not "2.0"`},
		{"version as a number", ping, `{"jsonrpc":2.0,"id":1,"result":{}}`, `"jsonrpc" is not "2.0"`},
		{"version in capitals", ping, `{"JSONRPC":"2.0","id":1,"result":{}}`, `"jsonrpc" is not "2.0"`},
		{"result and error", ping, `{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"m"}}`, `one of "result" and "error"`},
		{"result and null error", ping, `{"jsonrpc":"2.0","id":1,"result":{},"error":null}`, `one of "result" and "error"`},
		{"neither", ping, `{"jsonrpc":"2.0","id":1}`, `one of "result" and "error"`},
		{"result in capitals", ping, `{"jsonrpc":"2.0","id":1,"Result":{}}`, `one of "result" and "error"`},
		{"a method and a result", ping, `{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}`, "a method and an answer"},
		{"no result object", ping, `{"jsonrpc":"2.0","id":1,"result":null}`, `at "": type: want object`},
	})
}

// TestMessagesIDs: each request is answered once.
func TestMessagesIDs(t *testing.T) {
	waits := sessionAsking(legacy[3], "tools/call", `"name":"t"`)
	ping := sessionAsking(legacy[3], "ping", "")
	listen := sessionAsking(modern, "subscriptions/listen", `"notifications":{}`)
	list := sessionAsking(modern, "tools/list", "")
	tools := answerWith(`"tools":[],"ttlMs":0,"cacheScope":"public"` + withComplete)
	checkMessages(t, []messageCase{
		{"no id", ping, `{"jsonrpc":"2.0","result":{}}`, "the id is no string and no integer"},
		{"a fraction", ping, `{"jsonrpc":"2.0","id":1.0,"result":{}}`, "the id is no string and no integer"},
		{"a string for an integer", ping, `{"jsonrpc":"2.0","id":"1","result":{}}`, "not requested"},
		{"another id", ping, `{"jsonrpc":"2.0","id":2,"result":{}}`, "not requested"},
		{"answered twice", ping + "< " + answerEmpty, answerEmpty, "has been answered"},
		{"a result, then an error", ping + "< " + answerEmpty, answerNoMethod, "has been answered"},
		{"asked twice", ping + "> " + `{"jsonrpc":"2.0","id":1,"method":"x"}` + "\n< " + answerNoMethod, answerEmpty, ""},
		{"asked twice, and the first is answered", ping + `> {"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}`, answerEmpty, ""},
		{"no request, then one", "> {\"id\":1}\n" + list, tools, ""},
		{"the first refused, the second answered", listen + list + "< " + failWith("-32602", ""), tools, ""},
		{"the second refused, the first answered", list + listen + "< " + failWith("-32602", ""), tools, ""},
		{"both refused, and one answered", listen + list + "< " + failWith("-32602", "") + "\n< " + failWith("-32602", ""), tools, "has been answered"},
		{"asked twice, and neither has this answer", listen + list, answerEmpty, "required: member"},
		{"asked again", ping + "< " + answerEmpty + "\n" + `> {"jsonrpc":"2.0","id":1,"method":"ping"}`, answerEmpty, ""},
		{"a notification answered", sessionOf(legacy[3]), answerEmpty, "not requested"},
		{"an escaped id", sessionOf(legacy[3]) + `> {"jsonrpc":"2.0","id":"é","method":"ping"}`, `{"jsonrpc":"2.0","id":"\u00e9","result":{}}`, ""},
		{"a big id", sessionOf(legacy[3]) + `> {"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}`, `{"jsonrpc":"2.0","id":9007199254740992,"result":{}}`, "not requested"},
		{"cancelled, and on its way", ping + `> {"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, answerEmpty, ""},
		{"cancelled, and the id again", waits + `> {"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}` + "\n" +
			`> {"jsonrpc":"2.0","id":1,"method":"ping"}`, answerEmpty, ""},
	})
}

// TestMessagesErrors: error answers.
func TestMessagesErrors(t *testing.T) {
	ping := sessionAsking(legacy[3], "ping", "")
	checkMessages(t, []messageCase{
		{"an error", ping, answerNoMethod, ""},
		{"a code in quotes", ping, failWith(`"-32601"`, ""), `at "/error/code": type`},
		{"a code with a fraction", ping, failWith("-1.5", ""), `at "/error/code": type`},
		{"no message", ping, `{"jsonrpc":"2.0","id":1,"error":{"code":1}}`, `member "message"`},
		{"an error in words", ping, `{"jsonrpc":"2.0","id":1,"error":"no"}`, `at "/error": type`},
		{"null for garbage", sessionOf(legacy[0]) + "> {", answerUnread, ""},
		{"no id for garbage", sessionOf(legacy[2]) + "> {", strings.Replace(answerUnread, `"id":null,`, "", 1), ""},
		{"null for a null id", sessionOf(legacy[3]) + `> {"jsonrpc":"2.0","id":null,"method":"ping"}`, strings.Replace(answerUnread, "700", "600", 1), ""},
		{"null for an array", sessionOf(legacy[3]) + `> [` + answerNoMethod + `]`, answerUnread, ""},
		{"null for a line too long", sessionOf(legacy[3]) + `> {"jsonrpc":"2.0","id":1,"method":"` +
			strings.Repeat("x", lineLimit) + `"}`, answerUnread, ""},
		{"null, and all could be read", ping, answerUnread, "the id of every line could be read"},
		{"null twice", sessionOf(legacy[3]) + "> {\n< " + answerUnread, answerUnread, "the id of every line could be read"},
		{"null with another code", sessionOf(legacy[3]) + "> {", strings.Replace(answerUnread, "32700", "32601", 1), "not -32700 or -32600"},
		{"null and no message", sessionOf(legacy[3]) + "> {", `{"jsonrpc":"2.0","id":null,"error":{"code":-32700}}`, `member "message"`},
		{"a repeated id", sessionOf(legacy[3]) + `> {"jsonrpc":"2.0","id":1,"id":"2","method":"ping"}`, failWith("-32600", ""), ""},
		{"a result for no request", sessionOf(legacy[3]) + `> {"jsonrpc":"1.0","id":1,"method":"ping"}`, answerEmpty, "what was no request"},
	})
}

// TestMessagesResults: a result is its method's, in the revision of the request.
func TestMessagesResults(t *testing.T) {
	checkMessages(t, []messageCase{
		{"an unknown method", sessionAsking(legacy[3], "no/such", ""), answerEmpty, `no method "no/such"`},
		{"a method of later", sessionAsking(legacy[3], "server/discover", ""), answerEmpty, `no method "server/discover"`},
		{"a method of before", sessionAsking(modern, "ping", ""), answerWith(`"resultType":"complete"`), `no method "ping"`},
		{"ping before initialize", `> {"jsonrpc":"2.0","id":1,"method":"ping"}`, answerEmpty, ""},
		{"initialize to later", strings.SplitAfter(sessionOf(legacy[3]), "\n")[0],
			`{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2026-07-28"}}`, `no method "initialize"`},
		{"initialize to nowhere", strings.SplitAfter(sessionOf(legacy[3]), "\n")[0],
			`{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"1.0"}}`, `no schema for revision "1.0"`},
		{"initialize and no name", strings.SplitAfter(sessionOf(legacy[3]), "\n")[0],
			`{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{}}}`, `member "serverInfo"`},
		{"no tools", sessionAsking(legacy[0], "tools/list", ""), answerEmpty, `member "tools"`},
		{"a tool without a schema", sessionAsking(legacy[2], "tools/list", ""), answerWith(`"tools":[{"name":"t"}]`), `at "/tools/0": required`},
		{"a schema that is none", sessionAsking(legacy[2], "tools/list", ""),
			answerWith(`"tools":[{"name":"t","inputSchema":{"type":"object","properties":{"a":{"type":"text"}}}}]`), `inputSchema of tool "t"`},
		{"resources without a name", sessionAsking(legacy[0], "resources/list", ""), answerWith(`"resources":[{"uri":"a:b"}]`), `member "name"`},
		{"no templates", sessionAsking(legacy[0], "resources/templates/list", ""), answerEmpty, `member "resourceTemplates"`},
		{"a document without text", sessionAsking(legacy[2], "resources/read", `"uri":"a:b"`), answerWith(`"contents":[{"uri":"a:b"}]`), `at "/contents/0": anyOf`},
		{"no content", sessionAsking(legacy[0], "tools/call", `"name":"t"`), answerEmpty, `member "content"`},
		{"its own revision", sessionOf(legacy[2]) + sessionAsking(modern, "tools/list", ""), answerWith(`"tools":[]`), "of revision 2026-07-28"},
		{"the agreed revision", sessionAsking(modern, "server/discover", "") + strings.Replace(sessionAsking(legacy[2], "tools/list", ""), `"id":1`, `"id":3`, 1),
			`{"jsonrpc":"2.0","id":3,"result":{"tools":[]}}`, ""},
		{"a revision of nobody", strings.Replace(sessionAsking(modern, "tools/list", ""), modern, "1900-01-01", 1), answerWith(`"tools":[]`), `no schema for revision "1900-01-01"`},
		{"a revision of nobody refused", strings.Replace(sessionAsking(modern, "tools/list", ""), modern, "1900-01-01", 1),
			failWith("-32022", `,"data":{"supported":["2026-07-28"],"requested":"1900-01-01"}`), ""},
		{"refused without saying what is supported", strings.Replace(sessionAsking(modern, "tools/list", ""), modern, "1900-01-01", 1),
			failWith("-32022", `,"data":{"requested":"1900-01-01"}`), `member "supported"`},
	})
}

// TestMessagesStateless: what 2026-07-28 alone has.
func TestMessagesStateless(t *testing.T) {
	checkMessages(t, []messageCase{
		{"no resultType", sessionAsking(modern, "server/discover", ""), answerWith(`"supportedVersions":[],"capabilities":{},"ttlMs":0,"cacheScope":"public"`), `member "resultType"`},
		{"an unknown resultType", sessionCalling(modern), answerWith(`"content":[],"resultType":"partial"`), "a resultType"},
		{"a list that asks", sessionAsking(modern, "tools/list", ""), answerWith(`"requestState":"s","resultType":"input_required"`), `member "cacheScope"`},
		{"a call that asks", sessionCalling(modern), answerWith(`"requestState":"s","resultType":"input_required"`), ""},
		{"a call that asks nothing", sessionCalling(modern), answerWith(`"resultType":"input_required"`), "without inputRequests"},
		{"a call that asks wrongly", sessionCalling(modern), answerWith(`"inputRequests":{"a":{"method":"ping"}},"resultType":"input_required"`), `at "/inputRequests/a"`},
		{"a code of before", sessionAsking(modern, "resources/read", `"uri":"a:b"`), failWith("-32002", ""), "error code -32002"},
		{"the same before", sessionAsking(legacy[3], "resources/read", `"uri":"a:b"`), failWith("-32002", ""), ""},
		{"a reserved code", sessionCalling(modern), failWith("-32042", ""), "error code -32042"},
		{"a code that is free", sessionCalling(modern), failWith("-31000", ""), ""},
	})
}

// TestMessagesTools: structured content.
func TestMessagesTools(t *testing.T) {
	checkMessages(t, []messageCase{
		{"structured", sessionCalling(legacy[2]), answerWith(withStructure + "," + withText), ""},
		{"structured, later", sessionCalling(modern), answerWith(withStructure + "," + withText + withComplete), ""},
		{"another text", sessionCalling(legacy[2]), answerWith(withStructure + `,"content":[{"type":"text","text":"{\"a\":\"c\"}"}]`), "without the same JSON as text"},
		{"no text", sessionCalling(legacy[2]), answerWith(withStructure + `,"content":[]`), "without the same JSON as text"},
		{"against its schema", sessionCalling(legacy[2]), answerWith(`"structuredContent":{"a":1},"content":[{"type":"text","text":"{\"a\":1}"}]`), `at "/a": type`},
		{"too much for its schema", sessionCalling(modern), answerWith(`"structuredContent":{"a":"b","c":1},"content":[{"type":"text","text":"{\"a\":\"b\",\"c\":1}"}]` + withComplete), `at "/c": false`},
		{"not structured", sessionCalling(legacy[2]), answerWith(withText), "without structuredContent"},
		{"a tool's error", sessionCalling(legacy[2]), answerWith(`"content":[{"type":"text","text":"no"}],"isError":true`), ""},
		{"an error against the schema", sessionCalling(legacy[2]), answerWith(`"content":[],"isError":true,"structuredContent":{}`), `member "a"`},
		{"not listed", sessionAsking(legacy[2], "tools/call", `"name":"t"`), answerWith(`"structuredContent":{"z":1},"content":[{"type":"text","text":"{\"z\":1.0}"}]`), ""},
		{"before there was structure", sessionCalling(batching), answerWith(withText), ""},
	})
}

// TestMessagesBatches: arrays, which 2025-03-26 alone has.
func TestMessagesBatches(t *testing.T) {
	ping, one := sessionAsking(legacy[3], "ping", ""), `> [{"jsonrpc":"2.0","id":1,"method":"ping"}]`
	checkMessages(t, []messageCase{
		{"a batch", sessionOf(batching) + `> [{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]`,
			`[` + answerEmpty + `,{"jsonrpc":"2.0","id":2,"result":{}}]`, ""},
		{"an array in another revision", ping, `[` + answerEmpty + `]`, "only 2025-03-26"},
		{"an array before any revision", `> {"jsonrpc":"2.0","id":1,"method":"ping"}`, `[` + answerEmpty + `]`, "only 2025-03-26"},
		{"an empty array", sessionOf(batching) + `> []`, `[]`, "only 2025-03-26"},
		{"answered twice in an array", sessionAsking(batching, "ping", ""), `[` + answerEmpty + `,` + answerEmpty + `]`, "has been answered"},
		{"no answer in an array", sessionAsking(batching, "ping", ""), `[{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}]`, "no answer"},
		{"a number in an array", sessionAsking(batching, "ping", ""), `[1]`, "no answer"},
		{"a batch answered late", sessionOf(batching) + one + "\n" + sessionOf(legacy[2]), `[` + answerEmpty + `]`, ""},
		{"another array then", sessionOf(batching) + one + "\n" + sessionOf(legacy[2]) + `< [` + answerEmpty + "]\n" + strings.NewReplacer("[", "", "]", "").Replace(one),
			`[` + answerEmpty + `]`, "only 2025-03-26"},
		{"a batch refused", sessionOf(batching) + `> []`, answerUnread, ""},
	})
}

// TestMessagesNotices: notifications.
func TestMessagesNotices(t *testing.T) {
	ping := sessionAsking(legacy[3], "ping", "")
	waits := sessionAsking(legacy[3], "tools/call", `"name":"t","_meta":{"progressToken":"p"}`)
	listen := sessionAsking(modern, "subscriptions/listen", `"notifications":{}`)
	checkMessages(t, []messageCase{
		{"a list has changed", sessionOf(legacy[0]), `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`, ""},
		{"an unknown notification", sessionOf(legacy[3]), `{"jsonrpc":"2.0","method":"notifications/hello"}`, "no notification"},
		{"a client's notification", sessionOf(legacy[3]), `{"jsonrpc":"2.0","method":"notifications/initialized"}`, "no notification"},
		{"a notification of later", sessionOf(legacy[3]), `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":{}}}`, "no notification"},
		{"a method that is no text", sessionOf(legacy[3]), `{"jsonrpc":"2.0","method":1}`, "no notification"},
		{"parameters in an array", sessionOf(legacy[3]), `{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":[]}`, `at "/params": type`},
		{"a log without data", sessionOf(legacy[3]), `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}}`, `member "data"`},
		{"progress", waits, progressWith(`"p"`, "1"), ""},
		{"more progress", waits + "< " + progressWith(`"p"`, "1"), progressWith(`"p"`, "1.5"), ""},
		{"no more progress", waits + "< " + progressWith(`"p"`, "1"), progressWith(`"p"`, "1.0"), "does not increase"},
		{"another's progress", waits, progressWith(`"q"`, "1"), "no open request"},
		{"progress that nobody wants", ping, progressWith(`1`, "1"), "no open request"},
		{"progress of what has ended", waits + "< " + answerNoMethod, progressWith(`"p"`, "1"), "no open request"},
		{"progress in words", waits, progressWith(`"p"`, `"half"`), `at "/params/progress": type`},
		{"progress in the request's revision", sessionOf(legacy[0]) + strings.Replace(sessionAsking(modern, "tools/call",
			`"name":"t"`), `"_meta":{`, `"_meta":{"progressToken":"p",`, 1), progressWith(`"p"`, `1,"message":1`), `at "/params/message": type`},
		{"acknowledged", listen, tagWith("subscriptions/acknowledged", "1", `,"notifications":{}`), ""},
		{"the second of an id acknowledged", strings.Replace(listen, modern, legacy[3], 1) + listen, tagWith("subscriptions/acknowledged", "1", `,"notifications":{}`), ""},
		{"acknowledged twice", listen + "< " + tagWith("subscriptions/acknowledged", "1", `,"notifications":{}`),
			tagWith("subscriptions/acknowledged", "1", `,"notifications":{}`), "first, and once"},
		{"acknowledged too late", listen, tagWith("tools/list_changed", "1", ""), "first, and once"},
		{"a change", listen + "< " + tagWith("subscriptions/acknowledged", "1", `,"notifications":{}`), tagWith("tools/list_changed", "1", ""), ""},
		{"another's subscription", listen, tagWith("subscriptions/acknowledged", `"1"`, `,"notifications":{}`), "does not exist"},
		{"a change without subscription", listen, `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`, "without the id of its subscription"},
		{"the end of a subscription", listen, answerWith(`"resultType":"complete","_meta":{"` + metaSubscription + `":1}`), ""},
		{"the end of another", listen, answerWith(`"resultType":"complete","_meta":{"` + metaSubscription + `":2}`), "the id of another"},
	})
}

// TestMessagesRequests: requests of the server.
func TestMessagesRequests(t *testing.T) {
	checkMessages(t, []messageCase{
		{"a server's ping", sessionOf(legacy[0]), `{"jsonrpc":"2.0","id":1,"method":"ping"}`, ""},
		{"a server's request of later", sessionOf(legacy[0]), `{"jsonrpc":"2.0","id":1,"method":"elicitation/create"}`, "no request"},
		{"a server's request that is wrong", sessionOf(legacy[2]), `{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"m"}}`, `member "requestedSchema"`},
		{"a server's null id", sessionOf(legacy[3]), `{"jsonrpc":"2.0","id":null,"method":"ping"}`, "no string and no integer"},
		{"a server's id again", sessionOf(legacy[3]) + `< {"jsonrpc":"2.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "used before"},
		{"a stateless server's request", sessionAsking(modern, "server/discover", ""), `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "no request"},
	})
}

// TestMessagesRevision: who decides the revision.
func TestMessagesRevision(t *testing.T) {
	c := newMessageCheck()
	c.revision = modern
	if _, faults := replaySession(c, `> {"jsonrpc":"2.0","id":1,"method":"tools/list"}`); len(faults) > 0 {
		t.Fatal(faults)
	}
	faults := c.received([]byte(`{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}`))
	wantFault(t, errors.Join(faults...), "of revision "+modern)
	for _, revision := range legacy {
		replaySession(c, sessionOf(revision))
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
		lines := strings.SplitAfter(string(text), "\n") // short, since the fuzzer makes them shorter first
		for i := range lines[1:] {
			f.Add(lines[i] + lines[i+1])
		}
	}
	f.Add(sessionCalling(modern) + `< {"jsonrpc":"2.0","id":1,"result":{"content":[],"resultType":"complete","structuredContent":{"a":"b"}}}`)
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
