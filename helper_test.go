package main

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

var (
	update = flag.Bool("update", false, "rewrite the expected files of testdata")
	long   = flag.Bool("long", false, "run the long proofs too")
)

// helpers are programs that the test binary is when KEEPMUM_TEST_HELPER names
// one; files of tests add theirs in init.
var helpers = map[string]func(){}

func TestMain(m *testing.M) {
	if d, err := time.ParseDuration(os.Getenv("KEEPMUM_TEST_WAIT")); err == nil {
		testOnlyMaxWait = d
	}
	if name := os.Getenv("KEEPMUM_TEST_HELPER"); name != "" {
		if helpers[name] == nil {
			os.Exit(3)
		}
		helpers[name]()
		os.Exit(0)
	}
	// Started as keepmum by a test that forgot to say so: running the tests again
	// would never end.
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
		os.Exit(3)
	}
	os.Exit(m.Run())
}

func init() {
	helpers["main"] = func() {
		testOnlyMinLn, testOnlyLn = 4, 4
		earlyKey = testEarlyKey
		testOnlyEnv = []string{"KEEPMUM_TEST_HELPER=main"}
		if admin := os.Getenv("KEEPMUM_TEST_ADMIN"); admin != "" {
			adminPolicy = admin
		}
		os.Exit(run(&cli{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Args[1:]))
	}
}
