#!/usr/bin/env bash
# Makes the matrix of docs/readers.md again: real readers on the mounts of a real
# keeper. LAB is a folder outside this repository.
#
#   scripts/readers.sh system          install Debian's readers (as root)
#   scripts/readers.sh install LAB     install those of npm and Go, build keepmum
#   scripts/readers.sh run LAB [NAME]  measure all, or the named, and write the data
#   scripts/readers.sh more LAB [NAME] the same with rarer values, for the tests
#   scripts/readers.sh doc             write the tables of docs/readers.md from it
#
# What is not installed is left out. Checkouts of python-dotenv, django-environ,
# ruby-dotenv and phpdotenv in LAB/ext, with their tags, are measured too.
set -euo pipefail
cd "$(dirname "$0")/.."

debian=(bash busybox dash direnv ksh93u+m make mksh php-cli php-symfony-dotenv
	php-vlucas-phpdotenv python3-decouple python3-django-environ python3-dotenv
	ruby ruby-dotenv ruby-foreman yash zsh)

lab() {
	[ -n "${1:-}" ] || { sed -n '5,9s/^# *//p' scripts/readers.sh >&2; exit 2; }
	mkdir -p "$1"
	(cd "$1" && pwd -P)
}

case "${1:-}" in
system)
	apt-get install -y --no-install-recommends "${debian[@]}"
	;;
install)
	lab=$(lab "${2:-}")
	mkdir -p "$lab/npm" "$lab/ext"
	cp scripts/readers/package.json "$lab/npm"
	(cd "$lab/npm" && npm install --no-audit --no-fund && npm rebuild bun)
	(cd scripts/readers/go && go build -o "$lab/goreaders" .)
	go build -o "$lab/keepmum" .
	;;
run)
	lab=$(lab "${2:-}")
	python3 -B scripts/readers/matrix.py "$lab" "$lab/matrix.json" "${@:3}"
	[ $# -gt 2 ] || cp "$lab/matrix.json" testdata/readers/matrix.json
	;;
more)
	lab=$(lab "${2:-}")
	python3 -B scripts/readers/matrix.py --more "$lab" "$lab/more.json" "${@:3}"
	[ $# -gt 2 ] || cp "$lab/more.json" testdata/readers/more.json
	;;
doc)
	go test -run '^TestReaders' -update .
	;;
*)
	lab ""
	;;
esac
