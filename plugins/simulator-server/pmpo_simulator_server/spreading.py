"""Counts streams, and spreads them evenly over the processes of a server.

The kernel assigns a connection to a process by chance, so that two streams may share a process while others do nothing. A client that
sends the metadata `pmpo-spread` is willing to connect again: its stream is refused by a process that has more streams than another. Other
clients are never refused for this reason.
"""

from __future__ import annotations

import enum
import mmap
import struct
import threading

METADATA_KEY = "pmpo-spread"
"""In a stream's metadata: the client is willing to connect again. In the status of a refusal: it should."""

MAX_STREAMS = 1024
"""The largest number of concurrent streams of one gRPC server. Further ones are refused at once: none waits for a thread."""

_COUNT = struct.Struct("=i")
_ABSENT = -1
"""The count of a process that does not listen."""


class StreamCounts:
    """The number of streams of each process of a server. Make it before the processes are forked: they share its memory."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._memory = mmap.mmap(-1, _COUNT.size * processes)
        for place in range(processes):
            self.clear(place)

    def set(self, place: int, count: int) -> None:
        _COUNT.pack_into(self._memory, _COUNT.size * place, count)

    def clear(self, place: int) -> None:
        """Records that the process at `place` does not listen."""
        self.set(place, _ABSENT)

    def fewest(self) -> int:
        """The number of streams of the process that has the fewest."""
        counts = [self._count(place) for place in range(self._processes)]
        return min((count for count in counts if count != _ABSENT), default=0)

    def _count(self, place: int) -> int:
        count: int = _COUNT.unpack_from(self._memory, _COUNT.size * place)[0]
        return count


class Entry(enum.Enum):
    """The answer to a stream that begins."""

    TAKEN = enum.auto()
    FULL = enum.auto()
    ELSEWHERE = enum.auto()
    """Another process has fewer streams."""


class OwnCount:
    """The number of streams of one gRPC server, which the other processes see if they share `counts`."""

    def __init__(self, counts: StreamCounts | None = None, place: int = 0) -> None:
        self._counts = StreamCounts(1) if counts is None else counts
        self._place = place
        self._lock = threading.Lock()
        self._count = 0

    def publish(self) -> None:
        """Shows the count to the other processes. Call it when this one listens."""
        with self._lock:
            self._add(0)

    def enter(self, *, is_willing: bool) -> Entry:
        """Counts a stream if it is taken. One that is willing to go elsewhere is not taken while another process has fewer."""
        with self._lock:
            if is_willing and self._count > self._counts.fewest():
                return Entry.ELSEWHERE
            if self._count >= MAX_STREAMS:
                return Entry.FULL
            self._add(1)
            return Entry.TAKEN

    def leave(self) -> None:
        with self._lock:
            self._add(-1)

    def _add(self, change: int) -> None:
        self._count += change
        self._counts.set(self._place, self._count)
