"""Expressions over events: CEL in the reference server's dialect.

Used for trigger conditions, waits and cancellations, keys of limits, and priorities. Parsed once, limited in
size, depth and work; nothing here reads a clock, a file or the environment.
"""

from __future__ import annotations

from milepost_engine.core.expressions.bind import Bound, bind, restore
from milepost_engine.core.expressions.errors import ExpressionError
from milepost_engine.core.expressions.evaluate import evaluate
from milepost_engine.core.expressions.keys import Scalar, equality_keys, index_hash, lookup
from milepost_engine.core.expressions.match import Outcome, explain, matches
from milepost_engine.core.expressions.parser import compile_expression
from milepost_engine.core.expressions.tree import Expression
from milepost_engine.core.expressions.values import key_text

__all__ = [
    "Bound",
    "Expression",
    "ExpressionError",
    "Outcome",
    "Scalar",
    "bind",
    "compile_expression",
    "equality_keys",
    "evaluate",
    "explain",
    "index_hash",
    "key_text",
    "lookup",
    "matches",
    "restore",
]
