"""Sends fuzzed messages to a simulator server while an honest client uses it.

`python fuzz.py ADDRESS SIMULATOR --messages 1000000 --pid PID` reports what it found as one line of JSON; SIMULATOR is one that the
server has, such as gymnasium/CartPole-v1 or cartpole_swingup. `python fuzz.py --server pmpo` starts `pmpo serve simulators` itself, and
`--server python` the Python server. The exit code is 1 if something was wrong.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import pathlib
import queue
import random
import re
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
from dm_env_rpc.v1 import dm_env_rpc_pb2, tensor_spec_utils, tensor_utils
from google.protobuf.message import DecodeError

PATH = "/dm_env_rpc.v1.Environment/Process"
ROOT = pathlib.Path(__file__).resolve().parents[3]
EXPECTED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
"""How a stream may end other than with OK: a message is not an EnvironmentRequest, or is too large."""
STREAM_LENGTH = 40
Request = dm_env_rpc_pb2.EnvironmentRequest


def _channel(address):
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
    return grpc.insecure_channel(address, options=options)


class _Fuzz:
    """Makes messages: random ones, and valid ones with some bytes changed."""

    def __init__(self, seed, simulator):
        self._random = random.Random(seed)
        self._simulator = simulator

    def messages(self):
        """The messages of one stream. Half of the streams begin with a valid world, so that steps have an effect."""
        r = self._random
        count = r.randint(1, STREAM_LENGTH)
        for i in range(count):
            valid = self._create() if r.random() < 0.05 or (i == 0 and count % 2) else self._request()
            data = valid.SerializeToString()
            # Most streams reach their end: the first message that cannot be parsed ends one.
            yield self._mutated(data) if r.random() < 0.04 else data

    def _mutated(self, data):
        r = self._random
        data = bytearray(data)
        for _ in range(r.randint(1, 4)):
            kind = r.randrange(4)
            at = r.randrange(len(data) + 1)
            if kind == 0 and at < len(data):
                data[at] ^= 1 << r.randrange(8)
            elif kind == 1:
                data[at:at] = r.randbytes(r.randint(1, 9))
            elif kind == 2:
                del data[at : at + r.randint(1, 9)]
            else:
                data += data[at:]
        return bytes(data)

    def _create(self):
        request = Request()
        settings = request.create_world.settings
        settings["simulator"].CopyFrom(tensor_utils.pack_tensor(self._simulator))
        if self._random.random() < 0.3:
            settings["batchSize"].CopyFrom(tensor_utils.pack_tensor(self._random.choice([1, 2, 3, 0, -1, 5000])))
        return request

    def _text(self):
        r = self._random
        return r.choice(
            ["", "simulator", "seed", "batchSize", "w1-0", "w1-00ff00ff00ff00ff", "__proto__", "constructor", "\x1b[2J\n", "é" * 50]
            + ["x" * r.choice([1, 201, 5000]), "../../etc", f"w{r.randrange(9)}-{r.randrange(99)}", "gymnasium/os:system"]
        )

    def _tensor(self, tensor):
        r = self._random
        field = r.choice(["floats", "doubles", "int8s", "int32s", "int64s", "uint8s", "uint32s", "uint64s", "bools", "strings", "protos"])
        count = r.choice([0, 1, 1, 1, 2, 3, 50])
        array = getattr(tensor, field)
        if field in ("int8s", "uint8s"):
            array.array = r.randbytes(count)
        elif field == "strings":
            array.array.extend(self._text() for _ in range(count))
        elif field == "protos":
            for _ in range(count):
                array.array.add(type_url=self._text(), value=r.randbytes(3))
        elif field == "bools":
            array.array.extend(r.random() < 0.5 for _ in range(count))
        elif field in ("floats", "doubles"):
            array.array.extend(r.choice([0.0, 0.5, -1.0, 3e38, float("nan"), float("inf")]) for _ in range(count))
        else:
            array.array.extend(r.choice([0, 1, 2, 2**31 - 1] + ([-1] if field[0] == "i" else [])) for _ in range(count))
        tensor.shape.extend(r.choice([0, 1, 1, 2, 3, 50, -1, -7, 2**31 - 1]) for _ in range(r.choice([0, 0, 1, 1, 1, 2, 4, 40])))

    def _settings(self, settings):
        for _ in range(self._random.choice([0, 0, 1, 2, 5])):
            self._tensor(settings[self._text()])

    def _request(self):
        r = self._random
        request = Request()
        kind = r.randrange(12)
        if kind == 0:
            self._settings(request.create_world.settings)
            request.create_world.SetInParent()
        elif kind == 1:
            request.join_world.world_name = self._text()
            self._settings(request.join_world.settings)
        elif kind == 2:
            self._settings(request.reset.settings)
            request.reset.SetInParent()
        elif kind == 3:
            request.reset_world.world_name = self._text()
        elif kind == 4:
            request.destroy_world.world_name = self._text()
        elif kind == 5:
            r.choice([lambda: request.leave_world.SetInParent(), lambda: None])()
        elif kind == 6:
            request.extension.type_url = self._text()
            request.extension.value = r.randbytes(r.randrange(20))
        else:
            for _ in range(r.choice([0, 1, 1, 1, 2, 60])):
                self._tensor(request.step.actions[r.choice([0, 1, 1, 1, 2, 3, 2**64 - 1, r.randrange(100)])])
            count = r.choice([0, 1, 3, 500])
            request.step.requested_observations.extend(r.choice([1, 2, 3, 4, 2**63]) for _ in range(count))
            request.step.SetInParent()
        return request


def _send_stream(process, messages):
    """Sends the messages of one stream, and returns the responses and the status."""
    responses = []
    call = process(iter(messages), timeout=120)
    try:
        for response in call:
            responses.append(response)
        return responses, grpc.StatusCode.OK, ""
    except grpc.RpcError as error:
        return responses, error.code(), error.details()


def _is_request(data):
    try:
        Request.FromString(data)
        return True
    except DecodeError:
        return False


def _joined_stream(process, fuzz):
    """As `_send_stream`, but in a world that the stream has created and joined: its steps reach a simulator."""
    requests = queue.SimpleQueue()
    call = process(iter(requests.get, None), timeout=120)
    responses, sent = [], []
    try:
        create = Request()
        create.create_world.settings["simulator"].CopyFrom(tensor_utils.pack_tensor(fuzz._simulator))
        if fuzz._random.random() < 0.3:
            create.create_world.settings["batchSize"].CopyFrom(tensor_utils.pack_tensor(2))
        requests.put(create.SerializeToString())
        name = dm_env_rpc_pb2.EnvironmentResponse.FromString(next(call)).create_world.world_name
        requests.put(Request(join_world=dm_env_rpc_pb2.JoinWorldRequest(world_name=name)).SerializeToString())
        next(call)
        sent = list(fuzz.messages())
        for message in sent:
            requests.put(message)
        requests.put(None)
        for response in call:
            responses.append(response)
        return sent, responses, grpc.StatusCode.OK, ""
    except grpc.RpcError as error:
        return sent, responses, error.code(), error.details()
    finally:
        requests.put(None)


def _trajectory(address, simulator, steps=60):
    """What an honest client observes: the bytes of each response to a step, from a fixed seed and fixed actions."""
    with _channel(address) as channel:
        requests = queue.SimpleQueue()
        call = channel.stream_stream(PATH)(iter(requests.get, None), timeout=300)

        def ask(**payload):
            requests.put(Request(**payload).SerializeToString())
            response = dm_env_rpc_pb2.EnvironmentResponse.FromString(next(call))
            if response.HasField("error"):
                raise RuntimeError(response.error.message)
            return response

        settings = {"simulator": tensor_utils.pack_tensor(simulator), "seed": tensor_utils.pack_tensor(7)}
        name = ask(create_world=dm_env_rpc_pb2.CreateWorldRequest(settings=settings)).create_world.world_name
        specs = ask(join_world=dm_env_rpc_pb2.JoinWorldRequest(world_name=name)).join_world.specs
        seen = []
        for t in range(steps):
            actions = {}
            for uid, spec in specs.actions.items():
                bounds = tensor_spec_utils.bounds(spec)
                value = np.broadcast_to(bounds.min + (bounds.max - bounds.min) * ((t * 7) % 10) / 9, tuple(spec.shape))
                actions[uid] = tensor_utils.pack_tensor(value, dtype=spec.dtype)
            step = dm_env_rpc_pb2.StepRequest(actions=actions, requested_observations=sorted(specs.observations))
            answer = ask(step=step).step
            seen.append((answer.state, [(u, answer.observations[u].SerializeToString()) for u in sorted(answer.observations)]))
        requests.put(None)
        return seen


def _memory_megabytes(pid):
    """The resident memory of a process and its descendants."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid=,rss="], capture_output=True, text=True, check=True).stdout
    rows = [tuple(map(int, line.split())) for line in table.strip().split("\n")]
    family = {pid}
    for _ in range(5):
        family |= {child for child, parent, _ in rows if parent in family}
    return sum(rss for child, _, rss in rows if child in family) / 1024


