# --- What the job asks PBS. -------------------------------------------------------------------------------------------
job=${PBS_JOBID:-}
element=${PBS_ARRAY_INDEX:-}
waits_for_this_job() { qstat -f "$1" 2>/dev/null | tr -d '\n\t' | grep -qE ":${job//./\\.}(@|[^0-9A-Za-z._-]|\$)"; }
submit_after_this_job() { (cd / && qsub -W "depend=afterany:$job" -v "${variables:+$variables,}$1" "$script"); }
delete_job() { qdel "$1"; }
was_cancelled() { qstat -x -f "$1" 2>/dev/null | tr -d '\n\t' | grep -q 'and terminated by'; }
nodes_of_job() { [ ! -r "${PBS_NODEFILE:-}" ] || awk '!seen[$0]++' "$PBS_NODEFILE"; }
run_on() { pbs_tmrsh "$@"; } # node, words
