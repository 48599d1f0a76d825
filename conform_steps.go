package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// verb is what a step does, and what it needs of the subject.
type verb struct {
	needs []string
	also  func(caseStep) []string
	run   func(*caseRun, caseStep) error
}

// verbs are the words that a step may begin with; docs/conformance.md tells what
// each does.
var verbs map[string]verb

func init() {
	verbs = map[string]verb{}
	for _, part := range []map[string]verb{keeperVerbs(), clientVerbs(), personVerbs(), readerVerbs(), fileVerbs()} {
		maps.Copy(verbs, part)
	}
}

// keeperVerbs act on the keeper.
func keeperVerbs() map[string]verb {
	return map[string]verb{
		"unlock": {needs: []string{"keeper"}, also: needsUnlock, run: (*caseRun).doUnlock},
		"lock":   {needs: []string{"lock"}, run: func(r *caseRun, _ caseStep) error { return r.lockKeeper() }},
		"begin":  {needs: []string{"terminal"}, also: needsBegun, run: (*caseRun).doBegin},
		"hangup": {needs: []string{"terminal"}, run: (*caseRun).doHangup},
		"kill":   {needs: []string{"process"}, run: (*caseRun).doKill},
		"signal": {needs: []string{"process"}, run: (*caseRun).doSignal},
		"keys":   {needs: []string{"terminal"}, run: (*caseRun).doKeys},
		"screen": {needs: []string{"terminal"}, run: (*caseRun).doScreen},
		"unseen": {needs: []string{"terminal"}, run: (*caseRun).doUnseen},
		"policy": {needs: []string{"policy"}, run: (*caseRun).doPolicy},
		"seed":   {needs: []string{"seed"}, run: (*caseRun).doSeed},
		"tool":   {also: needsCommand, run: (*caseRun).doTool},
		"start":  {also: needsCommand, run: (*caseRun).doStart},
	}
}

// clientVerbs speak to the server.
func clientVerbs() map[string]verb {
	return map[string]verb{
		"client":  {run: (*caseRun).doClient},
		"server":  {run: (*caseRun).doServer},
		"connect": {needs: []string{"approve"}, also: needsAnswer, run: (*caseRun).doConnect},
		"call":    {also: needsTool, run: (*caseRun).doCall},
		"ok":      {run: (*caseRun).doOK},
		"error":   {run: (*caseRun).doError},
		"waits":   {run: (*caseRun).doWaits},
		"mount":   {needs: []string{"approve", "tool:create_local_env_file"}, run: (*caseRun).doMount},
		"request": {run: (*caseRun).doRequest},
		"reply":   {run: (*caseRun).doReply},
		"notify":  {run: (*caseRun).doNotify},
		"cancel":  {run: (*caseRun).doCancel},
		"notice":  {run: (*caseRun).doNotice},
		"repeat":  {also: needsRepeated, run: (*caseRun).doRepeat},
		">":       {run: (*caseRun).doSend},
		"<":       {run: (*caseRun).doReceive},
		"bytes":   {run: (*caseRun).doBytes},
		"silent":  {run: (*caseRun).doSilent},
		"eof":     {run: (*caseRun).doEOF},
		"exits":   {run: (*caseRun).doExits},
		"sig":     {run: (*caseRun).doServerSignal},
	}
}

// personVerbs stand for the person.
func personVerbs() map[string]verb {
	return map[string]verb{
		"ask":       {needs: []string{"approve"}, also: needsAnswer, run: (*caseRun).doAsk},
		"answer":    {needs: []string{"approve"}, also: needsAnswer, run: (*caseRun).doAnswer},
		"offered":   {needs: []string{"question"}, also: needsAnswer, run: (*caseRun).doOffered},
		"question":  {needs: []string{"question"}, run: (*caseRun).doQuestion},
		"withdrawn": {needs: []string{"withdrawn"}, run: (*caseRun).doWithdrawn},
		"unasked":   {needs: []string{"question"}, run: (*caseRun).doUnasked},
		"person":    {needs: []string{"question"}, run: (*caseRun).doPerson},
		"password":  {needs: []string{"passphrase"}, run: (*caseRun).doPassword},
	}
}

