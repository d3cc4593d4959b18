#!/usr/bin/env bash
# What dist_train.sh and dist_test.sh share: start a tool in several processes, one per GPU; without
# GPUs one per CPU share.
#   tools/launch.sh TOOL GPUS [arguments of the tool]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment of each.
set -euo pipefail

tool=$1
gpus=$2
if ! [[ $gpus =~ ^[1-9][0-9]*$ ]]; then
    echo "error: the number of GPUs must be a positive number, not '$gpus'" >&2
    exit 2
fi
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
    "$root/tools/$tool.py" "${@:3}" --launcher pytorch
