#!/bin/sh
# Writes constraints.txt and constraints-bench.txt: exact versions and hashes of every dependency,
# for every supported Python.
# $1 is the version of uv, the resolver; it lives in a throw-away environment. The pins that stand
# are kept unless pyproject.toml says otherwise; what follows $1 (--upgrade) changes that.
set -eu

workshop=$(mktemp -d)
trap 'rm -rf "$workshop"' EXIT
"$PYTHON" -m venv "$workshop/venv"
"$workshop/venv/bin/pip" install --quiet --disable-pip-version-check "uv==$1"
shift

# --universal: one file for both Pythons, with markers where they differ. No address of any
# registry is written, so the file serves whatever mirror a hospital uses.
compile() {
    output=$1
    shift
    "$workshop/venv/bin/uv" pip compile pyproject.toml \
        --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-config --quiet \
        --cache-dir "$workshop/cache" --custom-compile-command "make lock" \
        --output-file "$output" "$@"
}

compile constraints.txt --extra dev "$@"
# What only draws pictures of benchmarks stays out of every other environment.
compile constraints-bench.txt --extra bench --constraint constraints.txt "$@"
