"""The program: `python -m pmpo_simulator_server dm-control --port 50051`."""

from __future__ import annotations

import argparse
import ctypes.util
import os
import sys
from pathlib import Path

from pmpo_simulator_server import logs
from pmpo_simulator_server.catalogue import KINDS, Catalogue
from pmpo_simulator_server.processes import ServerOptions, StartError, run

_MAX_MEGABYTES = 2047
"""The largest message size that gRPC supports."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pmpo-simulator-server",
        description="Serves simulators over dm_env_rpc v1, many worlds at once.",
    )
    parser.add_argument(
        "kind", choices=[*KINDS, "any"], help="which simulators to serve; any: those of every installed package"
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=50051, help="the port; 0 picks a free one (%(default)s)")
    parser.add_argument(
        "--processes",
        type=int,
        default=2 * (os.cpu_count() or 1),
        help="number of simulating processes, which share the port; always 1 on systems other than Linux (%(default)s)",
    )
    parser.add_argument("--tls-certificate", type=Path, metavar="PEM", help="the server's certificate chain")
    parser.add_argument("--tls-key", type=Path, metavar="PEM", help="its private key")
    parser.add_argument(
        "--tls-client-ca", type=Path, metavar="PEM", help="require client certificates signed by this authority"
    )
    parser.add_argument("--token-file", type=Path, help="require the bearer token in this file from clients")
    parser.add_argument(
        "--allow-import",
        action="append",
        default=[],
        metavar="MODULE",
        help="let clients create environments from MODULE, as simulator `MODULE:factory` or `gymnasium/MODULE:Class`, and "
        "use its wrappers; modules are found in the current folder and in those of PYTHONPATH; may be repeated",
    )
    parser.add_argument(
        "--max-message-megabytes", type=float, default=64, help="limit on each message, both ways (%(default)s)"
    )
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="stop when standard input closes, as when its parent dies"
    )
    parser.add_argument("--verbose", action="store_true", help="log the creation and destruction of worlds, and tracebacks")
    return parser


def _prepare_environment() -> None:
    """Sets the environment variables that simulators read when they are imported. Call it before importing them."""
    # Each process simulates on one core, and there are enough processes to use all cores.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if "MUJOCO_GL" not in os.environ and "DISPLAY" not in os.environ:
        found = [gl for gl, library in (("egl", "EGL"), ("osmesa", "OSMesa")) if ctypes.util.find_library(library)]
        os.environ["MUJOCO_GL"] = found[0] if found else "disable"


def main(arguments: list[str] | None = None) -> int:
    """Runs the program and returns its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.tls_certificate is None) != (options.tls_key is None):
        parser.error("--tls-certificate and --tls-key must be given together")
    if options.tls_client_ca is not None and options.tls_certificate is None:
        parser.error("--tls-client-ca needs --tls-certificate and --tls-key")
    if options.processes < 1:
        parser.error("--processes must be at least 1")
    if not 0 <= options.port < 2**16:
        parser.error("--port must be from 0 to 65535")
    if not 0 < options.max_message_megabytes <= _MAX_MEGABYTES:
        parser.error(f"--max-message-megabytes must be above 0 and at most {_MAX_MEGABYTES}")
    logs.configure(verbose=options.verbose)
    _prepare_environment()
    try:
        catalogue = _catalogue(options.kind, tuple(options.allow_import))
        run(
            ServerOptions(
                catalogue=catalogue,
                host=options.host,
                port=options.port,
                processes=options.processes,
                max_message_megabytes=options.max_message_megabytes,
                until_stdin_closes=options.until_stdin_closes,
                tls_certificate=options.tls_certificate,
                tls_key=options.tls_key,
                tls_client_ca=options.tls_client_ca,
                token_file=options.token_file,
            )
        )
    except StartError as error:
        print(f"pmpo-simulator-server: {error}", file=sys.stderr)
        return 1
    return 0


def _catalogue(kind: str, imports: tuple[str, ...]) -> Catalogue:
    """Returns the catalogue of `kind` with its simulators imported.

    Raises:
      StartError: the simulators of `kind` are not installed or cannot be imported.
    """
    chosen = Catalogue(tuple(KINDS) if kind == "any" else (kind,), imports)
    missing = chosen.missing()
    if kind == "any":
        chosen = Catalogue(tuple(k for k in KINDS if k not in missing), imports)
    elif missing:
        raise StartError(f"{kind} is not installed; pip install 'pmpo-simulator-server[{kind}]'")
    if imports:
        # As `python -m` does, so that modules in the current folder are found.
        sys.path.insert(0, os.getcwd())
    try:
        chosen.preload()
    except Exception as error:  # A broken installation or a missing driver can raise anything.
        reason = str(error).strip().split("\n")[0]
        raise StartError(f"{' and '.join(chosen.kinds)} cannot be loaded: {type(error).__name__}: {reason}") from error
    return chosen


if __name__ == "__main__":
    sys.exit(main())
