package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// takeQuestion waits for the next question, which must be about the action.
func (r *caseRun) takeQuestion(action string) error {
	if r.questioner == nil {
		return faultf("nobody can answer: there is no unlock before")
	}
	if m, ok := r.questioner.(*manualQuestioner); ok {
		m.action = action
	}
	q, err := r.questioner.next(r.until())
	if err != nil {
		return fmt.Errorf("about %s: %w", action, err)
	}
	r.question = q
	r.note("question %q", q.text)
	if q.action != "" && q.action != action {
		return fmt.Errorf("the question is about %q, want %q: %q", q.action, action, q.text)
	}
	return nil
}

// giveAnswer answers the open question.
func (r *caseRun) giveAnswer(answer string) error {
	if answer == "nothing" {
		return nil
	}
	if err := r.isOffered(answer); err != nil {
		return err
	}
	r.note("answer %s", answer)
	return r.questioner.answer(r.question, answer, r.until())
}

// isOffered ends the case where an answer is not offered in these surroundings:
// a suite that an agent runs is never offered "until locked".
func (r *caseRun) isOffered(answer string) error {
	pattern, ok := r.sub.Approve.Offers[answer]
	if !ok || r.question.text == "" || regexp.MustCompile(pattern).MatchString(r.question.text) {
		return nil
	}
	if answer == "until-locked" {
		return &skipped{"until locked is not offered where the suite runs"}
	}
	return fmt.Errorf("the question does not offer %s: %q", answer, r.question.text)
}

// doAsk waits for a question and answers it: ask ACTION [ANSWER [TEXT…]].
func (r *caseRun) doAsk(s caseStep) error {
	action, rest, _ := strings.Cut(s.rest, " ")
	if err := r.takeQuestion(action); err != nil || rest == "" {
		return err
	}
	return r.doAnswer(caseStep{rest: rest})
}

// doAnswer answers the open question; "values" is followed by what to type.
func (r *caseRun) doAnswer(s caseStep) error {
	w, err := words(s.rest)
	if err != nil || len(w) == 0 {
		return errors.Join(err, faultf("answer needs an answer"))
	}
	if err := r.giveAnswer(w[0]); err != nil {
		return err
	}
	for _, text := range w[1:] {
		if err := r.typed(r.sub.Approve.Value, text+"\r"); err != nil {
			return err
		}
	}
	return nil
}

// doOffered looks at what the open question offers: offered ANSWER, or offered
// not ANSWER.
func (r *caseRun) doOffered(s caseStep) error {
	answer, isNot := strings.CutPrefix(s.rest, "not ")
	pattern, ok := r.sub.Approve.Offers[answer]
	if !ok {
		return &skipped{"the subject file has no pattern for what is offered"}
	}
	if regexp.MustCompile(pattern).MatchString(r.question.text) == isNot {
		return fmt.Errorf("the question should have %s: %q", s, r.question.text)
	}
	return nil
}

// brokenLine is where a subject has broken a line; a word that is too long is
// broken inside.
var brokenLine = lazily(`\r?\n[ \t]*`)

// doQuestion looks at the last question, its white space folded, and its broken
// lines joined with or without a space: question REGEX, or question lacks REGEX.
func (r *caseRun) doQuestion(s caseStep) error {
	pattern, lacks := strings.CutPrefix(s.rest, "lacks ")
	re, err := compilePattern(pattern)
	if err != nil {
		return err
	}
	text := strings.Join(strings.Fields(r.question.text), " ")
	joined := strings.Join(strings.Fields(brokenLine().ReplaceAllString(r.question.text, "")), " ")
	if (re.MatchString(text) || re.MatchString(joined)) == lacks {
		return fmt.Errorf("the question is %q; want %s", text, s)
	}
	return nil
}

func (r *caseRun) doWithdrawn(caseStep) error {
	_, err := r.screenShows(r.sub.Approve.Withdrawn)
	return err
}

func (r *caseRun) doUnasked(caseStep) error {
	if text := r.questioner.pending(); text != "" {
		return fmt.Errorf("asked: %q", strings.Join(strings.Fields(text), " "))
	}
	return nil
}

// doPassword types the passphrase, or what is given, where it is the answer.
func (r *caseRun) doPassword(s caseStep) error {
	text := s.rest
	if text == "" {
		text = "${pass}"
	}
	return r.typed(r.sub.Approve.Passphrase, text+"\r")
}

// doPerson ends the case where the last question tells of an agent, or of
// ancestors that cannot be seen: the suite itself was started so.
func (r *caseRun) doPerson(caseStep) error {
	if r.sub.Approve.Agent == "" {
		return &skipped{"the subject file has no pattern for an agent"}
	}
	if regexp.MustCompile(r.sub.Approve.Agent).MatchString(r.question.text) {
		return &skipped{"the suite was started by an agent, or by nobody who can be seen"}
	}
	return nil
}
