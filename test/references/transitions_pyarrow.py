"""Writes transitions.parquet: ten transitions in row groups of four."""

import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

rows = [
    {
        "observation": [float(i), i + 0.5],
        "action": [1.0 if i % 2 else -1.0],
        "reward": 0.75,
        "next_observation": [i + 1.0, i + 1.5],
        "terminated": i == 9,
        "comment": f"row {i}",
    }
    for i in range(10)
]
pq.write_table(pa.Table.from_pylist(rows), pathlib.Path(__file__).parent / "transitions.parquet", row_group_size=4)
