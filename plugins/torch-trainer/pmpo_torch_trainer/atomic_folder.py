"""Replacement of a folder such that a reader finds either the old or the new version, and never a partial one.

Only between two renames, for an instant, is there no folder of that name.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yields an empty folder next to `folder`, which replaces `folder` at the end of the block.

    If the block raises, or the replacement fails, `folder` stays as it was.
    """
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
