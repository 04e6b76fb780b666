"""One model on several processes, by PyTorch's own fully sharded data parallelism (`torch.distributed.fsdp.fully_shard`).

What is trained, its gradient, the optimizer's state and the reference are cut into pieces, one for each process; what is not
trained stands in each process once. A batch is shared out, every process does its part at the same time, and PyTorch sums the
gradients. The first process takes the requests; the others do what it tells them to. Whatever can go wrong in one process
alone is agreed on by all between two passes; what goes wrong within a pass, where the others wait for this one, ends them all.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import sys
from collections.abc import Callable, Collection, Mapping
from collections.abc import Sequence as Listed
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from pmpo_torch_trainer.batches import TokenSequence, micro_batches
from pmpo_torch_trainer.errors import RequestError, StartError
from pmpo_torch_trainer.model import LanguageModel, View, Weights, hidden_states
from pmpo_torch_trainer.processes import Body, Parts, Pass, Processes, T

_FAILURE = "pmpo_failure"
"""The key under which a process says why it ends."""


class Several(Processes):
    """This process among K, as `accelerate launch` or `torchrun` has started them."""

    def __init__(self, device: torch.device, deadline_seconds: float) -> None:
        """`deadline_seconds`: how long one process waits for another before it takes it for dead."""
        if device.type == "cuda":
            torch.cuda.set_device(device)
        timeout = datetime.timedelta(seconds=deadline_seconds)
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=timeout)
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        # The launcher's, in which words can be left however the processes' own connections are.
        where = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        self._store = dist.TCPStore(*where, is_master=False, wait_for_workers=False)  # type: ignore[attr-defined]  # documented, not listed
        self._mesh = init_device_mesh(device.type, (self.count,))
        self._device = device
        self._roots: dict[Any, _Root] = {}

    # Models

    def split(self, model: LanguageModel) -> Parts:
        trained = model.trainable()
        left = set(map(id, trained.values())) if self.rank > 0 else set()
        for tensor in [*model.module.parameters(), *model.module.buffers()]:
            if id(tensor) not in left:
                tensor.data = tensor.data.to(self._device)
        policy, reference = self._cut(model, trains=True), self._cut(model, trains=False)
        sampled = {name: parameter.detach() for name, parameter in trained.items()} if self.rank == 0 else {}
        for parameter in trained.values():
            parameter.data = parameter.data.new_empty(0)
        return Parts(dataclasses.replace(model, module=policy), _ShardedView(reference, trained.keys()), sampled)

    def _cut(self, model: LanguageModel, trains: bool) -> Any:
        """The model's modules once more, with pieces of what is trained."""
        # From the computer's memory PyTorch takes one layer after the other to the device, and cuts it there.
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
        # The output layer is run after the root's forward pass, chunk by chunk: what is gathered stays until it is released.
        root = _Root(tree)
        fully_shard(root, mesh=self._mesh, ignored_params=frozen, reshard_after_forward=False)
        for module in root.modules():
            if isinstance(module, FSDPModule):
                # Coefficients are those of a sum, not of a mean over processes.
                module.set_gradient_divide_factor(1.0)
                # Else PyTorch multiplies while it sums, which gloo cannot do.
                module.set_force_sum_reduction_for_comms(True)
        self._roots[tree] = root
        return tree

    def body(self, module: Any) -> Body:
        return _ShardedBody(self._roots[module])

    # Work

    def passes(self, sequences: Listed[TokenSequence], max_tokens: int) -> list[Pass]:
        # By length in turn, so that all have as much to do; every process makes the same plan.
        order = sorted(range(len(sequences)), key=lambda i: (-sequences[i].length, i))
        plans = []
        for rank in range(self.count):
            share = order[rank :: self.count]
            groups = micro_batches([sequences[i] for i in share], max_tokens)
            plans.append([Pass([share[i] for i in group]) for group in groups])
        idle = Pass([order[-1]], counts=False)
        own = plans[self.rank]
        return own + [idle] * (max(map(len, plans)) - len(own))

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
        raise next(other for other in self.gather(error) if other is not None)

    def gather(self, own: T) -> list[T]:
        everybody: list[Any] = [None] * self.count
        dist.all_gather_object(everybody, own)
        return everybody

    def whole(self, pieces: Weights, device: torch.device | None = None) -> Weights:
        gathered = {}
        for name, piece in pieces.items():
            tensor = piece.full_tensor() if isinstance(piece, DTensor) else piece
            if self.rank == 0:
                gathered[name] = tensor if device is None else tensor.to(device)
        return gathered

    def piece(self, whole: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
        def cut(tensor: Tensor, model: Tensor) -> Tensor:
            assert isinstance(model, DTensor)
            # Everybody has the same whole: nothing needs to be sent.
            return distribute_tensor(tensor.to(self._device), model.device_mesh, model.placements, src_data_rank=None)

        return {name: cut(tensor, like[name]) for name, tensor in whole.items()}

    def number(self, value: Tensor) -> float:
        return float(value.full_tensor() if isinstance(value, DTensor) else value)

    # Commands and ends

    def send(self, name: str, request: bytes) -> None:
        dist.broadcast_object_list([name, request], src=0, device=torch.device("cpu"))

    def receive(self) -> tuple[str, bytes]:
        """The next request to carry out, where this is not the first process."""
        message: list[Any] = [None, None]
        dist.broadcast_object_list(message, src=0, device=torch.device("cpu"))
        return message[0], message[1]

    def why(self, error: Exception) -> str:
        if not _is_lost_peer(error):
            return self.tell(error)
        try:
            self._store.wait([_FAILURE], datetime.timedelta(seconds=2))
            return str(self._store.get(_FAILURE).decode())
        except Exception:  # Whoever keeps the store may be gone as well.
            return "a process of this trainer has ended or does not answer"

    def tell(self, error: BaseException) -> str:
        """Lets the others know why this process ends; returns the words."""
        reason = str(error).strip().split("\n")[0]
        if isinstance(error, RequestError):
            reason = reason.replace("; nothing was changed", "")
        else:
            reason = f"{type(error).__name__}: {reason}"
        words = f"process {self.rank}: {reason}"
        try:
            self._store.set(_FAILURE, words)
        except Exception:  # It ends in any case.
            pass
        return words

    def end(self, error: BaseException) -> NoReturn:
        """Ends a process that is not the first, at once: nothing that it shares with the others can be used any more."""
        if not _is_lost_peer(error):
            print(f"pmpo-torch-trainer: {self.tell(error)}; the trainer ends", file=sys.stderr, flush=True)
        os._exit(1)

    def close(self) -> NoReturn:
        """Ends the program, in all processes at once; nothing has failed."""
        dist.barrier()
        # What PyTorch and its communication take down otherwise takes seconds, in which nothing more can go right.
        sys.stdout.flush()
        os._exit(0)


def _is_lost_peer(error: BaseException) -> bool:
    words = str(error)
    # gloo's errors have no class of their own.
    signs = ("onnection closed by peer", "onnection reset by peer", "Broken pipe", "Timed out waiting", "Connection refused")
    return isinstance(error, (dist.DistBackendError, dist.DistNetworkError)) or any(sign in words for sign in signs)


class _Root(nn.Module):
    """What PyTorch takes for the whole model: it is asked for hidden states."""

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
    """A view whose memory is PyTorch's, who has cut it: other weights are copied into it."""

    def __init__(self, tree: Any, names: Collection[str]) -> None:
        self.module = tree
        self._pieces = {name: parameter for name, parameter in tree.named_parameters() if name in names}
        self.weights = {name: piece.detach().clone() for name, piece in self._pieces.items()}

    def use(self, weights: Weights) -> None:
        with torch.no_grad():
            for name, piece in self._pieces.items():
                piece.copy_(weights[name])
        self.weights = weights
