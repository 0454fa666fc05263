#!/usr/bin/env bash
# Runs a job as the entrypoint of a RayJob, for KubeRay sees that a job failed and not how.
#
#   entrypoint.sh COMMAND...
#
# A failure after which the same command goes on (exit code 3, or a kill for lack of memory) is
# followed by the same command, XLT_TRIES times in all, XLT_PAUSE seconds apart. A job that cannot be
# configured (2) is stopped: KubeRay takes a stopped job for complete and, unlike a failed one, does
# not try it again with a new cluster.
set -u

stop_this_job() {
  local id
  id=$(python -c 'import json, os
print(json.loads(os.environ["RAY_JOB_CONFIG_JSON_ENV_VAR"])["metadata"]["job_submission_id"])')
  ray job stop --address "${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}" "$id"
}

for ((try = 1; ; try++)); do
  "$@"
  code=$?
  case $code in
    2) stop_this_job; exit 2 ;;
    3 | 137) ((try < ${XLT_TRIES:-5})) || exit "$code" ;;
    *) exit "$code" ;;
  esac
  echo "try $try ended with code $code; the same command goes on" >&2
  sleep "${XLT_PAUSE:-30}"
done
