package main

// What a server writes on one connection, held line by line against JSON-RPC,
// the schema of the revision, and what the client asked (SPEC §9).

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// messageCheck follows one connection. It has to see every line in the order in
// which it was written or read. The revision is empty until initialize is
// answered, which decides it, and may be set before; a request that says its own
// revision is of that one. A cancelled request may still be answered once, since
// the answer may have been on its way (SPEC §9.1).
type messageCheck struct {
	revision string

	mu         sync.Mutex // guards what follows, and revision
	open       map[string][]*openRequest
	refused    map[string]int // how many open ones of an id have got an error
	unreadable int            // lines that an error without an id may be about
	stateless  bool           // a request has said its own revision
	batches    int            // arrays that may be answered after another initialize is
	batched    bool           // a revision with arrays was agreed on
	asked      map[string]bool
	tools      map[string]*schemaNode // output schemas, by revision and tool
}

// openRequest is a request of the client that has no answer yet.
type openRequest struct {
	id, method   string // no method: a line that is no request, though it has an id
	revision     string // that it says; empty for the one agreed
	tool         string
	token        string // for progress
	progress     json.Number
	acknowledged bool // a subscription
	cancelled    bool
}

// newMessageCheck follows a connection from its beginning.
func newMessageCheck() *messageCheck {
	return &messageCheck{open: map[string][]*openRequest{}, asked: map[string]bool{},
		refused: map[string]int{}, tools: map[string]*schemaNode{}}
}

// sent takes one line that the client has written, with or without its end.
func (c *messageCheck) sent(line []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	line = bytes.Trim(line, " \t\r\n")
	var parts []json.RawMessage
	switch {
	case len(line) == 0:
		return
	case len(line) > lineLimit:
		c.unreadable++
	case line[0] == '[' && json.Unmarshal(line, &parts) == nil:
		c.noteBatch(parts)
		return
	}
	c.note(line)
}

// noteBatch remembers an array. Only 2025-03-26 has batches, and one of no
// message or of more than 256 is refused as a whole, without an id.
func (c *messageCheck) noteBatch(parts []json.RawMessage) {
	if c.revision != batching || len(parts) == 0 || len(parts) > 256 {
		c.unreadable++
	}
	if c.revision != "" && c.revision != batching {
		return
	}
	c.batches++
	for _, part := range parts {
		c.note(part)
	}
}

// note remembers a message that the server may answer.
func (c *messageCheck) note(raw json.RawMessage) {
	m, bad := parseMessage(raw)
	if bad != nil {
		c.unreadable++
		for _, id := range idsOf(raw) {
			c.open[id] = append(c.open[id], &openRequest{id: id})
		}
		return
	}
	params, _ := decodeObject(m.params)
	if m.id == nil && m.method == "notifications/cancelled" {
		for _, r := range c.open[rawKey(params["requestId"])] {
			r.cancelled = true
		}
	}
	if m.id == nil || m.method == "" {
		return
	}
	meta, _ := decodeObject(params["_meta"])
	r := &openRequest{id: rawKey(m.id), method: m.method, token: rawKey(meta["progressToken"])}
	r.tool, _ = decodeText(params["name"])
	if version := meta[metaVersion]; version != nil {
		c.stateless = true
		if text, err := decodeText(version); err == nil && text != "" {
			r.revision = text
		} else {
			r.revision = modern // answered by an error of the era that has such a member
		}
	}
	c.open[r.id] = append(c.open[r.id], r)
}

// idsOf finds what an answer to a line that is no request may have as its id:
// a member may be repeated, and each parser has its own opinion then.
func idsOf(raw json.RawMessage) (ids []string) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if start, err := d.Token(); err != nil || start != json.Delim('{') || !json.Valid(raw) {
		return nil
	}
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			return ids
		}
		if id := rawKey(value); name == "id" && id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// idKey is what two equal ids have in common: a string's characters, or an
// integer as it is written. Anything else is no id, and has none.
func idKey(value any) string {
	switch value := value.(type) {
	case string:
		return "text " + value
	case json.Number:
		if integerID().MatchString(string(value)) {
			return string(value)
		}
	}
	return ""
}

func rawKey(raw json.RawMessage) string {
	if value, err := decodeExact(raw); err == nil {
		return idKey(value)
	}
	return ""
}

