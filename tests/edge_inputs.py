"""Inputs at the edges: one array and one panel in every form that users may have them in, and what is promised of each.

A form either holds the numbers of a plain float array or frame, and then gives its bits, or is refused in one sentence.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import fastlrp as fl

Array = npt.NDArray[Any]

#: Sizes of arrays, and of panels.
N, T, D = 6, 3, 4
ASSETS, MONTHS = 4, 8
FEATURES = [f"f{j}" for j in range(D)]


@dataclass(frozen=True)
class Given:
    """An input, and the plain one whose bits it gives; without a plain one it is refused."""

    X: Any
    plain: Any = None
    y: Any = None  # of panels: a target on X's own index, that training takes


# -- judging -----------------------------------------------------------------------------------------------------------


def judged(door: Callable[[Given], list[Array]], given: Given) -> str | None:
    """What is wrong with what a door makes of an input; None if all is as promised."""
    before = snapshot(given.X)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            got, error = door(given), None
        except Exception as raised:  # any exception is judged
            got, error = [], raised
    strange = [f"{one.category.__name__}: {one.message}" for one in said if not issubclass(one.category, EXPECTED)]
    if strange:
        return f"warns: {strange[0]}"
    if (changed := difference(before, given.X)) is not None:
        return f"changes its input: {changed}"
    if error is not None:
        unclear = why_unclear(error)
        if given.plain is not None or unclear is not None:
            return f"{unclear or 'is refused'}: {type(error).__name__}: {error}"
        return None
    if given.plain is None:
        return "is taken, expected a sentence"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = door(Given(given.plain, given.plain, plain_target(given.plain)))
    for k, (one, two) in enumerate(zip(got, want, strict=True)):
        one, two = np.asarray(one), np.asarray(two)
        if (one.dtype, one.shape) != (two.dtype, two.shape):
            return f"array {k} is {one.dtype}{one.shape}, expected {two.dtype}{two.shape}"
        if not np.array_equal(one, two, equal_nan=one.dtype.kind == "f"):
            return f"array {k} differs from the plain one's in {np.sum(one != two)} of {one.size} numbers"
    return None


#: Warnings of fastlrp's own, and of a training that is stopped early.
EXPECTED = (fl.ConservationWarning, fl.OverflowWarning, __import__("sklearn").exceptions.ConvergenceWarning)
_PACKAGE = str(Path(fl.__file__).parent)


def why_unclear(error: BaseException) -> str | None:
    """Why an exception is not one sentence of ours, or of scikit-learn's checks; None if it is."""
    if not isinstance(error, ValueError | TypeError):
        return "raises what is no ValueError and no TypeError"
    where = traceback.extract_tb(error.__traceback__)[-1].filename
    ours, sklearn = where.startswith(_PACKAGE), "sklearn" in Path(where).parts
    if not ours and not sklearn:
        return f"is refused by {'/'.join(Path(where).parts[-3:])}"
    if ours and error.__context__ is not None and not error.__suppress_context__:
        return "shows another error's traceback too"
    if ours and ("\n" in str(error) or not 15 <= len(str(error)) <= 400):
        return "is refused in more than a sentence, or in less"
    return None


def snapshot(X: Any) -> Any:
    """A copy by which a change of X is seen."""
    if isinstance(X, pd.DataFrame | pd.Series):
        return X.copy(deep=True)
    if isinstance(X, np.ndarray) and X.dtype != object:
        return X.dtype, X.shape, X.strides, X.flags.writeable, X.tobytes()
    return X.tobytes() if isinstance(X, memoryview) else repr(X)


def difference(before: Any, X: Any) -> str | None:
    """What has changed; None: nothing."""
    if not isinstance(X, pd.DataFrame | pd.Series):
        return None if snapshot(X) == before else "its contents"
    if not X.index.identical(before.index) or not X.equals(before):
        return "its rows"
    if isinstance(X, pd.DataFrame) and not (X.columns.identical(before.columns) and X.dtypes.equals(before.dtypes)):
        return "its columns"
    return None


# -- arrays ------------------------------------------------------------------------------------------------------------


def numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Quarters between -2 and 2, which float16 and object forms hold exactly."""
    return rng.integers(-8, 9, shape) / 4.0


def _unaligned(X: Array) -> Array:
    """The same numbers one byte off."""
    return np.frombuffer(b"." + X.tobytes(), X.dtype, offset=1).reshape(X.shape)


def _mapped(X: Array) -> Array:
    with tempfile.TemporaryFile() as file:
        file.write(X.tobytes())
        file.flush()
        return np.memmap(file, X.dtype, "r", shape=X.shape)


def _spaced(X: Array) -> Array:
    """A view with a stride of two on every axis."""
    wide = np.full([2 * size for size in X.shape], 77.0, X.dtype)
    view = wide[tuple([slice(None, None, 2)] * X.ndim)]
    view[...] = X
    return view


def _read_only(X: Array) -> Array:
    X = X.copy()
    X.flags.writeable = False
    return X


def _with(X: Array, value: Any, dtype: Any = np.float64) -> Array:
    """The array with another value in its middle."""
    X = X.astype(dtype)
    X[tuple(size // 2 for size in X.shape)] = value
    return X


def _objects(X: Array, of: Callable[[float], Any] = float) -> Array:
    out = np.empty(X.shape, object)
    out[...] = np.vectorize(of, otypes=[object])(X)
    return out


class Tensor:
    """What other libraries' tensors are to NumPy: something with ``__array__``."""

    def __init__(self, X: Array) -> None:
        self.X = X

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return np.array(self.X, dtype)

    def __repr__(self) -> str:
        return f"Tensor({self.X.tolist()})"


def _same(form: Callable[[Array], Any], plain: Callable[[Array], Array] = lambda X: X) -> Callable[[Array], Given]:
    return lambda X: Given(form(X), plain(X))


def _refused(form: Callable[[Array], Any]) -> Callable[[Array], Given]:
    return lambda X: Given(form(X))


def refused(form: Callable[[Array], Given]) -> Callable[[Array], Given]:
    """A form that a door refuses where others take it."""
    return lambda X: Given(form(X).X)


def _whole(dtype: Any) -> Callable[[Array], Given]:
    """Whole numbers, whose plain twin is float64."""

    def given(X: Array) -> Given:
        whole = np.abs(np.round(X)) if np.dtype(dtype).kind in "ub" else np.round(X)
        return Given(whole.astype(dtype), whole.astype(dtype).astype(np.float64))

    return given


def _axis(k: int) -> Callable[[Array], Given]:
    return _same(lambda X: np.flip(np.flip(X, k % X.ndim).copy(), k % X.ndim))


_f32 = lambda X: X.astype(np.float32)  # noqa: E731

