"""Where in which run a log record was made."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, cast

from milepost.serving import log_origin

__all__ = ["place_of", "with_place"]

_PLACE: Final[tuple[str, ...]] = ("function_id", "run_id", "attempt", "step")
_KNOWN: Final = "milepost_place"


def place_of(record: logging.LogRecord) -> Mapping[str, object]:
    """Where in which run a record was made: as it says itself, else as the context says; empty outside of runs."""
    if _KNOWN in record.__dict__:
        return cast("Mapping[str, object]", record.__dict__[_KNOWN])
    here = log_origin()
    own: dict[str, object] = {name: record.__dict__[name] for name in _PLACE if name in record.__dict__}
    if "run_id" not in own:
        return {**here, **own} if here else {}
    # A held-back line may be written by another context than made it: then only its own word counts.
    return {**here, **own} if here.get("run_id") == own["run_id"] and own.get("step") == here.get("step") else own


def with_place(record: logging.LogRecord, place: Mapping[str, object]) -> None:
    """Have `place_of` say so of a record that was made in another process."""
    record.__dict__[_KNOWN] = place
