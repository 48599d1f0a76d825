#!/usr/bin/env python3
"""pocket: a second, small server of keepmum's tool surface, for the conformance suite. Linux only.
It is no program to keep secrets with: values lie in the memory of one process and end with it, whoever can
write a file answers questions, and there is no grant and no policy. "pocket.py keep" is the keeper: it puts
one question at a time into ~/.pocket/question and reads "yes" or not from ~/.pocket/answer; "pocket.py serve"
is the MCP server on standard input and output, which asks the keeper.
"""
import base64, fcntl, json, os, re, select, shlex, shutil, signal, sys, tempfile, termios, time
from _thread import RLock, start_new_thread as spawn
from contextlib import suppress
from multiprocessing.connection import Client, Listener
from pathlib import Path
HOME, LIMIT = os.path.expanduser("~/.pocket/"), 4 << 20  # bytes a line
LOCKED = "locked: ask the person to run 'pocket.py keep' in a terminal of their own, then call again"
REVISIONS, TEXT, FLAG = ["2025-06-18", "2025-11-25"], {"type": "string"}, {"type": "boolean"}

def several(item):
    return {"type": "array", "items": item}
def shape(members, optional=""):
    return {"type": "object", "properties": members, "additionalProperties": False,
            "required": [m for m in members if m != optional]}

ENV, FILE, NAME = {"environmentId": TEXT}, {"mountPath": TEXT}, {"environmentName": TEXT}
VALUES = several(shape({"name": TEXT, "value": TEXT, "concealed": FLAG}, "concealed"))
ABOUT = several(shape({"name": TEXT, "concealed": FLAG, "placeholder": FLAG}))
DONE = {"added": several(TEXT), "updated": several(TEXT), "placeholders": several(TEXT)}
HINTS = ["readOnlyHint", "idempotentHint", "destructiveHint", "openWorldHint"]
TOOLS = {  # arguments, results, hint
    "authenticate": ({}, {"account_id": TEXT}, ""),
    "list_environments": ({}, {"environments": several(shape({**ENV, "name": TEXT}))}, HINTS[0]),
    "create_environment": (NAME, {**ENV, "name": TEXT}, ""),
    "list_variables": (ENV, {"variableNames": several(TEXT), "variables": ABOUT}, HINTS[0]),
    "append_variables": ({**ENV, "variables": VALUES}, DONE, HINTS[1]),
    "create_local_env_file": ({**ENV, **NAME, **FILE}, {**FILE, **ENV, "enabled": FLAG}, HINTS[1])}
TOOLS = {tool: {"name": tool, "title": tool, "description": tool, "outputSchema": shape(made),
                "inputSchema": shape({**args, **({} if tool == "authenticate" else {"accountId": TEXT})}),
                "annotations": {h: h == hint for h in HINTS}} for tool, (args, made, hint) in TOOLS.items()}
class Refused(Exception):
    """Why not, and the code of a JSON-RPC error; with 0 it is the result of a tool."""
def need(true, why, code=0):
    if not true:
        raise Refused(why, code)
def new_id():
    return base64.b32encode(os.urandom(16)).decode().rstrip("=")
def clean(text):
    return re.sub(r"[^ -~]", lambda m: "<U+%04X>" % ord(m[0]), text)

def above(pid):
    while pid > 0:
        yield pid
        pid = int(Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[1])
def reader(fd):
    """The process that has our pipe open besides us, alone or with its own ancestors."""
    time.sleep(0.05)  # a shell becomes what it runs
    found, pipe = [], os.fstat(fd)
    for pid in (int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()):
        with suppress(OSError):  # it has ended, or is another user's
            if any(os.path.samestat(f.stat(), pipe) for f in os.scandir("/proc/%d/fd" % pid)):
                found.append(pid)
    return next(((p, os.readlink(f"/proc/{p}/exe"), Path(f"/proc/{p}/cmdline").read_bytes()) for p in found
                 if set(found) <= set(above(p))), None)

def fresh(fifo):
    """A pipe with its writer takes the place of the last, so that no two opens share one."""
    os.mkfifo(fifo + "~", 0o600)
    end = os.open(fifo + "~", os.O_RDONLY | os.O_NONBLOCK)
    fd = os.open(fifo + "~", os.O_WRONLY | os.O_NONBLOCK)
    os.close(end)
    os.rename(fifo + "~", fifo)
    return fd

