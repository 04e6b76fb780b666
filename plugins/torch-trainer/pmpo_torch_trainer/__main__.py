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
    from pmpo_torch_trainer.distributed import Several
    from pmpo_torch_trainer.model import ModelOptions
    from pmpo_torch_trainer.server import ServerOptions

_MOST_MEGABYTES = 2047
"""gRPC's own limit."""

_LAUNCHER = "PMPO_TRAINER_LAUNCHER"
"""By which a process of several knows the number of the one that has started it."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pmpo-torch-trainer",
        description="Trains a Hugging Face causal language model by coefficients sent over gRPC, and samples from it over vLLM's protocol.",
    )
    model = parser.add_argument_group("model")
    model.add_argument("--model", type=Path, required=True, metavar="DIR", help="a folder with a Hugging Face causal language model")
    model.add_argument("--lora-rank", type=int, metavar="R", help="train a LoRA adapter of this rank, not the whole model")
    model.add_argument("--lora-alpha", type=float, metavar="A", help="its scale is A / R (2 R)")
    model.add_argument(
        "--lora-targets", nargs="+", default=[], metavar="NAME", help="modules that get one (all linear ones but the output layer)"
    )
    model.add_argument("--adapter", type=Path, metavar="DIR", help="go on training this LoRA adapter")
    model.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="auto: a GPU if there is one (%(default)s)")
    model.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        default="float32",
        help="in which is computed; what is trained is kept in float32 (%(default)s)",
    )
    model.add_argument("--context-length", type=int, metavar="TOKENS", help="less than the model's own")
    model.add_argument("--gradient-checkpointing", action="store_true", help="less memory, more time")
    model.add_argument("--seed", type=int, default=0, help="of the adapter's first weights (%(default)s)")
    training = parser.add_argument_group("training")
    training.add_argument(
        "--max-tokens-per-batch", type=int, default=4096, metavar="TOKENS", help="in one pass, padding counted (%(default)s)"
    )
    training.add_argument("--adam-betas", nargs=2, type=float, default=(0.9, 0.999), metavar=("B1", "B2"), help="(0.9 0.999)")
    training.add_argument("--adam-epsilon", type=float, default=1e-8, help="(%(default)s)")
    training.add_argument(
        "--folder",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="clients may have checkpoints written and read below it (where the program is started)",
    )
    sampling = parser.add_argument_group("sampling")
    sampling.add_argument("--max-sequences", type=int, default=64, metavar="N", help="completions made at once (%(default)s)")
    sampling.add_argument(
        "--deterministic",
        action="store_true",
        help="one request at a time, and deterministic kernels: a seed gives the same completions to the last bit",
    )
    several = parser.add_argument_group("several GPUs")
    several.add_argument("--processes", type=int, metavar="K", help="train in K processes, on a GPU each, or on the CPU")
    several.add_argument(
        "--collective-timeout",
        type=float,
        default=600,
        metavar="SECONDS",
        help="how long one waits for another before all end (%(default)s)",
    )
    serving = parser.add_argument_group("serving")
    serving.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    serving.add_argument("--port", type=int, default=50052, help="the port; 0: any free one (%(default)s)")
    serving.add_argument("--tls-certificate", type=Path, metavar="PEM", help="the server's certificate chain")
    serving.add_argument("--tls-key", type=Path, metavar="PEM", help="its private key")
    serving.add_argument("--tls-client-ca", type=Path, metavar="PEM", help="clients must have a certificate of this authority")
    serving.add_argument("--token-file", type=Path, help="clients must send the bearer token in this file")
    serving.add_argument("--max-message-megabytes", type=float, default=64, help="(%(default)s)")
    serving.add_argument(
        "--until-stdin-closes", action="store_true", help="end when standard input closes, as when its parent dies"
    )
    serving.add_argument("--verbose", action="store_true", help="log more")
    return parser


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if (options.tls_certificate is None) != (options.tls_key is None):
        parser.error("--tls-certificate and --tls-key go together")
    if options.tls_client_ca is not None and options.tls_certificate is None:
        parser.error("--tls-client-ca needs --tls-certificate and --tls-key")
    if options.adapter is not None and (options.lora_rank is not None or options.lora_alpha is not None or options.lora_targets):
        parser.error("--adapter brings its own rank, scale and targets: leave out --lora-…")
    if options.lora_rank is None and (options.lora_alpha is not None or options.lora_targets):
        parser.error("--lora-alpha and --lora-targets need --lora-rank")
    for name in ("lora_rank", "context_length", "max_tokens_per_batch", "max_sequences", "lora_alpha", "processes", "collective_timeout"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            parser.error(f"--{name.replace('_', '-')} must be above 0")
    if not all(0 <= beta < 1 for beta in options.adam_betas):
        parser.error("--adam-betas must be from 0 to below 1")
    if not options.adam_epsilon > 0:
        parser.error("--adam-epsilon must be above 0")
    if not 0 <= options.port < 2**16:
        parser.error("--port must be from 0 to 65535")
    if not 0 < options.max_message_megabytes <= _MOST_MEGABYTES:
        parser.error(f"--max-message-megabytes must be above 0 and at most {_MOST_MEGABYTES}")


def _prepare_environment(deterministic: bool) -> None:
    """Before anything heavy is imported."""
    # What libraries say to each other about their next versions.
    warnings.simplefilter("ignore", FutureWarning)
    _share_memory_between_threads()
    # What is not in the folder is an error, never a download.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def _share_memory_between_threads() -> None:
    """Lets all threads take their memory from one place, where the C library is glibc.

    Calls come on whichever thread is free, and glibc gives each its own store, which keeps what it has had: several gigabytes
    for each thread that has taken a gradient.
    """
    arena_max = -8
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(arena_max, 1)


def _end_with_launcher() -> None:
    """Has the kernel end this process, one of several, when its launcher is gone, where it is Linux's.

    PyTorch's launcher gives each process a session of its own: whoever kills the launcher does not reach them. One that was
    started in another way may outlive what has started it.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    set_parent_death_signal = 1
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return
    prctl(set_parent_death_signal, ctypes.c_ulong(signal.SIGKILL), *[ctypes.c_ulong(0)] * 3)
    # It may have gone before that.
    if os.environ.get(_LAUNCHER, str(os.getppid())) != str(os.getppid()):
        os._exit(1)


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
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
        # Those that are started several at a time are told so by PyTorch's launcher.
        if int(os.environ.get("WORLD_SIZE", 1)) > 1:
            _end_with_launcher()
            return _serve_among_several(options, serving)
        if options.processes is not None and options.processes > 1:
            from pmpo_torch_trainer.launch import launch

            os.environ[_LAUNCHER] = str(os.getpid())
            return launch(options.processes, sys.argv[1:] if arguments is None else arguments)
        _serve(options, serving)
    except StartError as error:
        print(f"pmpo-torch-trainer: {error}", file=sys.stderr)
        return 1
    return 0


