#!/usr/bin/env bash
# Train under Slurm, one task per GPU.
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG [WORK_DIR] [arguments of train.py]
# Environment: GPUS (8 in all), GPUS_PER_NODE (8; several nodes are filled), CPUS_PER_TASK (5),
# SRUN_ARGS; MASTER_PORT (made from the job's number), MASTER_ADDR (the first node).
#
# In a terminal it waits for the run, and `scancel --signal=TERM JOB` makes the run save and end. A
# run that is to outlive preemption and time limits is submitted; this script is then the job:
#   GPUS=16 sbatch --partition=P --job-name=J --nodes=2 --ntasks-per-node=8 --gres=gpu:8 \
#       --cpus-per-task=5 --requeue --open-mode=append --signal=B:TERM@120 \
#       --wrap='tools/slurm_train.sh P J CONFIG'
# 120 s before the end Slurm sends the job SIGTERM (or USR1). It is handed on to the tasks, which save
# and end; then the job asks to be queued again, and goes on from its newest checkpoint.
set -euo pipefail

if [[ $# -lt 3 ]]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG [WORK_DIR] [arguments of train.py]" >&2
    exit 2
fi
partition=$1
job_name=$2
config=$3
shift 3
options=()
if [[ $# -gt 0 && $1 != --* ]]; then
    options=(--work-dir "$1")
    shift
fi
gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-8}
cpus_per_task=${CPUS_PER_TASK:-5}
for name in gpus gpus_per_node cpus_per_task; do
    if ! [[ ${!name} =~ ^[1-9][0-9]*$ ]]; then
        echo "error: ${name^^} must be a positive number, not '${!name}'" >&2
        exit 2
    fi
done
if ((gpus < gpus_per_node)); then
    gpus_per_node=$gpus
fi
if ((gpus % gpus_per_node)); then
    echo "error: GPUS=$gpus are not a whole number of nodes of GPUS_PER_NODE=$gpus_per_node" >&2
    exit 2
fi
if ! command -v srun >/dev/null; then
    echo "error: there is no srun here: start on a machine of the cluster, or use dist_train.sh" >&2
    exit 2
fi
read -r -a srun_args <<<"${SRUN_ARGS:-}"
if ((${SLURM_RESTART_COUNT:-0} > 0)); then # queued again
    options+=(--resume)
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

command=(
    srun
    --partition="$partition"
    --job-name="$job_name"
    --nodes="$((gpus / gpus_per_node))"
    --gres="gpu:$gpus_per_node"
    --ntasks="$gpus"
    --ntasks-per-node="$gpus_per_node"
    --cpus-per-task="$cpus_per_task"
    --kill-on-bad-exit=1
    "${srun_args[@]}"
    "${PYTHON:-python}" -u "$root/tools/train.py" "$config" "${options[@]}" --launcher slurm "$@"
)
if [[ -z ${SLURM_JOB_ID:-} ]]; then
    exec "${command[@]}"
fi

# The job of sbatch.
asked=
"${command[@]}" &
tasks=$!
trap 'asked=TERM; kill -TERM $tasks 2>/dev/null' TERM
trap 'asked=USR1; kill -USR1 $tasks 2>/dev/null' USR1
status=0
wait "$tasks" || status=$?
while kill -0 "$tasks" 2>/dev/null; do # a signal has ended the wait
    status=0
    wait "$tasks" || status=$?
done
if [[ -n $asked && $status -eq 0 ]]; then
    echo "Stopped by SIG$asked: the job is queued again."
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
