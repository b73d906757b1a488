#!/bin/sh
# Checks the Promela models of docs/models/ with Debian's spin and a C compiler. Installs what is missing where we may
# (root and apt-get), otherwise prints what is missing and fails. Usage: tools/model.sh PYTHON [options of model.py]
set -u
missing=""
command -v spin >/dev/null || missing="$missing spin"
command -v gcc >/dev/null || missing="$missing gcc libc6-dev"
if [ -n "$missing" ]; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "Installing$missing ..."
        log=$(mktemp)
        # shellcheck disable=SC2086 # one word for each package
        { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing; } \
            >"$log" 2>&1 || tail -5 "$log" >&2
        rm -f "$log"
    fi
    command -v spin >/dev/null && command -v gcc >/dev/null || {
        echo "make model: missing:$missing. Install these Debian packages (as root: apt-get install$missing)." >&2
        exit 1
    }
fi
python=$1
shift
exec "$python" tools/model.py "$@"
