package main

import (
	"context"
	"time"
)

const (
	// maxWait is how long a bridge's call waits for the person. Clients give up
	// on a tool after 60 s and more (SPEC §5.5). [WAI-1]
	maxWait = 45 * time.Second

	// keptFor is how long a result waits for the call that fetches it. [WAI-3]
	keptFor = 2 * time.Minute
)

// testOnlyMaxWait shortens maxWait in tests.
var testOnlyMaxWait = maxWait

// pending is a request that runs, or ran without anybody there to take its
// result. The same call by the same actor joins it. It implements *Waiting
// without hanging the client* (SPEC §5).
type pending struct {
	cancel  context.CancelFunc
	conns   map[uint64]bool // connections that want the result
	waiters int
	done    chan struct{}
	result  any
	err     error
	ended   time.Time
}

// join runs a request, or waits for the one that runs under the same key. It
// returns errWaiting when the person needs longer than maxWait; the request
// goes on. When ctx ends and nobody else waits, the request is withdrawn.
func (k *keeper) join(ctx context.Context, key string, conn uint64,
	run func(context.Context) (any, error)) (any, error) {
	p := k.enter(key, conn, run)
	patience := time.NewTimer(testOnlyMaxWait)
	defer patience.Stop()
	select {
	case <-p.done:
		k.leave(key, p, true)
		return p.result, p.err
	case <-patience.C:
		k.leave(key, p, false)
		return nil, wireErrorf(codeWaiting, "this still waits for the person's answer in "+
			"keepmum's terminal: ask them to answer there, then make the same call with the same arguments, "+
			"which continues it")
	case <-ctx.Done():
		k.withdraw(key, p)
		return nil, wireErrorf(codeRefused, "not approved: the call was withdrawn")
	}
}

// enter finds or starts the request of a key: who, which method, which
// arguments. [WAI-2]
func (k *keeper) enter(key string, conn uint64, run func(context.Context) (any, error)) *pending {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forget()
	p := k.pending[key]
	if p == nil {
		ctx, cancel := context.WithCancel(context.Background())
		p = &pending{cancel: cancel, conns: map[uint64]bool{}, done: make(chan struct{})}
		k.pending[key] = p
		go func() {
			defer cancel()
			result, err := guarded(func() (any, error) { return run(ctx) })
			k.mu.Lock()
			p.result, p.err, p.ended = result, err, time.Now()
			k.mu.Unlock()
			close(p.done)
		}()
	}
	p.conns[conn] = true
	p.waiters++
	return p
}

// guarded turns a panic into an error: the keeper holds mounts and questions of
// others, and outlives a request that goes wrong, which is a no. [REQ-10]
func guarded(run func() (any, error)) (result any, err error) {
	defer func() {
		if r := recover(); r != nil {
			result, err = nil, wireErrorf(codeFailed, "internal error")
		}
	}()
	return run()
}

// leave ends one wait. A result that was taken is not kept: the next call is a
// new request. [WAI-3]
func (k *keeper) leave(key string, p *pending, taken bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p.waiters--
	if taken && k.pending[key] == p {
		delete(k.pending, key)
	}
}

// withdraw ends one wait, and the request with the last one: the same call is
// then a new request. [WAI-4]
func (k *keeper) withdraw(key string, p *pending) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p.waiters--; p.waiters == 0 && k.pending[key] == p {
		delete(k.pending, key)
		p.cancel()
	}
}

// forget drops results that nobody fetched. The caller holds mu.
func (k *keeper) forget() {
	for key, p := range k.pending {
		if !p.ended.IsZero() && time.Since(p.ended) > keptFor {
			delete(k.pending, key)
		}
	}
}

// hangUp withdraws what only this connection asked for, and what was approved
// for as long as it lasts. [WAI-4] [GRT-10]
func (k *keeper) hangUp(conn uint64) {
	k.mu.Lock()
	for key, p := range k.pending {
		delete(p.conns, conn)
		if len(p.conns) == 0 && p.ended.IsZero() {
			delete(k.pending, key)
			p.cancel()
		}
	}
	k.mu.Unlock()
	k.grants.revoke(func(g *grant) bool {
		return g.request.conn == conn && g.request.action == actConnect && g.word == answerOnce
	})
}
