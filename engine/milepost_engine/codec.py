"""JSON at the engine's edges: fast, strict, and with errors that say what is wrong.

NaN and Infinity are no JSON and are refused; nesting deeper than the parser's 200 levels is refused.
"""

from __future__ import annotations

from typing import cast

from pydantic_core import from_json, to_json

__all__ = ["Json", "dumps", "loads", "text"]

Json = object


def loads(raw: bytes | str) -> Json:
    """The value of a JSON text. Raises ValueError with the place of the fault."""
    return cast("Json", from_json(raw, allow_inf_nan=False, cache_strings="keys"))


def dumps(value: Json) -> bytes:
    """Compact JSON text. Raises ValueError for what JSON cannot carry."""
    try:
        return to_json(value, inf_nan_mode="null")
    except UnicodeEncodeError:
        raise ValueError("the text has a lone surrogate, which UTF-8 cannot carry") from None


def text(value: Json) -> str:
    return dumps(value).decode()