// readerVerbs read mounts.
func readerVerbs() map[string]verb {
	return map[string]verb{
		"reader": {needs: []string{"tool:create_local_env_file"}, run: (*caseRun).doReader},
		"gets":   {run: (*caseRun).doGets},
		"ends":   {run: (*caseRun).doEnds},
		"killed": {run: (*caseRun).doKilled},
		"holds":  {run: (*caseRun).doHolds},
	}
}

// fileVerbs act on files, and on what was said.
func fileVerbs() map[string]verb {
	return map[string]verb{
		"file":    {run: (*caseRun).doFile},
		"folder":  {run: (*caseRun).doFolder},
		"link":    {run: (*caseRun).doLink},
		"fifo":    {run: (*caseRun).doFIFO},
		"remove":  {run: (*caseRun).doRemove},
		"rename":  {run: (*caseRun).doRename},
		"run":     {run: (*caseRun).doRun},
		"is":      {run: (*caseRun).doIs},
		"look":    {run: (*caseRun).doLook},
		"same":    {run: (*caseRun).doSame},
		"keep":    {run: (*caseRun).doKeep},
		"log":     {needs: []string{"audit"}, run: (*caseRun).doLog},
		"nolog":   {needs: []string{"audit"}, run: (*caseRun).doNoLog},
		"edit":    {run: (*caseRun).doEdit},
		"match":   {run: (*caseRun).doMatch},
		"lacks":   {run: (*caseRun).doLacks},
		"let":     {run: (*caseRun).doLet},
		"elapse":  {run: (*caseRun).doElapse},
		"until":   {also: needsInner, run: (*caseRun).doUntil},
		"canary":  {run: (*caseRun).doCanary},
		"spell":   {run: (*caseRun).doSpell},
		"may-see": {run: func(r *caseRun, s caseStep) error { r.allowed[s.rest] = true; return nil }},
	}
}

func needsCommand(s caseStep) []string {
	if f := strings.Fields(s.rest); len(f) > 1 {
		return []string{"command:" + f[1]}
	}
	return nil
}

// needsUnlock: a subject that does not ask about another policy can be started
// by "unlock confirm" all the same.
func needsUnlock(s caseStep) []string {
	switch word, _, _ := strings.Cut(s.rest, " "); word {
	case "decline", "silence":
		return []string{"seeded", "changed"}
	case "refused":
		return []string{"seeded", "process"}
	}
	return []string{"seeded"}
}

func needsTool(s caseStep) []string {
	_, rest := label(s.rest, "call")
	tool, _, _ := strings.Cut(rest, " ")
	return []string{"tool:" + tool}
}

func needsAnswer(s caseStep) []string {
	f := strings.Fields(s.rest)
	at := 0
	if s.verb == "ask" || len(f) > 0 && f[0] == "not" { // offered not ANSWER
		at = 1
	}
	if len(f) <= at || f[at] == "nothing" {
		return nil
	}
	return []string{"answer:" + f[at]}
}

// inner is the step that stands behind another's verb.
func (s caseStep) inner() caseStep {
	s.verb, s.rest, _ = strings.Cut(s.rest, " ")
	return s
}

func needsInner(s caseStep) []string {
	v := verbs[s.inner().verb]
	if v.also == nil {
		return v.needs
	}
	return append(slices.Clip(v.needs), v.also(s.inner())...)
}

// needsRepeated: repeat N STEP.
func needsRepeated(s caseStep) []string {
	_, s.rest, _ = strings.Cut(s.rest, " ")
	return needsInner(s)
}

// label takes a leading "name:" off.
func label(rest, without string) (name, after string) {
	name, after, found := strings.Cut(rest, ":")
	if !found || strings.ContainsAny(name, " {") {
		return without, rest
	}
	return name, strings.TrimSpace(after)
}

// skipped ends a case that turns out not to apply.
type skipped struct{ why string }

func (s *skipped) Error() string { return s.why }

// doStep runs one step.
func (r *caseRun) doStep(s caseStep) error {
	r.note("%d: %v", s.line, s)
	rest := s.rest
	var err error
	switch {
	case s.verb == "match" || s.verb == "lacks": // the texts themselves are compared
	case s.verb == "until" || s.verb == "repeat": // each time anew
	case !slices.Contains([]string{"call", ">", "<", "ok", "reply", "notice", "log", "nolog", "request", "notify", "policy", "bytes",
		"keys", "file", "same", "answer", "let"}, s.verb):
		rest, err = expand(rest, false, r.value)
	default:
		rest, err = expand(rest, strings.ContainsAny(rest, `{["`), r.value)
	}
	if err != nil {
		return err
	}
	s.rest = rest
	return verbs[s.verb].run(r, s)
}

