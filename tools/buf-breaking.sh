#!/bin/sh
# Compares the contract with protos/baseline.binpb: no client of it may break. `make baseline` replaces the baseline,
# on purpose; the message of that commit names what breaks.
#   buf-breaking.sh PATH_TO_BUF
set -eu
"$1" breaking --against protos/baseline.binpb || {
    echo "The contract breaks clients of protos/baseline.binpb. If that is intended: make baseline" >&2
    exit 1
}
