"""An output under way: it grows by whole blocks beside the place where it will stand, and can be taken up again.

Each block is appended, brought to disk, and then noted as one line of a log. Whatever is behind the last noted block
is cut off when the work is taken up.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NoReturn, Self

from fastlrp.files.forms import Form
from fastlrp.files.stored import Stored


class Output:
    """A file that is written block by block, or a folder of such files.

    Parameters
    ----------
    out : Path
        Where it will stand; until then it grows in ``.NAME.unfinished`` in the same folder, beside a log.
    form : Form
        How files are written.
    settings : dict
        All that decides its content, ready for JSON; work is taken up only where they are the same.
    resume : bool
        Take up what was left unfinished, if there is something.
    folder : bool
        Whether it is a folder.

    Attributes
    ----------
    done : list of dict
        What was noted of each block.

    Raises
    ------
    ValueError
        If it cannot be written, or what was left unfinished has other settings.
    """

    def __init__(
        self, out: Path, form: Form, settings: Mapping[str, Any], *, resume: bool, folder: bool = False
    ) -> None:
        self.out, self.form, self.folder = out.resolve(), form, folder
        self.path = self.out.with_name(f".{self.out.name}.unfinished")
        self._log_path = self.path.with_name(f"{self.path.name}.log")
        try:
            with ExitStack() as stack:
                self._log = stack.enter_context(self._log_path.open("a+", encoding="utf-8", errors="replace"))
                _lock(self._log, out)
                self.settings, self.done = self._noted(dict(settings)) if resume and self.path.exists() else ({}, [])
                if not self.settings:
                    self.settings = dict(settings)
                    self._log.truncate(0)
                    self._note(self.settings)
                self._cut()
                stack.pop_all()  # the log stays open
        except OSError as error:
            raise ValueError(f"{out} cannot be written: {_reason(error)}") from error

    def _noted(self, settings: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The settings and blocks in the log, up to a line that a killed process wrote half, or that is damaged."""
        self._log.seek(0)
        lines = []
        with suppress(json.JSONDecodeError):
            for line in self._log:
                lines.append(json.loads(line))
        if not lines:
            return {}, []
        had, *blocks = lines
        wanted = json.loads(json.dumps(settings))
        for key, value in wanted.items():
            if key in had and had[key] != value and key != "size":
                raise ValueError(
                    f"resume=True, but {key} has changed since {self.out} was begun: it was {_short(had[key])} and is "
                    f"{_short(value)}; begin again without resume"
                )
        self._log.truncate(0)
        self._note(had)
        whole = list[dict[str, Any]]()
        for block in blocks:
            if any(end > _size(self._place(name)) for name, end in block["ends"].items()):
                break  # whoever took that away took what follows, too
            whole.append(block)
            self._note(block)
        return had, whole

    def _cut(self) -> None:
        """Take away what is behind the last noted block."""
        ends = {name: end for block in self.done for name, end in block["ends"].items()}
        if self.folder:
            self.path.mkdir(exist_ok=True)
            known = {name.partition("/")[0] for name in ends}
            for path in [path for path in self.path.iterdir() if path.name not in known]:
                shutil.rmtree(path)
        elif not ends:
            self.path.open("wb").close()
        for name, end in ends.items():
            self.form.cut(self._place(name), end)

    def _place(self, name: str) -> Path:
        return self.path / name if self.folder else self.path

    def _note(self, line: Mapping[str, Any]) -> None:
        self._log.seek(0, os.SEEK_END)
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()

    def append(self, blocks: Mapping[str, Stored], notes: Mapping[str, Any]) -> None:
        """Write one block, or its part for each file, and note it once it is on disk."""
        ends = {}
        for name, block in blocks.items():
            place = self._place(name)
            place.parent.mkdir(exist_ok=True)
            ends[name] = self.form.append(place, block)
        self.done.append({**notes, "ends": ends})
        self._note(self.done[-1])

    def finish(self) -> None:
        """Put the whole in its place."""
        ends: dict[str, list[int]] = {}
        for block in self.done:
            for name, end in block["ends"].items():
                ends.setdefault(name, []).append(end)
        made = [self.form.finish(self._place(name), each) for name, each in ends.items()]
        os.replace(self.path if self.folder else made[0], self.out)
        self.path.unlink(missing_ok=True)
        self._log_path.unlink()

    def useless(self, why: str) -> NoReturn:
        """Refuse what was made, so that nothing of it is kept."""
        self.done.clear()
        raise ValueError(why)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close the log; what is unfinished is kept if it holds a block, and the message says so."""
        self._log.close()
        if error is None:
            return
        if not self.done:
            if self.folder:
                shutil.rmtree(self.path, ignore_errors=True)
            else:
                self.path.unlink(missing_ok=True)
            self._log_path.unlink(missing_ok=True)
        if isinstance(error, ValueError | OSError):
            text = str(error) if isinstance(error, ValueError) else f"{self.out} cannot be written: {_reason(error)}"
            kept = f" ({self.path.name} keeps what is done, for resume=True)" if self.done else ""
            raise ValueError(text + kept) from None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1


def _reason(error: OSError) -> str:
    return error.strerror or str(error).partition(" (")[0]  # HDF5 says a paragraph


def _lock(file: Any, out: Path) -> None:
    """Refuse to write what another process is writing."""
    try:
        import fcntl
    except ImportError:  # Windows refuses to replace a file that is open
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ValueError(f"{out} is being written by another process") from None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
