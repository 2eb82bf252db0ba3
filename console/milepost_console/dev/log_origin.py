"""The run, step and attempt in which a log record was made."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, cast

from milepost.serving import log_origin

__all__ = ["origin_of", "with_origin"]

_FIELDS: Final[tuple[str, ...]] = ("function_id", "run_id", "attempt", "step")
_KNOWN: Final = "milepost_origin"


def origin_of(record: logging.LogRecord) -> Mapping[str, object]:
    """Run, step and attempt of a record, from the record itself or from the context; empty outside runs."""
    if _KNOWN in record.__dict__:
        return cast("Mapping[str, object]", record.__dict__[_KNOWN])
    here = log_origin()
    own: dict[str, object] = {name: record.__dict__[name] for name in _FIELDS if name in record.__dict__}
    if "run_id" not in own:
        return {**here, **own} if here else {}
    # A deferred record may be written in another context than it was made in; then only its own fields count.
    return {**here, **own} if here.get("run_id") == own["run_id"] and own.get("step") == here.get("step") else own


def with_origin(record: logging.LogRecord, origin: Mapping[str, object]) -> None:
    """Set the origin of a record that was made in another process, for `origin_of`."""
    record.__dict__[_KNOWN] = origin
