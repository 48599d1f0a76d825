package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
)

// masked sends text through a mask in pieces of the given sizes, the last of
// which goes on to the end. Nothing is ever shown early: that takes a moment.
func masked(t testing.TB, p *patterns, text []byte, sizes ...int) string {
	t.Helper()
	var out bytes.Buffer
	m := newMasker(p, &out)
	for len(text) > 0 {
		n := len(text)
		if len(sizes) > 0 {
			n, sizes = min(n, max(1, sizes[0])), append(sizes[1:], sizes[0])
		}
		m.mu.Lock() // as Write does, without its timer
		m.held = append(m.held, text[:n]...)
		m.decide(false)
		m.mu.Unlock()
		text = text[n:]
	}
	must(t, m.flush())
	return out.String()
}

func patternsOf(texts ...string) *patterns {
	var list [][]byte
	for _, text := range texts {
		list = append(list, []byte(text))
	}
	return newPatterns(list)
}

// TestMask: what is replaced, however the stream is cut. [RUN-18] [RUN-19]
// [RUN-20]
func TestMask(t *testing.T) {
	for _, c := range []struct{ name, patterns, in, want string }{
		{"nothing", "secret", "a text\n", "a text\n"},
		{"a value", "secret", "a secret.", "a #."},
		{"nothing else", "secret", "secret", "#"},
		{"twice", "secret", "secretsecret", "##"},
		{"the beginning alone", "secret", "secre", "secre"},
		{"the beginning before it", "secret", "sesecret", "se#"},
		{"the longest wins", "secret secrets", "my secrets secret", "my # #"},
		{"the longest fails", "secret secret-of-all", "secret-of-none", "#-of-none"},
		{"overlapping", "abcdef defghi", "-abcdefghi-", "-#-"},
		{"overlapping itself", "abab", "ababab", "#"},
		{"one in the other", "abcdefgh cdef", "abcdefgh abcdefg", "# ab#g"},
		{"an end that begins one", "aabaac", "aabaabaac", "aab#"},
		{"too short to be one", "abc", "abc", "abc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := patternsOf(strings.Fields(c.patterns)...)
			want := strings.ReplaceAll(c.want, "#", maskText)
			for size := 1; size <= len(c.in); size++ {
				if got := masked(t, p, []byte(c.in), size); got != want {
					t.Errorf("in pieces of %d: %q, want %q", size, got, want)
				}
			}
		})
	}
}

// TestMaskHoldsNoMore: what cannot be the beginning of a value is written at
// once. [RUN-20]
func TestMaskHoldsNoMore(t *testing.T) {
	var out bytes.Buffer
	m := newMasker(patternsOf("password-of-mine"), &out)
	for _, c := range []struct{ in, out string }{{"Name: ", "Name: "}, {"p", ""}, {"a", ""},
		{"t", "pat"}, {"h pass", "h "}, {"ing ", "passing "}, {"password-of-mine", maskText}, {"!", "!"}} {
		m.mu.Lock()
		m.held = append(m.held, c.in...)
		m.decide(false)
		m.mu.Unlock()
		if got := out.String(); got != c.out {
			t.Errorf("after %q: %q, want %q", c.in, got, c.out)
		}
		out.Reset()
	}
}

// TestMaskQuiet: a short beginning is shown to who waits for it, and the rest
// of a value that follows is masked. [RUN-21]
func TestMaskQuiet(t *testing.T) {
	for _, c := range []struct{ value, first, shown, rest, want string }{
		{"password-of-mine", "pas", "pas", "sword-of-mine.", "pas" + maskText + "."},
		{"password-of-mine", "pas", "pas", "te", "paste"},
		{"password-of-mine", "pass", "", "word-of-mine.", maskText + "."},
		{"password", "pas", "", "te", "paste"},
		{"password", "pa", "pa", "te", "pate"},
		{"hunter", "h", "h", "unter", "h" + maskText},
		{"hunter", "hu", "", "nter", maskText},
	} {
		var out bytes.Buffer
		m := newMasker(patternsOf(c.value), &out)
		m.Write([]byte(c.first))
		m.quiet()
		if got := out.String(); got != c.shown {
			t.Errorf("%q of %q: %q, want %q", c.first, c.value, got, c.shown)
		}
		m.Write([]byte(c.rest))
		must(t, m.flush())
		if got := out.String(); got != c.want {
			t.Errorf("%q, %q of %q: %q, want %q", c.first, c.rest, c.value, got, c.want)
		}
	}
}