#: Forms of an array of numbers, (sample, step, feature) or (sample, feature).
ARRAYS: dict[str, Callable[[Array], Given]] = {
    "float64": _same(lambda X: X.copy()),
    "float32": _same(_f32, _f32),
    "float16": _same(lambda X: X.astype(np.float16), _f32),
    "long double": _same(lambda X: X.astype(np.longdouble)),
    **{
        name: _whole(name)
        for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
    },
    "big-endian float64": _same(lambda X: X.astype(">f8")),
    "big-endian float32": _same(lambda X: X.astype(">f4"), _f32),
    "big-endian int32": _same(lambda X: np.round(X).astype(">i4"), np.round),
    "Fortran order": _same(np.asfortranarray),
    "axes turned": _same(lambda X: np.ascontiguousarray(X.T).T),
    "samples backwards": _axis(0),
    "steps backwards": _axis(1),
    "features backwards": _axis(-1),
    "every second number": _same(_spaced),
    "float32, every second number": _same(lambda X: _spaced(_f32(X)), _f32),
    "one sample again and again": _same(
        lambda X: np.broadcast_to(X[:1], X.shape), lambda X: np.ascontiguousarray(np.broadcast_to(X[:1], X.shape))
    ),
    "read-only": _same(_read_only),
    "unaligned": _same(_unaligned),
    "unaligned float32": _same(lambda X: _unaligned(_f32(X)), _f32),
    "memory-mapped": _same(_mapped),
    "subclass": _same(lambda X: X.view(np.recarray)),
    "list": _same(lambda X: X.tolist()),
    "tuple of lists": _same(lambda X: tuple(X.tolist())),
    "list of arrays": _same(list),
    "list of whole numbers": _same(lambda X: np.round(X).astype(int).tolist(), np.round),
    "has __array__": _same(Tensor),
    "memoryview": _same(lambda X: memoryview(np.ascontiguousarray(X))),
    "objects": _same(_objects),
    "objects: Decimal": _same(lambda X: _objects(X, decimal.Decimal)),
    "objects: Fraction": _same(lambda X: _objects(X, fractions.Fraction)),
    "objects: NumPy's numbers": _same(lambda X: _objects(X, np.float32)),
    "masked array, nothing masked": _same(np.ma.masked_array),
    "negative zeros": _same(lambda X: np.where(X == 0, -0.0, X), lambda X: np.where(X == 0, -0.0, X)),
    "denormals": _same(lambda X: (X * 1e-310).copy(), lambda X: X * 1e-310),
}
#: Forms with a missing value; scikit-learn's own checks demand that estimators refuse these.
MISSING: dict[str, Callable[[Array], Given]] = {
    "NaN": _same(lambda X: _with(X, np.nan), lambda X: _with(X, np.nan)),
    "NaN in float32": _same(lambda X: _with(X, np.nan, "f4"), lambda X: _with(X, np.nan, "f4")),
    "NaN in float16": _same(lambda X: _with(X, np.nan, "f2"), lambda X: _with(X, np.nan, "f4")),
    "None": _same(lambda X: _with(X, None, object), lambda X: _with(X, np.nan)),
    "None in a list": _same(lambda X: _with(X, None, object).tolist(), lambda X: _with(X, np.nan)),
    "pandas' NA": _same(lambda X: _with(X, pd.NA, object), lambda X: _with(X, np.nan)),
    "masked value": _same(lambda X: np.ma.masked_equal(_with(X, 9.0), 9.0), lambda X: _with(X, np.nan)),
    "Decimal NaN": _same(lambda X: _with(_objects(X, decimal.Decimal), decimal.Decimal("nan"), object),
                         lambda X: _with(X, np.nan)),
}  # fmt: skip
#: Forms that are no array of real numbers, or not of this network.
WRONG: dict[str, Callable[[Array], Given]] = {
    "infinity": _refused(lambda X: _with(X, np.inf)),
    "minus infinity in float32": _refused(lambda X: _with(X, -np.inf, "f4")),
    "infinity in float16": _refused(lambda X: _with(X, np.inf, "f2")),
    "infinity among objects": _refused(lambda X: _with(X, np.inf, object)),
    "infinity in a list": _refused(lambda X: _with(X, np.inf).tolist()),
    "long double beyond float64": _refused(lambda X: _with(X, np.longdouble("1e400"), np.longdouble)),
    "whole number beyond float64": _refused(lambda X: _with(X, 10**400, object)),
    "complex": _refused(lambda X: X.astype(complex)),
    "complex among objects": _refused(lambda X: _with(X, 1j, object)),
    "complex in a list": _refused(lambda X: _with(X, 1j, object).tolist()),
    "text": _refused(lambda X: X.astype(str)),
    "bytes": _refused(lambda X: X.astype("S")),
    "text among objects": _refused(lambda X: _with(X, "1.5", object)),
    "text in a list": _refused(lambda X: _with(X, "1.5", object).tolist()),
    "StringDType": _refused(lambda X: X.astype(np.dtypes.StringDType())),
    "dates": _refused(lambda X: np.round(X).astype("datetime64[D]")),
    "durations": _refused(lambda X: np.round(X).astype("timedelta64[D]")),
    "void": _refused(lambda X: np.zeros(X.shape, "V8")),
    "structured": _refused(lambda X: np.zeros(X.shape, [("a", float), ("b", float)])),
    "ragged list": _refused(lambda X: [*X.tolist()[:-1], X.tolist()[-1][:-1]]),
    "ragged array": _refused(lambda X: np.array([*X.tolist()[:-1], X.tolist()[-1][:-1]], object)),
    "None alone": _refused(lambda X: None),
    "a number": _refused(lambda X: 1.5),
    "text alone": _refused(lambda X: "X.npy"),
    "dict": _refused(lambda X: dict(enumerate(X.tolist()))),
    "set": _refused(lambda X: {1.0, 2.0}),
    "range": _refused(lambda X: range(5)),
    "generator": _refused(lambda X: iter([])),
    "a function": _refused(lambda X: len),
    "a class": _refused(lambda X: np.ndarray),
    "empty list": _refused(lambda X: []),
    "empty array": _refused(lambda X: np.array([])),
    "no samples": _refused(lambda X: X[:0]),
    "no features": _refused(lambda X: X[..., :0]),
    "a feature too few": _refused(lambda X: X[..., 1:]),
    "a feature too many": _refused(lambda X: np.concatenate([X, X[..., :1]], -1)),
    "one axis": _refused(lambda X: X.ravel()),
    "no axis": _refused(lambda X: np.array(1.0)),
    "four axes": _refused(lambda X: X.reshape(1, 1, *X.shape)[:, :, :, :1] if X.ndim == 2 else X[None]),
    "Series": _refused(lambda X: pd.Series(X.ravel())),
}
#: Of arrays (sample, step, feature) alone.
CUBES: dict[str, Callable[[Array], Given]] = {
    "no steps": _refused(lambda X: X[:, :0]),
    "a step too few": _refused(lambda X: X[:, 1:]),
    "list of frames": _same(lambda X: [pd.DataFrame(one) for one in X]),
    "one sample": _same(lambda X: X[:1], lambda X: X[:1].copy()),
    "samples of a larger array": _same(
        lambda X: np.concatenate([X, X])[::2], lambda X: np.concatenate([X, X])[::2].copy()
    ),
}


