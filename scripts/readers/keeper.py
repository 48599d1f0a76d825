"""A real keeper on a pseudo-terminal, in a throw-away home. Its policy allows every
request, unless another is given with the answers of a person: what is measured is
then the text, not the questions."""
import fcntl
import json
import os
import pty
import re
import shutil
import subprocess
import termios
import threading
import time

POLICY = {"maxMounts": 2000, "idleLock": "12h", "rules": [
    {"agent": True, "decision": "allow"}, {"decision": "allow"}]}
PASSPHRASE = "a passphrase for nothing"
ANSWERS = [(r"new passphrase: $", PASSPHRASE + "\r"), (r"the same again: $", PASSPHRASE + "\r"),
           (r"use it\?[^>]*> $", "y")]


class Keeper:
    def __init__(self, program, folder, policy=POLICY, answers=ANSWERS):
        self.program, self.folder, self.home = program, folder, f"{folder}/home"
        self.answers = answers
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(self.home, 0o700)
        with open(f"{self.home}/policy.json", "w") as file:
            json.dump(policy, file)
        self.env = {**os.environ, "KEEPMUM_HOME": self.home, "HOME": folder, "TERM": "dumb"}
        self.screen = ""
        self.terminal, line = pty.openpty()
        self.process = subprocess.Popen(
            [program, "unlock"], stdin=line, stdout=line, stderr=line, env=self.env, cwd=folder,
            preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)))
        os.close(line)
        threading.Thread(target=self.sit, daemon=True).start()
        until = time.monotonic() + 60
        while "Ctrl-C locks" not in self.screen:
            if time.monotonic() > until or self.process.poll() is not None:
                raise SystemExit("the keeper did not unlock:\n" + self.screen)
            time.sleep(0.05)

    def sit(self):
        """Is the person: reads the terminal and answers what unlock asks."""
        seen = 0
        while True:
            try:
                data = os.read(self.terminal, 65536)
            except OSError:
                return
            self.screen = (self.screen + data.decode("utf-8", "replace"))[-100_000:]
            for pattern, answer in self.answers:
                if re.search(pattern, self.screen):
                    time.sleep(1)  # a key that comes at once does not count
                    os.write(self.terminal, answer.encode())
                    self.screen = ""

    def run(self, *args, text=None):
        done = subprocess.run([self.program, *args], env=self.env, input=text, capture_output=True,
                              timeout=120)
        if done.returncode:
            raise SystemExit(f"keepmum {' '.join(args)}: {done.stderr.decode()}")
        return done.stdout

    def log(self):
        return [json.loads(line) for line in self.run("log", "--json").splitlines()]

    def lock(self):
        self.run("lock")
        self.process.wait(30)
