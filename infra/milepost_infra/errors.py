"""Errors found before deployment. The author of the CDK app has to fix the code."""

__all__ = ["InfraError", "PackingError"]


class InfraError(Exception):
    """The stack cannot work as written; `code` is explained in docs/errors.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"[{code}] {message}")
        self.code = code


class PackingError(InfraError):
    """The code of a Lambda could not be packed."""