// received takes one line that the server has written, without its end, and
// says what is wrong with it. Of a message that breaks several rules it is the
// first that is told. It implements *MCP* (SPEC §9).
func (c *messageCheck) received(line []byte) (faults []error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tell := func(err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%w, in the line %q", err, cut(string(line), 200)))
		}
	}
	value, err := decodeExact(line)
	switch value := value.(type) {
	case map[string]any:
		tell(c.message(value))
	case []any:
		late := c.batched && c.batches > 0
		if c.revision != batching && !late || len(value) == 0 {
			tell(errors.New("an array: only 2025-03-26 has them, with one message or more"))
			break
		}
		c.batches = max(c.batches-1, 0)
		for _, part := range value {
			tell(c.batchPart(part))
		}
	default:
		if err == nil {
			err = errors.New("not a JSON object")
		}
		tell(err)
	}
	return faults
}

// batchPart is one part of an array, which answers a batch and holds nothing else.
func (c *messageCheck) batchPart(part any) error {
	m, ok := part.(map[string]any)
	if _, call := m["method"]; !ok || call {
		return errors.New("something in an array that is no answer")
	}
	return c.message(m)
}

// message tells the four kinds apart by their members (JSON-RPC 2.0 §4, §5).
func (c *messageCheck) message(m map[string]any) error {
	_, call := m["method"]
	_, result := m["result"]
	_, failure := m["error"]
	_, id := m["id"]
	switch {
	case m["jsonrpc"] != "2.0":
		return errors.New(`member "jsonrpc" is not "2.0"`)
	case call && (result || failure):
		return errors.New("a method and an answer in one message")
	case call && id:
		return c.serverRequest(m)
	case call:
		return c.notification(m)
	case result == failure:
		return errors.New(`an answer has one of "result" and "error"`)
	case failure:
		return c.errorAnswer(m)
	}
	return c.resultAnswer(m)
}

// revisionOf is the one that a request and its answer belong to.
func (c *messageCheck) revisionOf(r *openRequest) string {
	if r != nil && r.revision != "" {
		return r.revision
	}
	if c.revision == "" {
		return legacy[len(legacy)-1] // ping, and errors: they are the same in all
	}
	return c.revision
}

// answered finds the request that an answer is for. Where an id was used again
// before it was answered, that may be any of them: it is the first that the
// answer fits, and an error, which fits all, only takes away from their number.
func (c *messageCheck) answered(id any, failure bool, fits func(*openRequest) error) error {
	key := idKey(id)
	if key == "" {
		return errors.New("the id is no string and no integer")
	}
	open, known := c.open[key]
	if !known {
		return errors.New("an answer to an id that was not requested")
	}
	if len(open) == 0 {
		return errors.New("an answer to an id that has been answered")
	}
	slices.SortStableFunc(open, func(a, b *openRequest) int { return cmp.Compare(a.late(), b.late()) })
	err := fits(open[0])
	i := 0
	for other := 1; err != nil && other < len(open); other++ {
		if fits(open[other]) == nil {
			i, err = other, nil
		}
	}
	if failure {
		c.refused[key]++
	} else {
		open = slices.Delete(open, i, i+1)
	}
	if len(open) == c.refused[key] {
		open = nil
		delete(c.refused, key)
	}
	c.open[key] = open
	return err
}

// late sorts what is cancelled, and so need not be answered, behind the rest.
func (r *openRequest) late() int {
	if r.cancelled {
		return 1
	}
	return 0
}

// errorAnswer checks an error. Only where the id could not be read it may be
// null, as JSON-RPC says, or absent, as MCP says from 2025-11-25 on.
func (c *messageCheck) errorAnswer(m map[string]any) error {
	code, _ := objectAt(m, "error")["code"].(json.Number)
	if m["id"] != nil {
		return c.answered(m["id"], true, func(r *openRequest) error {
			return c.validError(m, code, c.revisionOf(r))
		})
	}
	if code != "-32700" && code != "-32600" {
		return errors.New("an error without an id that is not -32700 or -32600")
	}
	if c.unreadable == 0 {
		return errors.New("an error without an id, though the id of every line could be read")
	}
	c.unreadable--
	m = maps.Clone(m)
	m["id"] = json.Number("0") // the older schemas demand one
	return c.validError(m, code, c.revisionOf(nil))
}

// validError holds an error against its definition, and against the one of its
// code if there is one. "Implementations MUST NOT emit any code from this
// sub-range that is not defined by this specification" (2026-07-28).
func (c *messageCheck) validError(m map[string]any, code json.Number, revision string) error {
	s, err := schemaFor(revision)
	if err != nil {
		s, err = schemaFor(modern) // asked in a revision that nobody has
	}
	if err != nil {
		return err
	}
	definition := "JSONRPCErrorResponse"
	if s.definitions[definition] == nil {
		definition = "JSONRPCError" // up to 2025-06-18
	}
	if err := s.valid(definition, m); err != nil {
		return err
	}
	if definition := s.errors[string(code)]; definition != "" {
		return s.valid(definition, m)
	}
	number := parseDecimal(code)
	reserved := number.compare(parseDecimal("-32099")) >= 0 &&
		number.compare(parseDecimal("-32020")) <= 0
	if s.revision == modern && (reserved || code == "-32002") {
		return fmt.Errorf("error code %s, which revision %s forbids", code, modern)
	}
	return nil
}

