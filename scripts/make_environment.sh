#!/bin/sh
# Makes the virtual environment $1 with $PYTHON: what constraints.txt names, then the project.
set -eu

venv=$1
if [ -z "${PYTHON:-}" ]; then
    echo "medledger needs Python 3.11 or 3.12 and found neither; install one or set PYTHON=" >&2
    exit 2
fi

if ! "$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))'; then
    echo "PYTHON=$PYTHON is not a working Python 3.11 or 3.12" >&2
    exit 2
fi

if [ ! -x "$venv/bin/python" ]; then
    # Debian ships `venv` without its installer; an outer pip can fill a bare environment too.
    if "$PYTHON" -c 'import ensurepip' 2>/dev/null; then
        "$PYTHON" -m venv "$venv"
    elif "$PYTHON" -m pip --version >/dev/null 2>&1; then
        "$PYTHON" -m venv --without-pip "$venv"
    else
        echo "$PYTHON has neither venv's installer nor pip; on Debian: apt install python3-venv" >&2
        exit 2
    fi
fi

pip() {
    if [ -x "$venv/bin/pip" ]; then
        "$venv/bin/python" -m pip --disable-pip-version-check "$@"
    else
        "$PYTHON" -m pip --disable-pip-version-check --python "$venv/bin/python" "$@"
    fi
}

# Without --no-deps pip asks the registry what fits `coverage[toml]` and finds a release newer than ours.
pip install --quiet --require-hashes --no-deps --requirement constraints.txt
# The build tool is among the constraints: nothing unpinned is fetched for the build.
pip install --quiet --no-deps --no-build-isolation --editable .