# -- panels ------------------------------------------------------------------------------------------------------------


def index_of(time: Any = None, asset: Any = None, names: Any = ("date", "asset")) -> pd.MultiIndex:
    """Assets one after the other, oldest month first; ``time`` and ``asset`` spell a month's and an asset's number."""
    time, asset = time or month_end, asset or (lambda k: f"s{k}")
    pairs = [(time(m), asset(k)) for k in range(ASSETS) for m in range(MONTHS)]
    return pd.MultiIndex.from_arrays([list(part) for part in zip(*pairs, strict=True)], names=names)


def month_end(m: int) -> pd.Timestamp:
    return pd.Timestamp(2019 + m // 12, m % 12 + 1, 1) + pd.offsets.MonthEnd(0)


def plain_frame(X: Array) -> pd.DataFrame:
    return pd.DataFrame(X.copy(), index_of(), FEATURES)


def plain_target(frame: Any) -> pd.Series[float] | None:
    """A target by which a panel trains: its rows' own numbers, on its own index."""
    if not isinstance(frame, pd.DataFrame):
        return None
    return pd.Series(np.nan_to_num(np.asarray(frame.iloc[:, 0], float)) / 4, frame.index)


def _frame(change: Callable[[pd.DataFrame], Any], values: Callable[[Array], Array] = lambda X: X,
           rows: Any = slice(None)) -> Callable[[Array], Given]:  # fmt: skip
    """A form that holds the plain frame of ``values``, in the order of ``rows``."""

    def given(X: Array) -> Given:
        plain = plain_frame(values(X)).iloc[rows]
        made = change(plain_frame(values(X)))
        return Given(made, plain, pd.Series(plain_target(plain).to_numpy(), made.index))

    return given


def _indexed(time: Any = None, asset: Any = None, names: Any = ("date", "asset")) -> Callable[[Array], Given]:
    return _frame(lambda frame: frame.set_axis(index_of(time, asset, names)))


def _level(k: int, change: Callable[[Any], Any]) -> Callable[[Array], Given]:
    """A form with one level's labels changed."""

    def made(frame: pd.DataFrame) -> pd.DataFrame:
        parts = [frame.index.get_level_values(level) for level in (0, 1)]
        parts[k] = change(parts[k])
        return frame.set_axis(pd.MultiIndex.from_arrays(parts, names=frame.index.names))

    return _frame(made)


def _typed(dtype: Any, values: Callable[[Array], Array] = lambda X: X) -> Callable[[Array], Given]:
    return _frame(lambda frame: frame.astype(dtype), values)


def _gap(X: Array, dtype: Any = np.float64) -> Array:
    """One value missing."""
    X = X.astype(dtype)
    X[5, 1] = np.nan
    return X


def _bad(change: Callable[[pd.DataFrame], Any]) -> Callable[[Array], Given]:
    """A form that is refused."""

    def given(X: Array) -> Given:
        made = change(plain_frame(X))
        index = made.index if isinstance(made, pd.DataFrame) else None
        return Given(made, None, None if index is None else pd.Series(np.zeros(len(index)), index))

    return given


def _column(frame: pd.DataFrame, values: Any, name: str = "f1") -> pd.DataFrame:
    return frame.assign(**{name: values})


def _twice(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[3:4]])


def _labels(frame: pd.DataFrame, k: int, row: int, value: Any) -> pd.DataFrame:
    """The frame with one label of a level replaced."""
    parts = [list(frame.index.get_level_values(level)) for level in (0, 1)]
    parts[k][row] = value
    return frame.set_axis(pd.MultiIndex.from_arrays(parts, names=frame.index.names))


