package main

// What lies in the memory of our processes: nothing of the vault once it is
// locked, and nothing of it in a bridge at any time. The scanner reads every page
// of a process as root may, and so these tests are for root; that others cannot
// is the business of harden_linux_test.go.

import (
	"bufio"
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mapping is a part of a process's memory.
type mapping struct {
	from, to int64
	name     string
	flags    string // VmFlags
}

var mappingLine = regexp.MustCompile(`^([0-9a-f]+)-([0-9a-f]+) .{4} \S+ \S+ \d+ *(.*)$`)

// mappingsOf lists what a process has mapped.
func mappingsOf(pid int) (list []mapping, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	var m mapping
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if f := mappingLine.FindStringSubmatch(line); f != nil {
			m = mapping{name: f[3]}
			fmt.Sscanf(f[1]+" "+f[2], "%x %x", &m.from, &m.to)
		} else if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && m.name != "[vvar]" {
			m.flags = flags + " "
			list = append(list, m)
		}
	}
	return list, err
}

// runs lists the parts of a mapping that have pages, in memory or in swap; what
// has none was never written.
func (m mapping) runs(pagemap io.ReaderAt) (list [][2]int64) {
	size := int64(os.Getpagesize())
	entries := make([]byte, (m.to-m.from)/size*8)
	n, _ := pagemap.ReadAt(entries, m.from/size*8)
	for i := range int64(n / 8) {
		if entries[i*8+7]>>6 == 0 { // neither present nor swapped
			continue
		}
		at := m.from + i*size
		if last := len(list) - 1; last >= 0 && list[last][1] == at {
			list[last][1] += size
		} else {
			list = append(list, [2]int64{at, at + size})
		}
	}
	return list
}

// needle is a secret in one of its spellings.
type needle struct {
	what string
	text []byte
}

// needlesOf are the spellings of a secret: as it is, base64, hex, escaped, and
// with the two bytes for a character that some libraries take.
func needlesOf(what string, text []byte) (list []needle) {
	var wide []byte
	for _, b := range text {
		wide = append(wide, b, 0)
	}
	for _, form := range append(forms(string(text)), string(wide)) {
		if !slices.ContainsFunc(list, func(n needle) bool { return string(n.text) == form }) {
			list = append(list, needle{what, []byte(form)})
		}
	}
	return list
}

// spot is a place where a secret lies.
type spot struct {
	needle
	mapping
	at     int64
	around []byte
}

func (f spot) String() string {
	return fmt.Sprintf("%s at %x in %q (%s): %q", f.what, f.at, f.name, f.flags, f.around)
}

// scan looks for needles in all the memory of a process, and says how much that
// is.
func scan(pid int, needles []needle) (list []spot, size int, err error) {
	mappings, err := mappingsOf(pid)
	if err != nil {
		return nil, 0, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, 0, err
	}
	defer mem.Close()
	pagemap, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		return nil, 0, err
	}
	defer pagemap.Close()
	for _, m := range mappings {
		for _, run := range m.runs(pagemap) {
			text := make([]byte, run[1]-run[0])
			n, _ := mem.ReadAt(text, run[0]) // what it gave back meanwhile is gone
			size += n
			for _, needle := range needles {
				list = append(list, needle.in(text[:n], m, run[0])...)
			}
		}
	}
	return list, size, nil
}

// in lists the places of a needle in a text that lies at from.
func (n needle) in(text []byte, m mapping, from int64) (list []spot) {
	for at := 0; ; at++ {
		i := bytes.Index(text[at:], n.text)
		if i < 0 {
			return list
		}
		at += i
		around := bytes.Clone(text[max(0, at-24):min(len(text), at+len(n.text)+24)])
		list = append(list, spot{n, m, from + int64(at), around})
	}
}

// hunt is a world with secrets of which every spelling is known.
type hunt struct {
	*world
	p       *person
	c       *session
	pass    string
	tag     string // in every value, again and again
	values  []string
	needles []needle
	seen    int // bytes that were looked at
}

