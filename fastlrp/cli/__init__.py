"""The command line: ``fastlrp demo``, ``info``, ``explain``, ``report``, ``compile`` and ``bench``.

Results go to stdout, progress and notes to stderr. Bad input gives one sentence on stderr and exit code 2; an
unexpected error keeps its traceback.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import fastlrp
from fastlrp.cli.blocks import as_target
from fastlrp.cli.console import as_notes, as_options, drop_stdout, is_of_stdout, quick_to_stop, say, shows_progress
from fastlrp.cli.files import STDOUT, check_kind, check_output, kind_of
from fastlrp.messages import count
from fastlrp.rules import Rule, as_rule, rule_names

_ARCHITECTURE = (
    "the model's json (model.to_json()), for a file that holds weights alone; or the word chain, for the chain of LSTM "
    "and Dense layers that their shapes tell"
)
#: Modules to import before a command runs; what is imported above is light, so that Ctrl-C is heard from the start.
_KERNELS = ("h5py", "fastlrp.keras", "fastlrp.panels.panel", "fastlrp.kernels.cpu")
_RULES = "fastlrp.kernels.program.rules"  # registers the rules that --rule names
_THREADS = "default: Numba's own setting"
_DTYPE = "default: float32 where all columns are, else float64"
_OUTPUT = "the output to explain, by name or by number from 0, where there are several"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 where ``info`` finds a model that cannot be explained, 2 for bad
    input or a full disk, 130 for Ctrl-C, 141 for `| head`.
    """
    try:
        code = _run(argv)
        if sys.stdout is not None:
            sys.stdout.flush()  # a closed reader or a full disk shows here, not at exit
        return code
    except ValueError as error:
        say(f"fastlrp: {as_options(' '.join(str(error).split()))}")
        return 2
    except KeyboardInterrupt:
        say("\nfastlrp: interrupted")
        return 130
    except BrokenPipeError:  # as in `fastlrp info model.h5 | head`
        drop_stdout()
        return 141
    except OSError as error:
        if not is_of_stdout(error):
            raise
        drop_stdout()
        say(f"fastlrp: stdout cannot be written: {error.strerror}")
        return 2


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = _parser().parse_args(argv)
        with quick_to_stop():
            for module in arguments.imports:
                import_module(module)
        code: int = arguments.run(arguments)
        return code
    except SystemExit as end:  # argparse has already said why
        return end.code if isinstance(end.code, int) else 0


# -------------------------------------------------------------------------------------------------------- arguments


def _architecture(text: str) -> Path | str:
    """A file, or the word that asks for the evident chain."""
    return text if text == "chain" else Path(text)


