#!/usr/bin/env python3
"""watchers.py KEEPMUM LAB [NAME...]: does a file watcher loop over a mounted .env?

Makes the table of "Watchers" in docs/readers.md. KEEPMUM is the built program.
LAB is a folder outside of the repository; what is missing there of the npm
packages and the Go program below is put into it. The others come from Debian: entr
inotify-tools direnv python3-watchdog python3-uvicorn python3-watchgod
python3-django, and Flask for `python3`. What is not there is left out and said.

Each watcher runs in a project of its own, first with .env as a plain file, then
with a mount of a real keeper on a terminal of its own, in a throw-away home,
where a scripted person answers the first question about a program with "timed".
Then, with a rest after each step:

    start   the watcher starts
    read    `cat .env` by somebody else, twice, which a policy allows
    refuse  `head .env` by somebody else, which the policy denies
    change  another value for a variable (a file: the line is rewritten)

A cell is "reads/starts" for that step: the reads of .env by the watcher's
programs from the audit log (a file has none), and the starts, restarts or
events that the watcher told of. "loop" is shown where the rest at the end of a
step was not quiet. Ends with 1 if there was a loop.
"""
import contextlib, json, os, pty, re, select, shutil, signal, subprocess, sys, tempfile, threading, time

NPM = ["vite", "next", "react", "react-dom", "nodemon", "chokidar", "tsx", "bun", "deno", "node", "dotenv"]
PASS = "correct horse battery staple"
REST = float(os.environ.get("REST", "4"))  # seconds after each step; the last half must be quiet
TICK = "setInterval(()=>{},1000)"
DOTENV = 'require("dotenv").config({quiet:true});console.log("START");' + TICK
NODE_SHOW = 'console.log("START", process.env.KEY);' + TICK
VIPER = """package main

import (
	"fmt"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/viper"
)

func main() {
	viper.SetConfigFile(".env")
	viper.SetConfigType("env")
	fmt.Println("START", viper.ReadInConfig())
	viper.OnConfigChange(func(e fsnotify.Event) { fmt.Println("EV", e.Op) })
	viper.WatchConfig()
	time.Sleep(time.Hour)
}
"""
READ = 'fs.readFile(".env","utf8",()=>{})'