class Keeper:
    lock, account, connected, envs, mounts, queue = RLock(), new_id(), set(), {}, {}, []
    def ask(self, who, action, text, waits, path=""):
        program = os.readlink("/proc/%d/exe" % who)
        mine, shown, answer, late = object(), False, "", time.monotonic() + (60 if path else 300)
        self.queue.append(mine)
        while not answer and waits() and time.monotonic() < late:
            if self.queue[0] is mine and not shown:
                Path(HOME + "new").write_text(clean(f"{action}: {program} (pid {who}) wants {text}"))
                os.rename(HOME + "new", HOME + "question")
                shown = True
            with suppress(OSError):
                answer = Path(HOME + "answer").read_text() if shown else ""
            time.sleep(0.005)
        for name in ("question", "seen", "answer") if shown else ():
            Path(HOME + name).unlink(missing_ok=True)
        self.queue.remove(mine)
        answer or print("withdrawn:", action, flush=True)
        self.log(event=action, path=path, decision="allow" if answer == "yes\n" else "deny", outcome="")
        need(answer == "yes\n", "not approved: ask the person before trying again")
    def log(self, **line):
        with self.lock, open(HOME + "log", "a") as f:
            print(json.dumps(line), file=f)
    def call(self, session, who, claim, tool, args, waits):
        """A tool checks, says what to ask, and is run anew after the yes: all may be otherwise by then."""
        need(tool == "authenticate" or args.pop("accountId") == self.account and session in self.connected,
             "Missing required scope: environments:%s. Call the authenticate tool first."
             % ("list" if tool.startswith("list") else "write"))
        with self.lock:
            question = next(getattr(self, tool)(**args))
        self.ask(who, question[0], "%s and calls itself %s" % (question[1], claim), waits)
        with self.lock:
            again = getattr(self, tool)(**args)
            need(next(again) == question, "changed since the question was put: look, and call again")
            self.connected.add(session)
            return next(again)
    def env(self, key):
        need(key in self.envs, 'no such "environmentId": call list_environments')
        return (*self.envs[key], 'of "%s" (%s)' % (self.envs[key][0], ", ".join(self.envs[key][1])))
    def authenticate(self):
        yield "connect", "to use the tools"
        yield {"account_id": self.account}
    def list_environments(self):
        yield "list", "the Environments"
        yield {"environments": [{"environmentId": i, "name": name} for i, (name, _) in self.envs.items()]}
    def create_environment(self, environmentName):
        key, name = new_id().lower(), environmentName
        need(0 < len(name.encode()) <= 128 and name.isprintable() and name == name.strip() and
             all(name != other for other, _ in self.envs.values()),
             '"environmentName": use it if it is there; else 1 to 128 printable bytes, no space at the ends')
        yield "create", '"%s"' % name
        self.envs[key] = (name, {})
        yield {"environmentId": key, "name": name}
    def list_variables(self, environmentId):
        _, values, text = self.env(environmentId)
        yield "list", "the names " + text
        yield {"variableNames": list(values), "variables": [
            {"name": n, "concealed": c, "placeholder": v == ""} for n, (v, c) in values.items()]}
    def append_variables(self, environmentId, variables):
        _, values, text = self.env(environmentId)
        names, out = [v["name"] for v in variables], {key: [] for key in DONE}
        for name, value in ((v["name"], v["value"]) for v in variables):
            need(re.fullmatch(r"(?a)[A-Za-z_]\w{0,255}", name) and names.count(name) == 1 and
                 "\0" not in value and len(value.encode()) < 65537, '"name" or "value": %.64r is odd' % name)
        replaced = [v["name"] for v in variables if v["value"] and values.get(v["name"], [""])[0]]
        yield "append", f"to set {names} {text}; REPLACES the value of {', '.join(replaced) or 'none'}"
        for name, new, concealed in ((v["name"], v["value"], v.get("concealed", True)) for v in variables):
            old = values.get(name, ("", True))
            values[name] = (new, concealed) if new or not old[0] else old
            if new not in ("", old[0]):
                out["updated" if old[0] else "added"].append(name)
            elif not values[name][0]:
                out["placeholders"].append(name)
        yield out
    def create_local_env_file(self, environmentId, environmentName, mountPath):
        (name, _, text), path, mount = self.env(environmentId), mountPath, self.mounts.get(mountPath)
        folder, file = os.path.split(path)
        need(name == environmentName, '"environmentName" is not its name')
        need(path == os.path.normpath(path) == os.path.realpath(folder) + "/" + file and
             os.path.isdir(folder) and os.stat(folder).st_uid in (0, os.getuid()) and
             not os.stat(folder).st_mode & 0o22 and not re.search(r"[\0-\x1f\x7f-\x9f]", path),
             '"mountPath" must be absolute, clean, and in a folder of yours that is there, without links')
        need(mount["env"] == environmentId if mount else not os.path.lexists(path),
             'something is at "mountPath": move it away, or unmount it')
        yield "mount", "all values %s at %s (folder %d)" % (text, path, os.stat(folder).st_ino)
        if not mount:
            fifo = tempfile.mkdtemp(dir=HOME) + "/" + file
            self.mounts[path] = mount = {"env": environmentId, "fifo": fifo}
            spawn(self.serve, (path, mount, fresh(fifo)))
            os.symlink(fifo, path)
        yield {"mountPath": path, "environmentId": environmentId, "enabled": True}
    def serve(self, path, mount, fd):
        """What becomes of one open. The next has a pipe and a thread of its own."""
        text, outcome, left = "# keepmum: not approved\n", "refused", True
        mounted = lambda: self.mounts.get(path) is mount
        is_read = lambda: not select.select([fd], [], [], 0)[0]  # without a reader it shows an error
        while mounted() and not is_read():
            time.sleep(0.004)
        with suppress(Refused, OSError):
            mounted() and spawn(self.serve, (path, mount, fresh(mount["fifo"])))
            who, (name, own, about) = reader(fd), self.env(mount["env"])
            need(who, "nobody, or more than one")
            self.ask(who[0], "read", f"the VALUES {about} at {path}", lambda: is_read() and mounted(), path)
            need(reader(fd) == who and mounted() and self.env(mount["env"])[2] == about, "changed")
            rows = (f"{n}={shlex.quote(v)}" if v else f"# {n}= (no value yet)" for n, (v, _) in own.items())
            text, outcome = "\n".join(["# keepmum: " + clean(name), *rows, ""]), "delivered"
        with suppress(OSError):  # nobody reads any more
            os.set_blocking(fd, True)
            os.write(fd, text.encode())
            while (left := any(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))) and is_read():
                time.sleep(0.004)
        self.log(event="read", path=path, outcome="abandoned" if left else outcome)
        os.close(fd)
    def talk(self, conn):
        with suppress(OSError, EOFError):  # the server has gone
            try:
                conn.send(self.call(*conn.recv(), lambda: not conn.poll()))
            except Refused as e:
                conn.send(e.args[0])

