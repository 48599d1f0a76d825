package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// pairValues are values that a reader may lose to the one before them, or that may
// take the one behind them along.
var pairValues = []string{"plain", "two words", "it's", `C:\dir\`, `pa$$w\`, "#ff0000", `it's "x"`, "\nb",
	`x\\`, `it's\`, "it's `x`", "'", "a'", `"`, `a"`, "`", "a`", "#'", `"#`, `'\`, `'"#'`, "x\r\\", "#'`"}

// readsPair reports whether a reader gets two values that stand one behind the
// other, and one behind them.
func (k *envReader) readsPair(d dialect, a, b string) bool {
	vars := []*variable{{name: "A", value: secret(a)}, {name: "B", value: secret(b)}, {name: "C", value: secret("last")}}
	text, err := encodeEnv(d, "", vars)
	if err != nil {
		return false
	}
	_, body, _ := strings.Cut(string(text), "\n")
	got := k.read(body, "")
	for _, v := range vars {
		if value, there := got[v.name]; !there || value != string(v.value) {
			return false
		}
	}
	return true
}

func trialOf(v string) *envTrial { return newTrial(shortened(envShape([]byte(v)))) }

// unnamed are the pairs that a reader gets wrong though both values pass.
func unnamed(passes func(k *envReader, d dialect, v string) bool) (pairs []string) {
	for _, k := range envReaders() {
		for _, d := range dialects {
			good := slices.DeleteFunc(slices.Clone(pairValues), func(v string) bool { return !passes(k, d, v) })
			for _, a := range good {
				for _, b := range good {
					if !k.readsPair(d, a, b) {
						pairs = append(pairs, fmt.Sprintf("%s %s, %s: %q before %q", k.name, k.version, d, a, b))
					}
				}
			}
		}
	}
	return pairs
}

// TestNoPairUnnamed: of two values that come out wrong together, check names one.
// With a plain neighbour alone it would not: the search can find such pairs. [TXT-37]
func TestNoPairUnnamed(t *testing.T) {
	pairs := unnamed(func(k *envReader, d dialect, v string) bool { return trialOf(v).gets(k, d) })
	for _, pair := range pairs[:min(5, len(pairs))] {
		t.Errorf("%s: nothing is said, as of %d pairs", pair, len(pairs))
	}
	pairs = unnamed(func(k *envReader, d dialect, v string) bool { return trialOf(v).readsBack(k, d, "last") })
	if len(pairs) < 300 {
		t.Errorf("with plain neighbours alone %d pairs are not told of, want 300: the search is broken", len(pairs))
	}
}

// TestPairsAsMeasured has pairs that real readers got wrong, though each of the
// values was exact beside a plain one: check has named one of them. [TXT-34] [TXT-37]
func TestPairsAsMeasured(t *testing.T) {
	text, err := os.ReadFile("testdata/readers/pairs.json")
	if err != nil {
		t.Fatal(err)
	}
	var measured struct {
		Values map[string][]byte
		Wrong  map[string]map[dialect][]string // by kind: the first and the second value
	}
	if err := json.Unmarshal(text, &measured); err != nil {
		t.Fatal(err)
	}
	pairs := 0
	for _, k := range envReaders() {
		for d, list := range measured.Wrong[strings.TrimSpace(k.name+" "+k.version)] {
			for _, pair := range list {
				pairs++
				first, second, _ := strings.Cut(pair, " ")
				if trialOf(string(measured.Values[first])).gets(k, d) && trialOf(string(measured.Values[second])).gets(k, d) {
					t.Errorf("%s %s, %s, %s: nothing is said", k.name, k.version, d, pair)
				}
			}
		}
	}
	if pairs < 500 {
		t.Errorf("%d pairs, want 500: a kind has another name", pairs)
	}
}