def watchers(lab):
    """The table: name, (files, command, seconds to start, page to ask for once)."""
    npm = lab + "/node_modules"
    node = npm + "/node/bin/node"
    deno, bun = npm + "/deno/deno", npm + "/bun/bin/bun.exe"
    esm = lambda body: {"c.mjs": 'import fs from "fs";import chokidar from "chokidar";fs.readFileSync(".env");' + body + TICK}
    note = lambda when, do: f'{when}console.log("EV",String(e),String(p));{do}}});'
    py = lambda cls: {"w.py": f"""
import time
from watchdog.observers import Observer
from watchdog.observers.polling import PollingObserver
from watchdog.events import FileSystemEventHandler
class H(FileSystemEventHandler):
    def on_any_event(self, e):
        if e.src_path.endswith('.env') and e.event_type in ('modified', 'created', 'deleted', 'moved'):
            print('EV', e, flush=True); open('.env').read()
open('.env').read()
o = {cls}(); o.schedule(H(), '.'); o.start()
time.sleep(1000)
"""}
    vite = {"index.html": "<script type=module src=/m.js></script>", "m.js": "console.log(import.meta.env.VITE_X)",
            "package.json": "{}"}
    asgi = {"app.py": 'import os\nprint("START", os.environ.get("KEY"), flush=True)\n'
                      'async def app(scope, receive, send):\n    pass\n'}
    return {
        "fs.watch(dir), reads again": (esm(note('fs.watch(".",(e,p)=>{', f'if(p===".env"){READ}')), [node, "c.mjs"]),
        "fs.watch(.env), reads again": (esm(note('fs.watch(".env",(e,p)=>{', READ)), [node, "c.mjs"]),
        "fs.watchFile, reads again": (esm('fs.watchFile(".env",{interval:200},(p,e)=>{console.log("EV");' + READ + "});"), [node, "c.mjs"]),
        "mtime poller, reads again": (esm('fs.watchFile(".env",{interval:200},(p,e)=>{if(p.mtimeMs!==e.mtimeMs){console.log("EV");' + READ + "}});"), [node, "c.mjs"]),
        "chokidar(dir)": (esm(note('chokidar.watch(".",{ignoreInitial:true,ignored:/node_modules/}).on("all",(e,p)=>{', "")), [node, "c.mjs"]),
        "chokidar(.env), reads again": (esm(note('chokidar.watch(".env",{ignoreInitial:true}).on("all",(e,p)=>{', READ)), [node, "c.mjs"]),
        "chokidar polling, reads again": (esm(note('chokidar.watch(".env",{ignoreInitial:true,usePolling:true,interval:200}).on("all",(e,p)=>{', READ)), [node, "c.mjs"]),
        "nodemon": ({"a.js": DOTENV}, [node, npm + "/nodemon/bin/nodemon.js", "a.js"]),
        "nodemon --watch .env": ({"a.js": DOTENV}, [node, npm + "/nodemon/bin/nodemon.js", "--watch", ".env", "a.js"]),
        "nodemon -L --watch .env": ({"a.js": DOTENV}, [node, npm + "/nodemon/bin/nodemon.js", "-L", "--watch", ".env", "a.js"]),
        "node 20 --watch --env-file": ({"a.js": NODE_SHOW}, ["/usr/bin/env", "node", "--watch", "--env-file=.env", "a.js"]),
        "node 26 --watch --env-file": ({"a.js": NODE_SHOW}, [node, "--watch", "--env-file=.env", "a.js"]),
        "node 26 --watch, loadEnvFile()": ({"a.js": "process.loadEnvFile();" + NODE_SHOW}, [node, "--watch", "a.js"]),
        "node 26 --watch-path=.": ({"a.js": NODE_SHOW}, [node, "--watch-path=.", "--env-file=.env", "a.js"]),
        "tsx watch --env-file": ({"a.ts": NODE_SHOW}, [node, npm + "/tsx/dist/cli.mjs", "watch", "--env-file=.env", "a.ts"]),
        "tsx watch --include .env": ({"a.ts": NODE_SHOW}, [node, npm + "/tsx/dist/cli.mjs", "watch", "--include", ".env", "--env-file=.env", "a.ts"]),
        "deno --watch --env-file": ({"a.ts": 'console.log("START",Deno.env.get("KEY"));' + TICK}, [deno, "run", "-A", "--watch", "--env-file=.env", "a.ts"]),
        "bun --watch --env-file": ({"a.ts": NODE_SHOW}, [bun, "--watch", "--env-file=.env", "a.ts"]),
        "vite dev": (vite, [node, npm + "/vite/bin/vite.js", "--port", "5199", "--host", "127.0.0.1"]),
        "vite dev, .env ignored": (vite | {"vite.config.mjs": "export default {server:{watch:{ignored:['**/.env']}}}"},
                                   [node, npm + "/vite/bin/vite.js", "--port", "5199", "--host", "127.0.0.1"]),
        "next dev": ({"package.json": '{"dependencies":{"next":"*","react":"*","react-dom":"*"}}',
                      "app/page.js": 'export default function P(){return "x"}', "next.config.js": "module.exports={}",
                      "app/layout.js": "export default function L({children}){return <html><body>{children}</body></html>}"},
                     [node, npm + "/next/dist/bin/next", "dev", "-p", "5198", "-H", "127.0.0.1"], 12, "http://127.0.0.1:5198/"),
        "entr -r": ({}, ["bash", "-c", "echo .env | entr -n -r sh -c 'echo START; cat <.env >/dev/null; exec sleep 1000'"]),
        "inotifywait loop": ({}, ["bash", "-c", "while echo START; dd if=.env of=/dev/null status=none; inotifywait -qq -e modify,close_write,move,create .; do :; done"]),
        "python watchdog": (py("Observer"), ["/usr/bin/python3", "w.py"]),
        "python watchdog polling": (py("PollingObserver"), ["/usr/bin/python3", "w.py"]),
        "watchmedo auto-restart": ({"a.py": 'print("START", flush=True); open(".env").read(); import time; time.sleep(1000)'},
                                   ["watchmedo", "auto-restart", "-d", ".", "-p", "*.py;.env", "--", "/usr/bin/python3", "a.py"]),
        "uvicorn --reload": (asgi, ["/usr/bin/python3", "-m", "uvicorn", "--reload", "--reload-include", ".env", "--env-file", ".env", "--port", "5197", "app:app"]),
        "flask --extra-files .env": ({"app.py": 'import flask,os\nprint("START", flush=True)\napp=flask.Flask("x")\n'},
                                     ["python3", "-m", "flask", "run", "--port", "5196", "--debug", "--extra-files", ".env"]),
        "django runserver": ({"s.py": 'import sys,os\nopen(".env").read()\nprint("START",flush=True)\nDEBUG=True\nSECRET_KEY="x"\nROOT_URLCONF="s"\nurlpatterns=[]\n'
                              'if __name__=="__main__":\n    os.environ["DJANGO_SETTINGS_MODULE"]="s"\n    from django.core.management import execute_from_command_line as e\n    e(sys.argv)\n'},
                             ["/usr/bin/python3", "s.py", "runserver", "5195"]),
        "viper WatchConfig": ({}, [lab + "/viperwatch"]),
        "direnv, watch_file .env": ({".envrc": "watch_file .env\nset -a\nsource .env\nset +a\necho START >&2\n"},
                                    ["bash", "-c", "direnv allow . && while :; do eval \"$(direnv export bash)\"; sleep .3; done"]),
    }


