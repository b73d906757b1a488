#!/bin/sh
# Provides what tests/node/ runs: Node.js, from Debian where it is missing and we may install (root and apt-get), and the
# packages of examples/node, from the npm registry, as in its lock file.
set -u
command -v node >/dev/null && command -v npm >/dev/null || {
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "Installing nodejs npm ..."
        apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends nodejs npm >/dev/null
    fi
    command -v node >/dev/null && command -v npm >/dev/null || {
        echo "make test-node: missing: Node.js 18 or newer and npm. Install them (as root: apt-get install nodejs npm)." >&2
        exit 1
    }
}
cd examples/node || exit 1
# Unchanged since the last time: nothing to do.
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --loglevel=error
