#!/usr/bin/env bash
# Train with several processes, one per GPU; without GPUs one per CPU share.
#   tools/dist_train.sh CONFIG GPUS [arguments of train.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment of each.
set -euo pipefail

if [[ $# -lt 2 ]]; then
    echo "usage: $0 CONFIG GPUS [arguments of train.py]" >&2
    exit 2
fi
config=$1
gpus=$2
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
    "$root/tools/train.py" "$config" --launcher pytorch "${@:3}"