class Keeper:
    """A keeper on a terminal of its own, and the person at it."""

    def __init__(self, exe):
        self.exe, self.home = exe, tempfile.mkdtemp(prefix="kmw")
        os.mkdir(self.home + "/home", 0o700)
        self.env = {k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"} | {
            "KEEPMUM_HOME": self.home + "/home", "HOME": self.home, "TERM": "dumb"}
        rules = []
        for agent in ({}, {"agent": True}):  # whoever started this script
            rules += [{"action": ["read"], "program": os.path.realpath(shutil.which("cat")), "decision": "allow", **agent},
                      {"action": ["append", "mount", "unmount", "list"], "decision": "allow", **agent}]
        rules.append({"action": ["read"], "program": os.path.realpath(shutil.which("head")), "decision": "deny"})
        with open(self.home + "/home/policy.json", "w") as f:
            os.fchmod(f.fileno(), 0o600)
            json.dump({"rules": rules, "promptTimeout": "5m"}, f)
        self.seen, self.asked, self.lock = "", [], threading.Lock()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(exe, [exe, "unlock"], self.env)
        threading.Thread(target=self.person, daemon=True).start()
        for end in range(200):
            if "Ctrl-C locks" in self.seen or "unlocked:" in self.seen:
                return
            time.sleep(.1)
        sys.exit("the keeper did not unlock:\n" + self.seen)

    def person(self):
        """Types the passphrase and answers each question once it stands."""
        at, answers = 0, [(r"(new passphrase|the same again|^passphrase): $", PASS + "\r"), (r"use it\?[^\n]*> *$", "y"),
                          (r"(?s)#\d+ [\d:]+ +(\w+)\r?\n.*allow\?[^\n]*> *$", "t")]
        while True:
            try:
                self.seen += os.read(self.fd, 65536).decode("utf8", "replace")
            except OSError:
                return
            for pattern, keys in answers:
                m = re.search(pattern, self.seen[at:], re.M)
                if m:
                    if keys == "t":
                        command = re.search(r"command +(.*)", m[0])
                        self.asked.append((m[1], command[1].strip() if command else "?"))
                    at = len(self.seen)
                    time.sleep(.8)  # a key that comes at once is not taken
                    os.write(self.fd, keys.encode())
                    break

    def run(self, *args, cwd=None, stdin=None):
        r = subprocess.run([self.exe, *args], cwd=cwd, env=self.env, input=stdin, capture_output=True, text=True, timeout=60)
        if r.returncode:
            raise SystemExit(f"keepmum {args}: {r.stdout}{r.stderr}\n{self.seen[-2000:]}")

    def reads(self, path):
        """How opens of path by the watcher's own programs came out."""
        n = {}
        with open(self.home + "/home/audit.jsonl") as f:
            for line in f:
                e = json.loads(line)
                if e["path"] == path and e["outcome"] and e["event"] == "read" and os.path.basename(e["actor"]["exe"]) not in ("cat", "head"):
                    n[e["outcome"]] = n.get(e["outcome"], 0) + 1
        return n

    def close(self):
        os.write(self.fd, b"\x03")
        os.waitpid(self.pid, 0)
        shutil.rmtree(self.home, ignore_errors=True)


STARTED = re.compile(r"^(?:START|EV|Reload env: )|server restarted|  Reload env|VITE v\S+ ", re.M)


