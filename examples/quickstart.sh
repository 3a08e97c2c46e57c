#!/usr/bin/env bash
# The main job on simulated hosts: makes its own environment, starts twenty hosts on loopback, one of them broken,
# and asks all of them for a service.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=${REMOTEJOBS_VENV:-.venv}
if [ ! -x "$venv/bin/python" ]; then
    "${PYTHON:-python3}" -m venv "$venv"
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable .
remotejob=$(cd "$venv/bin" && pwd)/remotejob

work=$(mktemp -d)
cd "$work"
"$remotejob" simulate -ComputerName 'web[01-20]' -ServerList servers.txt -CAFile sim-ca.pem -Fault 'web07=refuse' &
simulator=$!
trap 'kill "$simulator" 2>/dev/null || true; wait "$simulator" 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 100); do
    [ -s servers.txt ] && break
    kill -0 "$simulator" # it ended: stop here
    sleep 0.1
done

export REMOTEJOBS_PASSWORD=sim REMOTEJOBS_HOME="$work/jobs"
status=0
"$remotejob" invoke -ComputerName @servers.txt -Credential sim -Authentication Basic -UseSSL \
    -SessionOption CAFile=sim-ca.pem -ScriptBlock 'Get-Service -Name WinRM' -ThrottleLimit 16 -OutputFormat Table ||
    status=$?

echo "exit code $status (3: a host was not reached)"
[ "$status" -eq 3 ]
