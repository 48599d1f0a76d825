"""python3 matrix.py [--more] LAB OUT [READER...]: lets every reader in LAB read every
value class, or with --more the rarer ones, in every dialect through the mounts of a
real keeper, and writes what came out to OUT. LAB/keepmum is the program; see
../readers.sh."""
import base64
import concurrent.futures
import datetime
import json
import os
import platform
import select
import signal
import subprocess
import sys
import time

from classes import CLASSES, MORE
from keeper import Keeper
from readers import all_readers

DIALECTS = ["portable", "shell", "js", "js-expand", "escaped", "raw"]
NEIGHBOURS = {"FIRST": b"one", "LAST": b"two"}
PATIENCE = 30  # seconds for one read


def set_up(keeper, folder):
    """Makes an Environment for each class and mounts it in each dialect."""
    for name, value in CLASSES.items():
        for key, text in (("FIRST", "one"), ("KEY", value), ("LAST", "two")):
            store(keeper, folder, name, key, text)
        for dialect in DIALECTS:
            os.makedirs(f"{folder}/{dialect}/{name}")
            keeper.run("mount", "--dialect", dialect, name, f"{folder}/{dialect}/{name}/.env")


def store(keeper, folder, environment, key, value):
    if value:
        keeper.run("set", environment, key, text=(value + "\n").encode())
        return
    with open(f"{folder}/empty.env", "w") as file:  # set takes it for a mistake
        file.write(f"{key}=\n")
    keeper.run("import", environment, file.name)


def environment(reader, folder):
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "NO_COLOR": "1",
            "HOME": f"{folder}/you", "NODE_PATH": f"{folder}/../npm/node_modules", **reader.env}


def read_by_library(reader, folder, mounts):
    """Reads many mounts in one process; one that ends or hangs is started again
    behind the mount that it could not read."""
    results = []
    while len(results) < len(mounts):
        left = [f"{m}/.env" for m in mounts[len(results):]]
        process = start(reader, folder, left)
        for _ in left:
            ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
            line = process.stdout.readline() if ready else b""
            if not line:
                results.append({"error": "ended or hung"})
                break
            results.append(json.loads(line))
        end(process)
    return [None if "error" in r and not r.get("vars") else
            {k: base64.b64decode(v) for k, v in r["vars"].items()} for r in results]


def start(reader, folder, files=(), cwd=None):
    return subprocess.Popen(reader.command + list(files), env=environment(reader, folder), cwd=cwd,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, start_new_session=True, bufsize=0)


def end(process):
    """Ends a reader with all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()


def read_by_program(reader, folder, mount):
    process = start(reader, folder, cwd=mount)
    try:
        out, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        end(process)
        return None
    pairs = [p.partition(b"=") for p in out.split(b"\0") if b"=" in p]
    return {name.decode("utf-8", "replace"): value for name, _, value in pairs} or None


def read_all(reader, folder, mounts):
    if reader.library:
        return read_by_library(reader, folder, mounts)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda mount: read_by_program(reader, folder, mount), mounts))


def judge(value, got):
    """Says how a read came out; nothing where all three values are exact."""
    if not got or not any(name in got for name in ("FIRST", "KEY", "LAST")):
        return "nothing"
    if "INJECTED" in got:
        return "injects"
    if any(got.get(name) != text for name, text in NEIGHBOURS.items()):
        return "neighbour"
    if "KEY" not in got:
        return "missing"
    return "" if got["KEY"] == value.encode() else "differs"


def measure(reader, folder):
    """Returns, for each dialect, the classes that did not come out exact. A read
    of which nothing came is made again: two openers at once get nothing."""
    cases = [(d, c) for d in DIALECTS for c in CLASSES]
    places = {case: f"{folder}/{case[0]}/{case[1]}" for case in cases}
    outcome, again = {}, cases
    for _ in range(2):
        for case, got in zip(again, read_all(reader, folder, [places[c] for c in again])):
            outcome[case] = judge(CLASSES[case[1]], got)
        again = [case for case in cases if outcome[case] == "nothing"]
    wrong = {}
    for (dialect, name), how in outcome.items():
        if how:
            wrong.setdefault(dialect, {}).setdefault(how, []).append(name)
    return wrong


def probe(reader, keeper, folder):
    """Counts the opens of one load, and tells whether the values arrive at all."""
    before = len(keeper.log())
    mount = f"{folder}/portable/plain"
    got = read_all(reader, folder, [mount])[0]
    reads = [line for line in keeper.log()[before:] if line["event"] == "read" and line["outcome"]]
    return judge(CLASSES["plain"], got) == "", len(reads)


def main(lab, out, *wanted):
    folder = f"{lab}/mounts"
    keeper = Keeper(f"{lab}/keepmum", folder)
    os.makedirs(f"{folder}/you")
    matrix = {"date": datetime.date.today().isoformat(), "machine": machine(),
              "keepmum": keeper.run("version").decode().split()[-1],
              "classes": {name: base64.b64encode(v.encode()).decode() for name, v in CLASSES.items()},
              "dialects": DIALECTS, "readers": []}
    try:
        set_up(keeper, folder)
        for reader in all_readers(lab):
            if wanted and reader.name not in wanted:
                continue
            if not reader.installed():
                print(f"{reader.name}: not installed", flush=True)
                continue
            start = time.monotonic()
            row = {"name": reader.name, "version": reader.version, "kind": reader.kind}
            row["reads"], row["opens"] = probe(reader, keeper, folder)
            if row["reads"]:
                row["wrong"] = measure(reader, folder)
            matrix["readers"].append(row)
            print(tell(row), f"{time.monotonic() - start:.0f} s", flush=True)
            with open(out, "w") as file:
                file.write(compact(matrix))
    finally:
        keeper.lock()


def machine():
    with open("/etc/os-release") as file:
        system = next(line.split('"')[1] for line in file if line.startswith("PRETTY_NAME"))
    return f"{system}, Linux {platform.release().split('-')[0]}, {platform.machine()}"


def tell(row):
    if not row["reads"]:
        return f"{row['name']} {row['version']}: reads no FIFO, {row['opens']} opens"
    exact = {d: len(CLASSES) - sum(map(len, row["wrong"].get(d, {}).values())) for d in DIALECTS}
    return f"{row['name']} {row['version']}: {row['opens']} opens, {exact}"


def compact(matrix):
    """Writes one line for each reader: a change of one is a diff of one."""
    readers = ",\n".join("  " + json.dumps(r) for r in matrix["readers"])
    head = json.dumps({**matrix, "readers": None}, indent=1)
    return head.replace('"readers": null', '"readers": [\n' + readers + "\n ]") + "\n"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--more"]:
        CLASSES.clear()
        CLASSES.update(MORE)
        del sys.argv[1]
    main(*sys.argv[1:])
