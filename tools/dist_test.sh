#!/usr/bin/env bash
# Evaluate with several processes; several machines: see dist_train.sh.
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
set -euo pipefail
if [[ $# -lt 3 ]]; then
    echo "usage: $0 CONFIG CHECKPOINT GPUS [arguments of test.py]" >&2
    exit 2
fi
exec "${PYTHON:-python}" "$(dirname "${BASH_SOURCE[0]}")/launch.py" test "$3" "$1" "$2" "${@:4}"