// resultAnswer checks a result.
func (c *messageCheck) resultAnswer(m map[string]any) error {
	return c.answered(m["id"], false, func(r *openRequest) error { return c.resultTo(r, m) })
}

// resultTo checks a result by the method that it answers.
func (c *messageCheck) resultTo(r *openRequest, m map[string]any) error {
	if r.method == "" {
		return errors.New("a result for what was no request")
	}
	revision := c.revisionOf(r)
	result := objectAt(m["result"])
	if r.method == "initialize" && r.revision == "" {
		revision, _ = result["protocolVersion"].(string)
	}
	s, err := schemaFor(revision)
	if err != nil {
		return err
	}
	definition, polymorphic := s.results[r.method], s.revision == modern
	switch {
	case definition == "":
		return fmt.Errorf("a result, though revision %s has no method %q", s.revision,
			cut(r.method, 64))
	case polymorphic && s.mayAsk[r.method] && result["resultType"] == "input_required":
		return c.inputRequired(s, result)
	}
	if err := s.valid(definition, m["result"]); err != nil {
		return err
	}
	if polymorphic && result["resultType"] != "complete" {
		return fmt.Errorf("a resultType that %q cannot have", cut(r.method, 64))
	}
	return c.resultOf(r, revision, result)
}

// inputRequired checks the answer that asks the client something.
func (c *messageCheck) inputRequired(s *mcpSchema, result map[string]any) error {
	if result["inputRequests"] == nil && result["requestState"] == nil {
		return errors.New("input_required without inputRequests and without requestState")
	}
	return s.valid("InputRequiredResult", result)
}

// resultOf checks and remembers what the schema of a method cannot say.
func (c *messageCheck) resultOf(r *openRequest, revision string, result map[string]any) error {
	switch r.method {
	case "initialize":
		c.revision = revision
		c.batched = c.batched || revision == batching
	case "tools/list":
		return c.listed(revision, result)
	case "tools/call":
		return c.toolAnswer(r, revision, result)
	case "subscriptions/listen":
		if idKey(objectAt(result, "_meta")[metaSubscription]) != r.id {
			return errors.New("the end of a subscription with the id of another")
		}
	}
	return nil
}

// listed remembers the output schemas of a list. Schemas are to be valid ones.
func (c *messageCheck) listed(revision string, result map[string]any) error {
	tools, _ := result["tools"].([]any)
	for _, tool := range tools {
		t := objectAt(tool)
		name, _ := t["name"].(string)
		for _, member := range []string{"inputSchema", "outputSchema"} {
			if t[member] == nil {
				continue
			}
			node, _, err := compileSchema(t[member])
			if err != nil {
				return fmt.Errorf("%s of tool %q: %w", member, cut(name, 64), err)
			}
			if member == "outputSchema" {
				c.tools[revision+" "+name] = node
			}
		}
	}
	return nil
}

// toolAnswer checks structured content, which exists from 2025-06-18 on: it
// fits the schema that the tool was listed with, and a success has the same JSON
// as text (SPEC §9.2).
func (c *messageCheck) toolAnswer(r *openRequest, revision string, result map[string]any) error {
	if revision < "2025-06-18" {
		return nil
	}
	structured, there := result["structuredContent"]
	schema := c.tools[revision+" "+r.tool]
	if there && schema != nil {
		if err := schema.valid(structured); err != nil {
			return fmt.Errorf("structuredContent that the outputSchema of %q forbids: %w",
				cut(r.tool, 64), err)
		}
	}
	if result["isError"] == true {
		return nil
	}
	if !there && schema != nil {
		return fmt.Errorf("a success of %q without structuredContent, despite its schema",
			cut(r.tool, 64))
	}
	if there && !hasText(result["content"], structured) {
		return errors.New("structuredContent without the same JSON as text")
	}
	return nil
}

// hasText reports whether one of the blocks is the text of a value.
func hasText(content, value any) bool {
	blocks, _ := content.([]any)
	for _, block := range blocks {
		text, ok := objectAt(block)["text"].(string)
		if same, err := decodeExact([]byte(text)); ok && err == nil && equalJSON(same, value) {
			return true
		}
	}
	return false
}
