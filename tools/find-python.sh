#!/bin/sh
# Prints the newest Python >= 3.11 that really runs and can make virtual environments.
#   find-python.sh [OLDEST_MINOR] [NEWEST_MINOR]      default: 11 14
# A name on PATH proves nothing (version managers leave shims that only fail), so each candidate is run.
oldest=${1:-11}
newest=${2:-14}
probe="import sys, venv, ensurepip; sys.exit(not (3, $oldest) <= sys.version_info[:2] <= (3, $newest))"

minor=$newest
candidates="python3 python"
named=""
while [ "$minor" -ge "$oldest" ]; do
    named="$named python3.$minor"
    minor=$((minor - 1))
done

for candidate in $named $candidates; do
    if "$candidate" -c "$probe" >/dev/null 2>&1 </dev/null; then
        "$candidate" -c 'import sys; print(sys.executable)'
        exit 0
    fi
done

{
    echo "No usable Python 3.$oldest to 3.$newest found. Tried:$named $candidates."
    echo "Each was missing, failed to start, or lacks the modules venv and ensurepip (Debian: package python3-venv)."
    echo "Install one, or name it: make PYTHON=path/to/python3 ..."
} >&2
exit 1
