"""Builds the wheel of plugins/python and installs it into a folder of its own, from which the tests of this suite import `pmpo`."""

import atexit
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
SOURCE = ROOT / "plugins" / "python"


@functools.cache
def folder() -> pathlib.Path:
    """The folder that the wheel is installed in, which is on sys.path from then on."""
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="pmpo-operators-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    # setuptools writes beside the sources.
    copy = shutil.copytree(SOURCE, scratch / "source", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", scratch / "wheels", copy], check=True)
    (wheel,) = (scratch / "wheels").iterdir()
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", scratch / "site", wheel], check=True)
    sys.path.insert(0, str(scratch / "site"))
    return scratch / "site"


def without_node() -> dict[str, str]:
    """The environment for a program that must not find `node`."""
    return {**os.environ, "PATH": os.path.dirname(sys.executable), "PYTHONPATH": str(folder())}