// TestMaskQuietByItself: nobody has to ask. [RUN-21]
func TestMaskQuietByItself(t *testing.T) {
	out := new(lockedBuffer)
	m := newMasker(patternsOf("$ecret-value"), out)
	m.Write([]byte("# $"))
	waitFor(t, "the end of the prompt", func() bool { return out.String() == "# $" })
}

// nastyValues have everything that an encoder treats in its own way.
var nastyValues = []string{"s3cret-key", "it's \"a\" $ecret/with\\all?of it&more=<yes>+#", "ümläut ☃ 🎉 ende",
	"first line of it\nsecond line\tof it\n", "AKIA/+==0123", "{\n  \"key\": \"abcdefgh\",\n  \"n\": 1\n}"}

// TestSpellings compares with the encoders themselves: nothing of a value may
// stand between the ends that depend on its neighbours. [RUN-19]
func TestSpellings(t *testing.T) {
	goJSON := func(v string, html bool) string {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(html)
		must(t, e.Encode(v))
		return b.String()
	}
	for _, v := range nastyValues {
		p := newPatterns(spellings([]byte(v)))
		user, query := url.UserPassword("u", v), url.QueryEscape(v)
		texts := map[string]string{"raw": v, "a terminal's": strings.ReplaceAll(v, "\n", "\r\n"),
			"trimmed": strings.TrimSpace(v), "hex": hex.EncodeToString([]byte(v)), "HEX": fmt.Sprintf("%X", v),
			"query": query, "lower query": lowerEscapes(query), "path": url.PathEscape(v),
			"form": url.Values{"k": {v}}.Encode(), "user": strings.TrimPrefix(user.String(), "u:"),
			"JSON": goJSON(v, false), "HTML JSON": goJSON(v, true)}
		for name, text := range texts {
			got := masked(t, p, []byte("before "+text+" after"), 7, 1, 30)
			if !strings.Contains(got, maskText) {
				t.Errorf("%s of %q is not masked: %s", name, v, got)
			}
		}
		for before := range 5 {
			for after := range 4 {
				for _, code := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding,
					base64.URLEncoding, base64.RawURLEncoding} {
					text := code.EncodeToString([]byte(strings.Repeat("\x00", before) + v + strings.Repeat("\xff", after)))
					got := masked(t, p, []byte(text), 3)
					head, tail, found := strings.Cut(got, maskText)
					// Of the neighbours there remain their own characters and
					// the one that they share with the value.
					if !found || len(head) > (before*8+5)/6 || len(tail) > (after*8+5)/6+3 {
						t.Errorf("base64 of %d, %q, %d: %s of %s", before, v, after, got, text)
					}
				}
			}
		}
	}
}

// lowerEscapes writes %XX in lower case.
func lowerEscapes(text string) string {
	out := []byte(text)
	for i := range out {
		if out[i] == '%' {
			copy(out[i:], bytes.ToLower(out[i:i+3]))
		}
	}
	return string(out)
}

