package main

// Stand-ins for what another part of the suite holds: thrown away when both
// are put together.

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"time"
)

type caseStep struct{}

type conformCase struct {
	id, title, level, why          string
	requirements, needs, revisions []string
	limit                          time.Duration
	steps                          []caseStep
}

func loadCases() ([]*conformCase, error) {
	return []*conformCase{
		{id: "mount-a", title: "a mount", level: "must", why: "A reader hangs.", requirements: []string{"MNT-1"}, limit: 30 * time.Second},
		{id: "wire-b", title: "a line", level: "should", why: "A client hangs.", requirements: []string{"MCP-1", "MCP-2"}, limit: 30 * time.Second},
	}, nil
}

type subject struct {
	Name, Version string
	Revisions     []string
}

func loadSubject(name string) (*subject, error) {
	if name != "keepmum" {
		return nil, fmt.Errorf("no subject is named %q", name)
	}
	return &subject{"keepmum", "1.0", []string{"2025-11-25", "2026-07-28"}}, nil
}

func (s *subject) runs(c *conformCase) ([]string, string) {
	if c.level == "should" {
		return s.Revisions, ""
	}
	return s.Revisions[:1], ""
}

func (s *subject) manual() bool { return false }

func (s *subject) prepare(dir string, server []string, progress io.Writer) (json.RawMessage, error) {
	if server[0] == "none" {
		return nil, fmt.Errorf("cannot start %q", server[0])
	}
	return json.RawMessage(`{}`), nil
}

func runWorker(in workerInput) conformResult {
	if in.Server[0] == "hang" {
		exec.Command("sleep", "600").Run()
	}
	return conformResult{Case: in.Case, Revision: in.Revision, Status: in.Server[0], Failures: in.Server[1:], Reason: "stub"}
}

type workerInput struct {
	Case, Revision, Subject string
	Server                  []string
	Dir                     string
	Shared                  json.RawMessage
}

type conformResult struct {
	Case, Revision, Status string
	Reason                 string
	Failures               []string
	Seconds                float64
	Transcript             string
}
