"""The demo: the embedded networks explained on the embedded panel, as tables, totals, pictures and reports."""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from fastlrp.cli.console import installed, say
from fastlrp.errors import ConservationWarning
from fastlrp.messages import install_hint
from fastlrp.whole import whole

if TYPE_CHECKING:
    import pandas as pd

    from fastlrp.relevance.result import Relevance


def run_demo(arguments: argparse.Namespace) -> int:
    """``fastlrp demo``: tables on stdout; pictures and reports into a folder, where their packages are installed."""
    start = time.perf_counter()
    pictures = installed("matplotlib")
    if pictures:
        _make_folder(arguments.out)
    from fastlrp.data import GROUPS, describe, load_model, load_panel

    net, panel = load_model(), load_panel()
    rules = ["arras", "rudder"] if arguments.rule == "both" else [arguments.rule]
    say("fastlrp: compiling the kernels for this machine (kept for the next run) ...")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConservationWarning)  # stated below, in a sentence
        for rule in rules:
            net.explain(panel, rule=rule)
        ready = time.perf_counter()
        results = {rule: net.explain(panel, rule=rule) for rule in rules}
    seconds = time.perf_counter() - ready
    first = results[rules[0]]
    found = int(first.explained.sum())
    rate, by = f"{found * len(rules) / seconds:,.0f}", " and ".join(rules)
    parts = [
        f"{net!r}\non the embedded panel of 20 US stocks, 1990 to 2022. It predicts nothing out of sample: it is here "
        "to try fastlrp on.",
        f"Explained {found:,} windows of {net.steps} months by {by} in {seconds:.3f} s, {rate} a second; loading and "
        f"compiling took {ready - start:.1f} s before that.",
        f"What the factors are, each ranked over the month's stocks (fastlrp.data.describe() says more)\n\n"
        f"{_codes(describe())}",
        f"Factors, largest first (share: of a window's |relevance|; mean: of relevance)\n\n{_factors(results, GROUPS)}",
        f"Groups of factors\n\n{_groups(results, GROUPS)}",
        f"Highest predictions of the last month, and why, by {rules[0]}\n\n{_last_month(first)}",
        f"Totals: score = sum of relevance + initial state + unattributed\n\n{_totals(results)}",
        "\n".join(_sentences(results)),
        _volatility(panel, rules[0]),
    ]
    print("\n\n".join(parts))
    if pictures:
        _draw(results, arguments.out)
        _report(panel, rules[0], arguments.out)
    else:
        hint = install_hint("matplotlib", "plot")
        print(f"\nNo pictures were drawn and no reports written, since matplotlib is not installed: {hint}")
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
    """Aligned text: words to the left, numbers to the right; ``formats`` go by the end of a column's name."""
    columns = []
    for name in map(str, frame.columns):
        form = next((form for end, form in formats.items() if name.endswith(end)), "{}")
        cells = [name, *(form.format(value) for value in frame[name])]
        width, words = max(map(len, cells)), all(cell[:1].isalpha() for cell in cells)
        columns.append([cell.ljust(width) if words else cell.rjust(width) for cell in cells])
    return "\n".join("  " + "  ".join(row).rstrip() for row in zip(*columns, strict=True))


def _codes(described: pd.DataFrame) -> str:
    """The meanings of the factors' codes, group by group."""
    table = described.reset_index()[["factor", "group", "meaning"]]
    return _table(table.sort_values("group", kind="stable"), {})


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
    frame = relevance[np.asarray(months == months[relevance.explained].max())].to_frame()
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
        gaps, score = relevance.reconcile(), np.abs(relevance.score[relevance.explained])
        share = f"{100 * relevance.median_unattributed_share():.0f} %"
        rows.append((rule, f"{np.median(score):.3f}", f"{gaps.median:.1e}", f"{gaps.worst:.1e}", share))
    heads = ["rule", "median |score|", "median gap", "worst gap", "unattributed / |score|"]
    return _table(pd.DataFrame(rows, columns=heads), {})


def _sentences(results: Mapping[str, Relevance]) -> Iterator[str]:
    """The meaning of the totals, in words."""
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

    by = " and ".join(results)
    drawn = {
        "factors.png": (plot.bars(*results.values()), f"each factor's share by {by}"),
        "through-time.png": (plot.heat_map(*results.values(), smooth=12), f"the same through time, by {by}"),
    }
    print("\nPictures:")
    for name, (figure, what) in drawn.items():
        with whole(folder / name) as temporary:
            figure.savefig(temporary, format="png")
        print(f"  {folder / name}: {what}")


def _volatility(panel: pd.DataFrame, rule: str) -> str:
    """The network that does predict: how well, and what it rests on."""
    from fastlrp.data import VOLATILITY_TEST_FROM, load_model, load_panel
    from fastlrp.reporting.judged import by_period, judged

    net, y = load_model("volatility"), load_panel(target="volatility")[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConservationWarning)  # of rudder, which the totals have shown
        relevance = net.explain(panel, rule=rule, reduce="steps")
    test = np.asarray(panel.index.get_level_values("month") >= VOLATILITY_TEST_FROM)

    def rank_correlation(guess: Any) -> Any:
        index: Any = panel.index[test]
        return judged(by_period(index, np.asarray(guess, np.float64)[test], y.to_numpy()[test])).ic

    ic, naive = rank_correlation(relevance.prediction), rank_correlation(panel["retvol"])
    share = relevance.share().mean().sort_values(ascending=False, kind="stable")
    leading = ", ".join(f"{name} {100 * part:.1f} %" for name, part in share.iloc[:5].items())
    return (
        f"{net!r}\ndoes predict: it ranks next month's volatility, and was trained on earlier months alone. In "
        f"{ic.n} months out of sample, from\n{VOLATILITY_TEST_FROM} on, its rank correlation with what followed is "
        f"{ic.mean:.3f} (t {ic.t:.0f}); this month's volatility alone has {naive.mean:.3f}.\nIt rests on {leading}: "
        "past volatility leads, as it should."
    )


def _report(panel: pd.DataFrame, rule: str, folder: Path) -> None:
    if not installed("jinja2"):
        print(f"\nNo reports were written, since jinja2 is not installed: {install_hint('jinja2', 'report')}")
        return
    from fastlrp.data import GROUPS, RETURNS_TEST_FROM, VOLATILITY_TEST_FROM, load_panel, model_path
    from fastlrp.reporting.report import report

    print("\nReports, each one page for a browser:")
    both: tuple[tuple[Literal["returns", "volatility"], str, str], ...] = (
        ("volatility", VOLATILITY_TEST_FROM, "Next month's volatility, ranked"),
        ("returns", RETURNS_TEST_FROM, "Next month's returns, standardised, which this network does not predict"),
    )
    for what, test_from, title in both:
        target, out = load_panel(target=what)[1], folder / f"{what}.html"
        if what == "returns":  # what the network was trained on
            month = target.groupby(level="month")
            target = (target - month.transform("mean")) / month.transform("std")
        report(model_path(what), panel, out, target=target, rule=rule, test_from=test_from, groups=GROUPS, title=title)
        print(f"  {out}: {title[0].lower()}{title[1:]}")
