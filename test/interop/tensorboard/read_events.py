"""Reads a folder of event files with TensorBoard and prints, as JSON, its scalars and the time of its first event.

Scalars have the form {tag: [[step, value], …]}; the time is in seconds since 1970.

Usage: python read_events.py FOLDER
"""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main() -> None:
    events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    scalars = {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in tags}
    first = events.FirstEventTimestamp()
    print(json.dumps({"scalars": scalars, "first": first}))


if __name__ == "__main__":
    main()
