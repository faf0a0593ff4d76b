"""The command line: ``fastlrp demo``, ``info``, ``explain`` and ``bench``.

Results go to stdout, progress and notes to stderr. Bad input is one sentence on stderr and exit code 2; an error that
nobody expected keeps its traceback.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

import fastlrp
from fastlrp.errors import ConservationWarning
from fastlrp.network import LSTM, Aggregate, Dense, Network
from fastlrp.rules import Arras, Rudder, Rule

if TYPE_CHECKING:
    import pandas as pd

    from fastlrp.relevance import Relevance

_AGGREGATES: dict[str, Aggregate] = {"sequence": "sequence", "average": True, "last": False}
_MISSING = ["", "NA", "N/A", "#N/A", "NaN", "nan", "-nan", "null", "NULL", "None", "."]  # of features, never of names
_ARCHITECTURE = "the model's json (model.to_json()), for a file that holds weights alone"
_THREADS = "default: Numba's own setting"
_BLOCK = 50_000  # rows turned into a frame and written at once: memory stays bounded, and Ctrl-C is heard


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for bad input, 130 for Ctrl-C."""
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.run(arguments)
        sys.stdout.flush()  # a reader that has gone is met here, not at exit
        return code
    except SystemExit as end:  # argparse has said all
        return end.code if isinstance(end.code, int) else 0
    except ValueError as error:
        print(f"fastlrp: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nfastlrp: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as in `fastlrp info model.h5 | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _say(text: str) -> None:
    """A note that is not the result."""
    print(text, file=sys.stderr, flush=True)


# -------------------------------------------------------------------------------------------------------- arguments


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage that would hide it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> _Parser:
    about = "LSTM predictions explained by layer-wise relevance propagation, over whole stock-by-month panels."
    parser = _Parser(prog="fastlrp", description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"fastlrp {fastlrp.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        one.set_defaults(run=run)
        return one

    demo = command("demo", _demo, "Explain the embedded network on the embedded panel: tables, totals and pictures.")
    demo.add_argument("--rule", choices=["both", "arras", "rudder"], default="both", help="default: both")
    demo.add_argument("--out", metavar="DIR", type=Path, default=Path("fastlrp-demo"),
                      help="folder for the pictures (default: fastlrp-demo)")  # fmt: skip

    info = command("info", _info, "Show a Keras file's layers, shapes and weights, and whether it can be explained.")
    info.add_argument("model", metavar="MODEL", type=Path, help=".h5, .keras or .weights.h5")
    info.add_argument("--architecture", metavar="JSON", type=Path, help=_ARCHITECTURE)

    _explain_arguments(command("explain", _explain, "Write the relevance of every row of a panel to a file."))

    bench = command("bench", _bench, "Measure this machine; in a checkout, against the other libraries installed.")
    bench.add_argument("--quick", action="store_true", help="in a checkout: a tenth of the samples, nothing written")
    bench.add_argument("--threads", metavar="N", type=int, help=_THREADS)
    return parser


def _explain_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", type=Path, help="Keras file: .h5, .keras or .weights.h5")
    add("panel", metavar="PANEL", type=Path, help="a row a time and asset: .csv, .csv.gz or .parquet")
    add("-o", "--output", metavar="OUT", type=Path, required=True, help="file to write: .csv, .csv.gz or .parquet")
    add("--architecture", metavar="JSON", type=Path, help=_ARCHITECTURE)
    add = parser.add_argument_group("columns of the panel").add_argument
    add("--time", metavar="COL", help="default: the first two columns are time and asset, in either order")
    add("--asset", metavar="COL", help="likewise")
    add("--features", metavar="A,B,C", help="the network's inputs, in its order (default: all that are left)")
    add("--drop", metavar="COL", action="append", default=[], help="leave out a column, as the target; may be repeated")
    add = parser.add_argument_group("what is computed").add_argument
    add("--rule", choices=["arras", "rudder"], default="arras", help="default: arras")
    add("--eps", metavar="X", type=float, help="the stabiliser in every denominator (default: 0.001)")
    add("--delta", type=float, choices=[0, 1], help="1: the biases' share is handed down, too (default: 0)")
    add("--stabilizer", choices=["paper", "absorbed"], help="default: paper")
    add("--no-recurrent", action="store_true", help="arras: leave out the path through the step before's h")
    add("--target", metavar="N", type=int, help="the output to explain, from 0, where there are several")
    add("--steps", metavar="T", type=int, help="length of a window, where the network does not fix it")
    add("--aggregate", choices=list(_AGGREGATES), default="sequence", help="what a lower LSTM gets from the one above: "
        "each step its own, their average, or the last step's (default: sequence)")  # fmt: skip
    add = parser.add_argument_group("how").add_argument
    add("--by-step", action="store_true", help="a column a feature and step, NAME_lag0 the newest, instead of the sum")
    add("--dtype", choices=["float32", "float64"], help="default: float32 where all columns are, else float64")
    add("--threads", metavar="N", type=int, help=_THREADS)
    add("--no-progress", action="store_true", help="no progress bar")


# ------------------------------------------------------------------------------------------------------------- info


def _info(arguments: argparse.Namespace) -> int:
    from fastlrp.keras import describe_keras

    print(describe_keras(arguments.model, architecture=arguments.architecture))
    return 0


# ---------------------------------------------------------------------------------------------------------- explain


def _explain(arguments: argparse.Namespace) -> int:
    from fastlrp.keras import read_keras

    out, bar = arguments.output, not arguments.no_progress and _installed("tqdm")
    rule = _rule(arguments)
    _check_kind(arguments.panel, "the panel is read from", "to be read")
    _check_output(out, {"the model": arguments.model, "the panel": arguments.panel})
    net = read_keras(arguments.model, architecture=arguments.architecture)
    panel, names = _read_panel(arguments, net)
    with _as_notes():
        relevance = net.explain(
            panel, rule=rule, steps=arguments.steps, target=arguments.target, dtype=arguments.dtype,
            aggregate=_AGGREGATES[arguments.aggregate], reduce=None if arguments.by_step else "steps",
            threads=arguments.threads, progress=bar,
        )  # fmt: skip
    if relevance.missing.all():
        raise ValueError(
            f"{arguments.panel} has no row to explain: none of its {len(panel):,} rows ends a complete window of "
            f"{relevance.steps} steps without a missing value"
        )
    _write(relevance, out, names, by_step=arguments.by_step, bar=bar)
    print(relevance.summary())
    print(f"Wrote {out}: {len(relevance):,} rows")
    return 0


def _rule(arguments: argparse.Namespace) -> Rule:
    names = ("eps", "delta", "stabilizer")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.rule == "arras":
        return Arras(**given, recurrent=not arguments.no_recurrent)
    if arguments.no_recurrent:
        raise ValueError("--no-recurrent belongs to the rule arras; rudder never follows the path through h")
    return Rudder(**given)


@contextmanager
def _as_notes() -> Iterator[None]:
    """Warnings meant for users become one line each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConservationWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, ConservationWarning):
            _say(f"note: {warning.message}")
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


# ------------------------------------------------------------------------------------------------- panels from files


def _kind(path: Path) -> str | None:
    """csv, csv.gz or parquet, by the file's name."""
    return next((kind for kind in ("csv", "csv.gz", "parquet") if path.name.lower().endswith(f".{kind}")), None)


def _check_kind(path: Path, what: str, purpose: str) -> None:
    kind = _kind(path)
    if kind is None:
        raise ValueError(f"{what} a .csv, .csv.gz or .parquet file, not {str(path)!r}")
    if kind == "parquet" and not _installed("pyarrow"):
        raise ValueError(f"{path} needs pyarrow {purpose}: pip install 'fastlrp[parquet]', or use csv")


def _read_panel(arguments: argparse.Namespace, net: Network) -> tuple[pd.DataFrame, tuple[str, str]]:
    """The panel with its two index levels and the features' columns in the network's order; the index's own names."""
    from fastlrp.panel import time_level

    path = arguments.panel
    if path.is_dir() or not path.exists():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise ValueError(f"{path} {problem}, expected a csv or parquet file")
    try:
        frame, names = (_read_parquet if _kind(path) == "parquet" else _read_csv)(path, arguments)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if frame.empty:
        raise ValueError(f"{path} has no rows, only a header")
    features = _features(frame, arguments, net)
    frame = frame[features]
    given = [names.index(name) for name in (arguments.time, arguments.asset) if name is not None]
    if given:  # the user has said which is which: under these names the panel need not guess
        time = given[0] if arguments.time is not None else 1 - given[0]
        frame.index = frame.index.set_names(["asset" if k != time else "time" for k in (0, 1)])
    try:
        time_level(frame.index)
    except ValueError:
        raise ValueError(f"{path}: whether {names[0]!r} or {names[1]!r} is the time is not clear: say --time") from None
    return frame, names


def _identify(columns: Sequence[str], arguments: argparse.Namespace) -> tuple[str, str]:
    """The two columns that say which row is whose and when."""
    asked = [name for name in (arguments.time, arguments.asset) if name is not None]
    for name in [*asked, *arguments.drop]:
        _check_column(name, columns, arguments.panel)
    free = (name for name in columns if name not in asked and name not in arguments.drop)
    names = [name if name is not None else next(free, None) for name in (arguments.time, arguments.asset)]
    if names[0] is None or names[1] is None or len(columns) < 3:
        raise ValueError(
            f"{arguments.panel} has {len(columns)} column{'s' * (len(columns) != 1)}, expected a time, an asset and at "
            "least one feature, separated by commas"
        )
    if names[0] == names[1]:
        raise ValueError(f"--time and --asset both name the column {names[0]!r}, expected two columns")
    return names[0], names[1]


def _check_column(name: str, columns: Sequence[str], path: Path) -> None:
    from fastlrp.panel import suggest

    if name not in columns:
        raise ValueError(f"{path} has no column {suggest([name], list(columns))}")


def _read_csv(path: Path, arguments: argparse.Namespace) -> tuple[pd.DataFrame, tuple[str, str]]:
    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header lose values
            head = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0]
            twice = head[head.duplicated() & (head != "")]
            if len(twice):
                raise ValueError(f"two columns are called {twice.iloc[0]!r}")
            columns = [str(name) for name in pd.read_csv(path, nrows=0, index_col=False).columns]
            names = _identify(columns, arguments)
            # A ticker may be called NA, and an identifier may start with 0: names of rows are read as they stand.
            frame = pd.read_csv(
                path, index_col=False, low_memory=False, dtype=dict.fromkeys(names, str), keep_default_na=False,
                na_values={name: [""] if name in names else _MISSING for name in columns},
            )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning) as error:
        raise ValueError(f"{path} cannot be read as csv: {str(error).strip()}") from None
    found = [pd.factorize(frame.pop(name)) for name in names]
    levels: Any = [_whole_numbers(pd.Index(labels)) for _, labels in found]
    codes: Any = [codes for codes, _ in found]
    frame.index = pd.MultiIndex(levels, codes, names=list(names))
    return frame, names


