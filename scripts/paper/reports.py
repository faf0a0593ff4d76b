"""The results as pages of Markdown, with the figures that they show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from paper import figures
from paper.data import GROUPS, ORIGINAL_SHARES, WINDOW, samples, standardized
from paper.forecasts import ARCHITECTURES, LARGEST, PUBLISHED_BEST, PUBLISHED_OLS, chosen_forecasts
from paper.judge import any_better, judged
from paper.relevance import agreement, table
from paper.simulated import DRIVERS, STRENGTHS
from paper.tasks import TRIALS
from paper.write import markdown, spread

BENCHMARK = "Expanding mean"


def study(results: dict[str, Any], months: pd.DataFrame, folder: Path) -> list[Path]:
    """Write all pages and figures, and return where they are."""
    pages = {
        "forecasts": forecasts_page(results, months),
        "relevance": relevance_page(results["relevance"]),
        "drivers": drivers_page(results),
        "tasks": tasks_page(results),
        "panel": panel_page(*results["panel"]),
    }
    return [_write(folder, name, text) for name, text in pages.items()] + figures.draw(results["relevance"], folder)


def as_original(results: dict[str, Any], months: pd.DataFrame, folder: Path) -> list[Path]:
    """Write the page of the study's own figures."""
    tested = standardized(months)["market"].iloc[1 + WINDOW :]
    rows = {one.name: (_known(one.published), spread(results[one.name])) for one in ARCHITECTURES}
    rows[f"{LARGEST.name}, weights carried on"] = (_known(LARGEST.published), spread(results["carried"]))
    rows["OLS on the last month, no constant"] = (_known(PUBLISHED_OLS), f"{results['ols']:.3f}")
    rows["The mean of the whole sample"] = ("", f"{tested.pow(2).mean():.3f}")
    errors = pd.DataFrame(rows, ["published", "here, mean (deviation over seeds)"]).T.rename_axis("forecast")
    shares = {"published": pd.Series(ORIGINAL_SHARES)}
    for title, name in (("here, its groups", "groups"), ("here, groups put right", "right groups")):
        shares[title] = pd.Series({group: spread(list(one)) for group, one in results[name].items()})
    text = f"""# The study's own figures, with its faults

Scaled by the mean and deviation of all months, those to be predicted included; {len(tested)} windows of 60 samples of 5
months, 10 epochs, the same first weights in every window. Mean squared errors are in units of the variance of all
months. The best of the study's twelve architectures had {PUBLISHED_BEST}; it is not known which one that was.

{markdown(errors)}

**Why 1.414 could not be had.** An earlier version of the study's code never put the first weights back: each window
went on from the weights of the one before, so that the last network had had {10 * len(tested):,} epochs.
"Weights carried on" does so, and finds it.

Mean shares of |relevance| of groups of factors by arras (LSTM 32-1, the market's own return left out), with their
deviation over seeds:

{markdown(pd.DataFrame(shares).rename_axis("group"))}
"""
    return [_write(folder, "as-original", text)]


def forecasts_page(results: dict[str, Any], months: pd.DataFrame) -> str:
    """Errors and tests of all forecasts."""
    y, unit = samples(months)[1], months["market"].var(ddof=0)
    lstms = {one.name: results[one.name] for one in ARCHITECTURES}
    of_members = {name: frame.drop(columns="validation") for name, frame in lstms.items()}
    forecasts = results["baselines"].assign(
        **{name: members.mean(axis=1) for name, members in of_members.items()},
        **{"LSTM, chosen by each window's last year": chosen_forecasts(lstms)},
    )
    actual = y[forecasts.index]
    record = judged(forecasts, actual, unit, BENCHMARK)
    errors = {name: list(members.rsub(actual, axis=0).pow(2).mean() / unit) for name, members in of_members.items()}
    published = {one.name: _known(one.published) for one in ARCHITECTURES} | {"OLS, last month": _known(PUBLISHED_OLS)}
    record.insert(0, "published", pd.Series(published))
    record.insert(1, "MSE of one network", pd.Series({name: spread(some) for name, some in errors.items()}))
    record = record.assign(R2=100 * record["R2"]).rename(columns={"MSE": "MSE of the mean", "R2": "R2, %"})
    seeds = [len(some) for some in errors.values()]
    return f"""# Forecasts of the market's next month

{len(actual)} months, {actual.index[0]} to {actual.index[-1]}, each predicted by models of the 60 samples of 5 months
before it. Scaling, the epoch (by each window's last year) and the architecture are chosen inside the window. Mean
squared errors are in units of the variance of all months, as the study's are. In brackets is the deviation over seeds:
{max(seeds)} networks, of the largest shape {seeds[-1]}. R2 is out of sample, against the mean of all months before; t
and p are Diebold and Mariano's against the same forecast, with positive t where that one is the worse.

{markdown(record.rename_axis("forecast"))}

Hansen's test that none of these beats the mean of the months before, whichever had been picked:
p = {any_better(forecasts, actual, BENCHMARK, 0):.2f}.
"""


