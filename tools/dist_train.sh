#!/usr/bin/env bash
# Train with several processes, one per GPU or share of the CPU; several machines: see launch.sh.
#   tools/dist_train.sh CONFIG GPUS [arguments of train.py]
set -euo pipefail
if [[ $# -lt 2 ]]; then
    echo "usage: $0 CONFIG GPUS [arguments of train.py]" >&2
    exit 2
fi
exec "$(dirname "${BASH_SOURCE[0]}")/launch.sh" train "$2" "$1" "${@:3}"
