#!/bin/bash
# A run on a SLURM cluster that goes on in the next job where the time limit stops it:
#   sbatch --nodes=2 slurm.sh NAME --config hypergraph/bert-base.yaml --config hardware/gpu.yaml
# NAME is the run's, and what follows are options of `relbench-pretrain fit`. The file is printed by
#   python -c "from relbench_pretrain.cli import CONFIGS; print((CONFIGS / 'cluster/slurm.sh').read_text())"
#SBATCH --job-name=relbench-pretrain
#SBATCH --nodes=1
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@300
# The signal goes to this script, five minutes before the time is over: it stops the processes by SIGTERM, after which
# they end their step, and puts the job back into the queue.
set -u
run=$1
shift
requeue() {
    kill -TERM "$training"
    wait "$training"
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
}
trap requeue USR1
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}" # srun does not take it over by itself
# Lightning finds out from SLURM which process is which, and where the first one is.
srun "${PYTHON:-python}" -m relbench_pretrain fit --run "$run" "$@" \
    --trainer.num_nodes "$SLURM_JOB_NUM_NODES" --trainer.devices "$SLURM_NTASKS_PER_NODE" &
training=$!
wait "$training"
