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
		{"export", "export A=1\nexport\tB=2\nexport=3\nexport export = 4\n",
			`A="1" B="2" export="4" 4w`},
		{"export of no name", "export = 1\nexport\t=2\nexport\u00a0=3\n", `1 2 3`},
		{"blanks around =", "A = 1\nB\t=\t2\n C= 3\n", `A="1" B="2" C="3"`},
		// [TXT-14] for what has no quotes
		{"empty values", "A=\nB= \nC=''\nD=\"\"\nE='' # c\n", `A="" B="" C="" D="" E=""`},
		{"comment after a value", "A=1 # c\nB='2' # c\nC=\"3\"\t#c\nD='4'#c\n",
			`A="1" B="2" C="3" D="4"`},
		{"# without a blank before", "A=a#b\nB=#c\n", `A="a#b" B="#c" 1w 2w`},
		// [TXT-15] for single quotes and backticks, [TXT-16] for double quotes
		{"# in quotes", "A='a #b'\nB=\"a #b\"\nC=`a #b`\n", `A="a #b" B="a #b" C="a #b" 3w`},
		{"single quotes are literal", `A='a\n$B\t"'` + "\n", `A="a\\n$B\\t\""`},
		{"escapes in double quotes", `A="\n\r"` + "\n" + `B="\\\""` + "\n" + `C="\$"` + "\n",
			`A="\n\r" B="\\\"" C="$" 2w 3w`},
		// [TXT-18]
		{"$ is not expanded", "A=1\nB=$A\nC=\"${A}$(id)\"\nD=`$A`\n",
			`A="1" B="$A" C="${A}$(id)" D="$A" 2w 3w 4w 4w`},
		{"several lines", "A='x\ny'\nB=\"x\n\n#y\nC=1\"\nD=`x\n`\nE=1\n",
			`A="x\ny" B="x\n\n#y\nC=1" D="x\n" E="1" 3w 7w`},
		{"quotes inside bare text", "A=it's\nB={\"a\": 1}\nC=a`b\n",
			"A=\"it's\" B=\"{\\\"a\\\": 1}\" C=\"a`b\""},
		{"backslash in bare text", "A=C:\\new\\\nB=1\n", `A="C:\\new\\" B="1"`},
		{"a shell's single quote", `A='it'\''s'` + "\n" + `B=''\'''` + "\n", `A="it's" B="'" 1w 2w`},
		// [TXT-11]
		{"CR LF throughout", "A=1\r\nB='x\r\ny'\r\n\r\n# c\r\nC=\r\n", `A="1" B="x\ny" C="" 2w`},
		{"CR LF in quotes", "A='x\r\ny'\nB=1\n", `A="x\ny" B="1" 1w`},
		{"spelt CR LF", `A="x\r\ny"` + "\r\n", `A="x\r\ny"`},
		{"CR in quotes", "A=\"x\ry\"\nB=1\n", `B="1" 1`},
		{"CR in a comment", "# a\rB=1\nC=1 # a\rD=1\nE='1' # a\rF=1\n", `1 2 3`},
		{"CR alone", "A=1\rB=2\r", `1`},
		{"CR LF after some lines", "A=1\r\nB='2'\r\nC=3\n\r\n", `A="1" B="2" C="3"`},
		{"BOM", "\ufeffA=1\n", `A="1" 1w`},
		{"BOM before keepmum's own", "\ufeff# keepmum: acme\nA=1\n", `A="1"`},
		{"UTF-8", "A=é 世\n", `A="é 世"`},
		// [TXT-19]
		{"later one counts", "A=1\nB=2\nA=3\n", `A="3" B="2" 3w`},
		// [TXT-13]
		{"not NAME=value", "A=1\nhello\nB=2\n", `A="1" B="2" 2`},
		{"no name", "=1\n", `1`},
		{"digit first", "1A=1\n", `1`},
		{"dash in a name", "A-B=1\n", `1`},
		{"dot in a name", "A.B=1\n", `1`},
		// [TXT-23]
		{"colon", "A: 1\nexport B:\t'2' # c\n", `A="1" B="2" 1w 2w`},
		{"colon and nothing", "A:\nB: \nC=1\n", `C="1" 1 2`},
		{"colon without a blank", "A:1\n", `1`},
		{"blank before a colon", "A : 1\n", `1`},
		{"export of a name only", "export A\n", `1`},
		{"command", "echo A=1\n", `1`},
		{"letter that is not ASCII", "É=1\n", `1`},
		// [TXT-17]
		{"text after quotes", "A='1'x\nB=2\n", `B="2" 1`},
		{"text, then a comment", "A='1'x #c\n", `1`},
		{"quotes after quotes", "A=\"1\"'2'\n", `1`},
		{"escaped single quote", `A='it\'s'` + "\n" + "B=1\n", `B="1" 1`},
		{"text after many lines of quotes", "A='1\n2' x\nB=3\n", `B="3" 1`},
		// [TXT-25], what import never takes
		{"tab escape", `A="\t"` + "\n", `1`},
		{"escaped single quote in double quotes", `A="\'"` + "\n", `1`},
		{"escaped backtick", "A=\"\\`\"\n", `1`},
		{"the second escape", `A="\\\d"` + "\n", `1`},
		{"comment right after =", "A= # c\nB=\t#c\n", `1 2`},
		{"wide space at an end", "A=\u3000x\nB=x\u3000\nC=x\u2003 # c\nD=\ufeffx\n", `1 2 3 4`},
		{"separator at an end", "A=x\x1f\nB=\x1cy\nC=z\x1d#c\nD=x\x1e # c\n", `1 2 3 4`},
		{"separator inside", "A=x\x1fy\nB='\x1c'\n", `A="x\x1fy" B="\x1c"`},
		{"no-break space before #", "A=x\u00a0#c\n", `1`},
		// [TXT-14]
		{"blanks that all drop", "\u00a0A=\u00a0x\u00a0\n\fB=\v'y'\f\n\f\n", `A="x" B="y"`},
		{"blanks that all keep", "A=a\u00a0b\nB='\u3000'\n", `A="a\u00a0b" B="\u3000"`},
		// [TXT-26], what is taken with a warning
		{"comment after a tab", "A=1\t# c\nB=a#b\t#c\n", `A="1" B="a#b" 1w 2w 2w`},
		{"two #", "A=1 # b # c\n", `A="1" 1w`},
		{"export behind ;", "A=1; export A\nB=1;exported\n", `A="1; export A" B="1;exported" 1w`},
		{"line separators", "A=x\u2028''\nB=1 # c\u2028B=2\n# c\u2029B=3\nC='\u2028' # c\u2029D=1\nE=\"\u2029\"\n",
			`A="x\u2028''" B="1" C="\u2028" E="\u2029" 1w 2w 3w 4w`},
		{"two backslashes in single quotes", `A='\\a'` + "\n", `A="\\\\a" 1w`},
		{"backslash before the closing quote", `A='a\'` + "\n", `A="a\\" 1w`},
		{"lines like variables", "A='\nexport B=1'\nC='\nb c=1'\n", `A="\nexport B=1" C="\nb c=1" 1w`},
		{"sealed by dotenvx", "A=encrypted:" + strings.Repeat("Bg+/", 10) + "=\nB='encrypted:none'\nC=\"encrypted:" +
			strings.Repeat("BPQ1", 12) + "\"\n", `A="encrypted:` + strings.Repeat("Bg+/", 10) + `=" B="encrypted:none" C="encrypted:` +
			strings.Repeat("BPQ1", 12) + `" 1w 3w`},
		// [TXT-27]
		{"$ in single quotes", "A='$B'\nC='${B}'\n", `A="$B" C="${B}" 2w`},
		{"$ in a comment", "A=1 # $B\nC='1' # ${B}\n# $B\n", `A="1" C="1"`},
		{"$ escaped, and not", `A="\$$"` + "\n", `A="$$" 1w 1w`},
		// [TXT-16]
		{"backslash that readers differ on", `A="\d"` + "\nB=1\n", `B="1" 1`},
		{"backslash before a newline", "A=\"a\\\nb\"\nB=1\n", `B="1" 1`},
		// [TXT-17]
		{"quote never closed", "A=1\nB='2\nC=3\n", `A="1" 2`},
		{"double quote never closed", `A="1\`, `1`},
		{"double quote closed by none", `A="1\"`, `1`},
		{"a backtick alone is no quote", "A=`1\nB=2\n", "A=\"`1\" B=\"2\""},
		// [TXT-14]
		{"CR in bare text", "A=1\rB=2\n", `1`},
		// [TXT-12]
		{"NUL", "A=1\nB=\x00\n", `2`},
		{"not UTF-8", "A=1\n\nB='\xff'\n", `3`},
		{"UTF-16", "\xff\xfeA\x00=\x001\x00\n\x00", `1`},
		{"UTF-16, the other order", "\xfe\xff\x00A\x00=\x00\n", `1`},
		{"UTF-16 without a mark", "A\x00=\x00\n\x00", `1`},
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

// TestParseEnvWords: faults say what to do, and warnings name variables of the
// file only. [TXT-24] [TXT-27]
func TestParseEnvWords(t *testing.T) {
	const nothing = "; nothing of the file was read"
	for text, want := range map[string]string{
		"<<<<<<< HEAD":      "1: a mark of a merge conflict: settle it first",
		"=======":           "1: a mark of a merge conflict: settle it first",
		"-----END KEY-----": "1: a key outside quotes: put quotes around all of its lines",
		`  "a": 1,`:         "1: JSON outside quotes? Put single quotes around all of it",
		"// a":              "1: a comment begins with #",
		"export A":          "1: no = in it; for an empty value write NAME=",
		"export = 1": "1: no name behind export; for a variable that is called so write " +
			"export= without a blank",
		"A:1": "1: a colon is read as = only with a blank and a " +
			"value behind it: write NAME=value",
		"é.a-b=1": "1: a name has only letters without accents, digits " +
			"and _, and begins with no digit",
		"echo A=1":  "1: not of the form NAME=value",
		"A='1\n2'3": "1: text after the closing quote, which is on line 2",
		"A=$CANARY": "1: readers that expand $ would change the value; it " +
			"is kept as it is",
		"A=1\nB=\"$CANARY ${A}\"": `2: readers that expand $ would put "A" in here; it ` +
			`is kept as it is`,
		"\xff\xfeA\x00": "1: the text is UTF-16: save it as UTF-8" + nothing,
		"A=1\nB=\xe9": "2: the text is not UTF-8 (Latin-1 or Windows-1252?): " +
			"save it as UTF-8" + nothing,
		"A=1\rB=2": "1: the lines end in carriage returns alone: save it " +
			"with line feeds" + nothing,
		"# keepmum csv: acme\nA=1": "1: a dialect that this version does not know" + nothing,
	} {
		_, problems := parseEnv([]byte(text))
		if len(problems) != 1 || problems[0].String() != "line "+want {
			t.Errorf("%q: %v, want line %s", text, problems, want)
		}
	}
}

// TestParseEnvOwn: keepmum's own text says its dialect and is read by it,
// silently; only its first line counts. [TXT-22]
func TestParseEnvOwn(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"portable", "# keepmum: e\nA='$B\\\\'\nB=\"\\`\\\\\"\n", "A=\"$B\\\\\\\\\" B=\"`\\\\\""},
		{"shell, CR", "# keepmum: e\nA='x\r\ny\r'\n", `A="x\r\ny\r"`},
		{"saved on Windows", "# keepmum: e\r\nA='x\r\ny'\r\n", `A="x\ny"`},
		{"js", "# keepmum js: e\nA=\"\\\\n\\d\"\nB='\\$'\nC=`'`\n", `A="\\\n\\d" B="\\$" C="'"`},
		{"js-expand", "# keepmum js-expand: e\nA=\"\\$\"\nB='\\$'\nC=x\\$\n", `A="$" B="$" C="x$"`},
		{"raw", "# keepmum raw: e\nA= 'x' # y \n# B=1\nC=\n", `A=" 'x' # y " C=""`},
		{"a name like a dialect", "# keepmum: raw: e\nA='x'\n", `A="x"`},
		{"not first", "A='x'\n# keepmum raw: e\nB='y'\n", `A="x" B="y"`},
		{"edited", "# keepmum: e\nA= # c\nB=\"\\d\"\nC=1\n", `C="1" 2 3`},
		{"unknown dialect", "# keepmum csv: e\nA=1\n", `1`},
	}
	for _, test := range tests {
		lines, problems := parseEnv([]byte(test.text))
		if got := showEnv(lines, problems); got != test.want {
			t.Errorf("%s: %q = %s, want %s", test.name, test.text, got, test.want)
		}
	}
}

