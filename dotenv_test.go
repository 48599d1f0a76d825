package main

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// encodeValue returns a value alone.
func encodeValue(d dialect, v []byte) ([]byte, error) { return appendValue(nil, d, v) }

// TestEncodePortable has the value classes that were measured with 36 readers,
// and which quoting is to be picked. [TXT-2] [TXT-6]
func TestEncodePortable(t *testing.T) {
	tests := []struct {
		name, value, want string
	}{
		{"plain token", "sk_live_4eC39HqLyjWDarjtT1zdp7dc", `sk_live_4eC39HqLyjWDarjtT1zdp7dc`},
		{"base64", "aGVsbG8gd29ybGQ+/w==", `aGVsbG8gd29ybGQ+/w==`},
		{"number", "5432", `5432`},
		{"true", "true", `true`},
		{"empty", "", ``},
		{"every bare character", "Az09_.,/:@%+^!?*-=~", `Az09_.,/:@%+^!?*-=~`},
		{"= first", "=a", `'=a'`},
		{"~ first", "~/src", `'~/src'`},
		{"brackets and braces", "[a]{b}", `'[a]{b}'`},
		{"URL with ? and &", "https://h/p?a=1&b=2", `'https://h/p?a=1&b=2'`},
		{"space", "a b", `'a b'`},
		{"spaces at the ends", "  a  ", `'  a  '`},
		{"tab", "a\tb", "'a\tb'"},
		{"# after a space", "a #b", `'a #b'`},
		{"#", "a#b", `'a#b'`},
		{"$", "a$HOME", `'a$HOME'`},
		{"bcrypt hash", "$2b$12$abcdefghijklmnopqrstuv", `'$2b$12$abcdefghijklmnopqrstuv'`},
		{"command", "a$(touch canary)b", `'a$(touch canary)b'`},
		{"backslash", `a\b`, `'a\b'`},
		{"regex", `^\d+$`, `'^\d+$'`},
		{"Windows path", `C:\new\table`, `'C:\new\table'`},
		{"backslash at the end", `C:\dir\`, `'C:\dir\'`},
		{"double quotes", `say "hi"`, `'say "hi"'`},
		{"JSON", `{"a": 1}`, `'{"a": 1}'`},
		{"JSON with escaped newline", `{"key": "a\nb"}`, `'{"key": "a\nb"}'`},
		{"single quote", "it's", `"it's"`},
		{"single quote and #", "it's #1", `"it's #1"`},
		{"single quote and newline", "it's\nso", "\"it's\nso\""},
		{"single quote and $", "it's $HOME", `"it's \$HOME"`},
		{"both quotes", `it's "x"`, `"it's \"x\""`},
		{"single quote and backslash", `it's \n`, `"it's \\n"`},
		{"single quote and backtick", "it's `x`", "\"it's \\`x\\`\""},
		{"backtick", "a`cmd`b", "'a`cmd`b'"},
		{"newline", "a\nb", "\"a\nb\""},
		{"PEM", "-----BEGIN X-----\nAbc=\n-----END X-----\n",
			"\"-----BEGIN X-----\nAbc=\n-----END X-----\n\""},
		{"newline and double quote", "{\n \"a\": 1\n}", "'{\n \"a\": 1\n}'"},
		{"newline and $", "a\n$b", "'a\n$b'"},
		{"newline and backtick", "a\n`b`", "'a\n`b`'"},
		{"CR", "a\rb", `"a\rb"`},
		{"CR LF", "a\r\nb", `"a\r\nb"`},
		{"CR and everything", "\r\n\\\"$`'", "\"\\r\\n\\\\\\\"\\$\\`'\""},
		{"UTF-8", "é 世", `'é 世'`},
		{"UTF-8 without space", "é世", `'é世'`},
		{"shell characters", "a;b|c&d(e)<f>", `'a;b|c&d(e)<f>'`},
		{"control character", "a\x1bb", "'a\x1bb'"},
	}
	for _, test := range tests {
		got, err := encodeValue(dialectPortable, []byte(test.value))
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %q = %s, %v, want %s", test.name, test.value, got, err, test.want)
		}
		for _, d := range dialects {
			if carries(d, []byte(test.value)) {
				checkReadsBack(t, d, []byte(test.value))
			}
		}
	}
}

