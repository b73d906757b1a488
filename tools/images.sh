#!/bin/sh
# Builds the images of deploy/containers/Dockerfile with buildah, in a storage of its own, for tests/images/. The base image is made with
# debootstrap, because no image registry is needed then: Debian with its Python 3.11. Needs root; installs buildah and
# debootstrap from Debian where they are missing.
set -eu
storage=$PWD/.dev/images
fail() { echo "make test-images: $1" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || fail "must run as root: it mounts file systems"
missing=""
for program in buildah debootstrap; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || missing="$missing $program"
done
if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || fail "missing:$missing"
    echo "Installing$missing ..."
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # one word for each package
    apt-get -qq update && apt-get -qq install -y --no-install-recommends $missing >/dev/null
fi
run() { buildah --root "$storage/storage" --runroot "$storage/run" "$@"; }

if ! run inspect --type image localhost/base >/dev/null 2>&1; then
    echo "Making the base image ..."
    mkdir -p "$storage"
    rm -rf "$storage/base"
    PATH="$PATH:/usr/sbin:/sbin" debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
        bookworm "$storage/base" >"$storage/base.log" || { tail -5 "$storage/base.log" >&2; fail "debootstrap failed"; }
    ln -sf python3 "$storage/base/usr/bin/python"
    container=$(run from scratch)
    run copy --quiet "$container" "$storage/base" / >/dev/null
    # The build trusts the authorities that this machine trusts: its proxy may have one of its own.
    run copy --quiet "$container" /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt >/dev/null
    run config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        --env PIP_CERT=/etc/ssl/certs/ca-certificates.crt "$container"
    run commit --quiet "$container" localhost/base >/dev/null
    run rm "$container" >/dev/null
    rm -rf "$storage/base"
fi

for target in service gateway simulator; do
    echo "Building $target ..."
    # HEALTHCHECK is a part of Docker's image format only.
    run bud --isolation chroot --format docker --layers --pull-never --build-arg PYTHON_IMAGE=localhost/base \
        --file deploy/containers/Dockerfile --target "$target" --tag "localhost/$target" . >"$storage/$target.log" 2>&1 \
        || { tail -20 "$storage/$target.log" >&2; fail "the image $target could not be built"; }
done
