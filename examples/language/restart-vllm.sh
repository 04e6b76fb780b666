#!/usr/bin/env bash
# Serves a model folder on a port, replacing the server that this script started there before. It returns when the port answers:
#
#   bash restart-vllm.sh FOLDER PORT vllm serve MODEL --grpc --host 127.0.0.1 --port PORT …
#
# MODEL and PORT in the command are replaced by the folder and the port. vLLM's gRPC server does not load LoRA adapters: if FOLDER
# contains one, it is merged into its base model first, with the Python environment that `pmpo serve trainer` created, or with
# TRAINER_PYTHON. The server's process id and log are written to STATE (default: ~/.local/state/pmpo).
set -euo pipefail

if (($# < 3)); then
  echo "usage: restart-vllm.sh FOLDER PORT COMMAND…" >&2
  exit 2
fi
folder=${1%/} port=$2
shift 2
state=${STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/pmpo}
mkdir -p "$state"
record=$state/vllm-$port.pid log=$state/vllm-$port.log

# Identifies a process by its id and its start time: ids are reused. The start time is in clock ticks since boot, because the one that
# `ps` prints changes when the clock is set.
identity() {
  if [[ -d /proc/self ]]; then
    # Skip the process name in brackets, which may contain spaces.
    sed "s/.*) //" "/proc/$1/stat" 2>/dev/null | awk -v pid="$1" '{ print pid, $20 }'
  else
    ps -o pid=,lstart= -p "$1" 2>/dev/null || true
  fi
}
# Whether a process of the group is still running. Zombies do not count.
lives() { ps -eo pgid=,stat= | awk -v group="$1" '$1 == group && $2 !~ /^Z/ { found = 1 } END { exit !found }'; }
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

stop() {
  local known pid
  known=$(cat "$record" 2>/dev/null || true)
  pid=$(awk '{ print $1 }' <<<"$known")
  if [[ -n $pid && $(identity "$pid") == "$known" ]]; then
    # The whole group, because vLLM's engine is a separate process. It gets ten seconds, since the old weights are not needed any more.
    kill -TERM -- "-$pid" 2>/dev/null || true
    for _ in $(seq 20); do
      lives "$pid" || break
      sleep 0.5
    done
    kill -KILL -- "-$pid" 2>/dev/null || true
    # A killed process keeps its port until its memory is released.
    for _ in $(seq 60); do
      lives "$pid" || answers || break
      sleep 0.5
    done
    if lives "$pid"; then
      echo "the previous server, process $pid, was killed and has not ended; try again later" >&2
      exit 1
    fi
  fi
  rm -f "$record"
}

if [[ -f $folder/adapter_config.json ]]; then
  plugin=$(cd "$(dirname "$0")/../../plugins/torch-trainer" && pwd)
  made=${PMPO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pmpo}/python
  python=${TRAINER_PYTHON:-$(ls -td "$made"/trainer-*/bin/python 2>/dev/null | head -n 1 || true)}
  PYTHONPATH=$plugin${PYTHONPATH:+:$PYTHONPATH} \
    "${python:-python3}" -m pmpo_torch_trainer.merge_adapter "$folder" "$folder-merged"
  folder=$folder-merged
fi
stop
if answers; then
  echo "port $port is used by a process that this script did not start" >&2
  exit 1
fi
words=()
for word in "$@"; do
  case $word in
    MODEL) words+=("$folder") ;;
    PORT) words+=("$port") ;;
    *) words+=("$word") ;;
  esac
done
setsid "${words[@]}" >"$log" 2>&1 </dev/null &
pid=$!
identity "$pid" >"$record"
until answers; do
  if ! kill -0 "$pid" 2>/dev/null; then
    rm -f "$record"
    tail -n 20 "$log" >&2
    echo "the server ended before it answered; its log is $log" >&2
    exit 1
  fi
  sleep 0.5
done
