"""A tokenizer, for clients: as an archive of its files, and the hash by which vocabularies are compared."""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 2**20


def vocabulary_hash(tokenizer: Any) -> str:
    """SHA-256 over `ID<tab>TOKEN<newline>` in UTF-8 for each token in the order of IDs, added tokens included."""
    digest = hashlib.sha256()
    for number, token in sorted((number, token) for token, number in tokenizer.get_vocab().items()):
        digest.update(f"{number}\t{token}\n".encode())
    return digest.hexdigest()


def archive(tokenizer: Any) -> bytes:
    """A ZIP of the tokenizer's files; the same bytes for the same tokenizer."""
    content = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as packed:
        tokenizer.save_pretrained(folder)
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(str(path.relative_to(folder)))
                entry.compress_type = zipfile.ZIP_DEFLATED
                packed.writestr(entry, path.read_bytes())
    return content.getvalue()


def chunks(content: bytes) -> list[tuple[bytes, str]]:
    """Pieces and hashes, the hash of the whole in the last one only."""
    pieces = [content[at : at + _CHUNK_BYTES] for at in range(0, len(content), _CHUNK_BYTES)]
    digest = hashlib.sha256(content).hexdigest()
    return [(piece, digest if index == len(pieces) - 1 else "") for index, piece in enumerate(pieces)]
