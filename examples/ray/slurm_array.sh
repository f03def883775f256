#!/usr/bin/env bash
# Shards of a run as an array of Slurm, without Ray. Untested: no Slurm was at hand.
#
#   sbatch --array=1-64 slurm_array.sh /data/photos /data/resnet50.sise /data/run
#
# Every task explains every 64th picture into the same folder on a shared disk. One that was killed, or whose
# time was up, goes on where it was when it is queued again: Slurm does so by itself with --requeue.
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@60
set -euo pipefail
pictures=$1 bundle=$2 out=$3

# `exec`, so that Slurm's SIGTERM reaches it: it finishes the picture in hand.
exec sise-rt explain "$pictures" -m "$bundle" -o "$out" \
  --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
  --threads "$SLURM_CPUS_PER_TASK" --preset fast --maps shards --map-size 56 --outputs map --no-overview
