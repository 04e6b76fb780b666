#!/usr/bin/env bash
# Serves a model folder on a port, in place of what this script started there before, and returns when the port answers:
#
#   bash restart-vllm.sh FOLDER PORT vllm serve MODEL --grpc --host 127.0.0.1 --port PORT …
#
# MODEL and PORT in the command stand for the folder and the port. vLLM's gRPC server loads no LoRA adapters: where FOLDER holds
# one, it is added to its model first, by the Python that `pmpo serve trainer` made, or by TRAINER_PYTHON. The server's process id
# and its log are in STATE, default: ~/.local/state/pmpo.
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

# A process by its number and when it began, in ticks since the machine did: numbers are given again to others, and `ps` tells
# a process another second of beginning when the clock is set.
identity() {
  if [[ -d /proc/self ]]; then
    # The name before it, in brackets, may hold anything.
    sed "s/.*) //" "/proc/$1/stat" 2>/dev/null | awk -v pid="$1" '{ print pid, $20 }'
  else
    ps -o pid=,lstart= -p "$1" 2>/dev/null || true
  fi
}
# Whether a process of the group has not ended; one that only nobody has taken note of has.
lives() { ps -eo pgid=,stat= | awk -v group="$1" '$1 == group && $2 !~ /^Z/ { found = 1 } END { exit !found }'; }
answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

stop() {
  local known pid
  known=$(cat "$record" 2>/dev/null || true)
  pid=$(awk '{ print $1 }' <<<"$known")
  if [[ -n $pid && $(identity "$pid") == "$known" ]]; then
    # The whole group: vLLM's engine is a process of its own. Nobody waits for answers of the old weights: it gets ten seconds.
    kill -TERM -- "-$pid" 2>/dev/null || true
    for _ in $(seq 20); do
      lives "$pid" || break
      sleep 0.5
    done
    kill -KILL -- "-$pid" 2>/dev/null || true
    # What is killed still has its memory to give back, and its port until then.
    for _ in $(seq 60); do
      lives "$pid" || answers || break
      sleep 0.5
    done
    if lives "$pid"; then
      echo "the server before this one, process $pid, was killed and has not ended; try again when it has" >&2
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
  echo "port $port is taken by something that this script did not start" >&2
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