def _whole_numbers(labels: pd.Index) -> pd.Index:
    """Labels as whole numbers where all are written as such: 199001 and 1, but not 001."""
    plain = len(labels) > 0 and all(str(text).isdecimal() and str(int(text)) == str(text) for text in labels)
    return labels.astype("int64") if plain and max(map(len, labels)) < 19 else labels


def _read_parquet(path: Path, arguments: argparse.Namespace) -> tuple[pd.DataFrame, tuple[str, str]]:
    import pandas as pd
    import pyarrow

    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path} cannot be read as parquet: {error}") from None
    if frame.index.nlevels > 1 or frame.index.name is not None:
        frame = frame.reset_index()
    frame.columns = frame.columns.map(str)
    names = _identify(list(frame.columns), arguments)
    return frame.set_index(list(names)), names


def _features(frame: pd.DataFrame, arguments: argparse.Namespace, net: Network) -> list[str]:
    """Columns for the network's inputs: those named, those it names itself, or all of numbers if they are as many."""
    import pandas as pd

    if arguments.features is not None or net.features is not None:
        names = list(net.features or ()) if arguments.features is None else arguments.features.split(",")
        for name in names:
            _check_column(name, list(frame.columns), arguments.panel)
        if len(names) != net.n_features:
            raise ValueError(f"--features names {len(names)} columns, but the network takes {net.n_features} features")
        return names
    left = [name for name in frame.columns if name not in arguments.drop]
    usable = [name for name in left if pd.api.types.is_numeric_dtype(frame[name])]
    other = [name for name in left if name not in usable]
    if len(usable) != net.n_features:
        odd = f", and {len(other)} that are not: {', '.join(map(repr, other[:5]))}" if other else ""
        raise ValueError(
            f"{arguments.panel} has {len(usable)} columns of numbers besides time and asset{odd}; the network "
            f"takes {net.n_features} features: leave columns out with --drop, or name its own in order with --features"
        )
    _say(f"note: the model does not name its inputs; they are taken to be, in this order: {', '.join(usable)}")
    return usable