class Trial:
    """One watcher over one .env, step by step."""

    def __init__(self, keeper, lab, name, spec, mounted):
        self.files, self.cmd, self.boot, self.page = (*spec, 4, None)[:4] if len(spec) < 4 else spec
        self.keeper, self.mounted = keeper, mounted
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="p", dir=lab))  # below its node_modules
        for f, text in self.files.items():
            os.makedirs(os.path.dirname(f"{self.dir}/{f}"), exist_ok=True)
            open(f"{self.dir}/{f}", "w").write(text)
        self.path, self.lab, self.cells = self.dir + "/.env", lab, []
        if mounted:
            keeper.run("mount", "watch", self.path, cwd=self.dir)
        else:
            open(self.path, "w").write("A=1\nKEY=first\nVITE_X=x\n")

    def count(self):
        reads = sum(self.keeper.reads(self.path).values()) if self.mounted else 0
        return reads, len(STARTED.findall(open(self.dir + ".out").read()))

    def step(self, act, rest):
        before = self.count()
        act()
        time.sleep(rest / 2)
        middle = self.count()
        time.sleep(rest / 2)
        after = self.count()
        loop = " loop" if self.mounted and rest == REST and after != middle else ""
        reads = f"{after[0] - before[0]}/" if self.mounted else ""
        self.cells.append(f"{reads}{after[1] - before[1]}{loop}")

    def other(self, program, times):
        for _ in range(times):
            subprocess.run(["timeout", "5", program, self.path], cwd=self.dir, stdout=subprocess.DEVNULL)
            time.sleep(.7)

    def change(self):
        if self.mounted:
            self.keeper.run("set", "watch", "KEY", stdin=f"changed {time.time()}\n", cwd=self.dir)
        else:
            open(self.path, "w").write(f"A=1\nKEY='changed {time.time()}'\nVITE_X=x\n")

    def run(self):
        env = self.keeper.env | {"PATH": os.environ["PATH"], "NODE_PATH": self.lab + "/node_modules",
                                 "NEXT_TELEMETRY_DISABLED": "1", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
        asked = len(self.keeper.asked)
        proc = None

        def start():
            nonlocal proc
            with open(self.dir + ".out", "w") as out:
                proc = subprocess.Popen(self.cmd, cwd=self.dir, env=env, stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True)
            time.sleep(self.boot - REST if self.boot > REST else 0)
            if self.page:
                subprocess.run(["curl", "-s", "-m", "20", self.page], stdout=subprocess.DEVNULL)
        open(self.dir + ".out", "w").close()
        try:
            self.step(start, REST * 1.5)
            self.step(lambda: self.other("cat", 2), REST)
            self.step(lambda: self.other("head", 1), REST)
            self.step(self.change, REST)
            alive = proc.poll() is None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(proc.pid, signal.SIGKILL)
            proc.wait()
        out = open(self.dir + ".out").read()
        if os.environ.get("VERBOSE"):
            print("    " + out.replace("\n", "\n    "))
        note = "" if alive else "ended: " + (out.strip().splitlines() or ["?"])[-1][:80]
        if self.mounted:
            odd = {k: v for k, v in self.keeper.reads(self.path).items() if k != "delivered"}
            note += " ".join(f"{v} {k}" for k, v in odd.items())
            self.keeper.run("unmount", self.path, cwd=self.dir)
        os.remove(self.dir + ".out")
        shutil.rmtree(self.dir)
        return self.cells, self.keeper.asked[asked:], note


def install(lab):
    """Puts into lab what is missing there."""
    os.makedirs(lab + "/viper", exist_ok=True)
    missing = [p for p in NPM if not os.path.exists(f"{lab}/node_modules/{p}/package.json")]
    if missing:
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", *missing], cwd=lab, check=True)
    if not os.path.exists(lab + "/viperwatch") and shutil.which("go"):
        with open(lab + "/viper/main.go", "w") as f:
            f.write(VIPER)
        with open(lab + "/viper/go.mod", "w") as f:
            f.write("module watch\n\ngo 1.24\n")
        subprocess.run("go mod tidy && go build -o ../viperwatch .", shell=True, cwd=lab + "/viper", check=True)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    exe, lab, want = os.path.realpath(sys.argv[1]), os.path.realpath(sys.argv[2]), sys.argv[3:]
    if not os.access(exe, os.X_OK):
        sys.exit(f"{exe} is no program: go build -o keepmum .")
    install(lab)
    keeper, loops = Keeper(exe), 0
    try:
        for name, value in (("A", "1"), ("KEY", "first"), ("VITE_X", "x")):
            keeper.run("set", "watch", name, stdin=value + "\n")
        print("| watcher | .env | start | 2 reads by another | 1 refused | changed | questions | notes |\n|---|---|---|---|---|---|---|---|")
        for name, spec in watchers(lab).items():
            if want and not any(w in name for w in want):
                continue
            if not shutil.which(spec[1][0]):
                print(f"| {name} | not there |")
                continue
            for mounted in (False, True):
                cells, asked, note = Trial(keeper, lab, name, spec, mounted).run()
                loops += mounted and "loop" in "".join(cells)
                print(f"| {name} | {'mount' if mounted else 'file'} | {' | '.join(cells)} | {len(asked) if mounted else ''} | {note} |", flush=True)
                if os.environ.get("VERBOSE"):
                    print("    asked", asked)
    finally:
        if os.environ.get("VERBOSE"):
            print(keeper.seen)
        keeper.close()
    print(f"\n{loops} loops")
    sys.exit(loops > 0)


if __name__ == "__main__":
    main()
