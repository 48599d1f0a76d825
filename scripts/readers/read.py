"""python3 read.py READER FILE...: a line of JSON for each file, with the variables
it gave in base64."""
import base64
import json
import logging
import os
import sys


def python_dotenv(file):
    import dotenv
    return dotenv.dotenv_values(file)


def decouple(file):
    from decouple import RepositoryEnv
    return RepositoryEnv(file).data


def django_environ(file):
    import environ
    before = dict(os.environ)
    try:
        environ.Env.read_env(file)
        return {k: v for k, v in os.environ.items() if before.get(k) != v}
    finally:
        os.environ.clear()
        os.environ.update(before)


READERS = {"python-dotenv": python_dotenv, "decouple": decouple, "django-environ": django_environ}


def encode(value):
    return base64.b64encode((value or "").encode("utf-8", "surrogateescape")).decode()


def main(name, *files):
    logging.disable(logging.CRITICAL)
    for file in files:
        out = {"file": file}
        try:
            out["vars"] = {k: encode(v) for k, v in READERS[name](file).items()}
        except Exception as e:
            out["error"] = str(e)
        print(json.dumps(out), flush=True)


main(*sys.argv[1:])
