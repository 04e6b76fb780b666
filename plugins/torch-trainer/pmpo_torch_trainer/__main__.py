"""The program: `python -m pmpo_torch_trainer --model DIR --port 50052`."""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pmpo_torch_trainer.distributed import DistributedProcesses
    from pmpo_torch_trainer.model import ModelOptions
    from pmpo_torch_trainer.server import ServerOptions

_MAX_MEGABYTES = 2047
"""The largest message size that gRPC supports."""

_LAUNCHER = "PMPO_TRAINER_LAUNCHER"
"""Environment variable with the process id of the launcher, for the processes that it starts."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pmpo-torch-trainer",
        description="Trains a Hugging Face causal language model with coefficients sent over gRPC, and serves samples over vLLM's protocol.",
    )
    model = parser.add_argument_group("model")
    model.add_argument("--model", type=Path, required=True, metavar="DIR", help="folder of a Hugging Face causal language model")
    model.add_argument("--lora-rank", type=int, metavar="R", help="train a LoRA adapter of this rank instead of the whole model")
    model.add_argument("--lora-alpha", type=float, metavar="A", help="scale the adapter by A / R (2 R)")
    model.add_argument(
        "--lora-targets",
        nargs="+",
        default=[],
        metavar="NAME",
        help="modules to adapt (all linear layers except the output layer)",
    )
    model.add_argument("--adapter", type=Path, metavar="DIR", help="continue training this LoRA adapter")
    model.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if available (%(default)s)")
    model.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        default="float32",
        help="dtype of computations; trained parameters are always float32 (%(default)s)",
    )
    model.add_argument("--context-length", type=int, metavar="TOKENS", help="a shorter context than the model's own")
    model.add_argument("--gradient-checkpointing", action="store_true", help="use less memory and more time")
    model.add_argument("--seed", type=int, default=0, help="seed of the adapter's initial weights (%(default)s)")
    training = parser.add_argument_group("training")
    training.add_argument(
        "--max-tokens-per-batch",
        type=int,
        default=4096,
        metavar="TOKENS",
        help="limit on the tokens of one pass, including padding (%(default)s)",
    )
    training.add_argument(
        "--adam-betas", nargs=2, type=float, default=(0.9, 0.999), metavar=("B1", "B2"), help="Adam's decay rates (0.9 0.999)"
    )
    training.add_argument("--adam-epsilon", type=float, default=1e-8, help="Adam's epsilon (%(default)s)")
    training.add_argument(
        "--folder",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="clients may write and read checkpoints inside this folder (the current folder)",
    )
    sampling = parser.add_argument_group("sampling")
    sampling.add_argument(
        "--max-sequences", type=int, default=64, metavar="N", help="completions generated at once (%(default)s)"
    )
    sampling.add_argument(
        "--deterministic",
        action="store_true",
        help="process one request at a time with deterministic kernels, so that a seed gives bit-identical completions",
    )
    multi_gpu = parser.add_argument_group("several GPUs")
    multi_gpu.add_argument(
        "--processes", type=int, metavar="K", help="train in K processes, each on its own GPU, or all on the CPU"
    )
    multi_gpu.add_argument(
        "--collective-timeout",
        type=float,
        default=600,
        metavar="SECONDS",
        help="stop all processes if one keeps the others waiting for this long (%(default)s)",
    )
    serving = parser.add_argument_group("serving")
    serving.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    serving.add_argument("--port", type=int, default=50052, help="the port; 0 picks a free one (%(default)s)")
    serving.add_argument("--tls-certificate", type=Path, metavar="PEM", help="the server's certificate chain")
    serving.add_argument("--tls-key", type=Path, metavar="PEM", help="its private key")
    serving.add_argument("--tls-client-ca", type=Path, metavar="PEM", help="require client certificates signed by this authority")
    serving.add_argument("--token-file", type=Path, help="require the bearer token in this file from clients")
    serving.add_argument("--max-message-megabytes", type=float, default=64, help="limit on each message, both ways (%(default)s)")
    serving.add_argument(
        "--until-stdin-closes", action="store_true", help="stop when standard input closes, as when its parent dies"
    )
    serving.add_argument("--verbose", action="store_true", help="log more")
    return parser


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if (options.tls_certificate is None) != (options.tls_key is None):
        parser.error("--tls-certificate and --tls-key must be given together")
    if options.tls_client_ca is not None and options.tls_certificate is None:
        parser.error("--tls-client-ca needs --tls-certificate and --tls-key")
    if options.adapter is not None and (options.lora_rank is not None or options.lora_alpha is not None or options.lora_targets):
        parser.error("--adapter determines the rank, scale and targets; omit the --lora options")
    if options.lora_rank is None and (options.lora_alpha is not None or options.lora_targets):
        parser.error("--lora-alpha and --lora-targets need --lora-rank")
    for name in (
        "lora_rank",
        "context_length",
        "max_tokens_per_batch",
        "max_sequences",
        "lora_alpha",
        "processes",
        "collective_timeout",
    ):
        value = getattr(options, name)
        if value is not None and not value > 0:
            parser.error(f"--{name.replace('_', '-')} must be above 0")
    if not all(0 <= beta < 1 for beta in options.adam_betas):
        parser.error("--adam-betas must be at least 0 and below 1")
    if not options.adam_epsilon > 0:
        parser.error("--adam-epsilon must be above 0")
    if not 0 <= options.port < 2**16:
        parser.error("--port must be from 0 to 65535")
    if not 0 < options.max_message_megabytes <= _MAX_MEGABYTES:
        parser.error(f"--max-message-megabytes must be above 0 and at most {_MAX_MEGABYTES}")


def _prepare_environment(deterministic: bool) -> None:
    """Sets what PyTorch and transformers read when they are imported. Call it before importing them."""
    # FutureWarnings are about the libraries' next versions and of no use to the user.
    warnings.simplefilter("ignore", FutureWarning)
    _share_memory_between_threads()
    # A file that is missing in the model's folder is an error; nothing is downloaded.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def _share_memory_between_threads() -> None:
    """Makes all threads allocate from one malloc arena, if the C library is glibc.

    Any thread of the pool may handle a call. By default glibc gives each thread its own arena, which keeps freed memory:
    several gigabytes for each thread that has computed a gradient.
    """
    arena_max = -8
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(arena_max, 1)


def _end_with_launcher() -> None:
    """On Linux, makes the kernel kill this process when the launcher that started it dies.

    PyTorch's launcher starts each process in a separate session, so that killing the launcher does not reach them. Processes
    that were not started by such a launcher are left as they are.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    set_parent_death_signal = 1
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return
    prctl(set_parent_death_signal, ctypes.c_ulong(signal.SIGKILL), *[ctypes.c_ulong(0)] * 3)
    # The launcher may have died before this call.
    if os.environ.get(_LAUNCHER, str(os.getppid())) != str(os.getppid()):
        os._exit(1)


