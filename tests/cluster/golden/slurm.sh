#!/bin/bash
#SBATCH --job-name=train-first
#SBATCH --partition=gpu
#SBATCH --account=beads
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gres=gpu:1
#SBATCH --mem=64G
#SBATCH --time=12:00:00
#SBATCH --output=/dev/null
#SBATCH --requeue
#SBATCH --chdir=/
#SBATCH --signal=B:TERM@300

# Written by beadseg-batch submit. It may be sent again as it is: sbatch THIS_FILE.
kind=train
folder='/data/a b'"'"'c"d$e/runs/first'
directory='/data/a b'"'"'c"d$e'
most_jobs=10
restarts=0
walltime=43200
mask=0022
variables=''
margin=300
several=''
dataset=''
scratch="${TMPDIR:-/tmp}"
modules=()
program=(beadseg-batch train '/data/a b'"'"'c"d$e/beads' --out runs/first)
prepare() {
  :
  source "$HOME/beadseg/bin/activate"
}

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

# --- What follows is the same in every job. ---------------------------------------------------------------------------
began=$(date +%s)
umask "$mask"
inside=$job
job=${job:-no-job}
node=
if [ $# -eq 4 ]; then # one of the other nodes, see start_other_nodes
  node=.node$1 job=$4
  export BEADSEG_NODE=$1 BEADSEG_NODES=$2 BEADSEG_MASTER=$3
fi
part=${BEADSEG_PART:-1}
script=$folder/jobs/$kind.sh
table=$folder/jobs/jobs.csv
exec </dev/null
say() { printf '%s %s %s\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$1" "$2"; }

# The batch system's own output goes nowhere, so that a job whose folder cannot be used needs another place to say so.
lost() { # why
  say ERROR "$1 Nothing was done." >>"${HOME:-/tmp}/beadseg-$kind-$job$node.log" 2>/dev/null ||
    say ERROR "$1 Nothing was done." >>"${TMPDIR:-/tmp}/beadseg-$kind-$job$node.log"
  exit 4
}
if [ -n "$inside" ] && [ -z "$node" ] && [ ! -e "$script" ]; then
  lost "The folder $folder was deleted, moved, or is not visible on $(hostname)."
fi
mkdir -p -- "$folder/jobs" 2>/dev/null || lost "The folder $folder/jobs cannot be made on $(hostname)."
{ true >>"$folder/jobs/$kind-$job$node.log"; } 2>/dev/null || lost "$folder/jobs is not writable on $(hostname)."
exec >>"$folder/jobs/$kind-$job$node.log" 2>&1

record() { # id, part
  ! cut -d, -f1 "$table" 2>/dev/null | grep -qxF "$1" || return 0
  if ! { true >>"$table"; } 2>/dev/null; then
    say WARNING "Job $1 could not be recorded in $table, which is not writable; \`status\` does not know it."
    return 0
  fi
  [ -s "$table" ] || printf 'job,kind,part,sent\n' >>"$table"
  printf '%s,%s,%s,%s\n' "$1" "$kind" "$2" "$(date -u '+%Y-%m-%dT%H:%M:%SZ')" >>"$table"
}

# The successor is sent at once, so that it goes on also where this job is killed without a word.
successor=
send_successor() {
  [ "$part" -lt "$most_jobs" ] || return 0
  local known
  known=$(awk -F, -v kind="$kind" -v part=$((part + 1)) '$2 == kind && $3 == part { id = $1 } END { print id }' \
    "$table" 2>/dev/null)
  # One that was sent before this job was requeued; of the same part may also be a job of another submission's chain.
  if [ -n "$known" ] && waits_for_this_job "$known"; then
    successor=$known
  elif successor=$(submit_after_this_job "BEADSEG_PART=$((part + 1)),BEADSEG_AFTER=$job") && [ -n "$successor" ]; then
    record "$successor" $((part + 1))
  else
    successor=
    say WARNING "The next job could not be sent from this node; if the time does not suffice, send the job again."
  fi
}
drop_successor() {
  [ -n "$successor" ] && delete_job "$successor" >/dev/null 2>&1
  successor=
}

use_modules() {
  [ "${#modules[@]}" -gt 0 ] || return 0
  local start
  for start in /etc/profile.d/modules.sh /etc/profile.d/lmod.sh /usr/share/modules/init/bash; do
    if ! type module >/dev/null 2>&1 && [ -r "$start" ]; then . "$start"; fi
  done
  module load "${modules[@]}" || { say ERROR "module load ${modules[*]} failed."; return 4; }
}

make_scratch() {
  if ! mkdir -p -- "$scratch" 2>/dev/null || ! work=$(mktemp -d -- "$scratch/beadseg-XXXXXX" 2>/dev/null); then
    work=$(mktemp -d) || return 4
    say WARNING "The scratch folder $scratch cannot be used; $work is."
  fi
  trap 'rm -rf -- "$work"' EXIT
  export TMPDIR=$work
  if [ -n "$dataset" ]; then
    local source=${program[$dataset]}
    [ "${source#/}" != "$source" ] || source=$directory/$source
    if cp -RL -- "$source" "$work/dataset"; then
      say INFO "Copied $source to $work."
      program[$dataset]=$work/dataset
      export BEADSEG_STAGED=$source$'\n'$work/dataset # what is written names the original
    else
      rm -rf -- "$work/dataset"
      say WARNING "The dataset could not be copied to $work; it is read where it lies."
    fi
  fi
}

# After the set-up, which may lie in a home that can be read and not written.
replace_home() {
  [ ! -w "${HOME:-/nonexistent}" ] || return 0
  say WARNING "The home folder ${HOME:-} cannot be written to on this node; the program finds an empty one."
  export HOME=$work
}

# A training on several nodes: each of the others runs this script, too, and finds the first one by its address.
start_other_nodes() {
  local host number=0 hosts=()
  [ -n "$several" ] && [ -z "$node" ] || return 0
  while read -r host; do hosts+=("$host"); done < <(nodes_of_job)
  [ "${#hosts[@]}" -gt 1 ] || return 0
  export BEADSEG_NODE=0 BEADSEG_NODES=${#hosts[@]} BEADSEG_MASTER=${hosts[0]}:$((20000 + RANDOM % 20000))
  say INFO "Training on ${hosts[*]}; the other nodes write their own logs beside this one."
  for host in "${hosts[@]:1}"; do
    number=$((number + 1))
    { run_on "$host" /bin/bash "$script" "$number" "${#hosts[@]}" "$BEADSEG_MASTER" "$job" ||
      say WARNING "Node $host ended with exit code $?."; } &
  done
}

finish() { # code
  trap '' TERM # PBS sends it several times, also to the command below, which must not die of it
  case $1 in
    0 | 3 | 5) drop_successor ;;
    6) [ -n "$successor" ] || say WARNING "Part $part of at most $most_jobs, and no job follows: send the job again to go on." ;;
    *) if [ "$1" -le 130 ] || [ "$1" -eq 143 ]; then drop_successor; fi ;;
  esac
  case $1 in
    0) say INFO "Finished. Results: $folder" ;;
    3) say WARNING "Finished, but some items failed: see $folder/failures.csv. Results: $folder" ;;
    5) say WARNING "Ended with a result that is flagged, see above. Results: $folder" ;;
    6) say INFO "The job's time was up; everything is kept in $folder.${successor:+ Job $successor goes on.}" ;;
    130 | 143) say WARNING "Stopped by a signal, as a cancelled job gets it; everything is kept in $folder. Send the job again to go on." ;;
    *) if [ "$1" -gt 128 ]; then
        say ERROR "Killed by signal $(($1 - 128)); what was saved is in $folder.${successor:+ Job $successor goes on.}"
      else
        say ERROR "Failed with exit code $1, see above. What was saved is in $folder."
      fi ;;
  esac
  exit "$1"
}

