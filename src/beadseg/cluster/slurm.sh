# --- What the job asks Slurm. -----------------------------------------------------------------------------------------
element=${SLURM_ARRAY_TASK_ID:-}
job=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-}}${element:+_$element}
cores=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-}}
[ -z "$cores" ] || export NCPUS=$cores OMP_NUM_THREADS=${OMP_NUM_THREADS:-$cores}
waits_for_this_job() { squeue --noheader --jobs="$1" --Format=Dependency:200 2>/dev/null | grep -qE "afterany:$job([^0-9_]|\$)"; }
submit_after_this_job() { sbatch --parsable --dependency="afterany:$job" --export="ALL,$1" "$script" | cut -d ';' -f 1; }
delete_job() { scancel "$1"; }
was_cancelled() { squeue --noheader --states=all --jobs="$1" --Format=State:20 2>/dev/null | grep -q CANCELLED; }
nodes_of_job() { [ "${SLURM_JOB_NUM_NODES:-1}" -le 1 ] || scontrol show hostnames "$SLURM_JOB_NODELIST"; }
run_on() { # node, words
  local host=$1
  shift
  srun --nodes=1 --ntasks=1 --nodelist="$host" --overlap --input=none "$@"
}
