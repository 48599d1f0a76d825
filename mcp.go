package main

// The MCP bridge: it turns MCP on stdio into requests to the keeper, and holds
// no key and no value. Both eras are served by one process: initialize for the
// revisions up to 2025-11-25, and 2026-07-28 where every request says its own
// revision in _meta. A request decides its era by how it opens (SPEC §9).

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	modern      = "2026-07-28"
	batching    = "2025-03-26" // the one revision that has batches
	maxUnderWay = 256          // calls at once [MCP-28]
	maxClaim    = 64 << 10     // bytes; what shows it cuts it, and says how long it was
	leaveGrace  = 500 * time.Millisecond

	metaVersion      = "io.modelcontextprotocol/protocolVersion"
	metaCapabilities = "io.modelcontextprotocol/clientCapabilities"
	metaClient       = "io.modelcontextprotocol/clientInfo"
	metaServer       = "io.modelcontextprotocol/serverInfo"
	metaSubscription = "io.modelcontextprotocol/subscriptionId"
)

// legacy lists the revisions that open with initialize, oldest first.
var legacy = []string{"2024-11-05", batching, "2025-06-18", "2025-11-25"}

// mcpMethod answers one method, in the eras that have it; everything else is
// "method not found". A client may keep what is cached, which never changes.
// Without result and error the answer comes later, or never.
type mcpMethod struct {
	answer                 func(*bridge, *mcpRequest) (jsonObject, *wireError)
	legacy, modern, cached bool
}

var mcpMethods = map[string]mcpMethod{
	"initialize":               {(*bridge).initialize, true, false, false},
	"ping":                     {(*bridge).ping, true, false, false},
	"server/discover":          {(*bridge).discover, false, true, true},
	"subscriptions/listen":     {(*bridge).listen, false, true, false},
	"tools/list":               {(*bridge).list, true, true, true},
	"tools/call":               {(*bridge).callTool, true, true, false},
	"resources/list":           {(*bridge).list, true, true, true},
	"resources/templates/list": {(*bridge).list, true, true, true},
	"resources/read":           {(*bridge).readResource, true, true, true},
}

// jsonObject is one that is to be written.
type jsonObject = map[string]any

// bridge is one MCP session on stdio.
type bridge struct {
	home, version string
	out           *lineWriter
	log           io.Writer
	ctx           context.Context         // ends when we leave
	broken        context.CancelCauseFunc // makes us leave when out fails
	working       sync.WaitGroup          // what leaving waits a moment for

	mu       sync.Mutex // guards what follows
	revision string     // agreed by initialize; empty before
	claim    string     // the client's name as it says, from initialize
	underWay map[string]func()

	dialing sync.Mutex // guards keeper, also while it is being reached
	keeper  *keeperClient
}

// mcpRequest is a request as the handlers see it, its revision found out. Its
// reply is called once, with nil where nothing is to be sent.
type mcpRequest struct {
	message
	reply    func(*message)
	revision string
	claim    string
	cached   bool
	members  map[string]json.RawMessage // of params
	meta     map[string]json.RawMessage // of params._meta
}

