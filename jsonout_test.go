package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

// TestJSONOnScreen: what is shown has nothing that a terminal would act on, and
// means the same. [CLI-11]
func TestJSONOnScreen(t *testing.T) {
	name := "a\x7f\u202eb\u009bc\U000E0041é世"
	var plain, shown bytes.Buffer
	for to, raw := range map[*bytes.Buffer]bool{&plain: true, &shown: false} {
		e := json.NewEncoder(to)
		if !raw {
			e = json.NewEncoder(jsonScreen{to})
		}
		if err := e.Encode(name); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range shown.String() {
		if r != '\n' && !allowedInPrompt(r) {
			t.Errorf("%q reaches the screen", r)
		}
	}
	var back string
	if err := json.Unmarshal(shown.Bytes(), &back); err != nil || back != name {
		t.Errorf("%q %v, want %q", back, err, name)
	}
	if bytes.Equal(plain.Bytes(), shown.Bytes()) {
		t.Error("nothing was escaped")
	}
	// A line of the log that was changed is no JSON.
	shown.Reset()
	jsonScreen{&shown}.Write([]byte("\x1b]52;c;eA==\a\x1b[2J\b\r\t{}\n"))
	if want := `\u001b]52;c;eA==\u0007\u001b[2J\u0008\u000d` + "\t{}\n"; shown.String() != want {
		t.Errorf("%q reaches the screen, want %q", shown.String(), want)
	}
}