def main(arguments: list[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _check(parser, options)
    level = logging.INFO if options.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", stream=sys.stderr)
    _prepare_environment(options.deterministic)

    from pmpo_torch_trainer.errors import StartError
    from pmpo_torch_trainer.server import ServerOptions

    serving = ServerOptions(
        host=options.host,
        port=options.port,
        max_message_megabytes=options.max_message_megabytes,
        until_stdin_closes=options.until_stdin_closes,
        tls_certificate=options.tls_certificate,
        tls_key=options.tls_key,
        tls_client_ca=options.tls_client_ca,
        token_file=options.token_file,
    )
    try:
        # PyTorch's launcher sets WORLD_SIZE for the processes that it starts.
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            _end_with_launcher()
            return _serve_distributed(options, serving)
        if options.processes is not None and options.processes > 1:
            from pmpo_torch_trainer.launcher import launch

            os.environ[_LAUNCHER] = str(os.getpid())
            return launch(options.processes, sys.argv[1:] if arguments is None else arguments)
        _serve(options, serving)
    except StartError as error:
        print(f"pmpo-torch-trainer: {error}", file=sys.stderr)
        return 1
    return 0


def _serve_distributed(options: argparse.Namespace, serving: ServerOptions) -> int:
    """Serves clients in the first process; the other processes carry out its requests."""
    if int(os.environ["RANK"]) > 0:
        # The first process finishes its current call and then stops the others.
        for asked in (signal.SIGINT, signal.SIGTERM):
            signal.signal(asked, signal.SIG_IGN)

    from pmpo_torch_trainer.distributed import DistributedProcesses
    from pmpo_torch_trainer.errors import StartError
    from pmpo_torch_trainer.model import find_device

    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    distributed = DistributedProcesses(find_device(options.device, local_rank), options.collective_timeout)
    try:
        return _serve(options, serving, distributed)
    except StartError:
        # All processes have the same error, and the first one reports it.
        if distributed.rank == 0:
            raise
        return 1
    except Exception as error:
        if distributed.rank == 0:
            raise
        distributed.exit_after(error)


def _serve(options: argparse.Namespace, serving: ServerOptions, distributed: DistributedProcesses | None = None) -> int:
    from pmpo_torch_trainer.errors import StartError
    from pmpo_torch_trainer.server import Server, announce, check_port, read_security, stop_event

    # Problems are found before the model is loaded, which may take long.
    first = distributed is None or distributed.rank == 0
    if first:
        read_security(serving)
        check_port(serving.host, serving.port)
    if not options.folder.is_dir():
        raise StartError(f"--folder {options.folder}: the folder does not exist")
    stop = stop_event(serving.until_stdin_closes) if first else threading.Event()

    import torch

    from pmpo_torch_trainer.engine import Engine, EngineOptions
    from pmpo_torch_trainer.engine_service import EngineService
    from pmpo_torch_trainer.model import load
    from pmpo_torch_trainer.processes import SINGLE_PROCESS
    from pmpo_torch_trainer.services import ENGINE, TRAINER
    from pmpo_torch_trainer.trainer import Trainer, TrainerOptions
    from pmpo_torch_trainer.trainer_service import TrainerService
    from pmpo_torch_trainer.trial import try_update

    if options.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    processes = distributed or SINGLE_PROCESS
    model = processes.agree(lambda: load(_model_options(options)))
    beta1, beta2 = options.adam_betas
    adam = TrainerOptions(options.max_tokens_per_batch, beta1, beta2, options.adam_epsilon)
    trainer = Trainer(model, adam, processes)
    try_update(trainer)
    service = TrainerService(trainer, options.folder.resolve(), on_failure=stop.set)
    if distributed is not None and not first:
        service.follow_first_process(distributed)
        distributed.close()
    sampling = EngineOptions(max_sequences=options.max_sequences, deterministic=options.deterministic)
    engine = Engine(model, trainer.sampled, sampling)
    services = [
        (TRAINER, service.handler()),
        (ENGINE, EngineService(model, engine, lambda: trainer.sampled).handler()),
    ]
    server = Server(services, serving)
    if distributed is not None:
        seconds = options.collective_timeout / 4
        threading.Thread(target=service.send_heartbeats, args=(seconds,), daemon=True).start()
    announce(options.model.resolve().name, serving, server.port)
    stop.wait()
    engine.close()
    server.stop()
    if distributed is None:
        return 0
    if service.failed.is_set() or not service.end(seconds=10):
        # Threads may be blocked, waiting for processes that have ended.
        os._exit(1)
    distributed.close()


def _model_options(options: argparse.Namespace) -> ModelOptions:
    from pmpo_torch_trainer.model import LoraOptions, ModelOptions

    rank = options.lora_rank
    lora = None if rank is None else LoraOptions(rank, options.lora_alpha or 2.0 * rank, tuple(options.lora_targets))
    return ModelOptions(
        folder=options.model,
        device=options.device,
        dtype=options.dtype,
        lora=lora,
        adapter=options.adapter,
        context_length=options.context_length,
        gradient_checkpointing=options.gradient_checkpointing,
        seed=options.seed,
        local_rank=int(os.environ.get("LOCAL_RANK", 0)) if int(os.environ.get("WORLD_SIZE", 1)) > 1 else None,
    )


if __name__ == "__main__":
    sys.exit(main())