// TestReadEnvComments: an import can say how many comments it does not keep.
func TestReadEnvComments(t *testing.T) {
	text := "# 1\nA=1 # 2\nB='2' # 3\nC='# no\n# no'\nD=#no\n # 4\n"
	if got := readEnv([]byte(text)).comments; got != 4 {
		t.Errorf("%d comments, want 4", got)
	}
}

// TestParseEnvTellsNothing puts a value where it cannot be read. [TXT-20]
func TestParseEnvTellsNothing(t *testing.T) {
	tried := 0
	for _, text := range []string{"CANARY", "canary: CANARY", "A='CANARY'CANARY", "A='CANARY",
		`A="\CANARY"`,
		"A=CANARY\rCANARY", "A=CANARY\x00", "A=CANARY\xff", "-CANARY=1", "export CANARY",
		"A=$CANARY", "A='${CANARY}'", "A=\"\\$CANARY\"", "A=a#CANARY", "A= #CANARY", "CANARY: CANARY",
		"A='\nCANARY=1'", "CANARY-1=x", "<<<<<<< CANARY"} {
		_, problems := parseEnv([]byte("B=1\n" + text + "\n"))
		for _, p := range problems {
			tried++
			if p.line != 2 || strings.Contains(p.String(), "CANARY") {
				t.Errorf("%q: %s", text, p)
			}
		}
	}
	if tried != 19 {
		t.Errorf("%d problems, want 19", tried)
	}
}
