"""The program of Quix Streams: which events of each rider it folds, with its own exactly-once. Imports quixstreams.

python rider_events.py BOOTSTRAP TOPIC OUTPUT_TOPIC GROUP STATE_DIR   runs until it is ended.
"""

from __future__ import annotations

import sys
from typing import Any

from quixstreams import Application, State


def fold(_value: bytes, _key: str, _timestamp: int, headers: Any, state: State) -> dict[str, Any]:
    """Note the event's version in the rider's state: one bit for each version, and how often one came again."""
    bit = 1 << int(dict(headers)["version"])
    seen, doubled = int(state.get("seen", "0"), 16), state.get("doubled", 0)
    if seen & bit:
        doubled += 1
        state.set("doubled", doubled)
    seen |= bit
    state.set("seen", f"{seen:x}")
    return {"events": seen.bit_count(), "doubled": doubled}


def main(bootstrap: str, topic: str, output_topic: str, group: str, state_dir: str) -> None:
    """Follow ``topic`` from its start; each result and its state are committed in one transaction of Kafka."""
    application = Application(
        broker_address=bootstrap,
        consumer_group=group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        state_dir=state_dir,
        commit_interval=1.0,
    )
    records = application.topic(topic, key_deserializer="str", value_deserializer="bytes")
    results = application.topic(output_topic, key_serializer="str", value_serializer="json")
    stream = application.dataframe(records)
    stream.apply(fold, stateful=True, metadata=True).to_topic(results)
    application.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
