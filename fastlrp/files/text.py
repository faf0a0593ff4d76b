"""Delimited text as users' programs write it: packed or not, in UTF-8 or UTF-16, with commas, semicolons or tabs.

The format is read from the file's bytes; a file that can be read in two ways is refused.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, cast

if TYPE_CHECKING:
    import pandas as pd

MISSING = [
    "",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "<NA>",
    "NaN",
    "nan",
    "-nan",
    "null",
    "NULL",
    "None",
    ".",
]  # in numeric columns only
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_MARKS = (  # byte order marks; that of UTF-32 begins with that of UTF-16
    (b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\x00\x00", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
)  # fmt: skip
_PACKED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_COMMA_NUMBER = r"[-+]?(?:\d+(?:,\d*)?|,\d+)(?:[eE][-+]?\d+)?"
_THOUSANDS = r"[-+]?[1-9]\d{0,2}(?:,\d{3})+"
_SAMPLE = 1000  # rows examined before all are read


@dataclass(frozen=True)
class Text:
    """A delimited text that can be read again and again.

    ``path`` is its name in messages; ``source`` opens its bytes; ``skipped`` counts lines before the header.
    """

    path: object
    source: Callable[[], BinaryIO]
    encoding: str
    separator: str
    skipped: int

    @contextmanager
    def open(self) -> Iterator[TextIO]:
        """The text, unpacked and decoded."""
        with unpacked(self.source) as file, io.TextIOWrapper(file, self.encoding, newline="") as text:
            yield text

    def sample(self) -> pd.DataFrame:
        """The first rows, as texts."""
        names = self._header()
        twice = next((name for i, name in enumerate(names) if name and name in names[:i]), None)
        if twice is not None:
            raise ValueError(f"{self.path}: two columns are called {twice!r}")
        return self._read(nrows=_SAMPLE, dtype=str, keep_default_na=False, na_values=[""])

    def read(self, texts: Sequence[str]) -> pd.DataFrame:
        """All rows; the columns ``texts`` stay as written (a ticker may be NA, and an identifier may start with 0)."""
        names = [name or f"Unnamed: {i}" for i, name in enumerate(self._header())]
        options: dict[str, Any] = {
            "low_memory": False, "dtype": dict.fromkeys(texts, str), "keep_default_na": False,
            "na_values": {name: [""] if name in texts else MISSING for name in names},
        }  # fmt: skip
        frame = self._read(**options)
        if self.has_decimal_commas(frame.drop(columns=list(texts))):
            frame = self._read(**options, decimal=",")
        return frame

    def place(self, row: int) -> str:
        """The place in the file of a row of the frame."""
        with self.open() as file:
            lines = csv.reader(self._after_skipped(file), delimiter=self.separator)
            kept = (lines.line_num for cells in lines if cells and (len(cells) > 1 or cells[0].strip()))
            for k, line in enumerate(kept):
                if k == row + 1:  # the header is the first
                    return f"line {line + self.skipped}"
        return f"row {row + 1}"

    def _header(self) -> list[str]:
        with self.open() as file:
            rows = csv.reader(self._after_skipped(file), delimiter=self.separator, skipinitialspace=True)
            return next((row for row in rows if row), [])

    def _after_skipped(self, file: TextIO) -> TextIO:
        for _ in range(self.skipped):
            file.readline()
        return file

    def _read(self, **options: Any) -> pd.DataFrame:
        import pandas as pd

        try:
            with self.open() as file, warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header would lose values
                frame: pd.DataFrame = pd.read_csv(
                    file,
                    sep=self.separator,
                    index_col=False,
                    skipinitialspace=True,
                    skiprows=self.skipped,
                    **_exactly(),
                    **options,
                )
        except pd.errors.ParserWarning:
            named = len(self._header())
            raise ValueError(
                f"{self.path} cannot be read as csv: its first line, the header, has {named} column"
                f"{'s' * (named != 1)}, other lines have more: name all columns, and let nothing stand above the header"
            ) from None
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise ValueError(f"{self.path} cannot be read as csv: {str(error).strip()}") from None
        frame.columns = frame.columns.map(str)
        return frame

    def has_decimal_commas(self, frame: pd.DataFrame) -> bool:
        """Whether numbers are written as 0,5; a file whose commas may also separate thousands is refused."""
        import pandas as pd

        unclear = None
        if self.separator == ",":
            return False
        for name in frame.columns:
            if pd.api.types.is_numeric_dtype(frame[name]):
                continue
            cells = frame[name].dropna().astype(str).str.strip()
            commas = cells[cells.str.fullmatch(_COMMA_NUMBER) | cells.str.fullmatch(_THOUSANDS)]
            if len(commas) < 0.9 * len(cells) or not commas.str.contains(",").any():
                continue
            commas = commas[commas.str.contains(",")]
            if not commas.str.fullmatch(_THOUSANDS).all():
                return True
            unclear = unclear or (name, commas.iloc[0])
        if unclear:
            raise ValueError(
                f"{self.path} holds {unclear[1]!r} in column {unclear[0]!r}, whose comma may separate decimals or "
                "thousands: write numbers without separators of thousands, or with decimal points"
            )
        return False


def find_text(path: object, source: Callable[[], BinaryIO]) -> Text:
    """The format of the text, from its first lines.

    Raises
    ------
    ValueError
        If it is not text, or its separator is unclear.
    """
    with unpacked(source) as file:
        start = file.read(1 << 16)
        rest = file.read(1)
    encoding = _encoding(path, start)
    # The sample may end within a character; errors further on show when the whole file is read.
    lines = re.split(r"\r\n|\n|\r", start.decode(encoding, errors="ignore" if rest else "strict"))
    marked = re.fullmatch(r'"?sep=(.)"?', lines[0].strip(" \ufeff"))  # a line that Excel obeys
    if marked:
        return Text(path, source, encoding, marked[1], 1)
    text = Text(path, source, encoding, ",", 0)
    lines = [line for line in lines[: -1 if rest else None] if line.strip()]
    if not lines:
        raise ValueError(f"{path} cannot be read: it is empty")
    widths = {mark: [len(row) for row in csv.reader(lines[:20], delimiter=mark)] for mark in _SEPARATORS}
    wide = [mark for mark in widths if widths[mark][0] > 2]
    if len(wide) > 1:
        wide = [mark for mark in wide if len(set(widths[mark])) == 1] or wide
    if len(wide) > 1:
        marks = " or by ".join(_SEPARATORS[mark] for mark in wide)
        raise ValueError(f"{path} may be separated by {marks}: quote the names that hold one")
    return Text(path, source, encoding, wide[0], 0) if wide else text


def is_workbook(source: Callable[[], BinaryIO]) -> bool:
    """Whether the bytes are an Excel workbook, whatever the file is called."""
    with source() as file:
        return zipfile.is_zipfile(file) and "[Content_Types].xml" in zipfile.ZipFile(file).namelist()


@contextmanager
def unpacked(source: Callable[[], BinaryIO]) -> Iterator[BinaryIO]:
    """The bytes, out of gzip, bz2, xz or a zip of one file, whatever the file is called.

    Raises
    ------
    BadZipFile
        If a zip holds several files.
    """
    with ExitStack() as stack:
        file = stack.enter_context(source())
        start = file.read(6)
        file.seek(0)
        if start.startswith(b"PK\x03\x04"):
            archive = stack.enter_context(zipfile.ZipFile(file))
            members = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
            if len(members) != 1:
                raise zipfile.BadZipFile(f"it is a zip of {len(members)} files, expected one: unpack it, and name one")
            file = cast(BinaryIO, stack.enter_context(archive.open(members[0])))
        for mark, opener in _PACKED.items():
            if start.startswith(mark):
                file = stack.enter_context(opener(file))
        yield file


def _encoding(path: object, start: bytes) -> str:
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    if b"\0" not in start:
        return "utf-8"
    even, odd = start[:400:2].count(0), start[1:400:2].count(0)
    if even * 9 < odd or odd * 9 < even:  # UTF-16 without its mark: every other byte of plain text is 0
        return "utf-16-le" if even < odd else "utf-16-be"
    raise ValueError(f"{path} cannot be read as text: it holds bytes of 0; save it as csv in UTF-8, or as parquet")


def _exactly() -> dict[str, Any]:
    """The option by which pandas reads numbers to the last bit; since version 3 it does so by itself."""
    import pandas as pd

    return {"float_precision": "round_trip"} if int(pd.__version__.partition(".")[0]) < 3 else {}
