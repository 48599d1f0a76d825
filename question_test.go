package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// desk is where questions are asked without a terminal: keys come when the test
// says so, by a clock that is not the machine's, and the screen is a file.
type desk struct {
	*prompts
	t       *testing.T
	screen  string
	stopped string // why it was locked
	silent  []*request
	cancel  context.CancelFunc
}

// atDesk runs a test at a new desk.
func atDesk(t *testing.T, test func(t *testing.T, d *desk)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "screen")
	synctest.Test(t, func(t *testing.T) {
		dev, err := os.Create(path)
		must(t, err)
		defer dev.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		d := &desk{t: t, screen: path, cancel: cancel}
		d.prompts = newPrompts(&terminal{dev: dev, keys: make(chan byte), gone: make(chan struct{})})
		d.grantMax, d.decided = 8*time.Hour, func(*request) (answer, bool) { return answer{}, false }
		d.silence = func(r *request) { d.silent = append(d.silent, r) }
		d.idle, d.stop = func() string { return "idle" }, func(why string) { d.stopped = why }
		d.passphrase = func([]byte) error { return errors.New("no passphrase") }
		go d.run(ctx)
		test(t, d)
		cancel()
		<-d.ended
	})
}

// puts asks a question and returns when it is on the screen, or waits.
func (d *desk) puts(ctx context.Context, r *request, costs bool) chan answer {
	got := make(chan answer, 1)
	go func() {
		a := d.ask(ctx, r, costs, time.Minute)
		got <- a
		a.done()
	}()
	synctest.Wait()
	return got
}

// types types, and sees what comes of it.
func (d *desk) types(keys string) {
	for _, b := range []byte(keys) {
		d.term.keys <- b
	}
	synctest.Wait()
}

// shows is the screen.
func (d *desk) shows() string {
	text, err := os.ReadFile(d.screen)
	must(d.t, err)
	return string(text)
}

// numbered is a request that differs from the others.
func numbered(n uint64) *request {
	return changed(exampleRead(), func(r *request) { r.number, r.actor.dir = n, fmt.Sprint("/", n) })
}

// TestKeyTimes: a key counts after silence only. [ASK-9]
func TestKeyTimes(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name  string
		gone  bool            // a question was withdrawn just before
		early []time.Duration // pauses before keys that must not count
		late  time.Duration   // pause before the one that must
	}{
		{"at once", false, []time.Duration{0}, 301 * ms},
		{"in time", false, nil, 301 * ms},
		{"too early", false, []time.Duration{299 * ms}, 301 * ms},
		{"while somebody types", false, []time.Duration{299 * ms, 299 * ms, 299 * ms, 1 * ms}, 301 * ms},
		{"after a withdrawn question", true, []time.Duration{599 * ms}, 601 * ms},
		{"in time after a withdrawn question", true, nil, 601 * ms},
	} {
		atDesk(t, func(t *testing.T, d *desk) {
			if c.gone {
				ctx, cancel := context.WithCancel(t.Context())
				was := d.puts(ctx, numbered(1), false)
				cancel()
				if a := <-was; a.yes() || a.by != "withdrawn" {
					t.Errorf("%s: %+v", c.name, a)
				}
				synctest.Wait()
			}
			got := d.puts(t.Context(), numbered(2), false)
			for _, pause := range c.early {
				time.Sleep(pause)
				d.types("o")
				if len(got) > 0 {
					t.Errorf("%s: a key was taken after %v", c.name, pause)
				}
			}
			time.Sleep(c.late)
			d.types("o")
			if len(got) == 0 {
				t.Errorf("%s: the key after %v was not taken", c.name, c.late)
			}
		})
	}
}