class _Parser(argparse.ArgumentParser):
    """Reports an error in one sentence, without the usage text that would hide it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> _Parser:
    with quick_to_stop():
        import_module(_RULES)
    about = "LSTM predictions explained by layer-wise relevance propagation, over whole stock-by-month panels."
    parser = _Parser(prog="fastlrp", description=about, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"fastlrp {fastlrp.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], about: str, imports: Sequence[str] = _KERNELS
    ) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        one.set_defaults(run=run, imports=imports)
        return one

    demo = command("demo", _demo, "Explain the embedded networks on the embedded panel: tables, totals, pictures and "
                   "reports.")  # fmt: skip
    demo.add_argument("--rule", choices=["both", "arras", "rudder"], default="both", help="default: both")
    demo.add_argument("--out", metavar="DIR", type=Path, default=Path("fastlrp-demo"),
                      help="folder for pictures and reports (default: fastlrp-demo)")  # fmt: skip

    about = "Show a Keras file's layers, shapes and weights, and whether it can be explained."
    info = command("info", _info, about, imports=("h5py", "fastlrp.keras"))
    info.add_argument("model", metavar="MODEL", type=Path, help=".h5, .keras or .weights.h5, or a folder of an "
                      "ensemble's")  # fmt: skip
    info.add_argument("--architecture", metavar="JSON", type=_architecture, help=_ARCHITECTURE)

    _explain_arguments(command("explain", _explain, "Write the relevance of every row of a panel to a file."))

    about = "Write one self-contained page: what a model's predictions rest on, and how far to trust them."
    _report_arguments(command("report", _report, about))

    about = "Compile all kernels ahead of time, for images and workers, into NUMBA_CACHE_DIR or a place of Numba's own."
    ahead = command("compile", _compile, about, imports=("fastlrp.ensemble",))
    ahead.add_argument("--dtype", choices=["float32", "float64"], help="only for numbers of this kind (default: both)")
    ahead.add_argument("--no-training", action="store_true", help="leave out what only training needs")

    bench = command("bench", _bench, "Measure this machine; in a checkout, against the other libraries installed.")
    bench.add_argument("--quick", action="store_true", help="in a checkout: a tenth of the samples, nothing written")
    bench.add_argument("--threads", metavar="N", type=int, help=_THREADS)
    return parser


def _explain_arguments(parser: argparse.ArgumentParser) -> None:
    _files(
        parser,
        "file to write: .csv, .tsv (both also with .gz, .bz2 or .xz), .parquet, .h5 or .xlsx; - for a csv on stdout",
    )
    _columns(parser)
    add = _computed(parser)
    add("--target", metavar="N", help=_OUTPUT)
    add("--aggregate", choices=["sequence", "average", "last"], default="sequence", help="what a lower LSTM "
        "gets from the one above: each step its own (default), their average, or the last step's")  # fmt: skip
    add("--at-step", metavar="T", type=int, default=-1, help="of a network that predicts at every step, the one whose "
        "output is explained: 0 is the first, -1 the last (default)")  # fmt: skip
    add("--min-steps", metavar="N", type=int, help="also explain assets with only so many rows, if the network has "
        "Masking")  # fmt: skip
    add = parser.add_argument_group("how").add_argument
    add("--by-step", action="store_true", help="a column a feature and step, NAME_lag0 the newest, instead of the sum")
    add("--by-time", action="store_true", help="means over the assets of each time (mean, abs, share) instead of rows")
    add("--partition-by", metavar="COL", help="OUT is a folder: a Parquet file for each value of a column, or for each "
        "year")  # fmt: skip
    add("--dtype", choices=["float32", "float64"], help=_DTYPE)
    add("--device", choices=["auto", "cpu", "cuda"], default="auto",
        help="auto: a GPU where one answers and there is much to compute (default)")  # fmt: skip
    add("--threads", metavar="N", type=int, help=_THREADS)
    add("--memory", metavar="SIZE", help="read, explain and write block by block in so much memory, as 500MB (default "
        "for large files and folders: 1GB)")  # fmt: skip
    add("--since", metavar="TIME", help="explain the rows from this time on; of earlier ones only those are read that "
        "are needed")  # fmt: skip
    add("--resume", action="store_true", help="go on with what an interrupted run left unfinished")
    add("--no-progress", action="store_true", help="no progress bar")


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    _files(parser, "page to write: .html")
    _columns(parser)
    add = parser.add_argument_group("predictions beside what followed").add_argument
    add("--target", metavar="COL", help="the column of what followed each row, empty where it is not known")
    add("--test-from", metavar="TIME", help="the first time that the model has not seen, as 2010-01")
    add("--horizon", metavar="N", type=int, default=1, help="the number of periods that a target spans (default: 1)")
    add = _computed(parser)
    add("--unit", metavar="N", help=_OUTPUT)
    add = parser.add_argument_group("how").add_argument
    add("--groups", metavar="JSON", type=Path, help='a file with groups of features: {"Risk": ["beta", ...], ...}')
    add("--title", metavar="TEXT", help="the page's title")
    add("--dtype", choices=["float32", "float64"], help=_DTYPE)
    add("--threads", metavar="N", type=int, help=_THREADS)


def _files(parser: argparse.ArgumentParser, written: str) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", type=Path, help="Keras file: .h5, .keras or .weights.h5; or a folder of an "
        "ensemble's")  # fmt: skip
    add("panel", metavar="PANEL", type=Path, help="a row a time and asset: .csv, .tsv, .parquet, .feather, .xlsx or "
        ".h5 (also FILE.h5::/GROUP); or a folder of them; - for a csv on stdin. Packed by gzip, bzip2, xz or zip is "
        "read, too")  # fmt: skip
    add("-o", "--output", metavar="OUT", type=Path, required=True, help=written)
    add("--architecture", metavar="JSON", type=_architecture, help=_ARCHITECTURE)


def _columns(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("columns of the panel").add_argument
    add("--time", metavar="COL", help="default: the first two columns are time and asset, in either order, or else the "
        "columns that are called so; YEAR,MONTH where two columns make the time")  # fmt: skip
    add("--asset", metavar="COL", help="likewise")
    add("--dates", choices=["day-first", "month-first"], help="what 01/02/2015 means, where no date tells")
    add("--features", metavar="A,B,C", help="the network's inputs, in its order (default: those that the model names, "
        "else all that are left)")  # fmt: skip
    add("--drop", metavar="COL", action="append", default=[], help="leave out a column, as the target; may be repeated")


def _computed(parser: argparse.ArgumentParser) -> Callable[..., argparse.Action]:
    add = parser.add_argument_group("what is computed").add_argument
    add("--rule", choices=rule_names(), default="arras", help="default: arras")
    add("--eps", metavar="X", type=float, help="the stabiliser in every denominator (default: 0.001)")
    add("--delta", type=float, choices=[0, 1], help="1: the biases' share is handed down, too (default: 0)")
    add("--stabilizer", choices=["paper", "absorbed"], help="default: paper")
    add("--no-recurrent", action="store_true", help="arras: leave out the path through the step before's h")
    add("--n-steps", metavar="N", type=int, help="integrated_gradients: nodes between the baseline, zero, and X "
        "(default: 32)")  # fmt: skip
    add("--steps", metavar="T", type=int, help="length of a window, where the network does not fix it")
    return add


# --------------------------------------------------------------------------------------------------------- commands


def _info(arguments: argparse.Namespace) -> int:
    from fastlrp.keras import describe_keras

    found = describe_keras(arguments.model, architecture=arguments.architecture)
    print(found)
    return 0 if found.explainable else 1


def _demo(arguments: argparse.Namespace) -> int:
    from fastlrp.cli.demo import run_demo

    return run_demo(arguments)


def _compile(arguments: argparse.Namespace) -> int:
    from fastlrp.cli.compile import run_compile

    return run_compile(arguments)


def _bench(arguments: argparse.Namespace) -> int:
    from fastlrp.cli.bench import run_bench

    return run_bench(arguments)


def _report(arguments: argparse.Namespace) -> int:
    from fastlrp.cli.report import run_report

    return run_report(arguments, _rule(arguments))


def _explain(arguments: argparse.Namespace) -> int:
    from fastlrp.cli.blocks import explain_in_blocks, in_blocks
    from fastlrp.cli.tables import counted_times, read_panel
    from fastlrp.cli.writing import write_relevance
    from fastlrp.keras import read_keras

    out, bar = arguments.output, shows_progress(arguments)
    rule = _rule(arguments)
    if in_blocks(arguments):
        summary = explain_in_blocks(arguments, rule, bar=bar)
        if summary is not None:
            print(summary)
            print(f"Wrote {out}: {count(summary.rows, 'row')}")
            return 0
    if arguments.panel.suffix or arguments.panel.is_file():  # <(...) has no name
        check_kind(kind_of(arguments.panel, reads=True), arguments.panel, "the panel is read from", "to be read")
    check_output(out, {"the model": arguments.model, "the panel": arguments.panel})
    with as_notes():
        net = read_keras(arguments.model, architecture=arguments.architecture)
    if arguments.by_step and not net.recurrent:
        what = f"{arguments.model} has no recurrent layer, and so one step"
        raise ValueError(f"--by-step was given, but {what}: leave it out")
    panel, written = read_panel(arguments, net)
    if arguments.features is not None or net.columns is None:  # a note has said which columns they are
        net = net.with_columns(list(panel.columns))
    with as_notes():
        relevance = net.explain(
            panel, rule=rule, steps=arguments.steps, min_steps=arguments.min_steps,
            target=as_target(arguments.target, net), dtype=arguments.dtype,
            aggregate=arguments.aggregate, at_step=arguments.at_step, reduce=None if arguments.by_step else "steps",
            device=arguments.device, threads=arguments.threads, progress=bar,
        )  # fmt: skip
    if relevance.missing.all():
        raise ValueError(
            f"{arguments.panel} has no row to explain: none of its {count(len(panel), 'row')} ends a complete window "
            f"of {count(relevance.steps, 'step')} without a missing value{counted_times(panel)}"
        )
    relevance = replace(relevance, index=written)  # the file's own row names
    write_relevance(relevance, out, by_step=arguments.by_step, bar=bar)
    tell = say if out == STDOUT else print
    tell(relevance.summary())
    tell(f"Wrote {'stdout' if out == STDOUT else out}: {count(len(relevance), 'row')}")
    return 0


def _rule(arguments: argparse.Namespace) -> Rule:
    """The rule of that name, with the parameters that were given."""
    rule = as_rule(arguments.rule)
    names = ("eps", "delta", "stabilizer", "n_steps")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.no_recurrent:
        given["recurrent"] = False
    takes = [field.name for field in fields(rule)]  # type: ignore[arg-type]  # every rule is a dataclass
    odd = next((name for name in given if name not in takes), None)
    if odd is not None:
        option = "no-recurrent" if odd == "recurrent" else odd.replace("_", "-")
        known = ", ".join(takes) or "no parameters"
        raise ValueError(f"--{option} does not belong to the rule {rule.name}, which takes {known}")
    return type(rule)(**given)
