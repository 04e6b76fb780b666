"""A tokenizer as clients get it: an archive of its files, and a hash to compare vocabularies."""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 2**20


def vocabulary_hash(tokenizer: Any) -> str:
    """SHA-256, hexadecimal, over `ID<tab>TOKEN<newline>` in UTF-8 for each token in the order of ids, with added tokens."""
    digest = hashlib.sha256()
    for number, token in sorted((number, token) for token, number in tokenizer.get_vocab().items()):
        digest.update(f"{number}\t{token}\n".encode())
    return digest.hexdigest()


def archive(tokenizer: Any) -> bytes:
    """A ZIP archive of the tokenizer's files. The same tokenizer gives the same bytes."""
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
    """Splits an archive into chunks. The last one comes with the SHA-256 of the whole, the others with an empty text."""
    pieces = [content[at : at + _CHUNK_BYTES] for at in range(0, len(content), _CHUNK_BYTES)]
    digest = hashlib.sha256(content).hexdigest()
    return [(piece, digest if index == len(pieces) - 1 else "") for index, piece in enumerate(pieces)]