fail() { # why
  [ -z "$interrupted" ] || finish 143
  say ERROR "$1"
  finish 4
}

say INFO "Job $job, part $part of at most $most_jobs, on $(hostname), in $folder."
# Where the batch system left the job before this one no time to take it back.
if [ -n "${BEADSEG_AFTER:-}" ] && was_cancelled "$BEADSEG_AFTER"; then
  say WARNING "The job before this one was cancelled, so this one does not go on. Send the job again to go on."
  exit 130
fi
# The batch system signals the program too, and the script waits for its end, whose code says what comes next.
interrupted=
trap 'interrupted=yes' TERM
if [ -z "$node" ]; then
  [ -n "$element" ] || record "$job" "$part"
  send_successor
fi
export PYTHONUTF8=1 PYTHONUNBUFFERED=1 MPLBACKEND=Agg
export BEADSEG_ELEMENT=$element BEADSEG_DEADLINE=$((began + walltime)) BEADSEG_MARGIN=$margin
make_scratch || fail "No temporary folder can be made on this node."
use_modules && prepare && cd -- "$directory" || fail "The job could not be prepared."
[ -z "$interrupted" ] || finish 143
replace_home
start_other_nodes

# In the foreground: the status of one behind `wait` is lost where it ends in the moment of a signal.
while :; do
  "${program[@]}"
  code=$?
  # A prediction that was killed goes on, and gives up an image that kills it twice.
  if [ -n "$interrupted" ] || [ "$restarts" -le 0 ] || [ "$code" -le 128 ] || [ "$code" -eq 130 ] || [ "$code" -eq 143 ]; then break; fi
  restarts=$((restarts - 1))
  say WARNING "Killed by signal $((code - 128)); it is begun again."
done
# The signal at the end of the walltime may meet a program that has saved everything and is about to end.
if [ "$code" -eq 143 ] && [ "$(date +%s)" -ge $((began + walltime - margin)) ]; then code=6; fi
finish "$code"
