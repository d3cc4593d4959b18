#!/usr/bin/env bash
# Train with several processes, one per GPU, or per share of the CPU where there is no GPU.
#   tools/dist_train.sh CONFIG GPUS [arguments of train.py]
#
# Several machines: the same command on each of them, with the same GPUS, and in the environment
#   NNODES        number of machines (1)
#   NODE_RANK     number of this one, from 0
#   MASTER_ADDR   address of number 0
#   PORT          a port of number 0 that the others reach (29500; on one machine a free one)
# They share the folder that the run is written to. Other ports between them must be open too. Where
# a machine has several networks, GLOO_SOCKET_IFNAME (CPU) or NCCL_SOCKET_IFNAME (GPU) names the
# interface to use, such as eth0.
#
# Restarts: with MAX_RESTARTS=N a run of which a process dies begins again, on all machines, at most
# N times, and goes on from its newest checkpoint. On several machines also
#   LOCAL_ADDR    address of this machine, where the others do not know it by its host name
#   RDZV_ID       name of the run, where several share MASTER_ADDR:PORT
#
# Signals: SIGTERM and SIGUSR1 ask the run to save and end, with exit status 0; --resume goes on. So
# does Ctrl-C, with 130; a second one ends it at once. PYTHON is the interpreter (python), OMP_NUM_THREADS the threads of each
# process (its share of the cores).
set -euo pipefail
if [[ $# -lt 2 ]]; then
    echo "usage: $0 CONFIG GPUS [arguments of train.py]" >&2
    exit 2
fi
exec "${PYTHON:-python}" "$(dirname "${BASH_SOURCE[0]}")/launch.py" train "$2" "$1" "${@:3}"
