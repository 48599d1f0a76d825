//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

const (
	heldMost  = 200     // connections that one process keeps
	giantSize = 5 << 20 // more than a line may have
)

// hoards opens one connection after the other and keeps many of them, saying
// nothing (silent), half a line (half), or a byte at a time (slow).
func (a *attack) hoards() {
	const line = `{"jsonrpc":"2.0","id":1,"method":"status","params":{"arguments":{"x":"`
	var held []net.Conn
	for a.more() {
		if a.n == 0 && len(held) == heldMost/10 { // enough for one who only waits
			for range a.lines {
			}
			continue
		}
		conn, err := a.dial()
		if err != nil {
			time.Sleep(time.Millisecond) // the keeper has not taken the last ones yet
			continue
		}
		if a.kind == "half" {
			io.WriteString(conn, line)
		}
		if held = append(held, conn); len(held) == 1 {
			fmt.Println("holds")
		}
		if len(held) > heldMost {
			a.parts(held[0])
			held = held[1:]
		}
		if a.kind == "slow" {
			a.dribbles(held[max(0, len(held)-20):])
		}
	}
	for _, conn := range held {
		a.parts(conn)
	}
}

// dribbles writes one byte to each.
func (a *attack) dribbles(held []net.Conn) {
	for _, conn := range held {
		if _, err := conn.Write([]byte(`{`)); err != nil {
			a.failed("closed by the keeper")
		}
	}
}

// parts hears what the keeper has said on a connection, and closes it.
func (a *attack) parts(conn net.Conn) {
	conn.SetReadDeadline(time.Now().Add(glance))
	text, _ := io.ReadAll(conn)
	a.got(text)
	conn.Close()
}

// sendsGiants sends lines that are too long. One that ends is answered, and so is
// the request behind it; one that does not end goes on for the length of many.
func (a *attack) sendsGiants() {
	giant := bytes.Repeat([]byte("x"), giantSize)
	for a.more() {
		conn, err := a.dial()
		a.must(err)
		conn.SetDeadline(time.Now().Add(a.limit))
		if a.kind == "endless" {
			for range 16 {
				if _, err := conn.Write(giant); err != nil {
					a.failed(err)
				}
			}
			a.parts(conn)
			continue
		}
		in := bufio.NewReaderSize(conn, maxText)
		_, err = io.Copy(conn, io.MultiReader(bytes.NewReader(giant),
			strings.NewReader("\n"+`{"jsonrpc":"2.0","id":1,"method":"status"}`+"\n")))
		a.must(err)
		for _, what := range []string{"the giant", "the next one"} {
			answer, err := in.ReadBytes('\n')
			a.must(err)
			a.summed(answer, what+": "+codeOf(answer))
		}
		conn.Close()
	}
}
