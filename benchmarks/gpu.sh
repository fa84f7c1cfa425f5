#!/usr/bin/env bash
# Everything that only a GPU can show, in eight minutes and without a network:
#
#     benchmarks/gpu.sh [OUT] [OPTIONS OF gpu.py]
#
# OUT/gpu.json and OUT/gpu.md are whole after every step. PYTHON names the interpreter (default: python3); with
# WHEELS=FOLDER, the wheels there are unpacked first, beside what that Python has; benchmarks/README.md says how to
# fill such a folder. The exit code is 0 where every step was done.
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3}
out=${1:-gpu-results}
shift || true
if [ -n "${WHEELS:-}" ]; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    timeout 60 "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$WHEELS"/*.whl || exit 1
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONUNBUFFERED=1
"$python" "$root/benchmarks/gpu.py" --out "$out" "$@"
