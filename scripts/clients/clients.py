#!/usr/bin/env python3
"""clients.py KEEPMUM LAB [NAME...]: the official clients against a real keeper.

Each client starts the bridge as it starts any server, in each protocol era that
it knows, lists and calls every tool, reads every resource, and gives the values
that a result must have. The keeper sits on a terminal of its own, in a throw-away
home without a policy, and a scripted person answers each question with "o"; but
"connect" with "t" where a client starts the bridge anew for each call. The values
that the vault holds, that a client sent, and that an imported file has, must not be
in anything that a client received.

Prints a table and ends with 1 if a row is not as it must be.
"""
import json, os, stat, subprocess, sys

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, HERE + "/../readers")
sys.dont_write_bytecode = True
from keeper import ANSWERS, Keeper  # noqa: E402

QUESTION = r"allow\?[\s\S]*?  > $"
ONCE = [*ANSWERS, (QUESTION, "o")]
TIMED = [*ANSWERS, (r"  connect\r\n[\s\S]*?" + QUESTION, "t"), (QUESTION, "o")]
HELD, SENT, IMPORTED = "canary-held-5f1c", "canary-sent-83ab", "canary-imported-e07d"
LEGACY = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
MODERN = "2026-07-28"


class Run:
    """One client, with a server script and a folder of its own."""

    def __init__(self, keeper, lab, name, revision, command):
        self.keeper, self.lab, self.name, self.revision, self.command = keeper, lab, name, revision, command
        self.dir = f"{keeper.folder}/{''.join(c if c.isalnum() else '-' for c in name)}"
        os.makedirs(self.dir)
        self.received, self.server = f"{self.dir}/received", f"{self.dir}/server"
        open(self.received, "w").close()
        with open(self.server, "w") as file:
            file.write(f"#!/bin/sh\nKEEPMUM_HOME='{keeper.home}' '{keeper.program}' mcp "
                       f"2>>'{self.dir}/log' | tee -a '{self.received}'\n")
        os.chmod(self.server, stat.S_IRWXU)
        with open(f"{self.dir}/old.env", "w") as file:
            file.write(f"IMPORTED={IMPORTED}\n")
        with open(f"{self.dir}/steps.json", "w") as file:
            json.dump([{"tool": t, "args": a, "keep": k} for t, a, k, _ in self.steps()], file)

    def steps(self):
        """Tool, arguments, what to keep of the result, and what the result must have: members,
        or the words of an error."""
        first, second, here = self.name, self.name + " 2", self.dir
        account = {"accountId": "$account"}
        ids = account | {"environmentId": "$environment"}
        return [
            ("authenticate", {}, {"account": "account_id"}, {}),
            ("create_environment", account | {"environmentName": first},
             {"environment": "environmentId"}, {"name": first}),
            ("rename_environment", ids | {"environmentName": second}, {}, {"name": second}),
            ("list_environments", account, {}, lambda r: second in [e["name"] for e in r["environments"]]),
            ("append_variables", ids | {"variables": [{"name": "SENT", "value": SENT},
                                                      {"name": "EMPTY", "value": ""}]}, {},
             {"added": ["SENT"], "placeholders": ["EMPTY"]}),
            ("list_variables", ids, {}, {"variableNames": ["SENT", "EMPTY"]}),
            ("remove_variables", ids | {"variableNames": ["EMPTY"]}, {}, {"removed": ["EMPTY"]}),
            ("list_variables", account | {"environmentId": "none"}, {}, "none"),
            ("create_local_env_file", ids | {"environmentName": second, "mountPath": here + "/.env"}, {},
             {"mountPath": here + "/.env", "enabled": True}),
            ("list_local_env_files", ids, {},
             lambda r: [f["mountPath"] for f in r["localEnvFiles"]] == [here + "/.env"]),
            ("remove_local_env_file", account | {"mountPath": here + "/.env"}, {}, {"mountPath": here + "/.env"}),
            ("import_env_file", account | {"environmentName": self.name + " 3",
                                           "path": here + "/old.env", "mount": True}, {},
             {"imported": ["IMPORTED"], "mountPath": here + "/old.env"}),
            ("delete_environment", ids, {}, lambda r: len(r["environmentId"]) > 0),
        ]

    def got(self):
        """Runs the client, by its program or call by call."""
        if callable(self.command):
            return self.command(self)
        return json.loads(self.output(*self.command, f"{self.dir}/steps.json", self.server))

    def output(self, *command, codes=(0,)):
        done = subprocess.run(command, cwd=self.lab + "/npm", capture_output=True, text=True, timeout=400,
                              env={**os.environ, "HOME": self.dir})
        with open(f"{self.dir}/output", "a") as file:
            file.write(done.stdout + done.stderr)
        if done.returncode not in codes:
            said = (done.stderr or done.stdout).strip()[-600:]
            raise SystemError(f"{command[0]} ended with {done.returncode}: {said}")
        return done.stdout

    def faults(self, got):
        for (tool, _, _, want), result in zip(self.steps(), got["results"], strict=True):
            value = result["value"]
            if isinstance(want, str):
                if not result["error"] or want not in value:
                    yield f"{tool} gave {value!r}, want an error with {want!r}"
            elif result["error"] or not isinstance(value, dict):
                yield f"{tool} failed: {value!r}"
            elif not (want(value) if callable(want) else want.items() <= value.items()):
                yield f"{tool} gave {value!r}"
        if sorted(got["tools"]) != sorted({t for t, _, _, _ in self.steps()}):
            yield f"listed {got['tools']}"
        for name in "getting-started", "environments-guide":
            with open(f"{HERE}/../../docs/mcp/{name}.md") as file:
                if got["resources"].get("keepmum://docs/" + name) != file.read():
                    yield f"{name} is not the document"
        mounted = subprocess.run(["cat", self.dir + "/old.env"], capture_output=True, text=True,
                                 timeout=60).stdout
        if IMPORTED not in mounted:
            yield f"the import did not arrive: {mounted!r}"
        if self.spoken() != {self.revision}:
            yield f"spoke {sorted(self.spoken())}, want {self.revision}"
        with open(self.received) as received, open(f"{self.dir}/output") as output:
            text = received.read() + output.read()
        if "SENT" not in text:
            yield "not what the client received was searched"
        yield from (f"{canary} was received" for canary in (HELD, SENT, IMPORTED) if canary in text)

    def spoken(self):
        """The revisions by which the bridge answered."""
        found = set()
        with open(self.received) as file:
            for line in file:
                result = json.loads(line).get("result") or {}
                found |= {result["protocolVersion"]} if "protocolVersion" in result else set()
                found |= {MODERN} if "resultType" in result else set()
        return found


