"""An output under way: it grows by whole blocks beside the place where it will stand, and can be taken up again.

Each block is appended, brought to disk, and then noted as one line of a log. Whatever is behind the last noted block
is cut off when the work is taken up. A block of Parquet is a Parquet file of its own; at the end one footer, made of
theirs, is written behind all of them, so that they are the row groups of one file.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn, Self

from fastlrp.files.arrow import parquet, pyarrow
from fastlrp.files.footers import moved
from fastlrp.files.spelling import write_text

_TEXTS = {"csv": ",", "tsv": "\t"}
_PACKERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def kind_of(out: Path) -> str:
    """parquet, csv or tsv, by the name of a file to write.

    Raises
    ------
    ValueError
        If it ends otherwise.
    """
    name = out.name.lower()
    name = name.removesuffix(next((end for end in _PACKERS if name.endswith(end)), ""))
    kind = name.rpartition(".")[2]
    if kind in _TEXTS or (kind == "parquet" and out.name.lower() == name):
        return kind
    raise ValueError(f"relevance is written block by block to a .parquet, .csv or .csv.gz file, not {str(out)!r}")


class Output:
    """A file that is written block by block.

    Parameters
    ----------
    out : Path
        Where it will stand; until then it grows in ``.NAME.unfinished`` in the same folder, beside a log.
    settings : dict
        All that decides its content, ready for JSON; work is taken up only where they are the same.
    resume : bool
        Take up what was left unfinished, if there is something.

    Attributes
    ----------
    done : list of dict
        What was noted of each block.

    Raises
    ------
    ValueError
        If it cannot be written, or what was left unfinished has other settings.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], *, resume: bool) -> None:
        self.out = out.resolve()
        self.kind = kind_of(out)
        self.path = self.out.with_name(f".{self.out.name}.unfinished")
        self._log_path = self.path.with_name(f"{self.path.name}.log")
        try:
            with ExitStack() as stack:
                self._log = stack.enter_context(self._log_path.open("a+", encoding="utf-8"))
                _lock(self._log, out)
                self.settings, self.done = self._noted(dict(settings)) if resume and self.path.exists() else ({}, [])
                if not self.settings:
                    self.settings = dict(settings)
                    self._log.truncate(0)
                    self._note(self.settings)
                with self.path.open("ab") as file:
                    file.truncate(self.done[-1]["end"] if self.done else 0)
                stack.pop_all()  # the log stays open
        except OSError as error:
            raise ValueError(f"{out} cannot be written: {_reason(error)}") from error

    def _noted(self, settings: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The settings and blocks in the log; a line that a killed process wrote half is left out."""
        self._log.seek(0)
        lines = []
        for line in self._log:
            with suppress(json.JSONDecodeError):
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
        held = self.path.stat().st_size
        blocks = [block for block in blocks if block["end"] <= held]
        self._log.truncate(0)
        self._note(had)
        for block in blocks:
            self._note(block)
        return had, blocks

    def _note(self, line: Mapping[str, Any]) -> None:
        self._log.seek(0, os.SEEK_END)
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()

    def append(self, block: Any, notes: Mapping[str, Any]) -> None:
        """Write one block, an Arrow table, a frame or None, and note it once it is on disk."""
        with self.path.open("ab") as file:
            start = file.tell()
            if block is None:
                pass
            elif self.kind == "parquet":
                _write_parquet(file, block)
            else:
                packer = _PACKERS.get(self.out.suffix.lower())
                with packer(file, "wb") if packer else nullcontext(file) as packed:
                    text = io.TextIOWrapper(packed, "utf-8", newline="")
                    write_text(text, [block], _TEXTS[self.kind], header=start == 0)
                    text.detach()  # written, and left open
            file.flush()
            os.fsync(file.fileno())
            end = file.tell()
        self.done.append({**notes, "end": end})
        self._note(self.done[-1])

    def finish(self) -> None:
        """Put the whole file in its place."""
        if self.kind == "parquet":
            self._add_footer()
        os.replace(self.path, self.out)
        self._log_path.unlink()

    def _add_footer(self) -> None:
        whole, start = None, 0
        with self.path.open("r+b") as file:
            for block in self.done:
                if block["end"] == start:
                    continue
                file.seek(block["end"] - 8)
                size = int.from_bytes(file.read(4), "little")
                file.seek(block["end"] - 8 - size)
                footer = moved(file.read(size), start)
                frame = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
                part = _metadata(pyarrow.BufferReader(frame))
                if whole is None:
                    whole = part
                else:
                    whole.append_row_groups(part)
                start = block["end"]
            sink = pyarrow.BufferOutputStream()
            whole.write_metadata_file(sink)  # type: ignore[union-attr]  # there is a block
            file.seek(start)
            file.write(sink.getvalue().to_pybytes()[4:])  # its first four bytes are those of an empty file
            file.flush()
            os.fsync(file.fileno())

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
            self.path.unlink(missing_ok=True)
            self._log_path.unlink(missing_ok=True)
        if isinstance(error, ValueError | OSError):
            text = str(error) if isinstance(error, ValueError) else f"{self.out} cannot be written: {_reason(error)}"
            kept = f" ({self.path.name} keeps what is done, for resume=True)" if self.done else ""
            raise ValueError(text + kept) from None


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _write_parquet(file: Any, table: Any) -> None:
    """Relevance is as good as random and hardly packs; neither its ranges nor dictionaries of it are of use."""
    keys = table.schema.pandas_metadata["index_columns"]
    with parquet.ParquetWriter(
        pyarrow.PythonFile(file, "w"),
        table.schema,
        use_dictionary=keys,
        write_statistics=keys,
        compression="none",
        write_batch_size=max(1, len(table)),
    ) as writer:
        writer.write_table(table, row_group_size=max(1, len(table)))


def _metadata(file: Any) -> Any:
    read: Any = parquet.read_metadata
    return read(file)


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
