#!/bin/bash
#SBATCH --job-name=resnet_lab
#SBATCH --array=0-7
#SBATCH --cpus-per-task=2
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
#SBATCH --signal=B:USR1@60
#SBATCH --requeue
# usage: sbatch slurm_array.sh QUESTION SCALE       (edit the two folders; on GPUs add --gpus-per-task=1 above)
# Each array task does its share of the missing runs into the shared store and touches no database.
set -euo pipefail
STUDIES=${STUDIES:-$HOME/studies}
export RESNET_LAB_DATA=${RESNET_LAB_DATA:-$HOME/data}

# `exec`, so that Slurm's signals reach the study itself: it checkpoints, and a requeued task goes on.
exec python -m resnet_lab.study "$1" --scale "$2" --studies "$STUDIES" \
    --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --time-limit 3h50m
