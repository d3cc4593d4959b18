#!/usr/bin/env bash
# Evaluate with several processes, one per GPU or share of the CPU; several machines: see launch.sh.
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
set -euo pipefail
if [[ $# -lt 3 ]]; then
    echo "usage: $0 CONFIG CHECKPOINT GPUS [arguments of test.py]" >&2
    exit 2
fi
exec "$(dirname "${BASH_SOURCE[0]}")/launch.sh" test "$3" "$1" "$2" "${@:4}"