# -------------------------------------------------------------------------------------------------- files, whole or not


def _check_output(out: Path, inputs: Mapping[str, Path]) -> None:
    """Refuse, before anything is computed, what could not be written in the end."""
    _check_kind(out, "relevance is written to", "to be written")
    if out.exists() and not out.is_file():
        raise ValueError(f"{out} is {'a folder' if out.is_dir() else 'not a plain file'}, expected a file to write")
    for what, path in inputs.items():
        if out.exists() and path.exists() and out.samefile(path):
            raise ValueError(f"{out} is {what} itself: choose another file for the output")
    try:
        with tempfile.TemporaryFile(dir=out.resolve().parent):
            pass
    except OSError as error:
        raise ValueError(f"{out} cannot be written: {error.strerror}") from None


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A file beside ``out`` that becomes it at the end, or vanishes: nobody ever meets half a file."""
    out = out.resolve()  # a link stays a link
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        temporary.open("xb").close()  # as the user's umask has it
        yield temporary
        os.replace(temporary, out)
    except OSError as error:
        raise ValueError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _write(relevance: Relevance, out: Path, names: tuple[str, str], *, by_step: bool, bar: bool) -> None:
    with _whole(out) as temporary, _bar(len(relevance), bar) as advance:
        blocks = _frames(relevance, names, by_step, advance)
        if _kind(out) == "parquet":
            _write_parquet(temporary, blocks)
            return
        opened = gzip.open if _kind(out) == "csv.gz" else open
        with opened(temporary, "wt", encoding="utf-8", newline="") as file:
            for i, block in enumerate(blocks):
                block.to_csv(file, header=i == 0)


def _frames(
    relevance: Relevance, names: tuple[str, str], by_step: bool, advance: Callable[[int], object]
) -> Iterator[pd.DataFrame]:
    """What is written, some rows at a time."""
    import pandas as pd

    for start in range(0, len(relevance), _BLOCK):
        part = relevance[start : start + _BLOCK]
        frame = part.to_frame()
        if by_step:
            steps = part.to_frame(steps=True)
            steps.columns = [f"{feature}_lag{step}" for step in part.lags for feature in part.features]
            frame = pd.concat([steps, frame.iloc[:, len(part.features) :]], axis=1)
        frame.index = frame.index.set_names(list(names))
        yield frame
        advance(len(frame))


def _write_parquet(path: Path, blocks: Iterator[pd.DataFrame]) -> None:
    import pyarrow
    from pyarrow import parquet

    first = pyarrow.Table.from_pandas(next(blocks))
    with parquet.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for block in blocks:
            writer.write_table(pyarrow.Table.from_pandas(block, schema=first.schema))


@contextmanager
def _bar(total: int, shown: bool) -> Iterator[Callable[[int], object]]:
    if not shown:
        yield lambda n: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc="write", unit=" rows", unit_scale=True) as bar:
        yield bar.update


# ------------------------------------------------------------------------------------------------------------- demo


def _demo(arguments: argparse.Namespace) -> int:
    start = time.perf_counter()
    pictures = _installed("matplotlib")
    if pictures:
        _make_folder(arguments.out)
    from fastlrp.data import GROUPS, load_model, load_panel

    net, panel = load_model(), load_panel()
    rules = ["arras", "rudder"] if arguments.rule == "both" else [arguments.rule]
    _say("fastlrp: compiling the kernels for this machine (kept for the next run) ...")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConservationWarning)  # said below, in a sentence
        for rule in rules:
            net.explain(panel, rule=rule)
        ready = time.perf_counter()
        results = {rule: net.explain(panel, rule=rule) for rule in rules}
    seconds = time.perf_counter() - ready
    first = results[rules[0]]
    found = int((~first.missing).sum())
    rate, by = f"{found * len(rules) / seconds:,.0f}", " and ".join(rules)
    say = [
        f"{net!r}\non the embedded panel of 20 US stocks, 1990 to 2022. It predicts nothing out of sample: it is here "
        "to try fastlrp on.",
        f"Explained {found:,} windows of {net.steps} months by {by} in {seconds:.3f} s, {rate} a second; loading and "
        f"compiling took {ready - start:.1f} s before that.",
        f"Factors, largest first (share: of a window's |relevance|; mean: of relevance)\n\n{_factors(results, GROUPS)}",
        f"Groups of factors\n\n{_groups(results, GROUPS)}",
        f"Highest predictions of the last month, and why, by {rules[0]}\n\n{_last_month(first)}",
        f"Totals: score = sum of relevance + initial state + unattributed\n\n{_totals(results)}",
        "\n".join(_sentences(results)),
    ]
    print("\n\n".join(say))
    if pictures:
        _draw(results, arguments.out)
    else:
        print("\nNo pictures were drawn, since matplotlib is not installed: pip install 'fastlrp[plot]'")
    return 0


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"pictures cannot be written to {folder}: {error.strerror}; choose a folder with --out"
        ) from None


def _table(frame: pd.DataFrame, formats: Mapping[str, str]) -> str:
    """Aligned text, words to the left and numbers to the right; ``formats`` by the end of a column's name."""
    columns = []
    for name in map(str, frame.columns):
        form = next((form for end, form in formats.items() if name.endswith(end)), "{}")
        cells = [name, *(form.format(value) for value in frame[name])]
        width, words = max(map(len, cells)), all(cell[:1].isalpha() for cell in cells)
        columns.append([cell.ljust(width) if words else cell.rjust(width) for cell in cells])
    return "\n".join("  " + "  ".join(row).rstrip() for row in zip(*columns, strict=True))


