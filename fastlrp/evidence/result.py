"""The result of a test of faithfulness: curves, areas by sample and period, and one table of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fastlrp.evidence.deletion import Deleted
from fastlrp.messages import count
from fastlrp.panels.periods import periods, time_level
from fastlrp.panels.samples import Samples
from fastlrp.rules import Rule

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Faithfulness:
    """Whether an explanation is true of its network; changes and areas are in the score's units.

    Attributes
    ----------
    curves : DataFrame
        A row a share of units that are "deleted", 0 to 1: the mean change of the score with the "most" and the "least"
        relevant first and in "random" orders, and the standard deviation of these over draws, "random_std".
    samples : DataFrame
        A row a sample, by the names of X's rows: areas under its curves ("most", "random", "least"), "gain" (most -
        random), "infidelity", "infidelity_scaled", "squared_change", and, with a radius, "max_sensitivity" and the
        "norm" of its relevance.
    by_time : DataFrame or None
        Their means over the samples of each period that has one, and the number of them, "samples"; None for arrays.
    random_std : float
        The standard deviation over draws of the mean area in random orders (NaN for one draw).
    rule, by, replace, order, radius
        As :func:`fastlrp.faithfulness` was told.
    """

    curves: pd.DataFrame
    samples: pd.DataFrame
    by_time: pd.DataFrame | None
    random_std: float
    rule: Rule
    by: str
    replace: str
    order: str
    radius: float | None

    def table(self) -> pd.Series[float]:
        """The numbers to report, as means over samples.

        Returns
        -------
        Series
            "samples"; areas "most", "random", "least"; "random_std" over draws; "gain" = most - random and "reversed" =
            least - random; with order="abs" "gain_relative" over random; for panels "months" (periods), "gain_std" over
            them of each one's mean gain, and "months_won", the share of them whose gain is positive; "infidelity";
            "infidelity_relative" and "infidelity_scaled_relative" over the mean squared change; "max_sensitivity", and
            "max_sensitivity_relative", the mean over samples of it over the norm of their relevance.
        """
        mean = self.samples.mean()
        numbers = {"samples": len(self.samples), **mean[["most", "random", "least"]], "random_std": self.random_std}
        numbers |= {"gain": mean["gain"], "reversed": mean["least"] - mean["random"]}
        if self.order == "abs":
            numbers["gain_relative"] = _over(mean["gain"], mean["random"])
        if self.by_time is not None:
            gain = self.by_time["gain"]
            numbers |= {"months": len(gain), "gain_std": gain.std(), "months_won": (gain > 0).mean()}
        numbers["infidelity"] = mean["infidelity"]
        for name in ("infidelity", "infidelity_scaled"):
            numbers[f"{name}_relative"] = _over(mean[name], mean["squared_change"])
        if self.radius is not None:
            moved, norm = self.samples["max_sensitivity"], self.samples["norm"]
            numbers |= {
                "max_sensitivity": moved.mean(),
                "max_sensitivity_relative": (moved / norm.where(norm > 0)).mean(),
            }
        return pd.Series(numbers, dtype=float)

    def plot(self, ax: Any = None) -> Any:
        """The three curves, with one standard deviation over draws either way around the random one.

        Parameters
        ----------
        ax : matplotlib Axes or None
            Where to draw; None makes a figure.

        Returns
        -------
        matplotlib.figure.Figure, or ``ax`` if it is given

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        from fastlrp.evidence.pictures import draw_curves

        return draw_curves(self, ax)

    def __repr__(self) -> str:
        units = {"feature": "features", "cell": "(step, feature) cells"}[self.by]
        head = f"Faithfulness of {self.rule!r}: {units} of {count(len(self.samples), 'sample')} replaced by "
        lines = self.table().map("{:.4g}".format).to_string()
        return f"{head}{'their mean' if self.replace == 'mean' else 'zero'}\n{lines}"


def faithfulness_of(
    deleted: Deleted, sensitivity: tuple[Array, Array] | None, samples: Samples, names: pd.Index, **told: Any
) -> Faithfulness:
    """Tables of what was computed; ``told`` is what the user said."""
    columns = {name: deleted.areas[name] for name in ("most", "random", "least")}
    columns |= {"gain": columns["most"] - columns["random"], "infidelity": deleted.infidelity}
    columns |= {"infidelity_scaled": deleted.scaled, "squared_change": deleted.squared_change}
    if sensitivity is not None:
        columns |= dict(zip(("max_sensitivity", "norm"), sensitivity, strict=True))
    table = pd.DataFrame(columns, names[samples.caller])
    by_time = None
    if samples.period is not None:
        grouped = table.groupby(samples.period)
        by_time = pd.concat([grouped.size().rename("samples"), grouped.mean()], axis=1)
        times = periods(names)[1][by_time.index]  # type: ignore[arg-type]  # a panel's
        by_time.index = times.rename(names.names[time_level(names)])
    random = deleted.curves["random"]
    spread = random.std(axis=0, ddof=1) if len(random) > 1 else np.full(random.shape[1], np.nan)
    curves = {name: deleted.curves[name].mean(axis=0) for name in ("most", "random", "least")} | {"random_std": spread}
    random_std = float(deleted.random_areas.std(ddof=1)) if len(random) > 1 else float("nan")
    return Faithfulness(
        curves=pd.DataFrame(curves, pd.Index(deleted.share, name="deleted")), samples=table, by_time=by_time,
        random_std=random_std, **told,
    )  # fmt: skip


def _over(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