// words splits the rest of a step; a word may be a JSON string.
func words(rest string) (all []string, err error) {
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		if rest[0] != '"' {
			word, after, _ := strings.Cut(rest, " ")
			all, rest = append(all, word), after
			continue
		}
		d := json.NewDecoder(strings.NewReader(rest))
		var text string
		if err := d.Decode(&text); err != nil {
			return nil, faultf("%q is no JSON string: %v", rest, err)
		}
		all, rest = append(all, text), rest[d.InputOffset():]
	}
	return all, nil
}

// want splits the rest into at least low words.
func (s caseStep) want(low int) ([]string, error) {
	all, err := words(s.rest)
	if err == nil && len(all) < low {
		err = faultf("%s needs %d arguments", s.verb, low)
	}
	for len(all) < low+2 {
		all = append(all, "")
	}
	return all, err
}

// compilePattern reads a pattern of a case.
func compilePattern(pattern string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, faultf("the pattern %q: %v", pattern, err)
	}
	return re, nil
}

// doRepeat runs a step several times, and ${n} counts from 1: repeat N STEP.
func (r *caseRun) doRepeat(s caseStep) error {
	count, rest, _ := strings.Cut(s.rest, " ")
	verb, rest, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(count)
	if err != nil || verbs[verb].run == nil {
		return faultf("repeat needs a number and a step: %s", s.rest)
	}
	for i := range n {
		r.vars["n"] = fmt.Sprint(i + 1)
		if err := r.doStep(caseStep{s.line, s.client, verb, rest}); err != nil {
			return fmt.Errorf("time %d: %w", i+1, err)
		}
	}
	return nil
}

// doUnlock starts the keeper: unlock [confirm|decline|silence], or unlock refused
// [REGEX]. The words are the answer about a policy that is another than at the
// last unlock.
func (r *caseRun) doUnlock(s caseStep) error {
	if word, pattern, _ := strings.Cut(s.rest, " "); word == "refused" {
		return r.unlockRefused(pattern)
	}
	dialog := r.sub.Keeper.Again
	if r.sub.Keeper.Store == "" {
		dialog = r.sub.Keeper.First
	}
	if err := r.startKeeper(dialog); err != nil {
		return err
	}
	if s.rest != "" && r.sub.Keeper.Changed != nil {
		if err := r.answerChanged(s.rest); err != nil {
			return err
		}
	}
	if err := r.ready(); err != nil {
		return err
	}
	if r.sub.Keeper.Store == "" {
		return r.seedAll()
	}
	return nil
}

// answerChanged waits for the question about another policy and answers it.
func (r *caseRun) answerChanged(word string) error {
	c := r.sub.Keeper.Changed
	keys, ok := map[string]string{"confirm": c.Yes, "decline": c.No, "silence": ""}[word]
	if !ok {
		return faultf("unlock cannot be answered by %q", word)
	}
	groups, err := r.screenShows(c.Question)
	if err != nil {
		return err
	}
	r.question = conformQuestion{text: groups[0]}
	r.note("question %q", r.question.text)
	if keys == "" {
		return nil
	}
	return r.terminalQuestioner().press(keys, r.until())
}

// unlockRefused expects that the keeper does not start.
func (r *caseRun) unlockRefused(pattern string) error {
	if err := r.startKeeper(nil); err != nil {
		return err
	}
	if !r.keeper.endsBy(r.until()) {
		return errors.New("the keeper starts, or asks, and should have refused")
	}
	p := r.keeper
	r.keeper = nil
	if p.exit == 0 {
		return errors.New("the keeper ended with 0 and should have refused")
	}
	text := string(p.out.bytes()) + string(p.err.bytes())
	re, err := compilePattern(pattern)
	if err == nil && !re.MatchString(text) {
		err = fmt.Errorf("the refusal is %q, want %q", last(text, 500), pattern)
	}
	return err
}