def _factors(results: Mapping[str, Relevance], groups: Mapping[str, Sequence[str]]) -> str:
    import pandas as pd

    group_of = {factor: group for group, factors in groups.items() for factor in factors}
    columns = {}
    for rule, relevance in results.items():
        columns[f"{rule} share"] = 100 * relevance.share().mean()
        columns[f"{rule} mean"] = relevance.to_frame()[list(relevance.features)].mean()
    table = pd.DataFrame(columns).sort_values(next(iter(columns)), ascending=False, kind="stable")
    table.insert(0, "factor", table.index)
    table.insert(1, "group", [group_of[factor] for factor in table.index])
    return _table(table, {"share": "{:.1f} %", "mean": "{:+.4f}"})


def _groups(results: Mapping[str, Relevance], groups: Mapping[str, Sequence[str]]) -> str:
    import pandas as pd

    columns = {}
    for rule, relevance in results.items():
        share = 100 * relevance.share().mean()
        columns[f"{rule} share"] = {group: share[list(factors)].sum() for group, factors in groups.items()}
    table = pd.DataFrame(columns)
    table = table.sort_values(table.columns[0], ascending=False, kind="stable")
    table.insert(0, "group", table.index)
    return _table(table, {"share": "{:.1f} %"})


def _last_month(relevance: Relevance, stocks: int = 5, factors: int = 3) -> str:
    import pandas as pd

    assert relevance.index is not None
    months = relevance.index.get_level_values("month")
    frame = relevance[np.asarray(months == months[~relevance.missing].max())].to_frame()
    best = frame.sort_values("prediction", ascending=False, kind="stable").head(stocks)
    rows = []
    for at, row in best.iterrows():
        month, stock = cast(Any, at)
        top = row[list(relevance.features)].sort_values(key=np.abs, ascending=False, kind="stable").head(factors)
        why = ", ".join(f"{name} {value:+.3f}" for name, value in top.items())
        rows.append((f"{month:%Y-%m}", stock, f"{row['prediction']:+.3f}", why))
    return _table(pd.DataFrame(rows, columns=["month", "stock", "prediction", "largest relevance"]), {})