// TestEncodePortableBare tries each character of ASCII, inside and first. [TXT-6]
func TestEncodePortableBare(t *testing.T) {
	const bare = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.,/:@%+^!?*-"
	for c := byte(1); c < 0x80; c++ {
		inside, _ := encodeValue(dialectPortable, []byte{'a', c})
		first, _ := encodeValue(dialectPortable, []byte{c, 'a'})
		if want := strings.IndexByte(bare+"=~", c) >= 0; want != (len(inside) == 2) {
			t.Errorf("a%c = %s", c, inside)
		}
		if want := strings.IndexByte(bare, c) >= 0; want != (len(first) == 2) {
			t.Errorf("%ca = %s", c, first)
		}
	}
}

// TestEncodeShell has the one quoting that every POSIX shell takes. [TXT-9]
func TestEncodeShell(t *testing.T) {
	for value, want := range map[string]string{"": `''`, "a": `'a'`, "it's": `'it'\''s'`,
		"'":         `''\'''`,
		"a\r\n$`\\": "'a\r\n$`\\'"} {
		got, err := encodeValue(dialectShell, []byte(value))
		if err != nil || string(got) != want {
			t.Errorf("%q = %s, %v, want %s", value, got, err, want)
		}
	}
}

// TestEncodeRefuses: what cannot be written is told without the value. [TXT-8]
func TestEncodeRefuses(t *testing.T) {
	for _, d := range dialects {
		for _, value := range []string{"canary\x00", "canary\xff", "canary\xed\xa0\x80"} {
			got, err := encodeValue(d, []byte(value))
			if err == nil || got != nil || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s %q = %q, %v, want an error that tells nothing", d, value, got, err)
			}
		}
	}
	if _, err := encodeValue("csh", []byte("a")); err == nil ||
		err.Error() != `unsupported dialect "csh"` {
		t.Errorf("unknown dialect: %v", err)
	}
}

// TestDialectOf knows shells by their names alone, and never gives one what it
// would run. [TXT-10]
func TestDialectOf(t *testing.T) {
	for exe, want := range map[string]dialect{"/usr/bin/bash": dialectShell,
		"/usr/bin/bash (deleted)": dialectShell, "/usr/bin/bash (another file)": dialectShell,
		"/bin/dash": dialectShell, "/bin/sh": dialectShell, "/usr/bin/zsh": dialectShell,
		"/bin/ksh": dialectShell, "/bin/mksh": dialectShell, "/bin/ksh93": dialectShell, "/bin/rbash": dialectShell,
		"/bin/bash-static": dialectShell, "/bin/lksh": dialectShell, "/bin/static": "",
		"/bin/busybox": "", "/usr/bin/node": "",
		"/opt/bash/node": "", "/opt/bash (x)": "", "": ""} {
		for _, own := range append(dialects, "") {
			want := cmp.Or(want, own, dialectPortable)
			if got := dialectOf(&mount{dialect: string(own)}, &process{exe: exe}); got != want {
				t.Errorf("dialectOf(%q, %q) = %q, want %q", own, exe, got, want)
			}
		}
	}
}

