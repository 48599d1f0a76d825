package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

type messageCheck struct{}

func (m *messageCheck) sent([]byte)             {}
func (m *messageCheck) received([]byte) []error { return nil }
func readerCommand(kind, self, path, arg string) (argv []string, missing string, err error) {
	return []string{kind, path}, "", nil
}

func init() {
	if len(os.Args) > 2 && os.Args[1] == "conform-one" {
		sub, err := loadSubject("keepmum")
		if err != nil {
			panic(err)
		}
		dir, _ := os.MkdirTemp("", "km")
		defer os.RemoveAll(dir)
		adoptOrphans()
		t := time.Now()
		server, _ := filepath.Abs(os.Args[2])
		sh, err := sub.prepare(dir, []string{server, "mcp"}, os.Stderr)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("prepared", time.Since(t))
		for i, id := range os.Args[3:] {
			for _, rev := range []string{"2025-11-25", "2026-07-28"} {
				res := runWorker(workerInput{id, rev, "keepmum", []string{server, "mcp"}, filepath.Join(dir, fmt.Sprint(i, rev[:4])), sh})
				fmt.Println(res.Status, res.Case, res.Revision, res.Seconds, res.Reason, strings.Join(res.Failures, "\n   "))
				if res.Status != "pass" {
					fmt.Println(res.Transcript)
				}
			}
		}
		os.Exit(0)
	}
	if len(os.Args) > 2 && os.Args[1] == "conform" && os.Args[2] == "-relay" {
		os.Exit(runRelay(os.Args[4:]))
	}
}
