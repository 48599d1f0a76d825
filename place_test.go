package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// testFolder returns a new resolved folder that only we can write to.
func testFolder(t testing.TB) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// must stops the test at an error of its own set-up.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put makes a file, and the folders above it.
func put(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

// isOurs takes every target in /run/ours for a link of ours.
func isOurs(target string) bool { return strings.HasPrefix(target, "/run/ours/") }

// noTemporary fails where a change left something beside the link.
func noTemporary(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if strings.Contains(e.Name(), ".keepmum-") {
			t.Errorf("%s is left over", e.Name())
		}
	}
}

// [MNT-4]
func TestOpenPlace(t *testing.T) {
	root := testFolder(t)
	in := func(name string) string { return filepath.Join(root, name) }
	folder := func(name string, mode os.FileMode) {
		must(t, os.Mkdir(in(name), 0o755))
		must(t, os.Chmod(in(name), mode))
	}
	folder("app", 0o755)
	folder("private", 0o700)
	folder("group", 0o775)
	folder("world", 0o757)
	folder("sticky", 0o777|os.ModeSticky)
	folder("home", 0o700)
	folder("home/run", 0o700)
	put(t, in("file"), "x")
	must(t, os.Symlink("app", in("alias")))
	must(t, os.Symlink("home", in("sidedoor")))
	must(t, os.Symlink("world", in("aliasworld")))
	must(t, os.Symlink("loop", in("loop")))
	must(t, os.Symlink("gone", in("dangling")))
	folder("new\nline", 0o755)
	must(t, os.Symlink("new\nline", in("disguise")))
	must(t, unix.Mkfifo(in("pipe"), 0o600))
	long := in("app") + "/" + strings.Repeat("x", 300)

	for _, c := range []struct{ name, path, want, refused string }{
		{"plain", in("app/.env"), in("app/.env"), ""},
		{"private folder", in("private/.env"), in("private/.env"), ""},
		{"parent is a link", in("alias/.env"), in("app/.env"), ""},
		{"a space and a quote", in(`app/a b'"`), in(`app/a b'"`), ""},
		{"dots in a name", in("app/..env"), in("app/..env"), ""},
		{"empty", "", "", "not absolute"},
		{"relative", ".env", "", "not absolute"},
		{"relative with a folder", "app/.env", "", "not absolute"},
		{"tilde", "~/app/.env", "", "not absolute"},
		{"dot", in("app") + "/./.env", "", "use \"" + in("app/.env")},
		{"dot dot", in("app") + "/../.env", "", "use \"" + in(".env")},
		{"two slashes", in("app") + "//.env", "", "not clean"},
		{"two slashes first", "/" + in("app/.env"), "", "not clean"},
		{"slash at the end", in("app/.env") + "/", "", "not clean"},
		{"root", "/", "", "names a folder"},
		{"newline", in("app/.e\nnv"), "", "control characters"},
		{"escape", in("app/\x1b[2J"), "", "control characters"},
		{"nul", in("app/.env\x00"), "", "control characters"},
		{"delete", in("app/\x7f"), "", "control characters"},
		{"C1", in("app/\u009b1m"), "", "control characters"},
		{"not UTF-8", in("app/\xff"), "", "UTF-8"},
		{"newline behind a link", in("disguise/.env"), "", "control characters"},
		{"missing parent", in("nowhere/.env"), "", "create it first"},
		{"parent is a dangling link", in("dangling/.env"), "", "create it first"},
		{"parent is a loop", in("loop/.env"), "", "cannot be used"},
		{"parent is a file", in("file/.env"), "", "not a folder"},
		{"parent is below a file", in("file/app/.env"), "", "cannot be used"},
		{"parent is a FIFO", in("pipe/.env"), "", "not a folder"},
		{"group may write", in("group/.env"), "", "chmod go-w"},
		{"all may write", in("world/.env"), "", "chmod go-w"},
		{"all may write, behind a link", in("aliasworld/.env"), "", "chmod go-w"},
		{"sticky", in("sticky/.env"), "", "shared and writable"},
		{"home", in("home/.env"), "", "keepmum's own"},
		{"below home", in("home/run/.env"), "", "keepmum's own"},
		{"home behind a link", in("sidedoor/run/.env"), "", "keepmum's own"},
		{"a name too long is for link to refuse", long, long, ""},
	} {
		p, err := openPlace(c.path, in("home"), in("not-there"))
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: openPlace(%q) = %v, want %q", c.name, c.path, err, c.refused)
			} else if strings.ContainsAny(err.Error(), "\n\x1b\x00") {
				t.Errorf("%s: raw control characters in %q", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: openPlace(%q) = %v", c.name, c.path, err)
			continue
		}
		if p.path != c.want {
			t.Errorf("%s: resolved to %q, want %q", c.name, p.path, c.want)
		}
		p.close()
	}
}

