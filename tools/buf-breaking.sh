#!/bin/sh
# Compares the contract with the one of the last commit on main: no client of it may break.
#   buf-breaking.sh PATH_TO_BUF
set -eu
buf=$1
main=$(git rev-parse --quiet --verify origin/main 2>/dev/null ||
    git rev-parse --quiet --verify main 2>/dev/null) || exit 0
git cat-file -e "$main:protos" 2>/dev/null || exit 0

before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
git archive "$main" protos | tar -x -C "$before"
cp buf.yaml "$before"
"$buf" breaking --against "$before"
