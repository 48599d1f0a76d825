//go:build !linux

package main

import "errors"

// openHeld has no counterpart here: there is no hold without an open.
func openHeld(string, func()) (int, error) { return -1, errors.ErrUnsupported }

// asStranger has no counterpart here: threads share their descriptors.
func asStranger(func() error) error { return errors.ErrUnsupported }

// asInput is not done where no alarm outlives an exec.
func asInput(int) error { return errors.ErrUnsupported }
