#!/usr/bin/env bash
# Evaluate with several processes, one per GPU; without GPUs one per CPU share.
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment of each.
set -euo pipefail

if [[ $# -lt 3 ]]; then
    echo "usage: $0 CONFIG CHECKPOINT GPUS [arguments of test.py]" >&2
    exit 2
fi
config=$1
checkpoint=$2
gpus=$3
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# torch would take all cores in every process (or, under torchrun, one).
cores=$(nproc)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > gpus ? cores / gpus : 1))}

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$gpus" \
    "$root/tools/test.py" "$config" "$checkpoint" --launcher pytorch "${@:4}"
