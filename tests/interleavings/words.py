"""Names for what schedules consist of: messages, items, conditions and errors, as a reader of a trace wants them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from milepost.protocol import hash_step_id
from milepost_engine.ports import AllOf, AnyOf, Condition, ConditionFailed, Equals, In, Key, LessThan

__all__ = ["Words"]

_RECORDS: Final = {"S": "step", "P": "plan", "A": "failed attempt", "C": "claim of"}
_LONGEST_VALUE: Final = 12


class Words:
    """The words for one run. `steps` are the names of its steps."""

    def __init__(self, steps: Sequence[str], run_id: str, function_id: str) -> None:
        self._steps = {hash_step_id(name, 0): name for name in steps}
        self._run_id = run_id
        self._function_id = function_id

    def message(self, body: str) -> str:
        """What a message is called; its id is left out, so that the name says only what the message is about."""
        fields: dict[str, Any] = json.loads(body)
        kind = str(fields.get("t"))
        parts = [f"timer({fields['kind']})" if kind == "timer" else kind]
        parts += [self.step(str(fields[key])) for key in ("step", "job") if fields.get(key)]
        if fields.get("attempt"):
            parts.append(f"attempt {int(fields['attempt']) + 1}")
        if not self.is_about_run(body):
            parts.append("(another run)")
        return " ".join(parts)

    def is_about_run(self, body: str) -> bool:
        """Whether a message is about the explored run, or about no run."""
        return not self._run_id or json.loads(body).get("run") in {None, self._run_id}

    def step(self, step_id: str) -> str:
        """A step's name for its id; whatever else is shown as it is."""
        stem, mark, rest = step_id.partition("#")
        return self._steps.get(stem, stem) + mark + rest

    def item(self, key: Key) -> str:
        if key.pk == f"R#{self._run_id}":
            return f"{_RECORDS.get(key.sk[:1], key.sk[:1])} {self.step(key.sk[2:])}" if key.sk else "records"
        if key.pk == f"F#{self._function_id}" and key.sk == self._run_id:
            return "header"
        return f"{key.pk}/{key.sk}" if key.sk else key.pk

    def value(self, value: object) -> str:
        text = str(value)
        return text if len(text) <= _LONGEST_VALUE else f"…{text[-6:]}"

    def condition(self, when: Condition | None) -> str:
        match when:
            case None:
                return "in any case"
            case AllOf(conditions):
                return "(" + " and ".join(map(self.condition, conditions)) + ")"
            case AnyOf(conditions):
                return "(" + " or ".join(map(self.condition, conditions)) + ")"
            case In("status", _):
                return "live"
            case In(attribute, values):
                return f"{attribute} in {', '.join(map(self.value, values))}"
            case LessThan(attribute, value):
                return f"{attribute} < {value}"
            case Equals(attribute, value):
                return f"{attribute} = {self.value(value)}"
            case _:
                return f"{type(when).__name__} {getattr(when, 'attribute', '')}".strip().lower()

    def refusal(self, error: Exception) -> str:
        existing = error.existing if isinstance(error, ConditionFailed) else None
        if existing is None:
            return "the condition does not hold"
        writer = existing.get("job") or existing.get("by")
        return f"stands already, by {self.step(str(writer))}" if writer else "the condition does not hold"
