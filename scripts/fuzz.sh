#!/usr/bin/env bash
# Fuzzes every target for a time each, gently, and says how far each came:
#
#     scripts/fuzz.sh [DURATION [CORPUS [TARGET...]]]
#     scripts/fuzz.sh 1h /var/tmp/keepmum-corpus FuzzVault FuzzPolicy
#
# DURATION is what `go test -fuzztime` takes, 10m if not given. CORPUS keeps what
# reached new code, for the next run; it is a new folder under /tmp if not given. A
# new one begins with what earlier runs kept, testdata/corpus.tgz.
# An input that fails is kept in testdata/fuzz, where `go test` runs it from then
# on: mend the fault and commit both. Ends with 1 if there was one.
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0"; exit ;; esac

time=${1:-10m}
corpus=${2:-$(mktemp -d)}
shift $(($# < 2 ? $# : 2))
program=$(mktemp)
trap 'rm -f "$program"' EXIT
go test -c -fuzz . -o "$program" .
targets=${*:-$("$program" -test.list '^Fuzz')}

mkdir -p "$corpus"
[ -n "$(ls "$corpus")" ] || tar -C "$corpus" -xzf testdata/corpus.tgz
failed=0
printf '%-16s %12s %9s  %s\n' target executions kept result
for target in $targets; do
	log=$corpus/$target.log result=ok
	nice -n 19 "$program" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$time" \
		-test.fuzzcachedir "$corpus" >"$log" 2>&1 || { result="FAILED, see $log" failed=1; }
	executions=$(grep -o 'execs: [0-9]*' "$log" | tail -1 | cut -d' ' -f2)
	kept=$(find "$corpus/$target" -type f 2>/dev/null | wc -l)
	printf '%-16s %12s %9s  %s\n' "$target" "${executions:-0}" "$kept" "$result"
done
exit "$failed"