// TestSpellingsOfOthers are what programs have written that are not Go.
// [RUN-19]
func TestSpellingsOfOthers(t *testing.T) {
	value := "é\"q\" <a>/ü&'b'+😀"
	p := newPatterns(spellings([]byte(value)))
	for name, text := range map[string]string{
		"python":       `\u00e9\"q\" <a>/\u00fc&'b'+\ud83d\ude00`,
		"node":         `é\"q\" <a>/ü&'b'+😀`,
		"php":          `\u00e9\"q\" <a>\/\u00fc&'b'+\ud83d\ude00`,
		".NET":         `\u00E9\u0022q\u0022 \u003Ca\u003E/\u00FC\u0026\u0027b\u0027\u002B\uD83D\uDE00`,
		"gson":         `é\"q\" \u003ca\u003e/ü\u0026\u0027b\u0027+😀`,
		"encode":       `%C3%A9%22q%22%20%3Ca%3E%2F%C3%BC%26'b'%2B%F0%9F%98%80`,
		"quote":        `%C3%A9%22q%22%20%3Ca%3E/%C3%BC%26%27b%27%2B%F0%9F%98%80`,
		"go path":      `%C3%A9%22q%22%20%3Ca%3E/%C3%BC&%27b%27+%F0%9F%98%80`,
		"js user":      `%C3%A9%22q%22%20%3Ca%3E%2F%C3%BC&'b'+%F0%9F%98%80`,
		"js path":      `%C3%A9%22q%22%20%3Ca%3E/%C3%BC&'b'+%F0%9F%98%80`,
		"symfony":      `\u00e9\u0022q\u0022 \u003Ca\u003E\/\u00fc\u0026\u0027b\u0027+\ud83d\ude00`,
		"twice":        `é\\\"q\\\" <a>/ü&'b'+😀`,
		"php 2":        `\\u00e9\\\"q\\\" <a>\\\/\\u00fc&'b'+\\ud83d\\ude00`,
		"php u":        `é\"q\" <a>\/ü&'b'+😀`,
		"php u 2":      `é\\\"q\\\" <a>\\\/ü&'b'+😀`,
		"go 2":         `é\\\"q\\\" \\u003ca\\u003e/ü\\u0026'b'+😀`,
		"python 2":     `\\u00e9\\\"q\\\" <a>/\\u00fc&'b'+\\ud83d\\ude00`,
		"go in python": `\u00e9\\\"q\\\" \\u003ca\\u003e/\u00fc\\u0026'b'+\ud83d\ude00`,
		"symfony 2":    `\\u00e9\\u0022q\\u0022 \\u003Ca\\u003E\\\/\\u00fc\\u0026\\u0027b\\u0027+\\ud83d\\ude00`,
		"urlform":      `%C3%A9%22q%22+%3Ca%3E%2F%C3%BC%26%27b%27%2B%F0%9F%98%80`,
	} {
		if got := masked(t, p, []byte("["+text+"]"), 5); got != "["+maskText+"]" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestSpellingsOfPrinters are what programs have printed of their environment, and
// what an address has become in the error of a request. [RUN-19]
func TestSpellingsOfPrinters(t *testing.T) {
	value := "it's \"a\\b\" $x/[y]:z,1"
	p := newPatterns(spellings([]byte(value)))
	for name, text := range map[string]string{
		"console.log": "`it's \"a\\\\b\" $x/[y]:z,1`",
		"repr":        `'it\'s "a\\b" $x/[y]:z,1'`,
		"var_export":  `'it\'s "a\\b" $x/[y]:z,1'`,
		"export -p":   `"it's \"a\\b\" \$x/[y]:z,1"`,
		"set":         `'it'\''s "a\b" $x/[y]:z,1'`,
		"axios":       `=it's+%22a%5Cb%22+$x%2F%5By%5D:z,1&`,
		"old axios":   `=it's+%22a%5Cb%22+$x%2F[y]:z,1&`,
		"yarl query":  `=it's+%22a%5Cb%22+$x/%5By%5D:z,1&`,
		"yarl path":   `/it's%20%22a%5Cb%22%20$x/%5By%5D:z,1/`,
		".NET":        `=it%27s+%22a%5cb%22+%24x%2f%5by%5d%3az%2c1&`,
	} {
		if got := masked(t, p, []byte(text), 5); got != text[:1]+maskText+text[len(text)-1:] {
			t.Errorf("%s: %s", name, got)
		}
	}
	key := newPatterns(spellings([]byte("-----BEGIN\nab\"c\n\\d")))
	for _, text := range []string{`-----BEGIN\nab"c\n\\d`, "-----BEGIN\nab\\\"c\n\\\\d"} {
		if got := masked(t, key, []byte(text), 5); got != maskText {
			t.Errorf("%q: %s", text, got)
		}
	}
}

// TestUnmaskable: which values cannot be told from other text. [RUN-22]
func TestUnmaskable(t *testing.T) {
	for value, want := range map[string]bool{"": true, "1": true, "true": true, "3000": true, "54321": true,
		"false": true, "Production": true, "localhost": true, " abc \n": true,
		"abcde": false, "123456": false, "localhost:3000": false, "hunter2": false} {
		if got := unmaskable([]byte(value)); got != want {
			t.Errorf("%q: %t", value, got)
		}
	}
	p, left := masksFor([]*variable{{name: "PORT", value: secret("3000"), concealed: true},
		{name: "PLAIN", value: secret("plain-and-long")}, {name: "LATER", placeholder: true, concealed: true},
		{name: "KEY", value: secret("s3cret-key"), concealed: true}})
	if fmt.Sprint(left) != "[PORT]" {
		t.Errorf("left %v", left)
	}
	in := "3000 plain-and-long s3cret-key"
	if got := masked(t, p, []byte(in)); got != "3000 plain-and-long "+maskText {
		t.Errorf("%q", got)
	}
}

// reference masks a text as a whole, byte by byte.
func reference(patterns []string, text string) string {
	var out strings.Builder
	cover := 0
	for i := range len(text) {
		for _, p := range patterns {
			if len(p) >= maskLeast && strings.HasPrefix(text[i:], p) && i+len(p) > cover {
				if cover <= i {
					out.WriteString(maskText)
				}
				cover = i + len(p)
			}
		}
		if i >= cover {
			out.WriteByte(text[i])
		}
	}
	return out.String()
}

// FuzzMask: any values, any text, cut anywhere. Between the masks no value is
// left, and a text without one comes out as it went in. [RUN-18] [RUN-20]
func FuzzMask(f *testing.F) {
	f.Add("secret\x01secrets", "my secrets", []byte{1})
	f.Add("abab\x01babab\x01abcabcab", "abababcabcabab", []byte{2, 1, 5})
	f.Add("aaaa\x01aaaaaaab", "aaaaaaaaaaaaaaab", []byte{3})
	f.Fuzz(func(t *testing.T, values, text string, cuts []byte) {
		list := strings.Split(values, "\x01")
		var sizes []int
		for _, c := range cuts {
			sizes = append(sizes, int(c)%16+1)
		}
		got := masked(t, patternsOf(list...), []byte(text), sizes...)
		if want := reference(list, text); got != want {
			t.Errorf("%q of %q in %v: %q, want %q", list, text, sizes, got, want)
		}
		if !strings.Contains(text, maskText) {
			for _, piece := range strings.Split(got, maskText) {
				for _, v := range list {
					if len(v) >= maskLeast && strings.Contains(piece, v) {
						t.Errorf("%q is left in %q", v, piece)
					}
				}
			}
		}
	})
}

// TestMaskRandom is the same with texts that are made of pieces of values.
func TestMaskRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab"[r.IntN(2)]
		}
		return string(b)
	}
	found := 0
	for range 3000 {
		var values []string
		var text strings.Builder
		for range 1 + r.IntN(4) {
			values = append(values, word(4+r.IntN(9)))
		}
		for range r.IntN(12) {
			v := values[r.IntN(len(values))]
			text.WriteString(v[:r.IntN(len(v)+1)])
			text.WriteString(word(r.IntN(3)))
		}
		got := masked(t, patternsOf(values...), []byte(text.String()), 1+r.IntN(5), 1+r.IntN(9))
		if want := reference(values, text.String()); got != want {
			t.Fatalf("%q of %q: %q, want %q", values, text.String(), got, want)
		}
		if strings.Contains(got, maskText) {
			found++
		}
	}
	if found < 1000 {
		t.Errorf("%d texts had a value: the test cannot fail", found)
	}
}

// TestMaskLarge: many megabytes come out as they went in.
func TestMaskLarge(t *testing.T) {
	var texts [][]byte
	for i := range 50 {
		texts = append(texts, spellings(fmt.Appendf(nil, "key-%d-abcdefghijklmnop/%d", i, i*i))...)
	}
	p := newPatterns(texts)
	r := rand.New(rand.NewPCG(3, 4))
	text := make([]byte, 10<<20)
	for i := range text {
		text[i] = byte(r.IntN(96) + 32)
	}
	if got := masked(t, p, text, 4095); got != string(text) {
		t.Error("10 MiB without a value are not as they were")
	}
}
