package main

import (
	"errors"
	"strings"
)

// doBegin starts the keeper and types nothing, or, in a terminal of its own in
// the keeper's place, one of the subject's commands: begin [COMMAND ARGS…]. It
// is the process named keeper.
func (r *caseRun) doBegin(s caseStep) error {
	if s.rest == "" {
		return r.startKeeper(nil)
	}
	_, cmd, err := r.argv(caseStep{line: s.line, verb: s.verb, rest: "keeper " + s.rest})
	if err != nil {
		return err
	}
	r.keeper, err = r.startAtTerminal("keeper", cmd)
	if err == nil {
		r.questioner = r.newQuestioner()
	}
	return err
}

// needsBegun is the command that begin starts.
func needsBegun(s caseStep) []string {
	command, _, _ := strings.Cut(s.rest, " ")
	if command == "" {
		return []string{"keeper", "seeded"}
	}
	return []string{"seeded", "command:" + command}
}

// doHangup closes the keeper's terminal.
func (r *caseRun) doHangup(caseStep) error {
	if r.keeper == nil || r.keeper.terminal == nil {
		return faultf("there is no keeper with a terminal")
	}
	return r.keeper.terminal.Close()
}

// doCanary makes a value that the case itself brings in, ${value.NAME}: canary
// ENV NAME. It is searched for like those that were seeded.
func (r *caseRun) doCanary(s caseStep) error {
	w, err := s.want(2)
	if err != nil {
		return err
	}
	if r.values[w[0]] == nil {
		r.values[w[0]] = map[string]string{}
	}
	r.values[w[0]][w[1]] = newCanary()
	return nil
}

// doSpell sets a variable to a text in another case: spell NAME lower|upper TEXT.
func (r *caseRun) doSpell(s caseStep) error {
	w, err := s.want(3)
	spell := map[string]func(string) string{"lower": strings.ToLower, "upper": strings.ToUpper}[w[1]]
	if err != nil || spell == nil {
		return errors.Join(err, faultf("spell needs a name, lower or upper, and a text"))
	}
	r.vars[w[0]] = spell(w[2])
	return nil
}
