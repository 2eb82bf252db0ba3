"""JSON at the engine's edges: fast, strict, and with errors that say what is wrong.

`loads` refuses NaN and Infinity, and nesting deeper than the parser's 200 levels; `dumps` writes NaN and Infinity as
null.
"""

from __future__ import annotations

from typing import cast

from pydantic_core import from_json, to_json

__all__ = ["Json", "dumps", "loads", "text"]

Json = object


def loads(raw: bytes | str) -> Json:
    """The value of a JSON text. Raises ValueError with the position of the error."""
    return cast("Json", from_json(raw, allow_inf_nan=False, cache_strings="keys"))


def dumps(value: Json) -> bytes:
    """Compact JSON text. Raises ValueError for text that UTF-8 cannot encode."""
    try:
        return to_json(value, inf_nan_mode="null")
    except UnicodeEncodeError:
        raise ValueError("the text has a lone surrogate, which UTF-8 cannot encode") from None


def text(value: Json) -> str:
    return dumps(value).decode()
