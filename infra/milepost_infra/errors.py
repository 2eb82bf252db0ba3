"""What can be wrong with a stack before it is deployed. Everything here asks the author of the CDK app to fix code."""

__all__ = ["InfraError", "PackingError"]


class InfraError(Exception):
    """The stack as written cannot work; `code` is explained in docs/errors.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"[{code}] {message}")
        self.code = code


class PackingError(InfraError):
    """The code of a Lambda could not be packed."""