// TestQuestionEnds: every end of a question but a listed answer is a no.
// [REQ-10]
func TestQuestionEnds(t *testing.T) {
	for _, c := range []struct {
		name    string
		end     func(d *desk, leave func())
		by      string
		stopped string
		shows   string
	}{
		// [ASK-14]
		{"no answer", func(*desk, func()) { time.Sleep(time.Minute + 1) }, "no answer", "",
			"refused: no answer in 1m"},
		// [ASK-15]
		{"the asker leaves", func(_ *desk, leave func()) { leave() }, "withdrawn", "", "withdrawn"},
		// [ASK-10]
		{"Enter", func(d *desk, _ func()) { d.types("\r") }, "person: no", "", "refused"},
		{"Ctrl-D", func(d *desk, _ func()) { d.types("\x04") }, "person: no", "", "refused"},
		{"N", func(d *desk, _ func()) { d.types("N") }, "person: no", "", "refused"},
		// [ASK-11]
		{"the third key that is no answer", func(d *desk, _ func()) {
			for range 3 {
				d.types("x")
				time.Sleep(301 * time.Millisecond)
			}
		}, "no listed answer", "", "one of the letters in brackets; Enter is no"},
		// [ASK-12]
		{"Ctrl-C", func(d *desk, _ func()) { d.types("\x03") }, "Ctrl-C", "Ctrl-C", "refused"},
		{"hangup", func(d *desk, _ func()) { close(d.term.gone) }, "terminal closed", "terminal closed",
			"refused"},
		{"lock", func(d *desk, _ func()) { d.cancel() }, "locked", "", ""},
	} {
		atDesk(t, func(t *testing.T, d *desk) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			got := d.puts(ctx, numbered(1), false)
			time.Sleep(301 * time.Millisecond)
			c.end(d, cancel)
			synctest.Wait()
			if len(got) == 0 {
				t.Errorf("%s: the question stays", c.name)
			}
			a := <-got
			if a.yes() || a.by != c.by || d.stopped != c.stopped || !strings.Contains(d.shows(), c.shows) {
				t.Errorf("%s: %+v, locked by %q; the screen:\n%s", c.name, a, d.stopped, d.shows())
			}
		})
	}
}

// TestWrongKeyNeedsSilence: after the hint a key counts after silence again.
// [ASK-11]
func TestWrongKeyNeedsSilence(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		got := d.puts(t.Context(), numbered(1), false)
		time.Sleep(301 * time.Millisecond)
		d.types("xo")
		if len(got) > 0 {
			t.Errorf("a key right after the hint was taken: %+v", <-got)
		}
		time.Sleep(301 * time.Millisecond)
		d.types("o")
		if a := <-got; a.word != answerOnce {
			t.Errorf("%+v", a)
		}
	})
}

// TestQuestionsInOrder: one at a time, as they came, each with one bell. [ASK-1]
func TestQuestionsInOrder(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		var got []chan answer
		for n := range uint64(3) {
			got = append(got, d.puts(t.Context(), numbered(n+1), false))
		}
		for n := range 3 {
			screen := d.shows()
			if strings.Count(screen, "allow?") != n+1 || strings.Count(screen, "\a") != n+1 ||
				!strings.Contains(screen, fmt.Sprintf(" #%d ", n+1)) {
				t.Errorf("question %d: the screen:\n%s", n+1, screen)
			}
			time.Sleep(301 * time.Millisecond)
			d.types("o")
			if len(got[n]) == 0 {
				t.Fatalf("question %d was not the one that was answered", n+1)
			}
		}
	})
}

// TestAnsweredMeanwhile: what an earlier answer has settled is not asked.
// [ASK-2] [GRT-17]
func TestAnsweredMeanwhile(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.decided = func(*request) (answer, bool) { return no("never, until locked"), len(d.silent) > 0 }
		one, two := d.puts(t.Context(), numbered(1), false), d.puts(t.Context(), numbered(2), false)
		time.Sleep(301 * time.Millisecond)
		d.types("v")
		if a, b := <-one, <-two; a.word != answerNever || b.yes() || strings.Count(d.shows(), "allow?") != 1 {
			t.Errorf("%+v, %+v; the screen:\n%s", a, b, d.shows())
		}
	})
}

// TestSaidAfterTheAnswer: what happens meanwhile is no answer. [ASK-13]
func TestSaidAfterTheAnswer(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		d.say("before\n")
		got := d.puts(t.Context(), numbered(1), false)
		d.say("meanwhile\n")
		time.Sleep(301 * time.Millisecond)
		d.types("o")
		<-got
		synctest.Wait()
		screen := d.shows()
		at := func(text string) int { return strings.Index(screen, text) }
		if order := []int{at("before"), at("allow?"), at("allowed (once)"), at("meanwhile")}; order[0] < 0 ||
			!slices.IsSorted(order) {
			t.Errorf("%v; the screen:\n%s", order, screen)
		}
	})
}