def _totals(results: Mapping[str, Relevance]) -> str:
    import pandas as pd

    rows = []
    for rule, relevance in results.items():
        gaps, score = relevance.reconcile(), np.abs(relevance.score[~relevance.missing])
        share = f"{100 * relevance.median_unattributed_share():.0f} %"
        rows.append((rule, f"{np.median(score):.3f}", f"{gaps.median:.1e}", f"{gaps.worst:.1e}", share))
    heads = ["rule", "median |score|", "median gap", "worst gap", "unattributed / |score|"]
    return _table(pd.DataFrame(rows, columns=heads), {})


def _sentences(results: Mapping[str, Relevance]) -> Iterator[str]:
    """What the totals mean, in words."""
    for rule, relevance in results.items():
        share = relevance.median_unattributed_share()
        if rule == "arras":
            why = "what biases and stabilisers keep; Arras(delta=1) hands that on, too."
        else:
            why = (
                "it credits a month with all that it wrote into the cell,\nthough forget gates have since taken part "
                "of that away, so its relevance does not add up to the prediction."
            )
        yield f"{rule} leaves {share:.0%} of the score unattributed at the median: {why}"


def _draw(results: Mapping[str, Relevance], folder: Path) -> None:
    from fastlrp import plot

    drawn = {"factors.png": (plot.bars(*results.values()), f"each factor's share by {' and '.join(results)}")}
    for rule, relevance in results.items():
        figure = plot.heat_map(relevance, smooth=12, title=f"What the network looked at, by {rule}")
        drawn[f"through-time-{rule}.png"] = (figure, f"the same through time, by {rule}")
    print("\nPictures:")
    for name, (figure, what) in drawn.items():
        with _whole(folder / name) as temporary:
            figure.savefig(temporary, format="png")
        print(f"  {folder / name}: {what}")


