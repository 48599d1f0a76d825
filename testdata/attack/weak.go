//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// isWeak is what people write instead of a keeper. It serves -text:
//
//	fifo    to whoever opens a pipe at -path
//	first   there too, but to the first who came alone, known by process number
//	path    to the program -victim alone, known by the path of its file
//	parent  to everybody whose parents are not called codex
//	file    into whatever is at -path at each line of input, and removes that
//	claim   on the socket of -home, to whoever says that it is a command
func (a *attack) isWeak() {
	switch a.kind {
	case "file":
		for range a.lines {
			os.WriteFile(a.path, []byte(a.text), 0o600)
			os.RemoveAll(a.path)
			fmt.Println("written")
		}
	case "claim":
		a.believes()
	default:
		a.must(unix.Mkfifo(a.path, 0o600))
		go a.servesPipe()
		for range a.lines {
		}
	}
}

// servesPipe writes to each reader, a line at a time as many programs do.
func (a *attack) servesPipe() {
	fmt.Println("serves")
	for {
		fd, err := unix.Open(a.path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		text := "refused\n"
		if a.trusts(a.holder()) {
			text = a.text
		}
		for line := range strings.Lines(text) {
			unix.Write(fd, []byte(line))
			time.Sleep(100 * time.Microsecond)
		}
		unix.Close(fd)
		time.Sleep(10 * time.Millisecond) // for the reader to see the end
	}
}

// holder finds who has the pipe open.
func (a *attack) holder() int {
	want := inodeAt(a.path)
	for end := time.Now().Add(time.Second); a.kind != "fifo" && time.Now().Before(end); {
		processes, _ := os.ReadDir("/proc")
		for _, p := range processes {
			pid, err := strconv.Atoi(p.Name())
			if err != nil || pid == os.Getpid() {
				continue
			}
			for _, path := range pipesOf(pid) {
				if inodeAt(path) == want {
					return pid
				}
			}
		}
	}
	return 0
}

func (a *attack) trusts(pid int) bool {
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	switch a.kind {
	case "first":
		if a.pid == 0 {
			a.pid = pid
		}
		return pid == a.pid
	case "path":
		return exe == a.victim
	case "parent":
		for ; pid > 1; pid = parentOf(pid) {
			if exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); filepath.Base(exe) == "codex" {
				return false
			}
		}
	}
	return true
}

func parentOf(pid int) (parent int) {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	var state string
	fmt.Sscan(string(stat[min(lastParenthesis(stat)+1, len(stat)):]), &state, &parent)
	return parent
}

// believes serves one connection at a time, and what is said on it.
func (a *attack) believes() {
	listener, err := net.Listen("unix", filepath.Join(a.home, "keeper.sock"))
	a.must(err)
	fmt.Println("serves")
	go func() {
		for range a.lines {
		}
		listener.Close()
	}()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		in := bufio.NewScanner(conn)
		in.Buffer(nil, maxText)
		for in.Scan() {
			var m struct {
				ID     json.RawMessage
				Via    string
				Params struct{ Via, Claim string }
			}
			json.Unmarshal(in.Bytes(), &m)
			answer := `"error":{"code":1,"message":"not approved"}`
			if m.Via == "command" || m.Params.Via == "command" || strings.HasPrefix(m.Params.Claim, "keepmum") {
				answer = fmt.Sprintf(`"result":{"text":%q}`, a.text)
			}
			fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%s,%s}`+"\n", m.ID, answer)
		}
		conn.Close()
	}
}