_SHUFFLED = np.random.default_rng(5).permutation(ASSETS * MONTHS)
_BY_TIME = np.arange(ASSETS * MONTHS).reshape(ASSETS, MONTHS).T.ravel()
_positive = lambda X: np.abs(np.round(X))  # noqa: E731
_bools = lambda X: (X > 0).astype(float)  # noqa: E731
_year_month = lambda m: (2019 + m // 12) * 100 + m % 12 + 1  # noqa: E731


class Frame(pd.DataFrame):
    """A subclass, such as geopandas' and others'."""

    @property
    def _constructor(self) -> Any:
        return Frame


def _arrow(dtype: str) -> Any:
    import pyarrow

    kinds = {
        "float": pyarrow.float32(), "double": pyarrow.float64(), "int": pyarrow.int64(), "bool": pyarrow.bool_(),
        "text": pyarrow.string(), "decimal": pyarrow.decimal128(12, 4),
    }  # fmt: skip
    return pd.ArrowDtype(kinds[dtype])


#: Columns of every kind.
COLUMNS: dict[str, Callable[[Array], Given]] = {
    "float64": _frame(lambda frame: frame),
    "float32": _frame(lambda frame: frame, _f32),
    "float16": _frame(lambda frame: frame.astype("float16"), _f32),
    **{name: _typed(name, np.round) for name in ("int8", "int32", "int64")},
    **{name: _typed(name, _positive) for name in ("uint8", "uint64")},
    "bool": _typed(bool, _bools),
    "big-endian": _frame(lambda frame: pd.DataFrame(frame.to_numpy().astype(">f8"), frame.index, frame.columns)),
    "float32 and float64": _typed({"f0": "float32"}),
    "one of each": _typed({"f0": "int16", "f1": "float32", "f2": "Int64", "f3": "object"}, np.round),
    "Float64": _typed("Float64"),
    "Float64 with NA": _typed("Float64", _gap),
    "Float32": _typed("Float32", _f32),
    "Float32 with NA": _typed("Float32", lambda X: _gap(X, "f4")),
    "Int64": _typed("Int64", np.round),
    "Int64 with NA": _typed("Int64", lambda X: _gap(np.round(X))),
    "UInt8 with NA": _typed("UInt8", lambda X: _gap(_positive(X))),
    "boolean": _typed("boolean", _bools),
    "boolean with NA": _typed("boolean", lambda X: _gap(_bools(X))),
    "arrow double": _frame(lambda frame: frame.astype(_arrow("double"))),
    "arrow double with null": _frame(lambda frame: frame.astype(_arrow("double")), _gap),
    "arrow float": _frame(lambda frame: frame.astype(_arrow("float")), _f32),
    "arrow int64": _frame(lambda frame: frame.astype(_arrow("int")), np.round),
    "arrow int64 with null": _frame(
        lambda frame: frame.astype("Int64").astype(_arrow("int")), lambda X: _gap(np.round(X))
    ),
    "arrow bool": _frame(lambda frame: frame.astype(bool).astype(_arrow("bool")), _bools),
    "arrow decimal": _frame(lambda frame: frame.astype(_arrow("decimal"))),
    "sparse": _frame(lambda frame: frame.astype(pd.SparseDtype(float, 0.0))),
    "objects": _frame(lambda frame: frame.astype(object)),
    "objects with None": _frame(lambda frame: frame.astype(object).where(frame.notna(), None), _gap),
    "objects with NA": _frame(lambda frame: frame.astype(object).where(frame.notna(), pd.NA), _gap),
    "objects: Decimal": _frame(lambda frame: frame.map(decimal.Decimal)),
    "NaN": _frame(lambda frame: frame, _gap),
    "NaN in float32": _frame(lambda frame: frame, lambda X: _gap(X, "f4")),
    "Fortran order": _frame(
        lambda frame: pd.DataFrame(np.asfortranarray(frame.to_numpy()), frame.index, frame.columns)
    ),
    "read-only": _frame(
        lambda frame: pd.DataFrame(_read_only(frame.to_numpy()), frame.index, frame.columns, copy=False)
    ),
    "every second number": _frame(
        lambda frame: pd.DataFrame(_spaced(frame.to_numpy()), frame.index, frame.columns, copy=False)
    ),
    "rows backwards in memory": _frame(
        lambda frame: pd.DataFrame(
            np.flip(np.flip(frame.to_numpy(), 0).copy(), 0), frame.index, frame.columns, copy=False
        )
    ),
    "unaligned": _frame(
        lambda frame: pd.DataFrame(_unaligned(frame.to_numpy()), frame.index, frame.columns, copy=False)
    ),
    "memory-mapped": _frame(
        lambda frame: pd.DataFrame(_mapped(frame.to_numpy()), frame.index, frame.columns, copy=False)
    ),
    "a column at a time": _frame(lambda frame: pd.concat([frame[name] for name in frame], axis=1)),
    "a subclass": _frame(Frame),
    "with attrs": _frame(lambda frame: frame.set_flags(allows_duplicate_labels=False)),
    "names as categories": _frame(lambda frame: frame.set_axis(pd.CategoricalIndex(frame.columns), axis=1)),
    "names of StringDtype": _frame(lambda frame: frame.set_axis(frame.columns.astype("string"), axis=1)),
}
#: Columns that only a network with names for its features takes.
NAMED: dict[str, Callable[[Array], Given]] = {
    "another order": _frame(lambda frame: frame[FEATURES[::-1]]),
    "columns between": _frame(
        lambda frame: frame.assign(spare=1.0, word="x", when=pd.Timestamp("2020"))[
            ["f2", "word", "f0", "spare", "f1", "when", "f3"]
        ]
    ),
    "an infinity in a spare column": _frame(lambda frame: frame.assign(spare=np.inf)),
}
#: Indexes of every kind.
INDEXES: dict[str, Callable[[Array], Given]] = {
    "level order": _frame(lambda frame: frame.swaplevel()),
    "no names": _indexed(names=(None, None)),
    "no name of the asset": _indexed(names=("date", None)),
    "names that mislead": _indexed(names=("asset", "date")),
    "unsorted rows": _frame(lambda frame: frame.iloc[_SHUFFLED], rows=_SHUFFLED),
    "rows backwards": _frame(lambda frame: frame.iloc[::-1], rows=slice(None, None, -1)),
    "rows by time": _frame(lambda frame: frame.iloc[_BY_TIME], rows=_BY_TIME),
    "rows by time, levels turned": _frame(lambda frame: frame.iloc[_BY_TIME].swaplevel(), rows=_BY_TIME),
    "some rows, levels unused": _frame(lambda frame: frame.iloc[3:29], rows=slice(3, 29)),
    "one row": _frame(lambda frame: frame.iloc[3:4], rows=slice(3, 4)),
    "one asset": _frame(lambda frame: frame.iloc[:MONTHS], rows=slice(MONTHS)),
    "unsorted levels": _frame(
        lambda frame: frame.set_axis(
            frame.index.set_levels(frame.index.levels[1][::-1], level=1).set_codes(
                len(frame.index.levels[1]) - 1 - frame.index.codes[1], level=1
            )
        )
    ),
    "categorical times": _level(0, lambda part: pd.CategoricalIndex(part)),
    "categorical assets": _level(1, lambda part: pd.CategoricalIndex(part)),
    "ordered categories": _level(
        1, lambda part: pd.CategoricalIndex(part, categories=["s9", "s3", "s1", "s0", "s2"], ordered=True)
    ),
    "categories of months": _indexed(lambda m: f"2019-{m + 1:02d}", lambda k: 10 * k),
    "time zone": _level(0, lambda part: part.tz_localize("America/New_York")),
    "UTC": _level(0, lambda part: part.tz_localize("UTC")),
    "a zone ahead": _level(0, lambda part: part.tz_localize("Pacific/Auckland")),
    "seconds": _level(0, lambda part: part.as_unit("s")),
    "nanoseconds": _level(0, lambda part: part.as_unit("ns")),
    "with hours": _level(0, lambda part: part + pd.Timedelta("16h")),
    "month starts": _indexed(lambda m: month_end(m).replace(day=1)),
    "datetime.date": _indexed(lambda m: month_end(m).date()),
    "datetime.datetime": _indexed(lambda m: datetime.datetime(2019, m + 1, 28)),
    "Period months": _level(0, lambda part: part.to_period("M")),
    "Period days": _level(0, lambda part: part.to_period("D")),
    "arrow timestamps": _level(0, lambda part: pd.Index(part.astype("timestamp[us][pyarrow]"))),
    "arrow date32": _level(0, lambda part: pd.Index(pd.Series(part.date).astype("date32[pyarrow]"))),
    "arrow text": _level(1, lambda part: pd.Index(part, dtype="string[pyarrow]")),
    "StringDtype": _level(1, lambda part: part.astype("string")),
    "objects": _level(1, lambda part: part.astype(object)),
    "yyyymm": _indexed(_year_month),
    "yyyymm float": _indexed(lambda m: float(_year_month(m))),
    "yyyymm Int64": _level(0, lambda part: pd.Index([_year_month(m) for m in range(MONTHS)] * ASSETS, dtype="Int64")),
    "yyyymm int32": _level(0, lambda part: pd.Index([_year_month(m) for m in range(MONTHS)] * ASSETS, dtype="int32")),
    "yyyymm arrow": _level(
        0, lambda part: pd.Index([_year_month(m) for m in range(MONTHS)] * ASSETS, dtype="int64[pyarrow]")
    ),
    "yyyymm text": _indexed(lambda m: str(_year_month(m))),
    "ISO months": _indexed(lambda m: f"2019-{m + 1:02d}"),
    "ISO months, no names": _indexed(lambda m: f"2019-{m + 1:02d}", names=(None, None)),
    "ISO months of arrow": _level(0, lambda part: pd.Index(part.strftime("%Y-%m"), dtype="string[pyarrow]")),
    "ISO dates": _indexed(lambda m: str(month_end(m).date())),
    "counter": _indexed(lambda m: m),
    "years": _indexed(lambda m: 1990 + m),
    "firms' numbers": _indexed(_year_month, lambda k: 10001 + k),
    "firms' numbers, no names": _indexed(asset=lambda k: 10001 + k, names=(None, None)),
    "firms' numbers as floats": _indexed(asset=lambda k: 10001.0 + k),
    "firms as tuples": _indexed(asset=lambda k: ("US", k)),
    "firms of two types": _indexed(asset=lambda k: k if k % 2 else f"s{k}"),
    "firms' names beyond ASCII": _indexed(asset=lambda k: f"Société {k} 株式"),
    "a firm without letters": _indexed(asset=lambda k: " " * k),
}
#: Frames that are no panel, or not of this network.
NO_PANEL: dict[str, Callable[[Array], Given]] = {
    "infinity": _bad(lambda frame: _column(frame, np.inf)),
    "minus infinity in float32": _bad(lambda frame: _column(frame.astype("float32"), np.float32(-np.inf))),
    "infinity in Float64": _bad(lambda frame: _column(frame, pd.array([np.inf] * len(frame), "Float64"))),
    "infinity among objects": _bad(lambda frame: _column(frame, pd.Series([np.inf] * len(frame), frame.index, object))),
    "infinity of arrow": _bad(lambda frame: _column(frame, pd.array([np.inf] * len(frame), _arrow("double")))),
    "complex": _bad(lambda frame: _column(frame, frame["f1"].astype(complex))),
    "text": _bad(lambda frame: _column(frame, "x")),
    "numbers as text": _bad(lambda frame: _column(frame, frame["f1"].astype(str))),
    "numbers as text of arrow": _bad(lambda frame: _column(frame, frame["f1"].astype(str).astype(_arrow("text")))),
    "numbers as text among objects": _bad(lambda frame: _column(frame, frame["f1"].astype(str).astype(object))),
    "categories": _bad(lambda frame: _column(frame, frame["f1"].astype("category"))),
    "dates": _bad(lambda frame: _column(frame, pd.Timestamp("2020"))),
    "dates with a zone": _bad(lambda frame: _column(frame, pd.Timestamp("2020", tz="UTC"))),
    "durations": _bad(lambda frame: _column(frame, pd.Timedelta("1D"))),
    "Periods": _bad(lambda frame: _column(frame, pd.Period("2020-01"))),
    "intervals": _bad(lambda frame: _column(frame, pd.cut(frame["f1"], 3))),
    "lists": _bad(lambda frame: _column(frame, pd.Series([[1.0]] * len(frame), frame.index))),
    "a column twice": _bad(lambda frame: pd.concat([frame, frame[["f1"]]], axis=1)),
    "a column too few": _bad(lambda frame: frame[FEATURES[:-1]]),
    "no columns": _bad(lambda frame: frame[[]]),
    "two levels of columns": _bad(lambda frame: frame.set_axis(pd.MultiIndex.from_product([["a"], FEATURES]), axis=1)),
    "no rows": _bad(lambda frame: frame.iloc[:0]),
    "a row twice": _bad(_twice),
    "all rows twice": _bad(lambda frame: pd.concat([frame, frame])),
    "one level": _bad(lambda frame: frame.set_axis(range(len(frame)))),
    "time and asset as columns": _bad(lambda frame: frame.reset_index()),
    "asset as a column": _bad(lambda frame: frame.reset_index("asset")),
    "three levels": _bad(lambda frame: frame.assign(k=1).set_index("k", append=True)),
    "no time in a row": _bad(lambda frame: _labels(frame, 0, 4, pd.NaT)),
    "no asset in a row": _bad(lambda frame: _labels(frame, 1, 4, None)),
    "no times at all": _bad(lambda frame: frame.set_axis(index_of(lambda m: f"t{m}x"))),
    "no times at all, no names": _bad(lambda frame: frame.set_axis(index_of(lambda m: f"t{m}x", names=(None, None)))),
    "times of two kinds": _bad(lambda frame: _labels(frame, 0, 4, "2019-05")),
    "months out of the year": _bad(lambda frame: frame.set_axis(index_of(lambda m: f"2019-{m + 10}"))),
    "fractions as times": _bad(lambda frame: frame.set_axis(index_of(lambda m: 2019 + m / 12))),
    "two times": _bad(lambda frame: frame.set_axis(index_of(asset=month_end, names=(None, None)))),
    "two times of a month": _bad(lambda frame: pd.concat([frame, frame.iloc[:1].set_axis(
        pd.MultiIndex.from_tuples([(pd.Timestamp("2019-01-02"), "s0")], names=frame.index.names))])),
    "a Series": _bad(lambda frame: frame["f1"]),
    "a dict of columns": _bad(lambda frame: frame.to_dict("list")),
    "grouped": _bad(lambda frame: frame.groupby("asset")),
}  # fmt: skip
#: Frames that are a cross-section, or several, to what compares the rows of a period.
CROSS_SECTIONS = (
    "a column too few", "two levels of columns", "a row twice", "all rows twice", "one level", "no asset in a row",
    "two times of a month",
)  # fmt: skip


# -- targets and weights -----------------------------------------------------------------------------------------------


def _series(X: Array, dtype: Any = None, index: Any = None) -> pd.Series[Any]:
    return pd.Series(X, index, dtype)


#: Of arrays that have no meaning for one axis, or are no mistake there.
NOT_OF_ROWS = ("one axis", "Series", "None alone", "ragged list", "ragged array", "a number", "no axis")
#: Forms of a target of samples in an array, (sample,), that are forms of their weights, too.
WEIGHTS: dict[str, Callable[[Array], Given]] = {
    **{name: form for name, form in ARRAYS.items() if name not in ("denormals", "one sample again and again")},
    "Series": _same(_series),
    "Series in float32": _same(lambda X: _series(X, "f4"), _f32),
    "Series with another index": _same(lambda X: _series(X, index=range(100, 100 - len(X), -1))),
    "Series with one label": _same(lambda X: _series(X, index=["a"] * len(X))),
    "Float64": _same(lambda X: _series(X, "Float64")),
    "Int64": _same(lambda X: _series(np.round(X)).astype("Int64"), np.round),
    "boolean": _same(lambda X: _series(X > 0).astype("boolean"), lambda X: (X > 0).astype(float)),
    "arrow double": _same(lambda X: _series(X).astype(_arrow("double"))),
    "sparse": _same(lambda X: _series(X).astype(pd.SparseDtype(float, 0.0))),
    "extension array": _same(lambda X: pd.array(X, dtype="Float64")),
    "Index": _same(pd.Index),
}
#: Of targets alone.
TARGETS: dict[str, Callable[[Array], Given]] = {
    "column": _same(lambda X: X[:, None], lambda X: X[:, None]),
    "frame": _same(lambda X: pd.DataFrame({"y": X}), lambda X: X[:, None]),
    "frame of Float64": _same(lambda X: pd.DataFrame({"y": X}, dtype="Float64"), lambda X: X[:, None]),
}
#: Forms that are neither; a single number is a weight of all samples.
NO_TARGETS: dict[str, Callable[[Array], Given]] = {
    **{name: form for name, form in WRONG.items() if name not in NOT_OF_ROWS},
    **{name: refused(form) for name, form in MISSING.items()},
    "a row": _refused(lambda X: X[None]),
    "Float64 with NA": _refused(lambda X: _series(_with(X, np.nan)).astype("Float64")),
    "a number too few": _refused(lambda X: _series(X[1:])),
    "Series of text": _refused(lambda X: _series(X.astype(str))),
    "Series of dates": _refused(lambda X: _series(np.round(X).astype("datetime64[s]"))),
    "Series of durations": _refused(lambda X: _series(np.round(X).astype("timedelta64[s]"))),
    "Periods": _refused(lambda X: _series(pd.period_range("2020-01", periods=len(X), freq="M"))),
    "categories of text": _refused(lambda X: _series(X.astype(str)).astype("category")),
    "complex Series": _refused(lambda X: _series(X.astype(complex))),
}


# -- models ------------------------------------------------------------------------------------------------------------


def layers(rng: np.random.Generator, width: int = D) -> list[Any]:
    H = 5
    W, U, V = (rng.normal(size=size) / 2 for size in ((width, 4 * H), (H, 4 * H), (H, 1)))
    return [fl.LSTM(W, U, rng.normal(size=4 * H) / 4), fl.Dense(V, rng.normal(size=1))]


def relevance(rel: Any) -> list[Array]:
    """All numbers of a result."""
    more = [] if rel.spread is None else [rel.spread, rel.prediction_spread]
    more += [] if rel.static is None else [rel.static]
    return [rel.values, rel.prediction, rel.score, rel.initial_state, rel.unattributed, *more]


def weights(net: Any) -> list[Array]:
    """All weights of a trained network or ensemble."""
    nets = getattr(net, "networks", [net])
    return [getattr(layer, name) for one in nets for layer in one for name in ("W", "U", "b") if hasattr(layer, name)]
