#!/bin/sh
# Runs the tests: first those that may run beside each other, then those that measure time and want the machine for
# themselves. Arguments are pytest's; they may leave nothing of one part (its exit code 5), but not of both.
set -u
.venv/bin/python -m pytest -n "${WORKERS:-3}" --dist loadfile --no-loadscope-reorder -m "not full and not alone" "$@"
beside=$?
.venv/bin/python -m pytest -m "alone and not full" "$@"
alone=$?
case "$beside,$alone" in
    0,0 | 0,5 | 5,0) echo "make test: everything passed." ;;
    *) echo "make test: FAILED, see above."; exit 1 ;;
esac
