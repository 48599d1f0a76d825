package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// allowCat lets one program read without a question, as a person may.
func allowCat(t *testing.T) string {
	t.Helper()
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"maxMounts":2000,"rules":[
		{"action":["read"],"program":%[1]q,"agent":true,"decision":"allow"},
		{"action":["read"],"program":%[1]q,"agent":false,"decision":"allow"}]}`, cat)
}

// TestSizes delivers Environments of 1 KiB, 64 KiB and one, and 1 MiB
// exactly.
func TestSizes(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1 << 10, 64<<10 + 1, 1 << 20} {
		w := newWorld(t)
		w.policy(allowCat(t))
		var want bytes.Buffer
		want.WriteString("# keepmum: acme\n")
		for i := 0; want.Len() < size; i++ {
			name := fmt.Sprintf("V%d=", i)
			n := min(size-want.Len()-len(name)-1, 60<<10)
			if n < 0 {
				break
			}
			want.WriteString(name + strings.Repeat("x", n) + "\n")
		}
		file := filepath.Join(w.project, ".env")
		if err := os.WriteFile(file, want.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		p := w.unlock()
		cmd := w.command("import", "--mount", "acme", file)
		cmd.Start()
		p.answers("import", "o")
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			reading, out := w.reads(file)
			if err := reading.Wait(); err != nil || !bytes.Equal(out.Bytes(), want.Bytes()) {
				t.Errorf("%d bytes: %v, got %d", want.Len(), err, out.Len())
			}
		}
	}
}

// TestManyReads reads again and again; with -long, ten thousand times.
func TestManyReads(t *testing.T) {
	t.Parallel()
	w, p, path := mounted(t, allowCat(t))
	n := 200
	if *long {
		n = 10000
	}
	for i := range n {
		cmd, out := w.reads(path)
		if err := cmd.Wait(); err != nil || out.String() != acmeText {
			t.Fatalf("read %d of %d: %v %q", i, n, err, out)
		}
	}
	p.nothingAsked()
	if _, errOut, code := w.done(w.command("log", "--verify")); code != 0 {
		t.Errorf("log --verify: %s", errOut)
	}
}

// TestManyMounts serves many mounts at once; with -long, a thousand.
func TestManyMounts(t *testing.T) {
	t.Parallel()
	n := 40
	if *long {
		n = 1000
	}
	w := newWorld(t)
	w.policy(strings.Replace(allowCat(t), `"rules":[`,
		`"rules":[{"action":["mount","unmount"],"agent":true,"decision":"allow"},
		{"action":["mount","unmount"],"agent":false,"decision":"allow"},`, 1))
	p := w.unlock()
	w.set(p, "acme", "A", "v")
	var paths []string
	for i := range n {
		dir := filepath.Join(w.project, fmt.Sprint(i))
		os.Mkdir(dir, 0o700)
		paths = append(paths, filepath.Join(dir, ".env"))
		if _, errOut, code := w.done(w.command("mount", "acme", paths[i])); code != 0 {
			t.Fatalf("mount %d: %s", i, errOut)
		}
	}
	// One of them loses its folder, and is orphaned.
	os.RemoveAll(filepath.Dir(paths[0]))
	status, _, _ := w.done(w.command("status"))
	if strings.Count(status, "served") != n-1 || strings.Count(status, "orphaned") != 1 {
		t.Errorf("status: %s", status[:min(len(status), 400)])
	}
	w.done(w.command("lock"))
	p.ends()
	p = w.unlock()
	p.showed(fmt.Sprintf("%d mounts served (1 not", n-1))
	for _, path := range paths[1:] {
		cmd, out := w.reads(path)
		if err := cmd.Wait(); err != nil || out.String() != acmeText {
			t.Fatalf("%s: %v %q", path, err, out)
		}
	}
	if _, errOut, code := w.done(w.command("unmount", paths[0])); code != 0 {
		t.Errorf("unmount of an orphan: %s", errOut)
	}
}

// TestImportFails leaves the file as it was, whatever goes wrong,
// and nobody is asked about one with a fault. [TUL-19] [TXT-21] [IMP-2]
func TestImportFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.unlock()
	file := filepath.Join(w.project, ".env")
	for name, text := range map[string]string{"a line that cannot be read": "A=1\nnonsense\n",
		"no variables": "# nothing\n", "a quote that never ends": "A='1\n", "NUL": "A=\x00\n"} {
		os.WriteFile(file, []byte(text), 0o600)
		_, errOut, code := w.done(w.command("import", "--mount", "acme", file))
		if code != 1 || !strings.Contains(errOut, "cannot import") {
			t.Errorf("%s: %d %q", name, code, errOut)
		}
		if now, err := os.ReadFile(file); err != nil || string(now) != text {
			t.Errorf("%s: the file is now %q %v", name, now, err)
		}
	}
	p.nothingAsked()
	// The file is another one by the time the person has answered.
	os.WriteFile(file, []byte("A=1\n"), 0o600)
	cmd := w.command("import", "--mount", "acme", file)
	cmd.Start()
	p.sees(`import\r\n[\s\S]*> $`)
	os.Remove(file)
	os.Symlink("/etc/hostname", file)
	p.presses("o")
	if cmd.Wait() == nil {
		t.Error("a symbolic link was imported")
	}
	if target, err := os.Readlink(file); err != nil || target != "/etc/hostname" {
		t.Errorf("the link is now %q %v", target, err)
	}
	list := w.command("list")
	var out bytes.Buffer
	list.Stdout = &out
	list.Start()
	p.answers("list", "o")
	if list.Wait(); out.Len() > 0 {
		t.Errorf("an Environment was made all the same: %q", out.String())
	}
}

// TestImportAgain: an editor that saves over the link leaves a file there,
// which is imported over the mount that is remembered.
func TestImportAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy(allowCat(t))
	p := w.unlock()
	file := filepath.Join(w.project, ".env")
	for _, text := range []string{"A=1\n", "A=2\n"} {
		os.Remove(file)
		os.WriteFile(file, []byte(text), 0o600)
		if _, errOut, code := w.answered(p, "import", w.command("import", "--mount", "acme", file)); code != 0 {
			t.Fatal(errOut)
		}
		cmd, out := w.reads(file)
		if cmd.Wait(); out.String() != "# keepmum: acme\n"+text {
			t.Errorf("after the import of %q: %q", text, out)
		}
	}
	if status, _, _ := w.done(w.command("status")); strings.Count(status, "served") != 1 {
		t.Errorf("status: %s", status)
	}
	os.Remove(file)
	os.WriteFile(file, []byte("A=3\n"), 0o600)
	if _, errOut, code := w.done(w.command("import", "--mount", "other", file)); code != 1 ||
		!strings.Contains(errOut, "mounted already") {
		t.Errorf("into another Environment: %d %s", code, errOut)
	}
}

// answered runs a command to its end, with a yes to its question.
func (w *world) answered(p *person, action string, cmd *exec.Cmd) (out, errOut string, code int) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		out, errOut, code = w.done(cmd)
	}()
	p.answers(action, "o")
	<-ended
	return out, errOut, code
}
