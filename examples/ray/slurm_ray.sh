#!/usr/bin/env bash
# A Ray cluster on nodes of Slurm, and a run on it. Untested: no Slurm was at hand.
#
#   sbatch --nodes=8 slurm_ray.sh /data/photos /data/resnet50.sise /data/run
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --exclusive
#SBATCH --time=12:00:00
set -euo pipefail
pictures=$1 bundle=$2 out=$3
export RAY_USAGE_STATS_ENABLED=0
# Ray's ports are open to the network: the token is in ~/.ray/auth_token, a folder that all nodes have to share.
export RAY_AUTH_MODE=token
ray get-auth-token --generate > /dev/null

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=6379
srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
  ray start --head --port="$port" --num-cpus="$SLURM_CPUS_PER_TASK" --include-dashboard=false --block &
sleep 20
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
  srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" --overlap \
    ray start --address="$head:$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
  sleep 20
fi
srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
  sise-rt explain "$pictures" -m "$bundle" -o "$out" --engine ray --address "$head:$port" \
  --threads 4 --preset fast --map-size 56 --outputs map