// [MNT-4]
func TestOpenPlaceForeignOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a folder away")
	}
	dir := testFolder(t)
	must(t, os.Chown(dir, 12345, -1))
	if _, err := openPlace(dir + "/.env"); err == nil || !strings.Contains(err.Error(), "user 12345") {
		t.Errorf("a folder of another user: %v", err)
	}
}

// stand puts a thing of a kind at path.
func stand(t *testing.T, kind, path string) {
	t.Helper()
	switch kind {
	case placeEmpty:
	case placeFile:
		put(t, path, "KEEP=me\n")
	case "a directory":
		must(t, os.Mkdir(path, 0o755))
	case "a FIFO":
		must(t, unix.Mkfifo(path, 0o600))
	case "a socket":
		// Bound by a relative name: a socket's path is at most 108 bytes.
		t.Chdir(filepath.Dir(path))
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Base(path)})
		must(t, err)
		l.SetUnlinkOnClose(false)
		l.Close()
	case placeOurs:
		must(t, os.Symlink("/run/ours/old", path))
	default:
		must(t, os.Symlink("/etc/hosts", path))
	}
}

const foreignLink = `a symbolic link to "/etc/hosts"`

// unixEpoch is a time that no file of these tests has by itself.
var unixEpoch = time.Unix(0, 0)

// [MNT-4] [MNT-5]
func TestLinkOntoWhatIsThere(t *testing.T) {
	for _, kind := range []string{placeEmpty, placeOurs, placeFile, "a directory", "a FIFO",
		"a socket",
		foreignLink} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(testFolder(t), ".env")
			stand(t, kind, path)
			before, _ := os.Lstat(path)
			p, err := openPlace(path)
			must(t, err)
			defer p.close()
			if got, err := p.occupant(isOurs); got != kind || err != nil {
				t.Errorf("occupant = %q, %v, want %q", got, err, kind)
			}
			err = p.link("/run/ours/new", isOurs)
			got, _ := os.Readlink(path)
			if kind == placeEmpty || kind == placeOurs {
				if err != nil || got != "/run/ours/new" {
					t.Errorf("link = %v, leads to %q", err, got)
				}
			} else if after, _ := os.Lstat(path); err == nil || !os.SameFile(before, after) {
				t.Errorf("link onto %s = %v", kind, err)
			} else if !strings.Contains(err.Error(), kind) {
				t.Errorf("%q does not say %q", err, kind)
			}
			noTemporary(t, filepath.Dir(path))
		})
	}
}

// between runs f once, at the moment between a check and the change.
func between(t *testing.T, f func()) {
	t.Helper()
	testOnlyBetween = func() { testOnlyBetween = func() {}; f() }
	t.Cleanup(func() { testOnlyBetween = func() {} })
}

