#!/usr/bin/env bash
# The official MCP clients against a real keeper, and a second validator's opinion
# on what bridges write: the tables of "Protocol" in docs/assurance.md. LAB is a
# folder outside this repository. Needs go, node with npm, python3.
#
#   scripts/clients.sh install LAB       the Go SDK, the TypeScript SDKs, the Inspector
#                                        and ajv, and keepmum itself
#   scripts/clients.sh run LAB [NAME...] every client, or those whose name, era or
#                                        revision has NAME in it
#   scripts/clients.sh messages LAB      go test, and ajv on all that bridges wrote
#   scripts/clients.sh all LAB           the three
#
# Ends with 1 if a client gets anything else than it must, or a verdict differs.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
	sed -n '6,11s/^#   //p' scripts/clients.sh
}

install() {
	mkdir -p "$lab/npm"
	cp scripts/clients/package.json "$lab/npm"
	(cd "$lab/npm" && npm install --no-audit --no-fund --ignore-scripts)
	(cd scripts/clients/go && go build -o "$lab/goclient" .)
	go build -o "$lab/keepmum" .
}

run() {
	cp scripts/clients/client.mjs "$lab/npm" # its imports are looked up beside it
	python3 -B scripts/clients/clients.py "$lab/keepmum" "$lab" "$@"
}

messages() {
	cp scripts/clients/ajv.mjs "$lab/npm"
	go test -count 1 -v . -args -verdicts "$lab/verdicts.jsonl" | grep -E '^(--- FAIL|FAIL|ok|[0-9]+ messages)'
	(cd "$lab/npm" && node ajv.mjs "$OLDPWD/conform/schema" ../verdicts.jsonl)
}

case "${1:-}" in
install | run | messages | all) ;;
-h | --help) usage; exit ;;
*) usage >&2; exit 2 ;;
esac
[ -n "${2:-}" ] || { usage >&2; exit 2; }
mkdir -p "$2"
lab=$(cd "$2" && pwd -P)
case $1 in
all) install; run; messages ;;
*) "$1" "${@:3}" ;;
esac
