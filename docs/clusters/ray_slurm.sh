#!/bin/bash
#SBATCH --job-name=resnet_lab_ray
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
# usage: sbatch ray_slurm.sh QUESTION SCALE         (edit the folders)
# One Ray head on the first node, a worker on every node, and the driver beside the head.
set -euo pipefail
STUDIES=${STUDIES:-$HOME/studies}
SCRATCH=${SCRATCH:-$HOME/scratch}
PORT=${PORT:-6379}
export RESNET_LAB_DATA=${RESNET_LAB_DATA:-$HOME/data}

HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --nodes=1 --ntasks=1 -w "$HEAD" ray start --head --port="$PORT" --num-cpus=0 --block &
sleep 15
srun ray start --address="$HEAD:$PORT" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
sleep 15

python -m resnet_lab.study "$1" --scale "$2" --studies "$STUDIES" --scratch "$SCRATCH" --executor ray --ray-address "$HEAD:$PORT"
