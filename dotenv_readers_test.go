package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// measuredAs says for each kind which readers of the matrix it stands for.
var measuredAs = map[string][]string{
	"dotenv":             {"dotenv 16", "dotenv 17", "dotenv 18", "dotenv-flow"},
	"dotenv-expand":      {"dotenv-expand 12", "dotenv-cli"},
	"dotenv-expand 1000": {"dotenv-expand 1000"},
	"dotenv-expand 11":   {"dotenv-expand 11"},
	"next":               {"@next/env"},
	"vite":               {"vite loadEnv"},
	"bun":                {"bun --env-file"},
	"node --env-file":    {"node 20 --env-file", "node 26 --env-file", "node 26 loadEnvFile"},
	"deno":               {"deno --env-file"},
	"dotenvx":            {"dotenvx"},
	"varlock":            {"varlock"},
	"env-cmd":            {"env-cmd"},
	"foreman node":       {"foreman (node)"},
	"godotenv":           {"godotenv"},
	"docker compose":     {"compose-go"},
	"viper":              {"gotenv", "viper"},
	"python-dotenv":      {"python-dotenv 1.2"},
	"decouple":           {"decouple"},
	"django-environ":     {"django-environ 0.11"},
	"django-environ 0.4": {"django-environ 0.4"},
	"ruby dotenv":        {"ruby dotenv 3"},
	"ruby dotenv 2":      {"ruby dotenv 2"},
	"foreman ruby":       {"foreman (ruby)"},
	"phpdotenv":          {"phpdotenv 5.4", "phpdotenv 5.6"},
	"symfony":            {"symfony/dotenv"},
	"just":               {"just", "mise"},
	"direnv":             {"direnv dotenv"},
	"busybox sh":         {"busybox ash"},
	"docker run":         {"docker --env-file"},
	"make":               {"make"},
}

// TestReadersAlsoMeasured has values beside the classes of the matrix, measured
// as those are, which a reader got wrong or right. [TXT-34]
func TestReadersAlsoMeasured(t *testing.T) {
	for _, c := range []struct {
		kind  string
		d     dialect
		value string
		wrong bool
	}{
		{"dotenv-expand 11", dialectPortable, `a\$'`, true},
		{"dotenv-expand 11", dialectJSExpand, `a\$'`, false},
		{"ruby dotenv", dialectPortable, `it's $(`, true},
		{"ruby dotenv", dialectPortable, `it's $(date)`, false},
		{"ruby dotenv 2", dialectPortable, `it's $(`, true},
		{"symfony", dialectPortable, `it's $(`, true},
		{"symfony", dialectPortable, `it's $(date)`, false},
		{"phpdotenv", dialectPortable, `a="b`, true},
		{"phpdotenv", dialectPortable, `a="b"`, false},
		{"viper", dialectPortable, ` \1`, true},
		{"viper", dialectPortable, `\1`, false},
		{"viper", dialectPortable, ` a\bc`, false},
		{"viper", dialectPortable, "a\f\nb", true},
		{"viper", dialectPortable, "a\u2028\nb", true},
		{"viper", dialectPortable, "a\ufeff\nb", false},
		{"viper", dialectPortable, "a\nb\f\nc", false},
		{"env-cmd", dialectPortable, "a \u2028b", true},
		{"django-environ", dialectPortable, "a\vb", true},
		{"django-environ", dialectPortable, "a\u2028b", true},
		{"docker compose", dialectRaw, `a${b`, true},
		{"docker compose", dialectRaw, `a\$(`, false},
		{"godotenv", dialectRaw, `a$(1b`, true},
		{"docker compose", dialectJS, "it's `x` ${{ y }}", true},
		{"docker compose", dialectJS, "it's `x` ${", true},
		{"phpdotenv", dialectPortable, "'a\n\\", true},
		{"phpdotenv", dialectPortable, "'a\nb\\", false},
		{"django-environ 0.4", dialectJS, "a\\nb`'", true},
		{"foreman node", dialectPortable, "a\u2028#b", true},
		{"foreman node", dialectPortable, "a#\u2028b", false},
		{"deno", dialectRaw, "\u00a0a", false},
		{"bun", dialectRaw, "a\v", true},
		{"bun", dialectRaw, "a\u00a0", false},
		{"varlock", dialectRaw, "\ufeffa", true},
		{"varlock", dialectRaw, "\u0085a", false},
		{"direnv", dialectRaw, "a\f", true},
		{"direnv", dialectRaw, "a\v", false},
		{"decouple", dialectRaw, "a\x1f", true},
		{"ruby dotenv 2", dialectRaw, "a\u2003", false},
	} {
		i := slices.IndexFunc(envReaders(), func(k *envReader) bool {
			return strings.TrimSpace(k.name+" "+k.version) == c.kind
		})
		if got := !trialOf(c.value).gets(envReaders()[i], c.d); got != c.wrong {
			t.Errorf("%s, %s, %q: predicted %t, measured %t", c.kind, c.d, c.value, got, c.wrong)
		}
	}
}

// notPredicted is what the rules do not know: a mount's other variables, which one
// reader expands, and what another takes for nothing.
var notPredicted = []string{"phpdotenv 5.4, raw, sibling-first", "symfony/dotenv, raw, brace-open"}

// TestReadersAsMeasured holds what the rules of the readers predict against
// what the readers did with the values of a mount, for every kind of reader,
// value and dialect. [TXT-34]
func TestReadersAsMeasured(t *testing.T) {
	checkMeasured(t, "matrix.json", 6*80*len(envReaders()))
	checkMeasured(t, "more.json", 9000)
}

func checkMeasured(t *testing.T, file string, want int) {
	text, err := os.ReadFile("testdata/readers/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var matrix struct {
		Classes map[string][]byte
		Readers []struct {
			Name  string
			Reads bool
			Wrong map[dialect]map[string][]string
		}
	}
	if err := json.Unmarshal(text, &matrix); err != nil {
		t.Fatal(err)
	}
	pairs := 0
	for _, k := range envReaders() {
		before := pairs
		for _, m := range matrix.Readers {
			if !m.Reads || !slices.Contains(measuredAs[strings.TrimSpace(k.name+" "+k.version)], m.Name) {
				continue
			}
			for _, d := range dialects {
				for class, v := range matrix.Classes {
					wrong := false
					for _, classes := range m.Wrong[d] {
						wrong = wrong || slices.Contains(classes, class)
					}
					pairs++
					if trialOf(string(v)).readsBack(k, d, "last") == wrong &&
						!slices.Contains(notPredicted, fmt.Sprintf("%s, %s, %s", m.Name, d, class)) {
						t.Errorf("%s, %s, %s, %.60q: predicted %t, measured %t", m.Name, d, class, v, wrong, !wrong)
					}
				}
			}
		}
		if pairs == before && file == "matrix.json" {
			t.Errorf("%s %s is held against no reader", k.name, k.version)
		}
	}
	t.Logf("%s: %d pairs of kind, value and dialect", file, pairs)
	if pairs < want {
		t.Errorf("%s: %d pairs compared, want %d or more", file, pairs, want)
	}
}
