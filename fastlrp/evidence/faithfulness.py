"""Faithfulness: whether an explanation is true of its network, by deletion, infidelity and sensitivity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils.validation import check_random_state

from fastlrp.checks import check, check_choice
from fastlrp.evidence.deletion import Deletion, cross_section_means, sizes_of
from fastlrp.evidence.result import Faithfulness, faithfulness_of
from fastlrp.evidence.samples import Model, drawn, samples_of
from fastlrp.evidence.tested import Tested, rows_of
from fastlrp.explain import check_network, target_unit
from fastlrp.messages import count
from fastlrp.model.ensemble import AnyNetwork
from fastlrp.panels.samples import Samples
from fastlrp.progress import progress_bar
from fastlrp.relevance.parts import need_steps
from fastlrp.relevance.result import Relevance

if TYPE_CHECKING:
    from fastlrp.network import Explains

Array = npt.NDArray[Any]
By = Literal["feature", "cell"]
Replace = Literal["mean", "zero"]
Order = Literal["abs", "signed"]


def faithfulness(
    net: Explains | AnyNetwork,
    X: Array | pd.DataFrame,
    relevance: Relevance,
    *,
    by: By = "feature",
    replace: Replace = "mean",
    order: Order = "abs",
    points: int = 20,
    n_random: int = 10,
    radius: float | None = 0.02,
    n_samples: int | None = None,
    random_state: int | np.random.RandomState | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> Faithfulness:
    r"""Whether relevance is true of the network: what its score does when relevant values are taken away.

    **Deletion** (Samek et al. 2017). The units of each sample, its features or its (step, feature) cells, are replaced
    from the most relevant to the least, and the curve is the mean change of the score over the share replaced; so, too,
    from the least relevant, and in random orders. Relevance that finds what the score rests on changes it sooner than
    random orders do: the area between the two curves, ``gain``, is then positive, and ``reversed``, that of the least
    relevant first, negative. All curves end at the same point, where nothing is left.

    **Infidelity** (Yeh et al. 2019, definition 2.1) of relevance R = Phi (x - x0), which says what is lost where x
    gives way to the replacement x0, for perturbations I that take away a random set S of units::

        INFD = E_I (I' Phi - (f(x) - f(x - I)))^2,   I_j = x_j - x0_j for j in S, else 0,   so I' Phi = sum_S R_j

    S is the beginning of a random order, at each point of the curve; f is the score. 0: relevance says exactly what
    happens. ``infidelity_scaled`` takes beta R, with the best beta for each sample, in R's place, as their
    experiments do: it judges proportions. Relative ones are over E (f(x) - f(x - I))^2, the infidelity of no relevance
    at all. A rule whose reference is not x0 (LRP's is zero) is judged by x0 all the same.

    **Max-sensitivity** (Yeh et al. 2019, definition 3.1), the largest of ``n_random`` draws y, uniform in the ball::

        SENS = max_y || Phi(y) - Phi(x) ||,   max_j |y_j - x_j| <= radius,   Phi the relevance of units, Euclidean norm

    It says how much an explanation moves where its input hardly does, not whether it is true.

    Parameters
    ----------
    net : Network or Ensemble
    X : array (sample, step, feature), or DataFrame with a (time, asset) index, or polars DataFrame
        What ``relevance`` explains, or more rows. In the host's memory; all is computed on the CPU.
    relevance : Relevance
        A result of ``net.explain(X, ...)``, or some rows of it.
    by : {"feature", "cell"}
        The units that are deleted: a feature at all steps, or at one.
    replace : {"mean", "zero"}
        Their replacement: the mean, over all complete windows of a panel that end in the sample's period, of that
        feature at that step; for arrays over all samples. Or 0.
    order : {"abs", "signed"}
        "abs": the largest |R| first, and curves of |f(x) - f(deleted)|. "signed": the most positive R first, and
        curves of f(x) - f(deleted), which fall below 0 where the most negative R comes first.
    points : int
        Points of the curves, at most one a unit; time is in proportion.
    n_random : int
        Random orders, and perturbations for sensitivity, of each sample; time is in proportion to 2 more.
    radius : float or None
        Of the ball of max-sensitivity, in X's units; None leaves it out. Each draw is explained anew.
    n_samples : int or None
        Number of samples to test, drawn at random; None: all that have relevance.
    random_state : int, RandomState or None
        Seeds all draws.
    threads, progress
        As :meth:`fastlrp.Network.explain` takes them.

    Returns
    -------
    Faithfulness
        ``table()``, ``curves``, ``by_time``, ``samples``, and ``plot()``.

    Raises
    ------
    ValueError
        If an argument is not what is expected, or ``relevance`` is not of this network and X.

    References
    ----------
    Samek, Binder, Montavon, Lapuschkin, Mueller 2017 (arXiv:1509.06321); Yeh, Hsieh, Suggala, Inouye, Ravikumar 2019,
    On the (In)fidelity and Sensitivity of Explanations (arXiv:1901.09392).

    Examples
    --------
    >>> fl.faithfulness(net, panel, net.explain(panel)).table()           # doctest: +SKIP
    """
    check_network(net)
    given = {"points": points, "n_random": n_random, "radius": radius, "n_samples": n_samples, "threads": threads}
    for name, value in given.items():
        check(name, value)
    for name, choice, choices in (("by", by, By), ("replace", replace, Replace), ("order", order, Order)):
        check_choice(name, choice, get_args(choices))
    model = Model(cast(AnyNetwork, net), _unit(cast(AnyNetwork, net), relevance, by), threads)
    every, names = samples_of(model.net, X, relevance.steps, relevance.values.dtype)
    row = rows_of(relevance, names)
    seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    samples = drawn(every.take(np.flatnonzero(row[every.caller] >= 0)), n_samples, seed)
    if not len(samples):
        raise ValueError(f"relevance is missing in all of {count(len(relevance), 'row')}, so there is nothing to test")
    tested = Tested(model, samples, relevance, row[samples.caller], by)
    tested.check(names)
    if radius is not None:
        tested.check_explained_anew()
    T, D = relevance.steps, model.net.n_features
    sizes = sizes_of(D if by == "feature" else T * D, points)
    deletion = Deletion(sizes, _replacement(every, replace), order == "signed", seed, n_random)
    rounds = 1 if radius is None else 2
    with progress_bar(progress, rounds * len(samples), "faithfulness", "samples") as advance:
        deleted = deletion.run(model, samples, tested.units, advance)
        moved = None if radius is None else tested.sensitivity(radius, n_random, seed, advance)
    told = {"rule": relevance.rule, "by": by, "replace": replace, "order": order, "radius": radius}
    return faithfulness_of(deleted, moved, samples, names, **told)


def _replacement(every: Samples, replace: Replace) -> Array:
    """What takes the place of deleted values, (period, step, feature)."""
    if replace == "zero":
        return np.zeros((1, every.steps, every.rows.shape[1]), every.rows.dtype)
    alone = len(every) == 1 if every.period is None else np.bincount(every.period).max() == 1
    if alone:
        where = "there is one sample" if every.period is None else "each period has one complete window"
        raise ValueError(
            f"values are replaced by the mean of the sample's cross-section, but {where}, which is its own mean: take "
            "replace='zero'"
        )
    return cross_section_means(every)


def _unit(net: AnyNetwork, relevance: object, by: By) -> int:
    """The output that was explained, after a check of whether relevance may be the network's."""
    if not isinstance(relevance, Relevance):
        raise ValueError(f"relevance= takes a result of explain, not {type(relevance).__name__}")
    if by == "cell":
        need_steps(relevance, "faithfulness(by='cell')")
    if len(relevance.features) != net.n_features:
        raise ValueError(
            f"relevance has {count(len(relevance.features), 'feature')}, but the network takes {net.n_features}: give "
            "the network that was explained"
        )
    return target_unit(net, relevance.target)