// newHunt unlocks a new vault under a passphrase that no program text has.
func newHunt(t *testing.T, policy string) *hunt {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root may look into every process")
	}
	h := &hunt{world: newWorld(t), pass: "pass-" + rand.Text(), tag: rand.Text()}
	h.policy(policy)
	h.p = h.atTerminal("unlock")
	h.p.type_("new passphrase: $", h.pass+"\r")
	h.p.type_("the same again: $", h.pass+"\r")
	h.p.sees(`Ctrl-C locks\.`)
	if _, err := os.Open(fmt.Sprintf("/proc/%d/mem", h.p.cmd.Process.Pid)); err != nil {
		t.Skip("this root may not look into processes")
	}
	for i := range 50 { // of 33 bytes to almost a KiB
		h.values = append(h.values, strings.Repeat(fmt.Sprintf(`%s-%02d\"$ `, h.tag, i), 1+i*7%29))
	}
	lowCost(t)
	file, err := readVault(vaultPath(h.home))
	must(t, err)
	line, _, err := splitVault(file)
	must(t, err)
	header, err := parseHeader(line)
	must(t, err)
	root, err := header.deriveRoot([]byte(h.pass))
	must(t, err)
	must(t, header.checkRoot(root))
	audit, err := hkdf.Expand(sha256.New, root, labelAudit, auditSize)
	must(t, err)
	h.needles = slices.Concat(needlesOf("a value", []byte(h.tag)), needlesOf("the passphrase", []byte(h.pass)),
		needlesOf("the root key", root), needlesOf("the audit key", audit))
	return h
}

// finds looks into one process.
func (h *hunt) finds(pid int) []spot {
	h.t.Helper()
	list, size, err := scan(pid, h.needles)
	if h.seen += size; err != nil || size < 1<<20 {
		h.t.Errorf("%d bytes of process %d could be read: %v", size, pid, err)
	}
	return list
}

// clean wants nothing in the memory of a process.
func (h *hunt) clean(when string, pid int) {
	h.t.Helper()
	for _, f := range h.finds(pid) {
		h.t.Errorf("%s, in process %d: %v", when, pid, f)
	}
}

// tree lists all processes below this one.
func (h *hunt) tree() (pids []int) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		h.t.Fatal("no processes", err)
	}
	children := map[int][]int{}
	for _, name := range stats {
		text, _ := os.ReadFile(name)
		var pid, parent int
		fmt.Sscan(string(text), &pid)
		if i := bytes.LastIndexByte(text, ')'); i > 0 {
			fmt.Sscanf(string(text[i+1:]), " %c %d", new(rune), &parent)
		}
		children[parent] = append(children[parent], pid)
	}
	pids = children[os.Getpid()]
	for i := 0; i < len(pids); i++ {
		pids = append(pids, children[pids[i]]...)
	}
	return pids
}

