#!/usr/bin/env bash
# Checks the JAX engine on a machine with an NVIDIA GPU and without a network; prints JSON.
# What it found: docs/performance.md#on-a-gpu.
#   load_tests/gpu.sh pack      where this project is developed: writes gpu-check/, at most 60 MB
#   load_tests/gpu.sh --out F   where the GPU is, with gpu-check/, Python 3.12, JAX, NumPy and Pillow; PyTorch or not
#   load_tests/gpu.sh --smoke   tiny, on any machine
# PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ "${1:-}" = pack ]; then
    exec "${PYTHON:-.venv/bin/python}" -m load_tests.gpu.pack gpu-check
fi
python=${PYTHON:-python3}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
"$python" -c 'import sys, zipfile; [zipfile.ZipFile(wheel).extractall(sys.argv[1]) for wheel in sys.argv[2:]]' \
    "$site" gpu-check/wheels/*.whl
PYTHONPATH="$site:$PWD" "$python" -m load_tests.gpu "$@"
