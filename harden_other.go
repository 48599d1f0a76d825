//go:build !linux && !darwin

package main

import "errors"

// denyTracing has no counterpart here.
func denyTracing() error { return errors.ErrUnsupported }

func allowTracing() error { return nil }
