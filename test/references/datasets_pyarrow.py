"""Writes data sets with pyarrow, in the two formats of TRL: pairs.parquet, with chats, and labels.parquet, with texts; and the rows
of pairs.parquet in each compression that pyarrow has.

    .venvs/torch_trainer/bin/python test/references/datasets_pyarrow.py

The files have the features of Hugging Face's data sets: Snappy compression, dictionaries, nulls, nested columns and several
row groups. Needs pyarrow.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

HERE = Path(__file__).resolve().parent


def turn(role: str, content: str) -> dict:
    return {"role": role, "content": content}


def main() -> None:
    chat = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    pairs = pa.table(
        {
            "prompt": pa.array(
                [
                    [turn("system", "Be brief."), turn("user", "Warum ist der Himmel blau? 🌤")],
                    [turn("user", "1 + 1?")],
                    [turn("user", "Who wrote Faust?")],
                ],
                chat,
            ),
            "chosen": pa.array([[turn("assistant", "Streuung.")], [turn("assistant", "2")], None], chat),
            "rejected": pa.array([[turn("assistant", "Weil er es ist.")], None, [turn("assistant", "Me.")]], chat),
            "annotator": pa.array(["a", "a", "b"]).dictionary_encode(),
        }
    )
    labels = pa.table(
        {
            "prompt": ["Say hello.", "Say hello.", "Say bye.", "Say bye."],
            "completion": ["Hello!", "No.", "Bye!", "Hm."],
            "label": pa.array([True, False, None, None], pa.bool_()),
            "score": pa.array([None, None, 3, -(2**40)], pa.int64()),
            "length": pa.array([6, 3, 4, 3], pa.int32()),
        }
    )
    parquet.write_table(pairs, HERE / "pairs.parquet", row_group_size=2, compression="snappy")
    for compression in ("zstd", "gzip", "brotli", "lz4"):
        parquet.write_table(pairs, HERE / f"pairs-{compression}.parquet", row_group_size=2, compression=compression)
    parquet.write_table(labels, HERE / "labels.parquet", row_group_size=3, compression="snappy")


if __name__ == "__main__":
    main()