def keep():
    os.makedirs(HOME, 0o700, exist_ok=True)
    fcntl.flock(os.open(HOME, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)  # one keeper at a time
    Path(HOME + "pid").write_text(str(os.getpid()))
    Path(HOME + "socket").unlink(missing_ok=True)
    keeper, listener = Keeper(), Listener(HOME + "socket", backlog=300)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    print("ready", flush=True)
    try:
        while True:
            spawn(keeper.talk, (listener.accept(),))
    finally:
        mounts, keeper.mounts = keeper.mounts, {}
        for path, mount in mounts.items():
            if os.path.realpath(path) == mount["fifo"]:
                os.unlink(path)
        time.sleep(0.1)  # who reads is told
        for mount in mounts.values():
            shutil.rmtree(os.path.dirname(mount["fifo"]))
        os.unlink(HOME + "socket")
        os._exit(0)

def members(pairs):
    """An object of JSON. If a member is repeated it has the member None as well."""
    return dict(pairs) if len(dict(pairs)) == len(pairs) else {None: 0, **dict(pairs)}
def check(value, schema, name, code):
    kind = {"object": dict, "array": list, "string": str, "boolean": bool}[schema["type"]]
    need(type(value) is kind and not (kind is str and re.search("[\ud800-\udfff]", value)),
         '"%s" must be of type %s' % (name, schema["type"]), code)
    for member in list(value) + schema["required"] if kind is dict else ():
        need(member in value, 'missing argument "%s": give it and call again' % member, code)
        need(member in schema["properties"], "unknown or repeated argument " + json.dumps(member)[:64], code)
        check(value[member], schema["properties"][member], member, code)
    for item in value if kind is list else ():
        check(item, schema["items"], name, code)

class Server:
    lock, calls, revision, claim, session = RLock(), {}, "", "", new_id()
    def send(self, key, **answer):
        with self.lock:
            about = {} if key is None else {"id": key}
            print(json.dumps({"jsonrpc": "2.0", **about, **answer}), flush=True)
    def answer(self, key, out, code=0):
        said = {"content": [{"type": "text", "text": out if type(out) is str else json.dumps(out)}],
                **({"isError": True} if type(out) is str else {"structuredContent": out})}
        self.send(key, **({"error": {"code": code, "message": out}} if code else {"result": said}))
    def run(self):
        for line in sys.stdin.buffer:
            self.key = None
            try:
                if line.strip():
                    self.take(line)
            except Refused as e:
                self.answer(self.key, *e.args)
        time.sleep(0.2)  # what was just asked still gets its answer
        os._exit(0)
    def take(self, line):
        need(len(line) <= LIMIT + 1, "the line is too long", -32600)
        try:
            m = json.loads(line.decode(), object_pairs_hook=members, parse_constant=int)
        except (ValueError, RecursionError):
            raise Refused("no JSON in UTF-8", -32700)
        good = type(m) is dict and None not in m
        self.key = key = m["id"] if good and type(m.get("id")) in (int, str) else None
        need(good and m.get("jsonrpc") == "2.0", "invalid request", -32600)
        if "method" not in m and ("result" in m or "error" in m):
            return  # nothing was asked
        method, params = m.get("method"), m.get("params", {})
        need(method and type(method) is str and ("id" in m) == (key is not None), "invalid request", -32600)
        if key is None:
            if method == "notifications/cancelled" and type(params) is dict:
                self.calls.pop(repr(params.get("requestId")), None)
            return
        need(type(params) is dict and repr(key) not in self.calls, "invalid request", -32600)
        meta = params.get("_meta", {})
        need(type(meta) is dict and None not in {**params, **meta}, "odd or repeated member", -32602)
        need(self.revision or method in ("initialize", "ping"), "initialize first", -32602)
        need(method in ("initialize", "ping", "tools/list", "tools/call"), "method not found", -32601)
        if method == "tools/call":
            return self.call(key, params.get("name"), params.get("arguments", {}))
        need("cursor" not in params, "there is one page", -32602)
        result = {"tools": list(TOOLS.values())} if method == "tools/list" else {}
        if method == "initialize":
            asked, info = params.get("protocolVersion"), params.get("clientInfo")
            self.claim = "%s %s" % (info.get("name"), info.get("version")) if type(info) is dict else ""
            need(type(asked) is str, "protocolVersion must be a string", -32602)
            self.revision = asked if asked in REVISIONS else REVISIONS[-1]
            result = {"protocolVersion": self.revision, "capabilities": {"tools": {}},
                      "serverInfo": {"name": "pocket", "version": "1"}}
        self.send(key, result=result)
    def call(self, key, tool, args):
        need(type(tool) is str and tool in TOOLS and type(args) is dict, "no such tool", -32602)
        check(args, TOOLS[tool]["inputSchema"], "arguments", -32602 if self.revision < "2025-11" else 0)
        need(len(self.calls) < 256, "too many calls are under way")
        self.calls[repr(key)] = mine = [self.session, os.getppid(), self.claim, tool, args]
        spawn(self.wait, (key, mine))
    def wait(self, key, mine):
        late, waits = time.monotonic() + 45, lambda: self.calls.get(repr(key)) is mine
        try:
            with Client(HOME + "socket") as conn:
                conn.send(mine)
                while waits() and not conn.poll(0.05) and time.monotonic() < late:
                    pass
                out = conn.recv() if conn.poll() else "nobody has answered: ask the person to, and call again"
        except (OSError, EOFError):
            out = LOCKED
        if waits() and self.calls.pop(repr(key), None):
            self.answer(key, out)
keep() if sys.argv[1:] == ["keep"] else Server().run()
