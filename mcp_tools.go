package main

// Calls of tools: held against the schema, sent to the keeper, waited for no
// longer than clients bear, and answered in the words of the call's revision.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// How long a call waits for the person, and how often it says so: below the
// 60 s that many clients give a call. Variables for the tests' sake.
var (
	waitForPerson = 45 * time.Second
	progressEvery = 5 * time.Second
)

var (
	errTooMany = fmt.Errorf("%d calls are under way: wait for one to end, then call again",
		maxUnderWay)
	errInternal = errors.New("internal error: see the server's log, then call again")
)

// callTool starts a tool's call. What is no call at all is a protocol error;
// what a model can mend is a result it gets to read (from 2025-11-25).
// [MCP-15] [MCP-16] (SPEC §9.1)
func (b *bridge) callTool(r *mcpRequest) (jsonObject, *wireError) {
	name, err := decodeText(r.members["name"])
	t, args := toolNamed(name), r.members["arguments"]
	if args == nil {
		args = json.RawMessage("{}")
	}
	switch {
	case err != nil:
		return nil, wireErrorf(codeInvalidParams, `missing "name": a string`)
	case t == nil:
		return nil, wireErrorf(codeInvalidParams, "unknown tool: %q", cut(name, 64))
	case args[0] != '{':
		return nil, wireErrorf(codeInvalidParams, `"arguments" must be an object`)
	}
	if err := t.check(args); err != nil && r.revision <= "2025-06-18" {
		return nil, wireErrorf(codeInvalidParams, "%v", err)
	} else if err != nil {
		return toolResult(r, nil, fmt.Errorf("%v; correct the arguments and call again", err)), nil
	}
	ctx, cancel := context.WithCancel(b.ctx)
	if !b.begin(r.id, cancel) {
		cancel()
		return toolResult(r, nil, errTooMany), nil
	}
	b.working.Go(func() {
		defer cancel()
		result, err := b.ask(ctx, r, t, args)
		b.end(r.id)
		if ctx.Err() != nil {
			r.reply(nil) // cancelled: "MUST NOT send any further messages for it" [MCP-27]
			return
		}
		b.answer(r, toolResult(r, result, err), nil)
	})
	return nil, nil
}

// begin notes that a request is under way, if there is room. A subscription has
// nothing to cancel. [MCP-28] (SPEC §9.1)
func (b *bridge) begin(id json.RawMessage, cancel func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.underWay) >= maxUnderWay {
		return false
	}
	b.underWay[string(id)] = cancel
	return true
}

func (b *bridge) end(id json.RawMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.underWay, string(id))
}

// toolResult is a call's: structured content and the same as text, or for an
// error text alone, since clients hold what is structured against the schema.
// [TUL-4] [TUL-5] (SPEC §9.2)
func toolResult(r *mcpRequest, structured json.RawMessage, err error) jsonObject {
	text, result := string(structured), jsonObject{}
	if err != nil {
		text, result["isError"] = err.Error(), true
	} else if r.revision >= "2025-06-18" {
		result["structuredContent"] = structured
	}
	result["content"] = []jsonObject{{"type": "text", "text": text}}
	return result
}

// ask sends a call to the keeper and waits for its answer as long as a client
// may be kept waiting. When it gives up, the question stays: the same call
// joins it. A cancelled call withdraws it. It implements *Requests, prompts,
// grants* (SPEC §5).
func (b *bridge) ask(ctx context.Context, r *mcpRequest, t *tool,
	args json.RawMessage) (result json.RawMessage, err error) {
	defer func() {
		if recover() != nil {
			// The panic's own text could hold an argument, so the stack alone is
			// logged. [TUL-6]
			fmt.Fprintf(b.log, "keepmum: internal error in %s:\n%s", t.name, debug.Stack())
			result, err = nil, errInternal
		}
	}()
	keeper, err := b.connect()
	if err != nil {
		return nil, err
	}
	call := keeper.start(t.name, jsonObject{"arguments": args, "claim": r.claim})
	steps := int(waitForPerson / progressEvery)
	for step := 1; ; step++ {
		slice, stop := context.WithTimeout(ctx, progressEvery)
		result, err = call.wait(slice)
		stop()
		switch {
		case ctx.Err() != nil:
			call.cancel()
			return nil, ctx.Err()
		case err == nil && (result == nil || result[0] != '{'):
			return nil, errInternal
		case !errors.Is(err, context.DeadlineExceeded):
			return result, err
		case step >= steps: // [WAI-1]
			return nil, fmt.Errorf("%s still waits for the person to answer in keepmum's "+
				"terminal: ask them to, then make the same call with the same arguments, "+
				"which continues it", t.name)
		}
		b.progress(r, step, steps)
	}
}

// progress tells a client that asked for it that the call waits: notifications
// "MUST only reference tokens that were provided in an active request". [WAI-5]
// (SPEC §5.5)
func (b *bridge) progress(r *mcpRequest, step, steps int) {
	token := r.meta["progressToken"]
	if token == nil || token[0] != '"' && !integerID().Match(token) {
		return
	}
	b.send(&message{method: "notifications/progress", params: encodeJSON(jsonObject{
		"progressToken": token, "progress": step, "total": steps,
		"message": "waiting for the person to answer in keepmum's terminal"})})
}

// connect returns the connection to the keeper that all calls share, made when
// the first call needs it and again after a lock. Everything else is answered
// without one. [MCP-29] [MCP-30] (SPEC §9.1)
func (b *bridge) connect() (*keeperClient, error) {
	b.dialing.Lock()
	defer b.dialing.Unlock()
	if b.keeper != nil && b.keeper.alive() {
		return b.keeper, nil
	}
	keeper, err := dialKeeper(b.home)
	if err == nil {
		b.keeper = keeper
	}
	return keeper, err
}

func (b *bridge) disconnect() {
	b.dialing.Lock()
	defer b.dialing.Unlock()
	if b.keeper != nil {
		b.keeper.close()
	}
}
