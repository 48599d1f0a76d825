package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// joins is a keeper of which only the waiting is used, and one request that
// runs until it is answered.
type joins struct {
	keeper
	runs   int
	answer chan string
}

func newJoins() *joins {
	return &joins{keeper: keeper{pending: map[string]*pending{}}, answer: make(chan string)}
}

func (j *joins) call(ctx context.Context, conn uint64) (any, error) {
	return j.join(ctx, "key", conn, func(ctx context.Context) (any, error) {
		j.runs++
		select {
		case text := <-j.answer:
			return text, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
}

// waits makes a call that is told to come again, and says after which time.
func (j *joins) waits(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	_, err := j.call(t.Context(), 1)
	var w *wireError
	if !errors.As(err, &w) || w.Code != codeWaiting {
		t.Fatalf("a call that waits: %v", err)
	}
	return time.Since(began)
}

// TestJoinTimes: the clock of these is not the machine's.
func TestJoinTimes(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration // from the answer to the next same call
		runs  int
	}{
		{"soon", 0, 1},
		{"within two minutes", 2*time.Minute - time.Second, 1},
		{"too late", 2*time.Minute + time.Second, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			j := newJoins()
			if took := j.waits(t); took != 45*time.Second { // [WAI-1]
				t.Errorf("it waited %v", took)
			}
			j.answer <- "first"
			time.Sleep(c.after)
			if c.runs > 1 {
				go func() { j.answer <- "second" }()
			}
			// [WAI-3]
			if got, err := j.call(t.Context(), 1); err != nil || (got == "first") != (c.runs == 1) || j.runs != c.runs {
				t.Errorf("%s: %v, %v, asked %d times", c.name, got, err, j.runs)
			}
			// What was fetched is gone. [WAI-3]
			j.waits(t)
			synctest.Wait()
			if j.runs != c.runs+1 {
				t.Errorf("%s: a fetched answer was given again", c.name)
			}
			j.hangUp(1)
		})
	}
}

// TestJoinTogether: two same calls are one question, and both get its answer.
// [WAI-2]
func TestJoinTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJoins()
		got := make(chan any, 2)
		for conn := range uint64(2) {
			go func() { a, _ := j.call(t.Context(), conn); got <- a }()
		}
		synctest.Wait()
		j.answer <- "yes"
		if a, b := <-got, <-got; a != "yes" || b != "yes" || j.runs != 1 {
			t.Errorf("%v and %v, asked %d times", a, b, j.runs)
		}
	})
}

// TestJoinWithdrawn: a question ends with the last one that waits for it, and
// not before. [WAI-4]
func TestJoinWithdrawn(t *testing.T) {
	for name, leave := range map[string]func(j *joins, cancel context.CancelFunc, conn uint64){
		"cancelled": func(_ *joins, cancel context.CancelFunc, _ uint64) { cancel() },
		"hung up":   func(j *joins, _ context.CancelFunc, conn uint64) { j.hangUp(conn) },
	} {
		synctest.Test(t, func(t *testing.T) {
			j := newJoins()
			ended := make(chan error, 2)
			one, cancelOne := context.WithCancel(t.Context())
			two, cancelTwo := context.WithCancel(t.Context())
			defer cancelOne()
			defer cancelTwo()
			go func() { _, err := j.call(one, 1); ended <- err }()
			go func() { _, err := j.call(two, 2); ended <- err }()
			synctest.Wait()
			p := j.pending["key"]
			leave(j, cancelOne, 1)
			synctest.Wait()
			if isClosed(p.done) {
				t.Errorf("%s: the question went with the first", name)
			}
			leave(j, cancelTwo, 2)
			synctest.Wait()
			if !isClosed(p.done) || len(j.pending) > 0 {
				t.Errorf("%s: the question stays after the last", name)
			}
			if w := wireErrorOf(<-ended); name == "cancelled" && w.Code != codeRefused { // [SOC-18]
				t.Errorf("%s: code %d, %s", name, w.Code, w.Message)
			}
		})
	}
}

// TestJoinFault: a request that goes wrong inside is a no, and the keeper goes
// on. [REQ-10]
func TestJoinFault(t *testing.T) {
	j := newJoins()
	_, err := j.join(t.Context(), "key", 1, func(context.Context) (any, error) { panic("secret") })
	var w *wireError
	if !errors.As(err, &w) || w.Code != codeFailed || w.Message != "internal error" {
		t.Errorf("a panic gave %v", err)
	}
}