def fuzz(address, simulator, *, messages, pid=None, seed=0, threads=4, report_every=None):
    """Has at least `messages` messages answered. Returns what was found: counts, and `problems`, a list of texts.

    Every `report_every` seconds, it writes what it has found so far to the standard error.
    """
    expected = _trajectory(address, simulator)
    found = collections.Counter()
    problems = []
    lock = threading.Lock()
    done = threading.Event()
    memory = [] if pid is None else [_memory_megabytes(pid)]

    def attack(number):
        maker = _Fuzz(f"{seed}/{number}", simulator)
        with _channel(address) as channel:
            process = channel.stream_stream(PATH)
            while not done.is_set():
                if maker._random.random() < 0.3:
                    sent, responses, code, details = _joined_stream(process, maker)
                else:
                    sent = list(maker.messages())
                    responses, code, details = _send_stream(process, sent)
                with lock:
                    # Messages behind a malformed one are not read.
                    found["messages"] += len(responses) + (code is not grpc.StatusCode.OK)
                    found[code.name] += 1
                    if found["messages"] >= messages or len(problems) > 20:
                        done.set()
                    if code is grpc.StatusCode.OK and len(responses) != len(sent):
                        problems.append(f"{len(sent)} messages got {len(responses)} answers")
                    elif code is not grpc.StatusCode.OK and code not in EXPECTED:
                        problems.append(f"a stream ended with {code.name}: {details}")
                    elif code is grpc.StatusCode.INVALID_ARGUMENT and not all(map(_is_request, sent[: len(responses)])):
                        problems.append("a malformed message got an answer")

    def behave():
        while not done.is_set():
            try:
                same = _trajectory(address, simulator) == expected
            except Exception as error:
                problems.append(f"the honest client failed: {type(error).__name__}: {error}"[:500])
                return
            with lock:
                found["trajectories"] += 1
                if not same:
                    problems.append("the honest client's trajectory differs")
            if pid is not None:
                memory.append(_memory_megabytes(pid))

    workers = [threading.Thread(target=attack, args=(n,), daemon=True) for n in range(threads)]
    workers.append(threading.Thread(target=behave, daemon=True))
    begun = reported = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        while worker.is_alive():
            worker.join(timeout=1)
            if report_every is not None and time.monotonic() - reported >= report_every:
                reported = time.monotonic()
                with lock:
                    so_far = {**found, "seconds": round(reported - begun), "problems": problems[:3]}
                print(json.dumps(so_far), file=sys.stderr, flush=True)
    if _trajectory(address, simulator) != expected:
        problems.append("the honest client's trajectory differs afterwards")
    if memory:
        memory.append(_memory_megabytes(pid))
        found |= {"megabytesBefore": round(memory[0]), "megabytesMost": round(max(memory)), "megabytesAfter": round(memory[-1])}
    return {**found, "seconds": round(time.monotonic() - begun), "problems": problems[:20]}


@contextlib.contextmanager
def started(kind, program=None):
    """Starts one of this project's servers. Yields its process, its address and a simulator."""
    if kind == "python":
        import server

        with server.Server("gymnasium", processes=1) as own:
            yield own.process, own.address, "gymnasium/Pendulum-v1"
        return
    command = ["node", str(program or ROOT / "dist/cli/main.js"), "serve", "simulators", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process, re.search(r" on (\S+:\d+) ", process.stdout.readline()).group(1), "cartpole_swingup"
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?")
    parser.add_argument("simulator", nargs="?")
    parser.add_argument("--server", choices=["python", "pmpo"])
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pid", type=int)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        address, simulator, pid = options.address, options.simulator, options.pid
        if options.server is not None:
            process, address, simulator = stack.enter_context(started(options.server))
            pid = process.pid
        found = fuzz(address, simulator, messages=options.messages, pid=pid, seed=options.seed, report_every=60)
    print(json.dumps(found))
    return 1 if found["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