// TestWithdrawnLeaveTheQueue: who no longer waits takes nobody's place. [ASK-15]
// [REQ-12]
func TestWithdrawnLeaveTheQueue(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		first := d.puts(t.Context(), numbered(1), false)
		for range 2 * maxQuestions {
			ctx, cancel := context.WithCancel(t.Context())
			gone := d.puts(ctx, numbered(2), false)
			cancel()
			<-gone
		}
		last := d.puts(t.Context(), numbered(3), false)
		for _, got := range []chan answer{first, last} {
			time.Sleep(301 * time.Millisecond)
			d.types("o")
			if a := <-got; a.word != answerOnce {
				t.Errorf("%+v", a)
			}
		}
	})
}

// TestSaidTooMuch: what there is no room for is counted, and never written into
// an open question. [ASK-13]
func TestSaidTooMuch(t *testing.T) {
	atDesk(t, func(t *testing.T, d *desk) {
		got := d.puts(t.Context(), numbered(1), false)
		before := d.shows()
		for range 300 {
			d.say("meanwhile\n")
		}
		synctest.Wait()
		if d.shows() != before {
			t.Errorf("said into the question:\n%s", d.shows())
		}
		time.Sleep(301 * time.Millisecond)
		d.types("o")
		<-got
		synctest.Wait()
		if screen := d.shows(); strings.Count(screen, "meanwhile") != 256 || !strings.HasSuffix(screen, "   and 44 more: keepmum log\r\n") {
			t.Errorf("after the answer:\n%s", screen)
		}
	})
}

// TestYesCostsPassphrase: the third wrong one is a no. [ASK-16] [ASK-17]
func TestYesCostsPassphrase(t *testing.T) {
	for _, c := range []struct {
		typed []string
		word  string
	}{
		{[]string{"secret-pass"}, answerOnce},
		{[]string{"wrong-one", "wrong-two", "secret-pass"}, answerOnce},
		{[]string{"wrong-one", "wrong-two", "wrong-three"}, answerNo},
	} {
		atDesk(t, func(t *testing.T, d *desk) {
			d.passphrase = func(pass []byte) error {
				if string(pass) != "secret-pass" {
					return errPassphrase
				}
				return nil
			}
			got := d.puts(t.Context(), numbered(1), true)
			time.Sleep(301 * time.Millisecond)
			d.types("o")
			time.Sleep(time.Second)
			for _, pass := range c.typed {
				if len(got) > 0 {
					t.Errorf("%q: answered before %s", c.typed, pass)
				}
				d.types(pass + "\r")
			}
			if len(got) == 0 {
				t.Errorf("%q: no answer yet", c.typed)
			}
			if a := <-got; a.word != c.word {
				t.Errorf("%q: %+v", c.typed, a)
			}
			screen := d.shows()
			if strings.Contains(screen, "wrong-") || strings.Contains(screen, "secret-") {
				t.Errorf("what was typed is shown:\n%s", screen)
			}
			if strings.Contains(screen, "sensitive") { // the policy may say it of everything
				t.Errorf("the screen tells a reason that it does not know:\n%s", screen)
			}
		})
	}
}

