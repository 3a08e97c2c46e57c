#!/usr/bin/env bash
# Makes its own environment and runs everything: formatting, lint, types for three systems, tests.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
venv=${REMOTEJOBS_TEST_VENV:-.venv}
if [ ! -x "$venv/bin/python" ]; then
    "$python" -m venv "$venv"
fi
extras=test
if command -v krb5-config >/dev/null; then
    extras=test,test-kerberos # without Kerberos' headers its tests are skipped, and say so
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$extras]"

"$venv/bin/ruff" format --check --quiet .
"$venv/bin/ruff" check --quiet .
"$venv/bin/mypy" --no-error-summary
for platform in win32 darwin; do
    "$venv/bin/mypy" --no-error-summary --platform "$platform" remotejobs
done
exec "$venv/bin/python" -m pytest "$@"