// doKill kills the keeper. What it leaves is then for its next start.
func (r *caseRun) doKill(caseStep) error {
	if r.keeper == nil {
		return faultf("there is no keeper")
	}
	p := r.keeper
	p.cmd.Process.Kill()
	if !p.endsBy(r.until()) {
		return errors.New("the keeper does not die")
	}
	r.keeper = nil
	return nil
}

func (r *caseRun) doSignal(s caseStep) error {
	if r.keeper == nil {
		return faultf("there is no keeper")
	}
	return sendSignal(r.keeper.cmd.Process, s.rest)
}

func (r *caseRun) doKeys(s caseStep) error {
	w, err := s.want(1)
	if err != nil {
		return err
	}
	return r.type_(w[0])
}

func (r *caseRun) doScreen(s caseStep) error {
	_, err := r.screenShows(s.rest)
	return err
}

func (r *caseRun) doUnseen(s caseStep) error {
	re, err := compilePattern(s.rest)
	if err != nil {
		return err
	}
	for _, p := range r.procs {
		if found := re.Find(p.out.bytes()); p.terminal != nil && found != nil {
			return fmt.Errorf("the terminal has shown %q", found)
		}
	}
	return nil
}

func (r *caseRun) doPolicy(s caseStep) error {
	path, err := expand(r.sub.Policy, false, r.value)
	if err != nil {
		return err
	}
	text := s.rest
	if w, err := words(text); err == nil && strings.HasPrefix(text, `"`) {
		text = w[0]
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

// doSeed stores a value by the subject's way: seed ENV NAME VALUE.
func (r *caseRun) doSeed(s caseStep) error {
	w, err := s.want(3)
	if err != nil {
		return err
	}
	value := w[2]
	if n, err := strconv.Atoi(strings.TrimPrefix(value, "bytes:")); err == nil && strings.HasPrefix(value, "bytes:") {
		value = newCanary() + strings.Repeat("x", max(0, n-len(newCanary())))
	}
	if value == "canary" {
		value = newCanary()
	}
	return r.seed(w[0], w[1], value, w[3] == "plain")
}

// argv is a command of the subject's with a step's arguments behind it.
func (r *caseRun) argv(s caseStep) (name string, cmd *exec.Cmd, err error) {
	w, err := words(s.rest)
	if err != nil || len(w) < 2 {
		return "", nil, errors.Join(err, faultf("%s needs a name and a command", s.verb))
	}
	cmd, err = r.subjectCommand(append(slices.Clone(r.sub.Commands[w[1]]), w[2:]...))
	return w[0], cmd, err
}

// doTool runs a command of the subject's to its end.
func (r *caseRun) doTool(s caseStep) error {
	name, cmd, err := r.argv(s)
	if err != nil {
		return err
	}
	p, err := r.start(name, cmd)
	if err == nil && !p.endsBy(r.until()) {
		p.cmd.Process.Kill()
		err = fmt.Errorf("%q does not end", cmd.Args)
	}
	return err
}

// doStart starts one. A last word "< TEXT" is its standard input.
func (r *caseRun) doStart(s caseStep) error {
	before, input, found := strings.Cut(s.rest, " < ")
	s.rest = before
	name, cmd, err := r.argv(s)
	if err != nil {
		return err
	}
	if found {
		w, err := words(input)
		if err != nil {
			return err
		}
		cmd.Stdin = bytes.NewReader([]byte(w[0]))
	}
	_, err = r.start(name, cmd)
	return err
}

// untilPause is the pause between two looks at what is to come.
const untilPause = 50 * time.Millisecond

// doUntil repeats a step that only looks, until it holds: until STEP.
func (r *caseRun) doUntil(s caseStep) error {
	step := s.inner()
	if verbs[step.verb].run == nil {
		return faultf("until needs a step: %s", s.rest)
	}
	var fault *caseFault
	for end := r.until(); ; time.Sleep(untilPause) {
		err := r.doStep(step)
		if err == nil || errors.As(err, &fault) || time.Now().After(end) {
			return err
		}
	}
}

// doElapse lets time pass, only where time is what is tested.
func (r *caseRun) doElapse(s caseStep) error {
	d, err := time.ParseDuration(s.rest)
	if err != nil {
		return faultf("%v", err)
	}
	time.Sleep(d)
	return nil
}