// [MNT-5]
func TestSwappedBetweenCheckAndChange(t *testing.T) {
	link := func(p *place) error { return p.link("/run/ours/new", isOurs) }
	unlink := func(p *place) error { return p.unlink("/run/ours/old") }
	for _, c := range []struct {
		name, before string
		change       func(*place) error
	}{
		{"link, nothing there", placeEmpty, link},
		{"link, our own there", placeOurs, link},
		{"unlink", placeOurs, unlink},
	} {
		for _, kind := range []string{placeFile, "a directory", "a FIFO", "a socket", foreignLink} {
			t.Run(c.name+", then "+kind, func(t *testing.T) {
				path := filepath.Join(testFolder(t), ".env")
				stand(t, c.before, path)
				p, err := openPlace(path)
				must(t, err)
				defer p.close()
				var foreign os.FileInfo
				between(t, func() {
					os.Remove(path)
					stand(t, kind, path)
					foreign, _ = os.Lstat(path)
				})
				err = c.change(p)
				after, _ := os.Lstat(path)
				if err == nil || foreign == nil || !os.SameFile(foreign, after) {
					t.Errorf("error %v, before %v, after %v", err, foreign, after)
				}
				noTemporary(t, filepath.Dir(path))
			})
		}
	}
}

// TestLinkSwappedInUnlink swaps after unlink's own first look, which the hook
// inside of link's call of unlink reaches. [MNT-5]
func TestLinkSwappedInUnlink(t *testing.T) {
	path := filepath.Join(testFolder(t), ".env")
	stand(t, placeOurs, path)
	p, err := openPlace(path)
	must(t, err)
	defer p.close()
	between(t, func() {
		between(t, func() { os.Remove(path); put(t, path, "KEEP=me\n") })
	})
	if err := p.link("/run/ours/new", isOurs); err == nil {
		t.Error("a file that came in was replaced")
	}
	if text, _ := os.ReadFile(path); string(text) != "KEEP=me\n" {
		t.Errorf("the file is now %q", text)
	}
	noTemporary(t, filepath.Dir(path))
}

// [MNT-3] [REQ-9]
func TestFolderSwappedAway(t *testing.T) {
	root := testFolder(t)
	put(t, root+"/app/x", "")
	p, err := openPlace(root + "/app/.env")
	must(t, err)
	defer p.close()
	must(t, os.Rename(root+"/app", root+"/moved"))
	must(t, os.Symlink("/etc", root+"/app"))
	must(t, p.link("/run/ours/new", isOurs))
	if got, _ := os.Readlink(root + "/moved/.env"); got != "/run/ours/new" {
		t.Error("the link was not made in the folder that was checked")
	}
	if f, err := openFolder(root + "/app"); err == nil {
		f.Close()
		t.Error("openFolder followed a symbolic link")
	}
}

// [MNT-5]
func TestUnlink(t *testing.T) {
	for _, kind := range []string{placeEmpty, placeOurs, placeFile, "a directory", "a FIFO",
		"a socket",
		foreignLink} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(testFolder(t), ".env")
			stand(t, kind, path)
			before, _ := os.Lstat(path)
			p, err := openPlace(path)
			must(t, err)
			defer p.close()
			err = p.unlink("/run/ours/old")
			after, _ := os.Lstat(path)
			if kind == placeOurs && (err != nil || after != nil) {
				t.Errorf("our own link: %v, still %v", err, after)
			}
			if kind != placeOurs && (err == nil || before != nil && !os.SameFile(before, after)) {
				t.Errorf("%s: %v, now %v", kind, err, after)
			}
			if err := p.unlink("/run/ours/other"); err == nil {
				t.Error("a link to elsewhere was removed")
			}
		})
	}
}

