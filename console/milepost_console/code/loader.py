"""Loads the user's modules into this process and records which files they came from.

Changes are found by checking the imported files, not by watching folders: a project folder may contain a virtual
environment, whose tens of thousands of files would take seconds to scan and use up the system's file watches.
"""

from __future__ import annotations

import importlib
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Final

from milepost import App

__all__ = ["AppLocation", "CodeProblem", "Loader", "Stamps", "parse_location", "stamps_of"]

_FOREIGN: Final = tuple(
    {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


Stamps = dict[str, tuple[int, int] | None]
"""Modification time in nanoseconds and size of each file; None for a missing file."""


class CodeProblem(Exception):
    """User code cannot be loaded; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class AppLocation:
    """Where an app is defined: a module, the folder it is imported from, and the app's name in it (or "")."""

    text: str
    module: str
    root: Path
    attribute: str = ""


def parse_location(text: str, folder: Path) -> AppLocation:
    """Read `file.py`, `folder/file.py`, `package.module` or either with `:app`. Raises CodeProblem."""
    target, _, attribute = text.partition(":") if not _is_drive(text) else (text, "", "")
    if attribute and not attribute.isidentifier():
        raise CodeProblem(f"{text!r}: {attribute!r} is not a valid name; write it like 'package.module:app'")
    if target.endswith(".py") or "/" in target or "\\" in target:
        return _file_location(text, Path(folder, target), attribute)
    if not target or not all(part.isidentifier() for part in target.split(".")):
        raise CodeProblem(f"{text!r} is neither a Python file nor a module; write 'app.py' or 'package.module:app'")
    return AppLocation(text, target, folder, attribute)


def module_name(text: str) -> str:
    """A name close to the given one that a module can have."""
    made = "".join(letter if letter.isalnum() else "_" for letter in text)
    return made if made.isidentifier() else f"app_{made}"


def _is_drive(text: str) -> bool:
    return len(text) > 2 and text[1] == ":" and text[2] in "\\/"


def _file_location(text: str, path: Path, attribute: str) -> AppLocation:
    if path.is_dir():
        path /= "__init__.py"
    if not path.is_file():
        raise CodeProblem(f"there is no file {text.partition(':')[0]!r}; give the path of a Python file")
    path = path.resolve()
    names = [] if path.name == "__init__.py" else [path.stem]
    root = path.parent
    # The import root is the first folder above that is not itself a package.
    while (root / "__init__.py").exists() and root.parent != root:
        names.insert(0, root.name)
        root = root.parent
    if not names or not all(name.isidentifier() for name in names):
        wrong = next((name for name in names if not name.isidentifier()), path.stem)
        raise CodeProblem(
            f"{text!r} cannot be imported, because {wrong!r} is not a module name: rename it to, for example, "
            f"{module_name(wrong)!r}. Module names have letters, digits and '_' only, and do not begin with a digit"
        )
    return AppLocation(text, ".".join(names), root, attribute)


@dataclass
class Loader:
    """Loads the apps at some locations. `folder` is the working directory; modules in it count as the user's own."""

    locations: Sequence[AppLocation]
    folder: Path
    known: Sequence[str] = ()
    """Files known from an earlier load; if one changes while loading, that counts as a change."""
    stamps: Stamps = field(init=False)
    """The user's files as they were when loaded, whether loading succeeded or not."""

    def __post_init__(self) -> None:
        self.stamps = stamps_of(self.known)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders whose modules are the user's own."""
        roots = {self.folder.resolve(), *(location.root.resolve() for location in self.locations)}
        return tuple(
            sorted(root for root in roots if not any(root != other and root.is_relative_to(other) for other in roots))
        )

    def load(self) -> dict[str, App]:
        """Import everything and return the apps by id. Raises CodeProblem that names the file and line."""
        for root in (self.folder, *(location.root for location in self.locations)):
            if str(root) not in sys.path:
                sys.path.insert(0, str(root))
        try:
            return self._import()
        except BaseException as error:
            self._note(_files_of(error))
            raise
        finally:
            self._note(Path(file) for module in list(sys.modules.values()) if (file := self._own_file(module)))

    def _note(self, files: Iterable[Path]) -> None:
        for file in files:
            if str(file) not in self.stamps and self._within(file):
                self.stamps[str(file)] = _stamp(file)

    def _import(self) -> dict[str, App]:
        apps: dict[str, App] = {}
        for location in self.locations:
            for app in self._apps_of(location):
                known = apps.setdefault(app.id, app)
                if known is not app:
                    raise CodeProblem(
                        f"two apps have the id {app.id!r}; give one of them a different id ({location.text})"
                    )
        return apps

    def _apps_of(self, location: AppLocation) -> Iterable[App]:
        try:
            module = importlib.import_module(location.module)
        except (Exception, SystemExit) as error:
            raise CodeProblem(_explained(location, error, self.folders)) from error
        file = getattr(module, "__file__", None)
        if location.text.partition(":")[0].endswith(".py") and not (
            file and Path(file).resolve().is_relative_to(location.root)
        ):
            raise CodeProblem(
                f"{location.text}: the name {location.module!r} belongs to another module ({file or 'built in'}); "
                "rename the file"
            )
        if location.attribute:
            app = getattr(module, location.attribute, None)
            if not isinstance(app, App):
                raise CodeProblem(f"{location.text}: {location.attribute!r} in {location.module} is not a milepost.App")
            return [app]
        found = {id(value): value for value in vars(module).values() if isinstance(value, App)}
        if not found:
            raise CodeProblem(f"{location.text} has no app; write `app = App('my-app')` at the top of the module")
        return found.values()

    def _own_file(self, module: ModuleType) -> str | None:
        file = getattr(module, "__file__", None)
        return file if file is not None and self._within(Path(file)) else None

    def _within(self, path: Path) -> bool:
        path = path.resolve()
        if any(path.is_relative_to(foreign) for foreign in (*_FOREIGN, *_OURS)) or "site-packages" in path.parts:
            return False
        return any(path.is_relative_to(folder) for folder in self.folders)


def _ours() -> tuple[Path, ...]:
    """Milepost's own packages; in a development install they may be inside the user's folders."""
    import milepost  # noqa: PLC0415
    import milepost_console  # noqa: PLC0415 - the packages themselves
    import milepost_engine  # noqa: PLC0415

    return tuple(
        Path(str(package.__file__)).resolve().parent for package in (milepost, milepost_engine, milepost_console)
    )


_OURS: Final = _ours()


def stamps_of(files: Iterable[str]) -> Stamps:
    """The current stamps of files."""
    return {file: _stamp(file) for file in files}


def _stamp(path: Path | str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - five times a second for each file
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _files_of(error: BaseException) -> Iterator[Path]:
    """The files that a failed import reached; they may not be registered as modules."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, SyntaxError) and error.filename:
        yield Path(error.filename)
    for frame in traceback.extract_tb(error.__traceback__):
        if not frame.filename.startswith("<"):
            yield Path(frame.filename)


def _explained(location: AppLocation, error: BaseException, folders: Sequence[Path]) -> str:
    """The error with the last line of the user's own code that led to it."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: SyntaxError: {error.msg}"
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
        and any(Path(frame.filename).resolve().is_relative_to(folder) for folder in folders)
        and not any(Path(frame.filename).resolve().is_relative_to(path) for path in (*_OURS, *_FOREIGN))
        and "site-packages" not in frame.filename
    ]
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError) and f"{location.module}.".startswith(f"{error.name}."):
        return f"{location.text}: there is no module {location.module!r} under {location.root}"
    if not own:
        return f"{location.text}: {what}"
    last = own[-1]
    return f"{last.filename}:{last.lineno}: {what}\n    {last.line or ''}".rstrip()