// toldTo lists the processes in whose arguments or environment a secret is.
// [KPR-13]
func (h *hunt) toldTo() (pids []int) {
	for _, pid := range h.tree() {
		for _, name := range []string{"cmdline", "environ"} {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name)) // it may be gone
			if slices.ContainsFunc(h.needles, func(n needle) bool { return bytes.Contains(text, n.text) }) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// quiet wants no secret in the bridge and in no argument or environment.
func (h *hunt) quiet(when string) {
	h.t.Helper()
	if pids := h.toldTo(); len(pids) > 0 {
		h.t.Errorf("%s: a secret is in the arguments or the environment of %v", when, pids)
	}
	h.clean(when, h.c.cmd.Process.Pid)
}

// control wants the scanner to find what there is while the keeper is unlocked:
// without that, finding nothing means nothing. The root key must lie in locked
// memory, and values in the environment of the program of a run.
func (h *hunt) control() {
	h.t.Helper()
	own, _, err := scan(os.Getpid(), h.needles) // this test knows them all
	for _, n := range h.needles {
		if err != nil || !slices.ContainsFunc(own, func(s spot) bool { return bytes.Equal(s.text, n.text) }) {
			h.t.Errorf("the scanner does not find %s as %q: %v", n.what, n.text, err)
		}
	}
	found := map[string]int{}
	locked := 0
	for _, s := range h.finds(h.p.cmd.Process.Pid) {
		found[s.what]++
		if s.what == "the root key" && strings.Contains(s.flags, " lo ") {
			locked++
		}
	}
	if found["a value"] < len(h.values) || locked != 1 { // [KPR-14]
		h.t.Errorf("found in the unlocked keeper: %v, of them in locked memory %d root keys", found, locked)
	}
	h.t.Logf("unlocked: %v, of them in locked memory %d root key", found, locked)
	names, _, err := scan(h.c.cmd.Process.Pid, needlesOf("a name", []byte("acme-two")))
	if err != nil || len(names) == 0 {
		h.t.Error("the bridge does not even hold a name that it has passed on:", err)
	}
	run := h.command("run", "--env", "acme-two", "--", "sh", "-c", "echo ready; read x")
	in, err := run.StdinPipe()
	must(h.t, err)
	out, err := run.StdoutPipe()
	must(h.t, err)
	must(h.t, run.Start())
	if text, _ := bufio.NewReader(out).ReadString('\n'); text != "ready\n" {
		h.t.Errorf("the program says %q", text)
	}
	told := h.toldTo()
	if len(told) != 1 || !strings.HasPrefix(procText(h.t, told[0], "cmdline"), "sh\x00") {
		h.t.Errorf("values are in the environment of %v, want that of the program alone", told)
	}
	in.Close()
	run.Wait()
}

// session makes the client use every tool; values come from a file, from
// commands and, where it is asked about, from the person's keys, never from the
// client: those its bridge would know.
func (h *hunt) session(typed bool) {
	h.t.Helper()
	h.c = h.client()
	h.c.authenticates()
	file := filepath.Join(h.project, ".env")
	var text strings.Builder
	for i, v := range h.values[:46] {
		fmt.Fprintf(&text, "V%d='%s'\n", i, v)
	}
	must(h.t, os.WriteFile(file, []byte(text.String()), 0o600))
	r := h.tool("import_env_file", map[string]any{"environmentName": "acme", "path": file, "mount": true})
	env := map[string]any{"environmentId": r["environmentId"]}
	names := []any{"V46", "V47"}
	holders := []any{map[string]any{"name": "V46", "value": ""}, map[string]any{"name": "V47", "value": ""}}
	if typed {
		id := h.c.call("append_variables", with(env, "variables", holders))
		h.p.answers("append", "e")
		h.p.type_(`1 of 2, V46.*?: $`, h.values[46]+"\r")
		h.p.type_(`2 of 2, V47.*?: $`, h.values[47]+"\r")
		h.c.result(id)
	} else {
		h.tool("append_variables", with(env, "variables", holders))
	}
	for i, v := range h.values[48:] {
		set := h.command("set", "acme", fmt.Sprint("V", 48+i))
		set.Stdin = strings.NewReader(v)
		must(h.t, set.Start())
		if typed {
			h.p.answers("append", "o")
		}
		must(h.t, set.Wait())
	}
	second := filepath.Join(h.project, "b.env")
	h.tool("list_environments", map[string]any{})
	h.tool("list_variables", env)
	h.tool("list_local_env_files", env)
	h.tool("rename_environment", with(env, "environmentName", "acme-two"))
	h.tool("create_local_env_file", with(with(env, "environmentName", "acme-two"), "mountPath", second))
	h.reads(second)
	h.tool("remove_local_env_file", map[string]any{"mountPath": second})
	h.reads(file)
	h.tool("remove_variables", with(env, "variableNames", names))
	made := h.tool("create_environment", map[string]any{"environmentName": "other"})
	h.tool("delete_environment", map[string]any{"environmentId": made["environmentId"]})
}

// tool calls a tool that a rule allows, and looks at what the bridge then has.
func (h *hunt) tool(name string, args map[string]any) map[string]any {
	h.t.Helper()
	r, text := h.c.result(h.c.call(name, args))
	if text != "" {
		h.t.Fatalf("%s: %s", name, text)
	}
	h.quiet("after " + name)
	return r
}

// runs runs a command that a rule allows.
func (h *hunt) runs(cmd *exec.Cmd) {
	h.t.Helper()
	if _, errOut, code := h.done(cmd); code != 0 {
		h.t.Fatalf("%v: %s", cmd.Args[1:], errOut)
	}
}

// reads reads a mount, and wants values.
func (h *hunt) reads(path string) {
	h.t.Helper()
	cmd, out := h.world.reads(path)
	if err := cmd.Wait(); err != nil || strings.Count(out.String(), h.tag) < 50 {
		h.t.Errorf("%s: %v, %d bytes", path, err, out.Len())
	}
	h.quiet("after a read")
}

// allowAll are rules that say yes to everything but the actions named.
func allowAll(asked string) string {
	return `"rules":[{"action":[` + asked + `],"decision":"ask"},{"agent":true,"decision":"allow"},
		{"agent":false,"decision":"allow"}]`
}

// TestLockedHoldsNothing: after a lock no process that is left holds a value, a
// key or the passphrase; a bridge never does, and no argument or environment but
// that of a program that was run. [KPR-13] [KPR-15] [KPR-22] [SOC-15]
func TestLockedHoldsNothing(t *testing.T) {
	locks := map[string]func(h *hunt){
		"keepmum lock": func(h *hunt) { h.runs(h.command("lock")); h.p.ends() },
		"Ctrl-C":       func(h *hunt) { h.p.master.WriteString("\x03"); h.p.ends() },
		"SIGTERM":      func(h *hunt) { h.p.cmd.Process.Signal(unix.SIGTERM); h.p.ends() },
	}
	for name, lock := range locks {
		t.Run(name, func(t *testing.T) {
			if name != "keepmum lock" && !*long {
				t.Skip("with -long")
			}
			h := newHunt(t, "{"+allowAll(`"append"`)+"}")
			h.session(true)
			h.control()
			lock(h)
			h.afterwards(1)
		})
	}
	t.Run("idle", func(t *testing.T) {
		h := newHunt(t, `{"idleLock":"10s",`+allowAll(`"export"`)+"}")
		set := h.command("set", "held", "A")
		set.Stdin = strings.NewReader(h.values[0])
		h.runs(set)
		held := h.command("export", "--force", "held") // the lock waits for its answer [KPR-18]
		must(t, held.Start())
		h.p.asked("export")
		h.session(false)
		h.control()
		h.p.presses("n")
		held.Wait()
		h.p.sees("press Enter to unlock again")
		h.afterwards(2)
		if *long {
			h.coreFile()
		}
	})
}

// afterwards wants nothing in any of the processes that are left, which are so
// many.
func (h *hunt) afterwards(left int) {
	h.t.Helper()
	var pids []int
	waitFor(h.t, "the others to end", func() bool { pids = h.tree(); return len(pids) <= left })
	if len(pids) != left {
		h.t.Errorf("%v are left, want %d processes", pids, left)
	}
	for _, pid := range pids {
		h.clean("after the lock", pid)
	}
	h.quiet("after the lock")
	h.t.Logf("looked through %d MiB", h.seen>>20)
}

// coreFile takes the core file of a locked keeper by gdb, and wants nothing in
// it.
func (h *hunt) coreFile() {
	h.t.Helper()
	gcore, err := exec.LookPath("gcore")
	if err != nil {
		h.t.Log("no gcore here")
		return
	}
	pid := h.p.cmd.Process.Pid
	h.runs(exec.Command(gcore, "-a", "-o", filepath.Join(h.dir, "core"), fmt.Sprint(pid)))
	core, err := os.ReadFile(filepath.Join(h.dir, fmt.Sprint("core.", pid)))
	must(h.t, err)
	if !bytes.Contains(core, []byte("press Enter to unlock again")) {
		h.t.Error("the core file is not what it should be")
	}
	for _, n := range h.needles {
		if bytes.Contains(core, n.text) {
			h.t.Errorf("%s is in the core file", n.what)
		}
	}
	h.t.Logf("a core file of %d MiB", len(core)>>20)
}