def _serve_among_several(options: argparse.Namespace, serving: ServerOptions) -> int:
    """Serves in the first process, and does in the others what it says."""
    if int(os.environ["RANK"]) > 0:
        # They go when the first one goes, which finishes what is under way.
        for asked in (signal.SIGINT, signal.SIGTERM):
            signal.signal(asked, signal.SIG_IGN)

    from pmpo_torch_trainer.distributed import Several
    from pmpo_torch_trainer.errors import StartError
    from pmpo_torch_trainer.model import find_device

    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    several = Several(find_device(options.device, local_rank), options.collective_timeout)
    try:
        return _serve(options, serving, several)
    except StartError:
        # All have the same, or wait for the first to say what to do.
        if several.rank == 0:
            raise
        return 1
    except Exception as error:
        if several.rank == 0:
            raise
        several.end(error)


def _serve(options: argparse.Namespace, serving: ServerOptions, several: Several | None = None) -> int:
    from pmpo_torch_trainer.server import Server, announce, check_port, read_security, stop_event
    from pmpo_torch_trainer.errors import StartError

    # What can be wrong is found before the model is read.
    first = several is None or several.rank == 0
    if first:
        read_security(serving)
        check_port(serving.host, serving.port)
    if not options.folder.is_dir():
        raise StartError(f"--folder {options.folder}: there is no such folder")
    stop = stop_event(serving.until_stdin_closes) if first else threading.Event()

    import torch

    from pmpo_torch_trainer.engine import Engine, EngineOptions
    from pmpo_torch_trainer.engine_service import EngineService
    from pmpo_torch_trainer.model import load
    from pmpo_torch_trainer.processes import ALONE
    from pmpo_torch_trainer.services import ENGINE, TRAINER
    from pmpo_torch_trainer.trainer import Trainer, TrainerOptions
    from pmpo_torch_trainer.trainer_service import TrainerService

    if options.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    processes = several or ALONE
    model = processes.agree(lambda: load(_model_options(options)))
    beta1, beta2 = options.adam_betas
    adam = TrainerOptions(options.max_tokens_per_batch, beta1, beta2, options.adam_epsilon)
    trainer = Trainer(model, adam, processes)
    service = TrainerService(trainer, options.folder.resolve(), on_failure=stop.set)
    if several is not None and not first:
        service.follow(several)
        several.close()
    sampling = EngineOptions(max_sequences=options.max_sequences, deterministic=options.deterministic)
    engine = Engine(model, trainer.sampled, sampling)
    services = [
        (TRAINER, service.handler()),
        (ENGINE, EngineService(model, engine, lambda: trainer.sampled).handler()),
    ]
    server = Server(services, serving)
    if several is not None:
        seconds = options.collective_timeout / 4
        threading.Thread(target=service.keep_company, args=(seconds,), daemon=True).start()
    announce(options.model.resolve().name, serving, server.port)
    stop.wait()
    engine.close()
    server.stop()
    if several is None:
        return 0
    if service.failed.is_set() or not service.end(seconds=10):
        # Threads may wait for processes that are gone.
        os._exit(1)
    several.close()


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