// TestEncodeEnv has the whole text. [TXT-3] [TXT-4] [TXT-5]
func TestEncodeEnv(t *testing.T) {
	vars := []*variable{{name: "B", value: secret("it's")}, {name: "EMPTY", value: secret{}},
		{name: "KEY", placeholder: true}, {name: "A", value: secret("x\ny"), concealed: true}}
	want := "# keepmum: acme-dev\nB=\"it's\"\nEMPTY=\n# KEY= (no value yet)\nA=\"x\ny\"\n"
	got, err := encodeEnv(dialectPortable, "acme-dev", vars)
	if err != nil || string(got) != want {
		t.Errorf("encodeEnv = %q, %v, want %q", got, err, want)
	}
	for name, want := range map[string]string{"a\nB=1": "# keepmum: a<U+000A>B=1\n",
		"dir\\": "# keepmum: dir\\ \n"} {
		if got, err := encodeEnv(dialectPortable, name, nil); err != nil || string(got) != want {
			t.Errorf("encodeEnv(%q) = %q, %v, want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"", "1A", "A-B", "A B", "A\nB", "A=$(id)", "É"} {
		if text, err := encodeEnv(dialectPortable, "e", []*variable{{name: name}}); err == nil {
			t.Errorf("a variable named %q: %q", name, text)
		}
	}
	// [TXT-8]
	_, err = encodeEnv(dialectShell, "e", []*variable{{name: "BAD", value: secret("canary\x00")}})
	if err == nil || !strings.Contains(err.Error(), `"BAD"`) || strings.Contains(err.Error(),
		"canary") {
		t.Errorf("a value with NUL: %v", err)
	}
}

// TestEncodeEnvLeavesNoCopies checks that the text never moves while it grows.
func TestEncodeEnvLeavesNoCopies(t *testing.T) {
	for _, d := range dialects {
		vars := []*variable{{name: "A", value: secret(strings.Repeat("'", 5000))},
			{name: "B", value: secret(strings.Repeat("'\"", 5000))}, {name: "C",
				placeholder: true}}
		if n := testing.AllocsPerRun(10, func() { encodeEnv(d, "e\\", vars) }); n > 20 {
			t.Errorf("%s: %v allocations", d, n)
		}
		text, err := encodeEnv(d, "e\\", vars)
		if err != nil || cap(text) < len(text) || cap(text) > 200_000 {
			t.Errorf("%s: %d of %d bytes, %v", d, len(text), cap(text), err)
		}
	}
}

func checkReadsBack(t *testing.T, d dialect, value []byte) {
	t.Helper()
	checkIdentity(t, d, []*variable{{name: "BEFORE", value: secret("1")},
		{name: "V", value: value}, {name: "AFTER", value: secret("2")}})
}

// TestShells sources the encoded text in the shells there are and compares
// byte for byte [TXT-9]. A command that ran would leave a file [TXT-1].
func TestShells(t *testing.T) {
	t.Parallel()
	const count = 300
	tried := 0
	for _, shell := range []string{"sh", "bash", "dash", "zsh", "ksh", "mksh"} {
		program, err := exec.LookPath(shell)
		if err != nil {
			continue
		}
		tried++
		for _, d := range []dialect{dialectPortable, dialectShell} {
			random := rand.New(rand.NewPCG(1, 2))
			vars := make([]*variable, count)
			for i := range vars {
				// CR is the one thing that shells do not get from portable.
				vars[i] = &variable{name: fmt.Sprintf("V%d", i), value: nasty(random,
					d == dialectShell)}
			}
			checkShell(t, program, d, vars)
		}
	}
	if tried == 0 {
		t.Fatal("no shell to try")
	}
}

func checkShell(t *testing.T, program string, d dialect, vars []*variable) {
	dir := t.TempDir()
	text, err := encodeEnv(d, "$(touch canary) `touch canary` ; touch canary", vars)
	if err != nil {
		t.Fatal(err)
	}
	script := ". ./file.env\n"
	var want []byte
	for _, v := range vars {
		script += fmt.Sprintf("printf '%%s\\0' \"$%s\"\n", v.name)
		want = append(append(want, v.value...), 0)
	}
	if err := os.WriteFile(filepath.Join(dir, "file.env"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", script)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=" + dir}
	got, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %.200q", program, err, got)
	}
	for i, value := range bytes.Split(bytes.TrimSuffix(got, []byte{0}), []byte{0}) {
		if i >= len(vars) || !bytes.Equal(value, vars[i].value) {
			t.Fatalf("%s, %s: value %d is %q, want %q", program, d, i, value, vars[min(i,
				len(vars)-1)].value)
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s, %s: %d bytes, want %d", program, d, len(got), len(want))
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%s, %s: a command ran: %v", program, d, files)
	}
}

// nasty returns a value that does something to whoever quotes carelessly.
func nasty(random *rand.Rand, cr bool) []byte {
	parts := []string{"$(touch canary)", "`touch canary`", ";touch canary;", "\ntouch canary\n",
		"'", "\"",
		"\\", "\\\n", "$", "${HOME}", "$HOME", "$$", "!!", "!$", "#", " # ", "=", "~", "~root",
		"&", "|", "<f", ">canary",
		"(", ")", "{a,b}", "*", "?", "[a]", " ", "\t", "\n", "\x01", "\x1b", "\x7f", "é", "世",
		"😀", "\u202e",
		"a", "B", "0", "_", "'\\''", "'\"'\"'", "\\'", "\\\"", "%s", "\\n", "\\0", "EOF",
		"&&touch canary"}
	if cr {
		parts = append(parts, "\r", "\r\n")
	}
	var value []byte
	for range random.IntN(9) {
		value = append(value, parts[random.IntN(len(parts))]...)
	}
	return value
}

// TestEnvVectors runs testdata/dotenv, whose form testdata/README.md says. [TXT-2]
// [TXT-28] [TXT-29] [TXT-30] [TXT-31]
func TestEnvVectors(t *testing.T) {
	files, _ := filepath.Glob("testdata/dotenv/*.txt")
	if len(files) < 200 {
		t.Fatalf("%d vectors, want 200 or more", len(files))
	}
	for _, file := range files {
		head, text := readVector(t, file)
		var values map[string]string
		if err := json.Unmarshal([]byte(head["values"]), &values); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if d, ok := head["encode"]; ok {
			checkEncodeVector(t, file, head, dialect(d), values, text["env"])
			continue
		}
		env := readEnv([]byte(text["env"]))
		got := make(map[string]string)
		for _, line := range env.lines {
			got[line.name] = string(line.value)
		}
		faults, warnings, says := problemLines(env.problems)
		if !maps.Equal(got, values) || faults != head["faults"] || warnings != head["warnings"] ||
			says != head["says"] {
			t.Errorf("%s: %q, problems %v", file, got, env.problems)
		}
		checkReaders(t, file, head, env, strings.Fields(warnings))
	}
}

// problemLines returns the lines of faults and of warnings, each once, and the
// words of the first fault.
func problemLines(problems []envProblem) (faults, warnings, says string) {
	var lines [2][]string
	for _, p := range problems {
		i, number := 0, fmt.Sprint(p.line)
		if p.warning {
			i = 1
		} else {
			says = cmp.Or(says, p.String())
		}
		if !slices.Contains(lines[i], number) {
			lines[i] = append(lines[i], number)
		}
	}
	return strings.Join(lines[0], " "), strings.Join(lines[1], " "), says
}

// checkReaders: where one of the four readers was seen to give another value
// than import, the line has a warning, unless keepmum wrote the text. [TXT-26]
func checkReaders(t *testing.T, file string, head map[string]string, env *envText,
	warned []string) {
	for _, reader := range []string{"dotenv", "python-dotenv", "godotenv", "compose-go"} {
		said := head[reader]
		if said == "" || said == "error" || env.own != "" {
			continue
		}
		var other map[string]*string // null is a variable that the reader does not have
		must(t, json.Unmarshal([]byte(said), &other))
		for _, l := range env.lines {
			if v := other[l.name]; v != nil && !slices.Contains(warned, fmt.Sprint(l.line)) {
				t.Errorf("%s: %s differs on %s, without a warning", file, reader, l.name)
			}
		}
	}
}

func checkEncodeVector(t *testing.T, file string, head map[string]string, d dialect,
	values map[string]string, want string) {
	var vars []*variable
	for _, name := range slices.Sorted(maps.Keys(values)) {
		vars = append(vars, &variable{name: name, value: secret(values[name])})
		if carries(d, []byte(values[name])) {
			checkReadsBack(t, d, []byte(values[name]))
		}
	}
	got, err := encodeEnv(d, "vector", vars)
	if err != nil || string(got) != want {
		t.Errorf("%s: encodeEnv = %q, %v, want %q", file, got, err, want)
	}
}

// readVector reads comment lines, "name: value" lines, and parts that begin
// with a line "-- name --". A part whose name ends in .json-string is one.
func readVector(t testing.TB, file string) (head, parts map[string]string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, parts = make(map[string]string), make(map[string]string)
	part := ""
	for line := range strings.Lines(string(text)) {
		name, ok := strings.CutPrefix(line, "-- ")
		switch {
		case ok && strings.HasSuffix(name, " --\n"):
			part = strings.TrimSuffix(name, " --\n")
			parts[part] = ""
		case part != "":
			parts[part] += line
		case line != "\n" && line[0] != '#':
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
			head[name] = strings.TrimSpace(value)
		}
	}
	if encoded, ok := parts["env.json-string"]; ok {
		var plain string
		if err := json.Unmarshal([]byte(encoded), &plain); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		parts["env"] = plain
	}
	if bytes, ok := parts["env.hex"]; ok {
		plain, err := hex.DecodeString(strings.TrimSpace(bytes))
		must(t, err)
		parts["env"] = string(plain)
	}
	return head, parts
}