func TestTypedValues(t *testing.T) {
	for _, c := range []struct{ name, keys, want string }{
		// [ASK-17]
		{"typed", "canary\r", "canary"},
		{"nothing", "\r", ""},
		// [ASK-18]
		{"a marked paste", pasteBegins + "canary\rtwo\n" + pasteEnds + "\r", "canary\ntwo\n"},
		{"lines without the marks", "canary\n", "canary"},
		// [ASK-19]
		{"the longest", strings.Repeat("c", 4095) + "\r", strings.Repeat("c", 4095)},
		{"too long", strings.Repeat("c", 4096) + "\r", "refused"},
		{"much too long", strings.Repeat("c", 9000) + "\r", "refused"},
	} {
		atDesk(t, func(t *testing.T, d *desk) {
			r := numbered(1)
			r.action, r.object.empty = actAppend, []string{"API_KEY"}
			got := d.puts(t.Context(), r, false)
			time.Sleep(301 * time.Millisecond)
			d.types("e")
			time.Sleep(time.Second)
			d.types(c.keys)
			a := <-got
			synctest.Wait()
			if c.want == "refused" {
				if a.yes() || !strings.Contains(a.by, "keepmum set") {
					t.Errorf("%s: %.80q", c.name, fmt.Sprint(a.word, a.by))
				}
			} else if v := a.values["API_KEY"]; a.word != answerValues || !bytes.Equal(v, []byte(c.want)) {
				t.Errorf("%s: %s %.80q, want %.80q", c.name, a.word, []byte(v), c.want)
			}
			screen := d.shows()
			if !strings.Contains(screen, "\x1b[?2004h") || !strings.Contains(screen, "\x1b[?2004l") {
				t.Errorf("%s: pastes are not marked: %q", c.name, screen)
			}
			if strings.Contains(screen, "canary") || strings.Contains(screen, "ccc") {
				t.Errorf("%s: what was typed is shown:\n%s", c.name, screen)
			}
		})
	}
}

// TestFloods: the clock of these is not the machine's.
func TestFloods(t *testing.T) {
	// [REQ-11]
	synctest.Test(t, func(t *testing.T) {
		p := newPrompts(nil)
		for n := range 16 {
			if !p.enter("one") {
				t.Errorf("request %d was refused", n+1)
			}
		}
		if p.enter("one") {
			t.Error("17 requests of one actor wait")
		}
		p.leave("one")
		time.Sleep(30*time.Second - 1)
		if p.enter("one") || !p.enter("two") {
			t.Error("who flooded was let in again too early, or another one was not")
		}
		time.Sleep(1)
		if !p.enter("one") {
			t.Error("who flooded is kept out for ever")
		}
	})
	for _, c := range []struct {
		name  string
		ahead int
		by    string
		after time.Duration
	}{
		{"the last place", 255, "no answer", 6 * time.Minute}, // [REQ-13]
		{"no place", 256, "too many questions", 0},            // [REQ-12]
	} {
		synctest.Test(t, func(t *testing.T) {
			// Nobody takes a question from this queue.
			p := newPrompts(nil)
			for range c.ahead {
				p.line(&question{})
			}
			began := time.Now()
			if a := p.ask(t.Context(), numbered(1), false, time.Minute); a.yes() || a.by != c.by ||
				time.Since(began) != c.after {
				t.Errorf("%s: %+v after %v", c.name, a, time.Since(began))
			}
		})
	}
}

// TestNotify: the person's program gets one argument, and that is text. [ASK-20]
func TestNotify(t *testing.T) {
	w := newWorld(t)
	program, told := filepath.Join(w.dir, "tell"), filepath.Join(w.dir, "told")
	put(t, program, "#!/bin/sh\necho \"$# $1\" >>'"+told+"'\n")
	must(t, os.Chmod(program, 0o700))
	p := w.unlock("--notify", program)
	cmd := w.command("env", "create", "acme")
	must(t, cmd.Start())
	p.answers("create", "n")
	cmd.Wait()
	waitFor(t, "the program to be told", func() bool {
		text, _ := os.ReadFile(told)
		return strings.HasSuffix(string(text), "\n")
	})
	text, _ := os.ReadFile(told)
	if got := string(text); !strings.HasPrefix(got, "1 keepmum #1: ") || strings.Count(got, "\n") != 1 ||
		!strings.HasSuffix(got, "wants to make a new, empty Environment \"acme\"\n") {
		t.Errorf("it was told %q", got)
	}
}

// TestPassphraseUnseen: what unlocks is on no screen. [ASK-17]
func TestPassphraseUnseen(t *testing.T) {
	w := newWorld(t)
	p := w.unlock()
	w.done(w.command("lock"))
	p.ends()
	w.unlock()
	if bytes.Contains(w.seen(), []byte(testPass)) || !bytes.Contains(w.seen(), []byte("passphrase: ")) {
		t.Errorf("the screens:\n%s", w.seen())
	}
}