def inspector(era):
    """The Inspector's command line, which starts the server anew for each call."""
    def played(run):
        run.keeper.answers = TIMED
        cli = ["node", "node_modules/.bin/mcp-inspector", "--cli", "--protocol-era", era, run.server]
        ask = lambda *args: json.loads(run.output(*cli, "-q", "--format", "json", *args,
                                                  codes=(0, 5)))["result"]
        run.output(*cli, "--method", "tools/list", "--strict")
        listed = ask("--method", "tools/list")["tools"]
        got, kept = {"tools": [t["name"] for t in listed], "results": [], "resources": {}}, {}
        for tool, args, keep, _ in run.steps():
            text = json.dumps(args)
            for name, value in kept.items():
                text = text.replace("$" + name, value)
            answer = ask("--method", "tools/call", "--tool-name", tool, "--tool-args-json", text)
            value = answer.get("structuredContent", answer["content"][0]["text"])
            got["results"].append({"tool": tool, "error": bool(answer.get("isError")), "value": value})
            kept |= {name: value[member] for name, member in keep.items()}
        for resource in ask("--method", "resources/list")["resources"]:
            answer = ask("--method", "resources/read", "--uri", resource["uri"])
            got["resources"][resource["uri"]] = answer["contents"][0]["text"]
        return got
    return played


def clients(lab):
    """The table: name, version, era, the revision that must be spoken, command."""
    with open(HERE + "/package.json") as file:
        npm = json.load(file)["dependencies"]
    with open(HERE + "/go/go.mod") as file:
        go = next(line.split()[-1] for line in file if "go-sdk v" in line)
    script = ["node", lab + "/npm/client.mjs"]
    version = lambda name: npm["@modelcontextprotocol/" + name]
    yield "Go SDK", go, "its default", MODERN, [lab + "/goclient", ""]
    for revision in LEGACY[::-1]:
        yield "Go SDK", go, "asked for", revision, [lab + "/goclient", revision]
    yield "TypeScript SDK v1", version("sdk"), "legacy", "2025-11-25", script + ["v1", "legacy"]
    yield "TypeScript SDK v2", version("client"), "legacy", "2025-11-25", script + ["v2", "legacy"]
    yield "TypeScript SDK v2", version("client"), "auto", MODERN, script + ["v2", "auto"]
    yield "TypeScript SDK v2", version("client"), "pinned", MODERN, script + ["v2", MODERN]
    for era, revision in (("legacy", "2025-11-25"), ("auto", MODERN), ("modern", MODERN)):
        yield "Inspector, --strict", version("inspector"), era, revision, inspector(era)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    program, lab, want = os.path.realpath(sys.argv[1]), os.path.realpath(sys.argv[2]), sys.argv[3:]
    keeper = Keeper(program, lab + "/run", policy={}, answers=ONCE)
    bad = rows = 0
    try:
        keeper.run("set", "held", "HELD", text=HELD.encode() + b"\n")
        print("| client | version | era | revision | tools listed | tools called | resources read | result |\n"
              "|---|---|---|---|---|---|---|---|")
        for number, (name, version, era, revision, command) in enumerate(clients(lab)):
            if want and not any(w in f"{name} {era} {revision}" for w in want):
                continue
            rows += 1
            run = Run(keeper, lab, f"{number} {name}", revision, command)
            try:
                got = run.got()
                faults = list(run.faults(got))
            except (SystemError, subprocess.TimeoutExpired, KeyError, TypeError, ValueError) as error:
                got, faults = {"tools": [], "results": [], "resources": {}}, [str(error)]
            bad += bool(faults)
            called = {r["tool"] for r in got["results"]}
            print(f"| {name} | {version} | {era} | {revision} | {len(got['tools'])} | {len(called)} | "
                  f"{len(got['resources'])} | {'; '.join(faults) or 'as it must be'} |", flush=True)
    finally:
        keeper.lock()
    print(f"\n{rows} rows, {bad} not as they must be")
    sys.exit(bad > 0 or rows == 0)


if __name__ == "__main__":
    main()