// [MNT-5]
func TestReplaceFile(t *testing.T) {
	const text = "A=1\nB=two\n"
	for _, c := range []struct {
		name   string
		before func(path string) // after the import read it
		within func(path string) // after swapFile looked at it
		want   string            // at path then; "" is the link
	}{
		{"as read", nil, nil, ""},
		{"other text", func(p string) { put(t, p, "A=2\nB=two\nC=3\n") }, nil, "A=2\nB=two\nC=3\n"},
		{"other time", func(p string) { must(t, os.Chtimes(p, unixEpoch, unixEpoch)) }, nil, text},
		{"other file", func(p string) { os.Remove(p); put(t, p, text) }, nil, text},
		{"gone", func(p string) { os.Remove(p) }, nil, "?"},
		{"other text within", nil, func(p string) { put(t, p, "A=2\nB=two\nC=3\n") },
			"A=2\nB=two\nC=3\n"},
		{"other file within", nil, func(p string) { os.Rename(p, p+".bak"); put(t, p, text) }, text},
		{"other time within", nil, func(p string) { must(t, os.Chtimes(p, unixEpoch, unixEpoch)) }, text},
		{"gone within", nil, func(p string) { os.Remove(p) }, "?"},
		{"a directory within", nil, func(p string) { os.Remove(p); os.Mkdir(p, 0o755) }, "?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(testFolder(t), ".env")
			put(t, path, text)
			got, id, err := readImport(path)
			if err != nil || string(got) != text {
				t.Fatalf("readImport = %q, %v", got, err)
			}
			p, err := openPlace(path)
			must(t, err)
			defer p.close()
			if c.before != nil {
				c.before(path)
			}
			if c.within != nil {
				between(t, func() { c.within(path) })
			}
			aside, err := p.swapFile("/run/ours/new", id)
			if err == nil {
				err = p.remove(aside, id)
			}
			target, _ := os.Readlink(path)
			if c.want == "" {
				if err != nil || target != "/run/ours/new" {
					t.Errorf("swapFile = %v, leads to %q", err, target)
				}
			} else {
				now, _ := os.ReadFile(path)
				if err == nil || target != "" || c.want != "?" && string(now) != c.want {
					t.Errorf("swapFile = %v, target %q, text %q, want %q", err, target, now, c.want)
				}
			}
			noTemporary(t, filepath.Dir(path))
		})
	}
}

// TestReadImport takes a regular file of the user's own. [TUL-17]
func TestReadImport(t *testing.T) {
	dir := testFolder(t)
	put(t, dir+"/good", "A=1\n")
	put(t, dir+"/empty", "")
	put(t, dir+"/most", strings.Repeat("x", importMax))
	put(t, dir+"/large", strings.Repeat("x", importMax+1))
	must(t, unix.Mkfifo(dir+"/fifo", 0o600))
	must(t, os.Symlink("good", dir+"/link"))
	must(t, os.Symlink("fifo", dir+"/mounted"))
	for _, c := range []struct{ path, refused string }{
		{dir + "/good", ""},
		{dir + "/empty", ""},
		{dir + "/most", ""},
		{dir + "/large", "too large"},
		{dir + "/missing", "no file"},
		{dir, "is a directory"},
		{dir + "/fifo", "mounted .env already?"},
		{dir + "/link", `is a symbolic link to "good", not a regular file`},
		{dir + "/mounted", "mounted .env already?"},
		{dir + "/good/x", "not a folder"},
		{dir + "/./good", "not clean"},
		{"good", "not absolute"},
		{"/dev/null", "not a regular file"},
	} {
		text, id, err := readImport(c.path)
		if c.refused == "" {
			if info, _ := os.Stat(c.path); err != nil || int64(len(text)) != info.Size() ||
				id.size != info.Size() {
				t.Errorf("readImport(%q) = %d bytes, %v", c.path, len(text), err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.refused) || text != nil {
			t.Errorf("readImport(%q) = %v, want %q", c.path, err, c.refused)
		}
	}
	if os.Geteuid() == 0 {
		must(t, os.Chown(dir+"/good", 12345, -1))
		if _, _, err := readImport(dir + "/good"); err == nil {
			t.Error("another user's file was read")
		}
	}
}

// readImport reads the file at a path, as an import does.
func readImport(path string) ([]byte, fileID, error) {
	p, err := openPlace(path)
	if err != nil {
		return nil, fileID{}, err
	}
	defer p.close()
	return p.readImport()
}
