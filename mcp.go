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
	maxUnderWay = 256          // calls at once
	leaveGrace  = 500 * time.Millisecond

	metaVersion      = "io.modelcontextprotocol/protocolVersion"
	metaCapabilities = "io.modelcontextprotocol/clientCapabilities"
	metaClient       = "io.modelcontextprotocol/clientInfo"
	metaServer       = "io.modelcontextprotocol/serverInfo"
	metaSubscription = "io.modelcontextprotocol/subscriptionId"
)

// legacy lists the revisions that open with initialize, oldest first.
var legacy = []string{"2024-11-05", batching, "2025-06-18", "2025-11-25"}

// What each era has; everything else is "method not found".
var (
	legacyMethods = map[string]func(*bridge, *mcpRequest){
		"initialize":               (*bridge).initialize,
		"ping":                     (*bridge).ping,
		"tools/list":               (*bridge).list,
		"tools/call":               (*bridge).callTool,
		"resources/list":           (*bridge).list,
		"resources/templates/list": (*bridge).list,
		"resources/read":           (*bridge).readResource,
	}
	modernMethods = map[string]func(*bridge, *mcpRequest){
		"server/discover":          (*bridge).discover,
		"subscriptions/listen":     (*bridge).listen,
		"tools/list":               (*bridge).list,
		"tools/call":               (*bridge).callTool,
		"resources/list":           (*bridge).list,
		"resources/templates/list": (*bridge).list,
		"resources/read":           (*bridge).readResource,
	}
)

// bridge is one MCP session on stdio.
type bridge struct {
	home, version string
	out           *lineWriter
	log           io.Writer
	ctx           context.Context // ends when we leave
	broken        chan error      // holds the first failure of out
	working       sync.WaitGroup  // what leaving waits a moment for

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
	members  map[string]json.RawMessage // of params
	meta     map[string]json.RawMessage // of params._meta
}

