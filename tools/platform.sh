#!/bin/sh
# Provides the real components that tests/platform/ puts in front of the service: PgBouncer, HAProxy and nginx from
# Debian. Installs what is missing where we may (root and apt-get), otherwise prints what is missing and fails.
set -u
missing=""
for program in pgbouncer haproxy nginx; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || missing="$missing $program"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "Installing$missing ..."
    # RUNLEVEL=1: the packages must not start their services, the tests start the programs themselves.
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    # shellcheck disable=SC2086 # one word for each package
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends $missing; } >/tmp/platform-install.$$ 2>&1 \
        && rm -f /tmp/platform-install.$$ && exit 0
    tail -5 /tmp/platform-install.$$ >&2
    rm -f /tmp/platform-install.$$
fi
echo "make test-platform: missing:$missing. Install these Debian packages (as root: apt-get install$missing)." >&2
exit 1
