package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestParseEnv has a row for each rule of reading and for each fault.
func TestParseEnv(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"plain", "A=1\nB=two\n", `A="1" B="two"`},
		{"no newline at the end", "A=1", `A="1"`},
		{"nothing", "", ``},
		// [TXT-13]
		{"comments and empty lines", "# a\n\n  # b\n \t\nA=1\n#A=2\n", `A="1"`},
		{"export", "export A=1\nexport\tB=2\nexport=3\nexport = 4x\n",
			`A="1" B="2" export="4x" 4w`},
		{"blanks around =", "A = 1\nB\t=\t2\n C= 3\n", `A="1" B="2" C="3"`},
		// [TXT-14] for what has no quotes
		{"empty values", "A=\nB= \nC=''\nD=\"\"\nE= # c\n", `A="" B="" C="" D="" E=""`},
		{"comment after a value", "A=1\t# c\nB='2' # c\nC=\"3\"\t#c\nD=`4` #c\n",
			`A="1" B="2" C="3" D="4"`},
		{"# without a blank before", "A=a#b\nB=#c\n", `A="a#b" B="#c"`},
		// [TXT-15] for single quotes and backticks, [TXT-16] for double quotes
		{"# in quotes", "A='a #b'\nB=\"a #b\"\nC=`a #b`\n", `A="a #b" B="a #b" C="a #b"`},
		{"single quotes are literal", `A='a\n$B\t"'` + "\n", `A="a\\n$B\\t\""`},
		{"escapes in double quotes", `A="\n\r\t\\\"\$` + "\\`\"\n", "A=\"\\n\\r\\t\\\\\\\"$`\""},
		// [TXT-18]
		{"$ is not expanded", "A=1\nB=$A\nC=\"${A}$(id)\"\nD=`$A`\n",
			`A="1" B="$A" C="${A}$(id)" D="$A"`},
		{"several lines", "A='x\ny'\nB=\"x\n\n#y\nC=1\"\nD=`x\n`\nE=1\n",
			`A="x\ny" B="x\n\n#y\nC=1" D="x\n" E="1"`},
		{"quotes inside bare text", "A=it's\nB={\"a\": 1}\nC=a`b\n",
			"A=\"it's\" B=\"{\\\"a\\\": 1}\" C=\"a`b\""},
		{"backslash in bare text", "A=C:\\new\\\nB=1\n", `A="C:\\new\\" B="1"`},
		{"a shell's single quote", `A='it'\''s'` + "\n" + `B=''\'''` + "\n", `A="it's" B="'"`},
		// [TXT-11]
		{"CR LF throughout", "A=1\r\nB='x\r\ny'\r\n\r\n# c\r\nC=\r\n", `A="1" B="x\ny" C=""`},
		{"CR in quotes is kept", "A='x\r\ny'\nB=\"x\ry\"\n", `A="x\r\ny" B="x\ry"`},
		{"CR LF after some lines", "A=1\r\nB='2'\r\nC=3\n\r\n", `A="1" B="2" C="3"`},
		{"BOM", "\ufeffA=1\n", `A="1"`},
		{"UTF-8", "A=é 世\n", `A="é 世"`},
		// [TXT-19]
		{"later one counts", "A=1\nB=2\nA=3\n", `A="3" B="2" 3w`},
		// [TXT-13]
		{"not NAME=value", "A=1\nhello\nB=2\n", `A="1" B="2" 2`},
		{"no name", "=1\n", `1`},
		{"digit first", "1A=1\n", `1`},
		{"dash in a name", "A-B=1\n", `1`},
		{"dot in a name", "A.B=1\n", `1`},
		{"colon", "A: 1\n", `1`},
		{"export of a name only", "export A\n", `1`},
		{"command", "echo A=1\n", `1`},
		{"letter that is not ASCII", "É=1\n", `1`},
		// [TXT-17]
		{"text after quotes", "A='1'x\nB=2\n", `B="2" 1`},
		{"comment too near", "A='1'#c\n", `1`},
		{"quotes after quotes", "A=\"1\"'2'\n", `1`},
		{"escaped single quote", `A='it\'s'` + "\n" + "B=1\n", `B="1" 1`},
		{"text after many lines of quotes", "A='1\n2' x\nB=3\n", `B="3" 1`},
		// [TXT-16]
		{"backslash that readers differ on", `A="\d"` + "\nB=1\n", `B="1" 1`},
		{"backslash before a newline", "A=\"a\\\nb\"\nB=1\n", `B="1" 1`},
		// [TXT-17]
		{"quote never closed", "A=1\nB='2\nC=3\n", `A="1" 2`},
		{"double quote never closed", `A="1\`, `1`},
		{"double quote closed by none", `A="1\"`, `1`},
		{"backtick never closed", "A=`1", `1`},
		// [TXT-14]
		{"CR in bare text", "A=1\rB=2\n", `1`},
		// [TXT-12]
		{"NUL", "A=1\nB=\x00\n", `2`},
		{"not UTF-8", "A=1\n\nB='\xff'\n", `3`},
		{"a line alone", "A=1\n'\n", `A="1" 2`},
	}
	for _, test := range tests {
		lines, problems := parseEnv([]byte(test.text))
		if got := showEnv(lines, problems); got != test.want {
			t.Errorf("%s: %q = %s, want %s", test.name, test.text, got, test.want)
		}
	}
}

// showEnv writes NAME="value" for each variable, then the lines of the
// problems, with a w for a warning.
func showEnv(lines []envLine, problems []envProblem) string {
	var all []string
	for _, line := range lines {
		all = append(all, fmt.Sprintf("%s=%q", line.name, string(line.value)))
	}
	for _, p := range problems {
		mark := fmt.Sprint(p.line)
		if p.warning {
			mark += "w"
		}
		all = append(all, mark)
	}
	return strings.Join(all, " ")
}

// TestParseEnvLines: a fault has the number of its line. [TXT-20]
func TestParseEnvLines(t *testing.T) {
	lines, _ := parseEnv([]byte("\n# c\nA='1\n2'\n\nB=3\n"))
	if len(lines) != 2 || lines[0].line != 3 || lines[1].line != 6 {
		t.Errorf("lines = %v", lines)
	}
	_, problems := parseEnv([]byte("A=1\nA=2\n"))
	if want := `line 2: "A" is on line 1 too; the later one counts`; len(problems) != 1 ||
		problems[0].String() != want {
		t.Errorf("problems = %v, want %s", problems, want)
	}
}

// TestParseEnvTellsNothing puts a value where it cannot be read. [TXT-20]
func TestParseEnvTellsNothing(t *testing.T) {
	tried := 0
	for _, text := range []string{"CANARY", "canary: CANARY", "A='CANARY'CANARY", "A='CANARY",
		`A="\CANARY"`,
		"A=CANARY\rCANARY", "A=CANARY\x00", "A=CANARY\xff", "-CANARY=1", "export CANARY"} {
		_, problems := parseEnv([]byte("B=1\n" + text + "\n"))
		for _, p := range problems {
			tried++
			if p.line != 2 || strings.Contains(p.String(), "CANARY") {
				t.Errorf("%q: %s", text, p)
			}
		}
	}
	if tried != 10 {
		t.Errorf("%d problems, want 10", tried)
	}
}
