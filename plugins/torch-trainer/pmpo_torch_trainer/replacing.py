"""A folder that is there whole, the older or the newer one, at every moment but one rename."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder`, which takes its place at the end; where an error ends it, nothing has changed."""
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    old = aside.with_name(f"{aside.name}.old")
    try:
        aside.mkdir(parents=True)
        yield aside
        if folder.exists():
            folder.rename(old)
        aside.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
