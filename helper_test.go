package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	update = flag.Bool("update", false, "rewrite the expected files of testdata")
	long   = flag.Bool("long", false, "run the long proofs too")
)

// atEnd runs when all tests have ended.
var atEnd []func()

// raceBuild: the detector keeps several bytes for each byte of the program.
var raceBuild = func() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}()

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
	// A test mostly waits for other programs: more at a time than processors.
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		f.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0)))
	}
	code := m.Run()
	for _, f := range atEnd {
		f()
	}
	if testing.Verbose() {
		fmt.Println(tapedSummary())
	}
	os.Exit(code)
}

func init() {
	helpers["main"] = func() {
		testOnlyMinLn, testOnlyLn = 4, 4
		earlyKey = testEarlyKey
		if d, err := time.ParseDuration(os.Getenv("KEEPMUM_TEST_EARLY")); err == nil {
			earlyKey = d
		}
		testOnlyEnv = []string{"KEEPMUM_TEST_HELPER=main"}
		if admin := os.Getenv("KEEPMUM_TEST_ADMIN"); admin != "" {
			adminPolicy = admin
		}
		c := &cli{in: os.Stdin, out: os.Stdout, err: os.Stderr}
		command := slices.IndexFunc(os.Args[1:], func(arg string) bool { return !strings.HasPrefix(arg, "-") })
		if command >= 0 && os.Args[1+command] == "mcp" && !slices.Contains(os.Args, "--help") {
			tapeProcess(c)
		}
		os.Exit(run(c, os.Args[1:]))
	}
}
