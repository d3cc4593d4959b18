#!/usr/bin/env bash
# Train under Slurm, one task per GPU.
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG [WORK_DIR] [arguments of train.py]
# Environment: GPUS (8 in all), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS.
set -euo pipefail

if [[ $# -lt 3 ]]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG [WORK_DIR] [arguments of train.py]" >&2
    exit 2
fi
partition=$1
job_name=$2
config=$3
shift 3
work_dir=()
if [[ $# -gt 0 && $1 != --* ]]; then
    work_dir=(--work-dir "$1")
    shift
fi
gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
cpus_per_task=${CPUS_PER_TASK:-5}
read -r -a srun_args <<<"${SRUN_ARGS:-}"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

exec srun \
    --partition="$partition" \
    --job-name="$job_name" \
    --gres="gpu:$gpus_per_node" \
    --ntasks="$gpus" \
    --ntasks-per-node="$gpus_per_node" \
    --cpus-per-task="$cpus_per_task" \
    --kill-on-bad-exit=1 \
    "${srun_args[@]}" \
    "${PYTHON:-python}" -u "$root/tools/train.py" "$config" "${work_dir[@]}" --launcher slurm "$@"
