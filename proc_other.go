//go:build !linux && !darwin

package main

import "errors"

// lookup has no answer here: an unknown process is never trusted (SPEC §7.3).
func lookup(int) (*process, error) { return nil, errors.ErrUnsupported }

func readProcess(int) (*process, error) { return nil, errors.ErrUnsupported }

func (p *process) alive() bool { return false }

func (p *process) close() {}

func lookupHidden(pid int) (*process, error) { return nil, errors.ErrUnsupported }
