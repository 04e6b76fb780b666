"""Prints what TensorBoard itself reads from a folder of event files: {tag: [[step, value], …]}.

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