def relevance_page(by_rule: dict[str, Any]) -> str:
    """Shares of groups and factors, beside those of networks that had nothing to find."""
    first = next(iter(by_rule.values()))
    n, nulls = (frame.index.get_level_values("network").nunique() for frame in first)
    columns = pd.Series({group: len(names) / first.members.shape[1] for group, names in GROUPS.items()})
    text = f"""# Which factors the network looks at

Mean shares of |relevance| of {n} LSTMs with 32 units in the months that they predict, and of {nulls} trained on
permuted returns ("null"), which had nothing to find; "spread" is the deviation over networks. Groups are put right:
sales to price is value, and the market's own return momentum.
"""
    for rule, shares in by_rule.items():
        groups = table(shares.grouped(GROUPS)).assign(**{"part of the columns": columns}).rename_axis("group")
        text += f"""
## By {rule}

{markdown(groups)}

Two networks' shares of factors correlate at {agreement(shares):.2f}, over months and factors.

{markdown(table(shares).rename_axis("factor"))}
"""
    names = [f"{name}-{year}" for name in ("factors", "groups", "moving-average", "median") for year in figures.ENDS]
    return "\n".join([text, *(f"![{name}]({name}.png)\n" for name in names)])


def drivers_page(results: dict[str, Any]) -> str:
    """What each method finds in the simulated market."""
    text = f"""# Does relevance find what truly drives returns?

A simulated market of 60 stocks and 170 months, of which 120 train, with twelve characteristics:
{", ".join(DRIVERS)} drive returns, a twin of "linear" (correlation 0.8) and five others do not.

- `drivers`: of the six largest features, the part that are true drivers
- `lag`: of the drivers, the part whose largest lag is the true one
- `sign`: of the cells of the two linear drivers at their true lags, the part with the true sign
- `cells`: correlation with the true contributions, over all samples, lags and features
- `twin`: the twin's relevance over that of "linear"
- `faithful`: how much sooner predictions move if cells are deleted by the rule than at random (`fl.faithfulness`)
- `seeds agree`: correlation between networks that differ in their seed alone

Means over networks. SHAP is computed on 40 samples; permutation importance says nothing of single samples.
"""
    for name, strength in STRENGTHS.items():
        told, scores = results[name]
        text += f"""
## Drivers explain {100 * strength:.0f} % of the variance

The networks explain {", ".join(f"{100 * r2:.1f}" for r2 in scores)} % out of sample.

{markdown(told.rename(columns={"seeds_agree": "seeds agree"}), 2)}
"""
    return text


def tasks_page(results: dict[str, Any]) -> str:
    """Correlations with contributions that are known step by step."""
    told = pd.DataFrame({name: {k: spread(list(v)) for k, v in results[name].items()} for name in TRIALS})
    return f"""# Tasks with known contributions

Correlation of a step's relevance with what it truly contributed to the target, over new samples: mean (deviation) over
{len(results[next(iter(TRIALS))])} seeds. Adding and subtracting follow Arras et al. (2019): two marked numbers of
eight, judged at these. "By order" gives no sign of which is to be subtracted but that it comes later. The late reward
is a sum of about six rewards in thirty steps, paid at the end and judged at all steps; open forget gates are those that
RUDDER (A8.4.2) asks for. "rudder's gap" is the median of what its relevance leaves out of a prediction, over the
median prediction.

{markdown(told.rename_axis("of the networks, and of each rule"))}
"""


def panel_page(accuracy: dict[str, float], rules: pd.DataFrame, shares: pd.DataFrame) -> str:
    """The embedded panel."""
    return f"""# The embedded panel of twenty stocks

A rolling ensemble of 5 LSTMs with 8 units, twelve months and twenty characteristics, refitted every four years on ten.
Out of sample, in {accuracy["months"]:.0f} months: R2 of returns less their month's mean {100 * accuracy["R2"]:.1f} %,
mean rank correlation {accuracy["IC"]:.3f} (t {accuracy["t"]:.1f}). It predicts nothing.

{markdown(rules.rename_axis("rule"), 2)}

"seeds agree" is the correlation of single cells' relevance between two members. "gain", of the last network: how much
sooner its prediction moves if cells are deleted by relevance than at random, as a part of random's area; "months won":
the part of months where it does. An explanation can be true of a network that knows nothing.

{markdown(shares.rename(columns={"columns": "part of the columns"}).rename_axis("group"))}

Mean shares of |relevance| by arras, and of the same model fitted on returns permuted within each month: the mean and
the highest of its fits.
"""


def _known(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.md"
    path.write_text(text)
    return path
