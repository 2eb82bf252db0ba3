"""The one error of the expression language."""

from __future__ import annotations

__all__ = ["ExpressionError"]


class ExpressionError(ValueError):
    """An expression cannot be parsed, bound or evaluated; the message says why and what to write instead.

    `column` counts characters from 1 over the whole text, or is None when no single place is to blame.
    """

    def __init__(self, message: str, *, column: int | None = None) -> None:
        super().__init__(message)
        self.column = column