// serveMCP answers a client on in and out until the input ends, a signal asks us
// to leave, or the output breaks; a call that waits delays none of these. The
// read itself cannot be interrupted: its goroutine ends with the process. It
// implements *MCP* (SPEC §9).
func serveMCP(ctx context.Context, in io.Reader, out, log io.Writer, home, version string) error {
	ctx, leave := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer leave()
	b := &bridge{home: home, version: version, out: &lineWriter{out: out}, log: log,
		ctx: ctx, broken: make(chan error, 1), underWay: map[string]func(){}}
	ended := make(chan error, 1)
	go func() { ended <- b.read(newLineReader(in, lineLimit)) }()
	var err error
	select {
	case err = <-ended:
		withinTime(leaveGrace, b.working.Wait) // what was just asked still gets its answer
	case err = <-b.broken:
	case <-ctx.Done():
	}
	leave()
	withinTime(leaveGrace, b.endSubscriptions) // a client may have stopped reading
	b.disconnect()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// withinTime runs f and waits for it no longer than limit.
func withinTime(limit time.Duration, f func()) {
	done := make(chan struct{})
	go func() { f(); close(done) }()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// read takes lines until there are no more. It never waits for a call.
func (b *bridge) read(in *lineReader) error {
	for b.ctx.Err() == nil {
		line, err := in.next()
		switch {
		case errors.Is(err, errLineTooLong):
			b.send(&message{err: wireErrorf(codeInvalidRequest, "invalid request: %v", err)})
		case err != nil:
			return err
		case line[0] == '[' && json.Valid(line):
			b.receiveBatch(line)
		default:
			b.receive(line, false, b.send)
		}
	}
	return nil
}

// send writes an answer, if there is one. When the client is gone we go too.
func (b *bridge) send(m *message) {
	if m != nil {
		b.sendLine(m.encode())
	}
}

func (b *bridge) sendLine(line []byte) {
	if err := b.out.writeLine(line); err != nil {
		select {
		case b.broken <- err:
		default:
		}
	}
}

// receiveBatch answers an array by one array, in the one revision that has
// them: implementations "MUST support receiving JSON-RPC batches".
func (b *bridge) receiveBatch(line []byte) {
	var parts []json.RawMessage
	err := json.Unmarshal(line, &parts)
	b.mu.Lock()
	batches := b.revision == batching
	b.mu.Unlock()
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
// responses (we have asked nothing) are never answered.
func (b *bridge) receive(line []byte, inBatch bool, reply func(*message)) {
	m, bad := parseMessage(line)
	r := &mcpRequest{message: m, reply: reply}
	switch {
	case bad != nil && (m.id != nil || m.method == ""):
		reply(&message{id: m.id, err: bad})
	case bad != nil || m.method == "":
		reply(nil)
	case m.id == nil:
		b.notified(m)
		reply(nil)
	case inBatch && m.method == "initialize":
		r.fail(codeInvalidRequest, "invalid request: initialize in a batch")
	case b.open(r):
		methods := legacyMethods
		if r.revision == modern {
			methods = modernMethods
		}
		if answer := methods[m.method]; answer != nil {
			answer(b, r)
			return
		}
		r.fail(codeNoMethod, "method not found: %q", cut(m.method, 64))
	}
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
func (b *bridge) open(r *mcpRequest) bool {
	b.mu.Lock()
	_, twice := b.underWay[string(r.id)]
	r.revision, r.claim = b.revision, b.claim
	b.mu.Unlock()
	var err error
	if r.members, err = decodeMember(r.params); err == nil {
		r.meta, err = decodeMember(r.members["_meta"])
	}
	switch {
	case twice:
		r.fail(codeInvalidRequest, "invalid request: a request with this id is under way")
	case err != nil:
		r.fail(codeInvalidParams, "invalid params or _meta: %v", err)
	case r.meta[metaVersion] != nil:
		return r.openModern()
	case r.revision == "" && r.method != "initialize" && r.method != "ping":
		r.fail(codeInvalidParams, "missing %q in _meta (%s), or initialize first (up to %s)",
			metaVersion, modern, legacy[len(legacy)-1])
	default:
		return true
	}
	return false
}

// decodeMember is decodeObject for a member that may be absent.
func decodeMember(raw json.RawMessage) (map[string]json.RawMessage, error) {
	if raw == nil {
		return nil, nil
	}
	return decodeObject(raw)
}

// openModern checks what 2026-07-28 demands of the _meta of every request.
func (r *mcpRequest) openModern() bool {
	asked, err := decodeText(r.meta[metaVersion])
	_, capabilities := decodeObject(r.meta[metaCapabilities])
	switch {
	case err != nil:
		r.fail(codeInvalidParams, "invalid _meta: %q must be a string", metaVersion)
	case asked != modern:
		r.reply(&message{id: r.id, err: &wireError{codeVersion, "Unsupported protocol version",
			map[string]any{"supported": []string{modern}, "requested": cut(asked, 64)}}})
	case capabilities != nil:
		r.fail(codeInvalidParams, "invalid _meta: %q must be an object", metaCapabilities)
	default:
		r.revision, r.claim = modern, claimOf(r.meta[metaClient])
		return true
	}
	return false
}

func (r *mcpRequest) fail(code int, format string, args ...any) {
	r.reply(&message{id: r.id, err: wireErrorf(code, format, args...)})
}

// succeed replies with a result, to which 2026-07-28 has additions.
func (b *bridge) succeed(r *mcpRequest, result map[string]any) {
	if r.revision == modern {
		result["resultType"] = "complete"
		result["_meta"] = map[string]any{metaServer: b.serverInfo()}
	}
	r.reply(&message{id: r.id, result: encodeJSON(result)})
}

// succeedCached is succeed for what a client may keep: it never changes.
func (b *bridge) succeedCached(r *mcpRequest, result map[string]any) {
	if r.revision == modern {
		result["ttlMs"], result["cacheScope"] = time.Hour.Milliseconds(), "public"
	}
	b.succeed(r, result)
}

// initialize agrees on a revision: the one asked for if we have it, else our
// latest of those that open so.
func (b *bridge) initialize(r *mcpRequest) {
	asked, err := decodeText(r.members["protocolVersion"])
	if err != nil {
		r.fail(codeInvalidParams, `missing "protocolVersion": a string`)
		return
	}
	if !slices.Contains(legacy, asked) {
		asked = legacy[len(legacy)-1]
	}
	b.mu.Lock()
	b.revision, b.claim = asked, claimOf(r.members["clientInfo"])
	b.mu.Unlock()
	b.succeed(r, map[string]any{"protocolVersion": asked, "capabilities": capabilities,
		"serverInfo": b.serverInfo(), "instructions": instructions})
}

func (b *bridge) ping(r *mcpRequest) { b.succeed(r, map[string]any{}) }

// discover tells what a client of 2026-07-28 learns without a session.
func (b *bridge) discover(r *mcpRequest) {
	b.succeedCached(r, map[string]any{"supportedVersions": []string{modern},
		"capabilities": capabilities, "instructions": instructions})
}

var capabilities = map[string]any{"tools": struct{}{}, "resources": struct{}{}}

func (b *bridge) serverInfo() any {
	return map[string]string{"name": "keepmum", "version": b.version}
}

// list answers the three lists, each on one page, so no cursor is ours and
// "Invalid cursors SHOULD result in an error with code -32602 (Invalid params)".
func (b *bridge) list(r *mcpRequest) {
	if r.members["cursor"] != nil {
		r.fail(codeInvalidParams, "invalid cursor: the list has one page")
		return
	}
	name, items := "resourceTemplates", []map[string]any{}
	switch r.method {
	case "tools/list":
		name = "tools"
		for i := range tools {
			items = append(items, tools[i].describe(r.revision))
		}
	case "resources/list":
		name = "resources"
		for _, d := range resources {
			items = append(items, map[string]any{"uri": d.uri, "name": d.name,
				"description": d.description, "mimeType": "text/markdown"})
		}
	}
	b.succeedCached(r, map[string]any{name: items})
}

// readResource returns one of the embedded documents.
func (b *bridge) readResource(r *mcpRequest) {
	uri, err := decodeText(r.members["uri"])
	i := slices.IndexFunc(resources, func(d resource) bool { return d.uri == uri })
	switch {
	case err != nil:
		r.fail(codeInvalidParams, `missing "uri": a string`)
	case i < 0 && r.revision == modern: // "-32002 … replaced by -32602"
		r.fail(codeInvalidParams, "resource not found: %q", cut(uri, 128))
	case i < 0:
		r.fail(codeNoResource, "resource not found: %q", cut(uri, 128))
	default:
		text, _ := documents.ReadFile("docs/mcp/" + resources[i].name + ".md")
		b.succeedCached(r, map[string]any{"contents": []map[string]string{
			{"uri": uri, "mimeType": "text/markdown", "text": string(text)}}})
	}
}

// listen opens a subscription. Nothing of ours changes, so after the
// acknowledgement it is silent until it is cancelled or we leave.
func (b *bridge) listen(r *mcpRequest) {
	if _, err := decodeObject(r.members["notifications"]); err != nil {
		r.fail(codeInvalidParams, `missing "notifications": an object`)
		return
	}
	if !b.begin(r.id, nil) {
		r.fail(codeInternal, "%v", errTooMany)
		return
	}
	b.send(&message{method: "notifications/subscriptions/acknowledged", params: encodeJSON(
		map[string]any{"notifications": struct{}{}, "_meta": map[string]any{metaSubscription: r.id}})})
	r.reply(nil)
}

// endSubscriptions answers each subscription, as a server that leaves SHOULD.
func (b *bridge) endSubscriptions() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(b.underWay)) {
		if b.underWay[id] == nil {
			b.send(&message{id: json.RawMessage(id), result: encodeJSON(map[string]any{
				"resultType": "complete", "_meta": map[string]any{
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
	return cut(strings.TrimSpace(name+" "+version), 128)
}
