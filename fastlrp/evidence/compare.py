"""Whether rules, or networks, give the same explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils.validation import check_random_state

from fastlrp.checks import check, check_choice
from fastlrp.evidence.comparison import Comparison
from fastlrp.evidence.pairs import Explanation, compared
from fastlrp.evidence.samples import Model, drawn, samples_of
from fastlrp.evidence.shapley import need_shap
from fastlrp.explain import check_network, check_rule, refused, target_unit
from fastlrp.messages import count
from fastlrp.model.ensemble import AnyNetwork, check_alike
from fastlrp.progress import progress_bar
from fastlrp.rules import Arras, Rule, as_rule, described

if TYPE_CHECKING:
    from fastlrp.network import Explains

Array = npt.NDArray[Any]
By = Literal["feature", "cell"]
RULES = ("arras", Arras(recurrent=False), "rudder", "gradient_x_input", "integrated_gradients")


def compare(
    net: Explains | AnyNetwork | Mapping[str, Any],
    X: Array | pd.DataFrame,
    rules: Sequence[str | Rule] | None = None,
    *,
    by: By = "feature",
    top: int | None = None,
    steps: int | None = None,
    target: int | str | None = None,
    n_samples: int | None = None,
    random_state: int | np.random.RandomState | None = None,
    dtype: npt.DTypeLike | None = None,
    threads: int | None = None,
    progress: bool = False,
) -> Comparison:
    """Whether rules give the same explanation of a network, or networks the same by a rule: every pair of them.

    Parameters
    ----------
    net : Network, Ensemble, or mapping of names to them
        Of several, such as networks from several seeds, each is explained by each rule.
    X : array (sample, step, feature), or DataFrame with a (time, asset) index, or polars DataFrame
        In the host's memory; all is computed on the CPU. Samples with a missing value are left out; those in which a
        rule's numbers overflow, of its pairs.
    rules : sequence of rules
        As :meth:`fastlrp.Network.explain` takes them (None: those that go through the networks' layers), and "shap":
        Shapley values of the score by the package shap's PermutationExplainer (one order and its reverse), where the
        mean window stands for what is absent. As they take two scores a (step, feature) cell, they are compared on 50
        samples at most, drawn at random.
    by : {"feature", "cell"}
        The units that are compared: relevance summed over steps, or of each (step, feature) cell.
    top : int or None
        The number of largest |relevance| that are compared; None: 5, or half of the units if there are fewer than ten.
    steps, target, dtype, threads, progress
        As :meth:`fastlrp.Network.explain` takes them.
    n_samples : int or None
        Number of samples, drawn at random; None: all.
    random_state : int, RandomState or None
        Seeds the draws.

    Returns
    -------
    Comparison
        ``table``, ``shares``, ``matrix()`` and ``plot()``.

    Raises
    ------
    ValueError
        If an argument or X is not what is expected, or there are fewer than two explanations.
    ImportError
        If "shap" is among the rules and shap is missing.

    Examples
    --------
    >>> fl.compare(net, panel).table                                      # doctest: +SKIP
    >>> fl.compare({"seed 0": one, "seed 1": other}, panel, rules=["arras"]).table     # doctest: +SKIP
    """
    check_choice("by", by, get_args(By))
    for name, value in {"top": top, "n_samples": n_samples, "threads": threads}.items():
        check(name, value)
    nets = _networks(net)
    units = {name: target_unit(one, target) for name, one in nets.items()}
    explanations = [
        Explanation(_named(name, rule), Model(one, units[name], threads), rule)
        for name, one in nets.items()
        for rule in (_rules(RULES, nets) if rules is None else _rules(rules))
    ]
    _check_pairs(explanations)
    every, _ = samples_of(explanations[0].model.net, X, steps, dtype)
    D, T = every.rows.shape[1], every.steps
    for one in explanations:
        if one.rule is not None:
            check_rule(one.rule, one.model.net, T, every.rows.dtype)
    size = D if by == "feature" else T * D
    top = min(5, max(1, size // 2)) if top is None else top
    if top > size:
        raise ValueError(f"top={top} was given, but a sample has {count(size, by)}")
    seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    with progress_bar(progress, min(len(every), n_samples or len(every)), "compare", "samples") as advance:
        return compared(explanations, every, drawn(every, n_samples, seed), by, top, seed, advance)


def _networks(net: Any) -> dict[str, AnyNetwork]:
    """The networks by name, alike; one alone has none."""
    if not isinstance(net, Mapping):
        check_network(net)
        return {"": net}
    if not net:
        raise ValueError("compare was given no network, expected a Network, an Ensemble, or a mapping of names to them")
    for one in net.values():
        check_network(one)
    check_alike(list(net.values()), [f"network {str(name)!r}" for name in net], "compare: ")
    return {str(name): one for name, one in net.items()}


def _rules(rules: Any, nets: Mapping[str, AnyNetwork] | None = None) -> list[Rule | None]:
    """The rules; None for shap. Where networks are given, those that go through all of them."""
    if isinstance(rules, str | Rule) or not hasattr(rules, "__iter__"):
        raise ValueError(f"compare(rules=...) takes a list of rules, not {rules!r}")
    found: list[Rule | None] = [None if rule == "shap" else as_rule(rule) for rule in rules]
    if None in found:
        need_shap()
    return [rule for rule in found if rule is None or not any(refused(rule, net) for net in (nets or {}).values())]


def _named(network: str, rule: Rule | None) -> str:
    name = "shap" if rule is None else described(rule)
    return f"{network}: {name}" if network else name


def _check_pairs(explanations: Sequence[Explanation]) -> None:
    names = [one.name for one in explanations]
    if len(names) < 2:
        raise ValueError(f"compare takes at least two explanations, rules or networks, not {len(names)}: {names}")
    if len(set(names)) < len(names):
        twice = next(name for k, name in enumerate(names) if name in names[:k])
        raise ValueError(f"compare was given {twice!r} twice")
