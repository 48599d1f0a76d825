package main

type messageCheck struct{}

func (m *messageCheck) sent([]byte)             {}
func (m *messageCheck) received([]byte) []error { return nil }
