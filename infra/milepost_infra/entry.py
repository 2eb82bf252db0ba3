"""Finds what belongs to an entry file: the folder to pack, the module to import, and the requirements."""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .errors import InfraError
from .packing import AppSource

__all__ = ["ENTRY_HANDLER", "Entry", "read_entry"]

ENTRY_HANDLER: Final = "_milepost_entry.handler"
_SHIM: Final = '''"""The Lambda's entry point: passes calls to the app."""

from milepost_handlers.app import lambda_handler

from {module} import {attribute}

handler = lambda_handler({attribute})
'''


@dataclass(frozen=True, slots=True)
class Entry:
    """A parsed entry file."""

    source: AppSource
    module: str
    requirements: tuple[str, ...]
    attribute: str
    root: Path
    """The folder that the module is imported from."""

    @property
    def shim(self) -> dict[str, str]:
        """The file that wraps the app in a Lambda handler, by name."""
        return {"_milepost_entry.py": _SHIM.format(module=self.module, attribute=self.attribute)}


def read_entry(path: str | Path, attribute: str = "app") -> Entry:
    """Parse an entry file.

    A file in a package (folders with `__init__.py`) is packed with its topmost package and imported by its full name;
    any other file is packed with its folder. `requirements.txt` is read from the file's folder or the one that contains
    the topmost package. Raises InfraError when the file is not a Python file.
    """
    file = Path(path).resolve()
    if not file.is_file() or file.suffix != ".py":
        raise InfraError("MP606", f"The entry {str(path)!r} is not a Python file; give the file that defines the App.")
    top = file.parent
    names = [file.stem]
    while (top / "__init__.py").is_file():
        names.append(top.name)
        top = top.parent
    wrong = next((name for name in names if not name.isidentifier() or keyword.iskeyword(name)), "")
    if wrong:
        raise InfraError(
            "MP606",
            f"The entry {str(path)!r} cannot be imported, because {wrong!r} is not a module name; rename it. Module "
            "names have letters, digits and '_' only, do not begin with a digit, and are no words of Python.",
        )
    packaged = len(names) > 1
    source = AppSource(top / names[-1], names[-1]) if packaged else AppSource(top)
    return Entry(source, ".".join(reversed(names)), _requirements(file.parent, top), attribute, top)


def _requirements(*folders: Path) -> tuple[str, ...]:
    for folder in folders:
        listed = folder / "requirements.txt"
        if listed.is_file():
            lines = (line.partition(" #")[0].strip() for line in listed.read_text().splitlines())
            return tuple(line for line in lines if line and not line.startswith("#"))
    return ()