// serveMCP answers a client on in and out until the input ends, a signal asks us
// to leave, or the output breaks; a call that waits delays none of these. The
// read itself cannot be interrupted: its goroutine ends with the process.
// [MCP-3] It implements *MCP* (SPEC §9).
func serveMCP(ctx context.Context, in io.Reader, out, log io.Writer, home, version string) error {
	asked, leave := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer leave()
	ctx, broken := context.WithCancelCause(asked)
	b := &bridge{home: home, version: version, out: &lineWriter{out: out}, log: log,
		ctx: ctx, broken: broken, underWay: map[string]func(){}}
	ended := make(chan error, 1)
	go func() { ended <- b.read(newLineReader(in, lineLimit)) }()
	var err error
	select {
	case err = <-ended:
		withinTime(leaveGrace, b.working.Wait) // [MCP-4]
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if asked.Err() != nil || errors.Is(err, io.EOF) {
		err = nil // it is time, and nothing went wrong
	}
	leave()
	withinTime(leaveGrace, b.endSubscriptions) // a client may have stopped reading
	b.disconnect()
	return err
}

// withinTime runs f, waits for it no longer than limit, and reports whether it ended.
func withinTime(limit time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() { f(); close(done) }()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}

// read takes lines until there are no more. It never waits for a call.
func (b *bridge) read(in *lineReader) error {
	for b.ctx.Err() == nil {
		line, err := in.next()
		switch {
		case errors.Is(err, errLineTooLong): // [MCP-22]
			b.send(&message{err: wireErrorf(codeInvalidRequest, "invalid request: %v", err)})
		case err != nil:
			return err
		case line[0] == '[' && json.Valid(line):
			b.receiveBatch(line)
		default:
			b.receive(line, false, b.send)
		}
	}
	return context.Cause(b.ctx)
}

// send writes an answer, if there is one. When the client is gone we go too.
func (b *bridge) send(m *message) {
	if m != nil {
		b.sendLine(m.encode())
	}
}

func (b *bridge) sendLine(line []byte) {
	if err := b.out.writeLine(line); err != nil {
		b.broken(err)
	}
}

// receiveBatch answers an array by one array, in the one revision that has
// them: implementations "MUST support receiving JSON-RPC batches". [MCP-12]
// (SPEC §9.1)
func (b *bridge) receiveBatch(line []byte) {
	var parts []json.RawMessage
	err := json.Unmarshal(line, &parts)
	b.mu.Lock()
	batches := b.revision == batching
	b.mu.Unlock()
	// [MCP-13]
	if err != nil || !batches || len(parts) == 0 || len(parts) > maxUnderWay {
		b.send(&message{err: wireErrorf(codeInvalidRequest, "invalid request: an array; "+
			"only revision %s has them, of 1 to %d messages", batching, maxUnderWay)})
		return
	}
	answers := make(chan *message, len(parts))
	for _, part := range parts {
		b.receive(part, true, func(m *message) { answers <- m })
	}
	b.working.Go(func() {
		var lines []string
		for range parts {
			if m := <-answers; m != nil {
				lines = append(lines, string(m.encode()))
			}
		}
		if len(lines) > 0 {
			b.sendLine([]byte("[" + strings.Join(lines, ",") + "]"))
		}
	})
}

// receive handles one message. Notifications, also malformed ones, and
// responses (we have asked nothing) are never answered. [MCP-27] (SPEC §9.1)
func (b *bridge) receive(line []byte, inBatch bool, reply func(*message)) {
	m, bad := parseMessage(line)
	r := &mcpRequest{message: m, reply: reply}
	switch {
	case bad != nil && (m.id != nil || m.method == ""): // [MCP-20] [MCP-21]
		reply(&message{id: m.id, err: bad})
	case bad != nil || m.method == "":
		reply(nil)
	case m.id == nil:
		b.notified(m)
		reply(nil)
	case inBatch && m.method == "initialize": // [MCP-12]
		b.answer(r, nil, wireErrorf(codeInvalidRequest, "invalid request: initialize in a batch"))
	default:
		if result, bad := b.handle(r); result != nil || bad != nil {
			b.answer(r, result, bad)
		}
	}
}

// handle finds the method of a request in its era. [MCP-10] (SPEC §9.1)
func (b *bridge) handle(r *mcpRequest) (jsonObject, *wireError) {
	if bad := b.open(r); bad != nil {
		return nil, bad
	}
	method := mcpMethods[r.method]
	if r.revision == modern && !method.modern || r.revision != modern && !method.legacy {
		return nil, wireErrorf(codeNoMethod, "method not found: %q", cut(r.method, 64))
	}
	r.cached = method.cached
	return method.answer(b, r)
}

// answer replies with an error, or with a result, to which 2026-07-28 has
// additions. [MCP-11] (SPEC §9.1)
func (b *bridge) answer(r *mcpRequest, result jsonObject, bad *wireError) {
	if bad != nil {
		r.reply(&message{id: r.id, err: bad})
		return
	}
	if r.revision == modern {
		result["resultType"] = "complete"
		result["_meta"] = jsonObject{metaServer: b.serverInfo()}
		if r.cached {
			result["ttlMs"], result["cacheScope"] = time.Hour.Milliseconds(), "public"
		}
	}
	r.reply(&message{id: r.id, result: encodeJSON(result)})
}

// notified obeys the one notification that means anything to us. One for an id
// that is unknown, finished or malformed is ignored, as the specification says.
func (b *bridge) notified(m message) {
	members, err := decodeObject(m.params)
	if m.method != "notifications/cancelled" || err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	id := string(members["requestId"])
	if cancel := b.underWay[id]; cancel != nil {
		cancel()
	} else {
		delete(b.underWay, id) // a subscription
	}
}

// open finds out by which revision a request is to be answered, or fails it. A
// revision in _meta means 2026-07-28 and nothing remembered ("Servers MUST NOT
// rely on prior requests over the same connection"), else what was agreed.
// (SPEC §9.1)
func (b *bridge) open(r *mcpRequest) *wireError {
	b.mu.Lock()
	_, twice := b.underWay[string(r.id)]
	r.revision, r.claim = b.revision, b.claim
	b.mu.Unlock()
	var err error
	if r.members, err = decodeMember(r.params); err == nil {
		r.meta, err = decodeMember(r.members["_meta"])
	}
	switch {
	case twice: // [MCP-24]
		return wireErrorf(codeInvalidRequest, "invalid request: a request with this id is under way")
	case err != nil: // [MCP-26]
		return wireErrorf(codeInvalidParams, "invalid params or _meta: %v", err)
	case r.meta[metaVersion] != nil: // [MCP-5]
		return r.openModern()
	case r.revision == "" && r.method != "initialize" && r.method != "ping": // [MCP-9]
		return wireErrorf(codeInvalidParams, "missing %q in _meta (%s), or initialize first (up to %s)",
			metaVersion, modern, legacy[len(legacy)-1])
	}
	return nil
}

// decodeMember is decodeObject for a member that may be absent.
func decodeMember(raw json.RawMessage) (map[string]json.RawMessage, error) {
	if raw == nil {
		return nil, nil
	}
	return decodeObject(raw)
}

// openModern checks what 2026-07-28 demands of the _meta of every request.
// [MCP-7] (SPEC §9.1)
func (r *mcpRequest) openModern() *wireError {
	asked, err := decodeText(r.meta[metaVersion])
	if err != nil {
		return wireErrorf(codeInvalidParams, "invalid _meta: %q must be a string", metaVersion)
	}
	if asked != modern { // [MCP-6]
		return &wireError{codeVersion, "Unsupported protocol version",
			jsonObject{"supported": []string{modern}, "requested": cut(asked, 64)}}
	}
	if _, err := decodeObject(r.meta[metaCapabilities]); err != nil {
		return wireErrorf(codeInvalidParams, "invalid _meta: %q must be an object", metaCapabilities)
	}
	r.revision, r.claim = modern, claimOf(r.meta[metaClient])
	return nil
}

// initialize agrees on a revision: the one asked for if we have it, else our
// latest of those that open so. [MCP-8] (SPEC §9.1)
func (b *bridge) initialize(r *mcpRequest) (jsonObject, *wireError) {
	asked, err := decodeText(r.members["protocolVersion"])
	if err != nil {
		return nil, wireErrorf(codeInvalidParams, `missing "protocolVersion": a string`)
	}
	if !slices.Contains(legacy, asked) {
		asked = legacy[len(legacy)-1]
	}
	b.mu.Lock()
	b.revision, b.claim = asked, claimOf(r.members["clientInfo"])
	b.mu.Unlock()
	return jsonObject{"protocolVersion": asked, "capabilities": capabilities,
		"serverInfo": b.serverInfo(), "instructions": instructions}, nil
}

func (b *bridge) ping(*mcpRequest) (jsonObject, *wireError) { return jsonObject{}, nil }

// discover tells what a client of 2026-07-28 learns without a session.
func (b *bridge) discover(*mcpRequest) (jsonObject, *wireError) {
	return jsonObject{"supportedVersions": []string{modern}, "capabilities": capabilities,
		"instructions": instructions}, nil
}

var capabilities = jsonObject{"tools": struct{}{}, "resources": struct{}{}}

func (b *bridge) serverInfo() any { return jsonObject{"name": "keepmum", "version": b.version} }

// list answers the three lists, each on one page, so no cursor is ours and
// "Invalid cursors SHOULD result in an error with code -32602 (Invalid params)".
// [MCP-17] (SPEC §9.1)
func (b *bridge) list(r *mcpRequest) (jsonObject, *wireError) {
	if r.members["cursor"] != nil {
		return nil, wireErrorf(codeInvalidParams, "invalid cursor: the list has one page")
	}
	name, items := "resourceTemplates", []jsonObject{}
	switch r.method {
	case "tools/list":
		name = "tools"
		for i := range tools {
			items = append(items, tools[i].describe(r.revision))
		}
	case "resources/list":
		name = "resources"
		for _, d := range resources {
			items = append(items, jsonObject{"uri": d.uri, "name": d.name,
				"description": d.description, "mimeType": "text/markdown"})
		}
	}
	return jsonObject{name: items}, nil
}

// readResource returns one of the embedded documents. [MCP-14] [TUL-23]
// (SPEC §9.3)
func (b *bridge) readResource(r *mcpRequest) (jsonObject, *wireError) {
	uri, err := decodeText(r.members["uri"])
	if err != nil {
		return nil, wireErrorf(codeInvalidParams, `missing "uri": a string`)
	}
	i := slices.IndexFunc(resources, func(d resource) bool { return d.uri == uri })
	if i < 0 {
		code := codeNoResource
		if r.revision == modern { // "-32002 … replaced by -32602"
			code = codeInvalidParams
		}
		return nil, wireErrorf(code, "resource not found: %q", cut(uri, 128))
	}
	text, _ := documents.ReadFile("docs/mcp/" + resources[i].name + ".md")
	return jsonObject{"contents": []jsonObject{
		{"uri": uri, "mimeType": "text/markdown", "text": string(text)}}}, nil
}

// listen opens a subscription. Nothing of ours changes, so after the
// acknowledgement it is silent until it is cancelled or we leave. [MCP-18]
// (SPEC §9.1)
func (b *bridge) listen(r *mcpRequest) (jsonObject, *wireError) {
	if _, err := decodeObject(r.members["notifications"]); err != nil {
		return nil, wireErrorf(codeInvalidParams, `missing "notifications": an object`)
	}
	if !b.begin(r.id, nil) {
		return nil, wireErrorf(codeInternal, "%v", errTooMany)
	}
	b.send(&message{method: "notifications/subscriptions/acknowledged", params: encodeJSON(
		jsonObject{"notifications": struct{}{}, "_meta": jsonObject{metaSubscription: r.id}})})
	r.reply(nil)
	return nil, nil
}

// endSubscriptions answers each subscription, as a server that leaves SHOULD.
// [MCP-18] (SPEC §9.1)
func (b *bridge) endSubscriptions() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(b.underWay)) {
		if b.underWay[id] == nil {
			b.send(&message{id: json.RawMessage(id), result: encodeJSON(jsonObject{
				"resultType": "complete", "_meta": jsonObject{
					metaServer: b.serverInfo(), metaSubscription: json.RawMessage(id)}})})
		}
	}
}

// claimOf makes one line of a clientInfo: shown to the person as a claim, never
// used to decide.
func claimOf(raw json.RawMessage) string {
	info, _ := decodeObject(raw)
	name, _ := decodeText(info["name"])
	version, _ := decodeText(info["version"])
	return cut(strings.TrimSpace(name+" "+version), maxClaim)
}