# ------------------------------------------------------------------------------------------------------------ bench


def _bench(arguments: argparse.Namespace) -> int:
    root = Path(fastlrp.__file__).resolve().parents[1]
    if (root / "benchmarks" / "__main__.py").is_file() and (root / "pyproject.toml").is_file():
        asked = ["--quick"] * arguments.quick
        asked += [] if arguments.threads is None else ["--threads", str(arguments.threads)]
        return subprocess.call([sys.executable, "-m", "benchmarks", *asked], cwd=root)
    import numba

    threads = numba.get_num_threads() if arguments.threads is None else arguments.threads
    print(f"Windows a second, float32, {threads} threads; random weights, LSTM(units) and Dense(1)\n")
    kinds = ("predict", "arras", "rudder")
    print("  steps  features  units" + "".join(f"{kind:>12}" for kind in kinds))
    rng = np.random.default_rng(0)
    for T, D, H, n in ((5, 16, 16, 40_000), (5, 16, 32, 40_000), (12, 96, 64, 4_000), (60, 96, 128, 500)):
        weights = [rng.standard_normal(shape) / np.sqrt(D + H) for shape in ((D, 4 * H), (H, 4 * H), (4 * H,), (H, 1))]
        W, U, b, V = (array.astype(np.float32) for array in weights)
        net, X = Network([LSTM(W, U, b), Dense(V)], steps=T), rng.standard_normal((n, T, D), dtype=np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConservationWarning)
            rates = [n / _seconds(net, X, kind, threads) for kind in kinds]
        print(f"  {T:>5}  {D:>8}  {H:>5}" + "".join(f"{rate:>12,.0f}" for rate in rates), flush=True)
    print("\nThis is fastlrp alone, compared with no other library; `fastlrp bench` in a checkout compares.")
    return 0


def _seconds(net: Network, X: Any, kind: str, threads: int) -> float:
    """Median time of one call, over about 0.2 s of calls, the first (which compiles) not counted."""
    taken: list[float] = []
    for i in range(1000):
        start = time.perf_counter()
        if kind == "predict":
            net.predict(X, threads=threads)
        else:
            net.explain(X, rule=kind, threads=threads)
        if i:
            taken.append(time.perf_counter() - start)
        if len(taken) > 2 and sum(taken) > 0.2:
            break
    return float(np.median(taken))
