"""One model on several processes, with PyTorch's fully sharded data parallelism (`torch.distributed.fsdp.fully_shard`).

The trained parameters, their gradient, the optimizer's state and the reference are sharded over the processes; untrained
parameters are replicated. A batch is divided among the processes, which compute their parts in parallel, and PyTorch sums the
gradients. The first process receives the requests and passes them on to the others.

Between two passes the processes agree on errors that only one of them has seen. An error within a pass, in which the others
wait for this process, stops all of them.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from pmpo_torch_trainer.batches import TokenSequence, micro_batches
from pmpo_torch_trainer.errors import RequestError, StartError
from pmpo_torch_trainer.body_and_head import hidden_states
from pmpo_torch_trainer.model import LanguageModel, View, Weights
from pmpo_torch_trainer.processes import Body, ModelShare, Pass, Processes, T

_FAILURE = "pmpo_failure"
"""Key in the launcher's store under which a process leaves the reason why it stops."""


class DistributedProcesses(Processes):
    """This process as one of K that `accelerate launch` or `torchrun` has started."""

    def __init__(self, device: torch.device, deadline_seconds: float) -> None:
        """Connects the processes. One that does not answer the others for `deadline_seconds` is considered dead."""
        if device.type == "cuda":
            torch.cuda.set_device(device)
        timeout = datetime.timedelta(seconds=deadline_seconds)
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=timeout)
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        # The launcher's store can be used even when the connections between the processes are broken.
        where = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        self._store = dist.TCPStore(*where, is_master=False, wait_for_workers=False)  # type: ignore[attr-defined]  # documented, not listed
        self._mesh = init_device_mesh(device.type, (self.count,))
        self._device = device
        self._roots: dict[Any, _Root] = {}

    # Models

    def split(self, model: LanguageModel) -> ModelShare:
        trained = model.trainable()
        left = set(map(id, trained.values())) if self.rank > 0 else set()
        for tensor in [*model.module.parameters(), *model.module.buffers()]:
            if id(tensor) not in left:
                tensor.data = tensor.data.to(self._device)
        policy, reference = self._sharded(model, trains=True), self._sharded(model, trains=False)
        sampled = {name: parameter.detach() for name, parameter in trained.items()} if self.rank == 0 else {}
        for parameter in trained.values():
            parameter.data = parameter.data.new_empty(0)
        return ModelShare(dataclasses.replace(model, module=policy), _ShardedView(reference, trained.keys()), sampled)

    def _sharded(self, model: LanguageModel, trains: bool) -> Any:
        """A second tree of the model's modules, whose trained parameters are sharded."""
        # The weights start in host memory: PyTorch moves one layer at a time to the device and shards it there.
        weights = {name: p.detach().to("cpu", copy=True) for name, p in model.trainable().items()}
        tree = View(model, weights).module
        frozen = set()
        for name, parameter in tree.named_parameters():
            if name in weights:
                parameter.requires_grad_(trains)
            else:
                frozen.add(parameter)
        layers = set(tree._no_split_modules or ())
        for module in list(tree.modules()):
            if type(module).__name__ in layers:
                fully_shard(module, mesh=self._mesh, ignored_params=frozen)
        # The output layer runs chunk by chunk after the root's forward pass, so its gathered parameters must stay until
        # `release`.
        root = _Root(tree)
        fully_shard(root, mesh=self._mesh, ignored_params=frozen, reshard_after_forward=False)
        for module in root.modules():
            if isinstance(module, FSDPModule):
                # The gradients of the processes are summed, not averaged.
                module.set_gradient_divide_factor(1.0)
                # By default PyTorch scales during the reduction, which gloo does not support.
                module.set_force_sum_reduction_for_comms(True)
        self._roots[tree] = root
        return tree

    def body(self, module: Any) -> Body:
        return _ShardedBody(self._roots[module])

    # Work

    def passes(self, sequences: Sequence[TokenSequence], max_tokens: int) -> list[Pass]:
        # Sequences are dealt out in the order of their length, to balance the work. Every process computes the same plans.
        order = sorted(range(len(sequences)), key=lambda i: (-sequences[i].length, i))
        plans = []
        for rank in range(self.count):
            share = order[rank :: self.count]
            groups = micro_batches([sequences[i] for i in share], max_tokens)
            plans.append([Pass([share[i] for i in group]) for group in groups])
        idle = Pass([order[-1]], contributes=False)
        plan = plans[self.rank]
        return plan + [idle] * (max(map(len, plans)) - len(plan))

    def agree(self, act: Callable[[], T]) -> T:
        error: Exception | None = None
        result: Any = None
        try:
            result = act()
        except (RequestError, StartError) as caught:
            error = caught
        failed = torch.tensor([0 if error is None else 1])
        dist.all_reduce(failed, dist.ReduceOp.MAX)
        if failed.item() == 0:
            return result  # type: ignore[no-any-return]  # what `act` returned, whose type the variable cannot have before
        raise next(raised for raised in self.all_gather(error) if raised is not None)

    def all_gather(self, value: T) -> list[T]:
        gathered: list[Any] = [None] * self.count
        dist.all_gather_object(gathered, value)
        return gathered

    def gather_tensors(self, shards: Weights, device: torch.device | None = None) -> Weights:
        gathered = {}
        for name, shard in shards.items():
            tensor = shard.full_tensor() if isinstance(shard, DTensor) else shard
            if self.rank == 0:
                gathered[name] = tensor if device is None else tensor.to(device)
        return gathered

    def shard_tensors(self, whole: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        def shard(tensor: Tensor, model: Tensor) -> Tensor:
            assert isinstance(model, DTensor)
            # Every process has the whole tensor, so nothing needs to be sent.
            return distribute_tensor(tensor.to(self._device), model.device_mesh, model.placements, src_data_rank=None)

        return {name: shard(tensor, like[name]) for name, tensor in whole.items()}

    def full_scalar(self, value: Tensor) -> float:
        return float(value.full_tensor() if isinstance(value, DTensor) else value)

    # Commands and ends

    def broadcast_request(self, name: str, request: bytes) -> None:
        dist.broadcast_object_list([name, request], src=0, device=torch.device("cpu"))

    def receive_request(self) -> tuple[str, bytes]:
        """Waits for the name and the message of the next request, in a process that is not the first."""
        message: list[Any] = [None, None]
        dist.broadcast_object_list(message, src=0, device=torch.device("cpu"))
        return message[0], message[1]

    def failure_reason(self, error: Exception) -> str:
        if not _is_lost_peer(error):
            return self.report_failure(error)
        try:
            self._store.wait([_FAILURE], datetime.timedelta(seconds=2))
            return str(self._store.get(_FAILURE).decode())
        except Exception:  # The launcher, which runs the store, may have ended as well.
            return "a process of this trainer has ended or does not answer"

    def report_failure(self, error: BaseException) -> str:
        """Leaves the reason why this process stops for the others, and returns it."""
        reason = str(error).strip().split("\n")[0]
        if isinstance(error, RequestError):
            reason = reason.replace("; nothing was changed", "")
        else:
            reason = f"{type(error).__name__}: {reason}"
        message = f"process {self.rank}: {reason}"
        try:
            self._store.set(_FAILURE, message)
        except Exception:  # This process stops in any case.
            pass
        return message

    def exit_after(self, error: BaseException) -> NoReturn:
        """Exits a process that is not the first, at once, because its connections to the others can no longer be used."""
        if not _is_lost_peer(error):
            print(f"pmpo-torch-trainer: {self.report_failure(error)}; the trainer stops", file=sys.stderr, flush=True)
        os._exit(1)

    def close(self) -> NoReturn:
        """Exits all processes together, without an error."""
        dist.barrier()
        # An ordinary exit spends seconds on tearing down PyTorch's communication, which can only fail.
        sys.stdout.flush()
        os._exit(0)


def _is_lost_peer(error: BaseException) -> bool:
    message = str(error)
    # gloo raises plain RuntimeErrors, so only their messages tell what happened.
    signs = ("onnection closed by peer", "onnection reset by peer", "Broken pipe", "Timed out waiting", "Connection refused")
    return isinstance(error, (dist.DistBackendError, dist.DistNetworkError)) or any(sign in message for sign in signs)


class _Root(nn.Module):
    """The root module for PyTorch's sharding. Its forward pass computes hidden states instead of logits."""

    def __init__(self, tree: Any) -> None:
        super().__init__()
        self.tree = tree

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        return hidden_states(self.tree, tokens, attention_mask)


class _ShardedBody(Body):
    def __call__(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        states: Tensor = self.module(tokens, attention_mask)
        return states

    def release(self) -> None:
        self.module.reshard()


class _ShardedView(View):
    """A view of sharded modules. PyTorch owns their memory, so other weights are copied into it."""

    def __init__(self, tree: Any, names: Collection[str]) -> None:
        self.module = tree
        self._shards = {name: parameter for name, parameter in tree.named_parameters() if name in names}
        self.weights = {name: shard.detach().clone() for name, shard in self._shards.items()}

    def use(self, weights: Weights) -> None:
        with torch.no_grad():
            for name, shard in self._shards.items():
                shard.copy_(weights[name])
        self.weights = weights
