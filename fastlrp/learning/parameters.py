"""LSTMRegressor's parameters: checked, and the network, the trainer and the schedule that they describe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlrp.checks import PARAMETERS, check
from fastlrp.learning.architecture import PADDING, Architecture
from fastlrp.learning.targets import TargetTransform
from fastlrp.messages import count, foreign_network
from fastlrp.model.chain import as_names
from fastlrp.network import Network
from fastlrp.rules import as_rule

if TYPE_CHECKING:
    from fastlrp.kernels.training.threads import Stop
    from fastlrp.kernels.training.trainer import Trainer


def check_parameters(model: Any) -> None:
    """Refuse parameters that no network can be trained with.

    Raises
    ------
    ValueError
        If one is refused. The message names the parameter, what it takes, and what was given.
    """
    me = type(model).__name__
    for name, value in model.get_params(deep=False).items():
        if name in PARAMETERS:
            check(name, value, me)
    as_rule(model.rule)
    TargetTransform.of(model.target_transform, me)
    net = model.network
    if net is not None and not isinstance(net, Network):
        given = foreign_network(net) or type(net).__name__
        raise ValueError(f"{me}(network=...) takes a fastlrp.Network or None, not {given}")
    if net is not None and net.steps is not None and model.steps not in (None, net.steps):
        raise ValueError(f"{me}(steps={model.steps}) was given, but its network takes {count(net.steps, 'step')}")
    T = asked_steps(model)
    if model.min_steps is not None and T is not None and model.min_steps > T:
        raise ValueError(f"{me}(min_steps={model.min_steps}) is more than the {count(T, 'step')} of a window")
    if model.min_steps is not None and net is not None and net.mask_value is None:
        raise ValueError(
            f"{me}(min_steps={model.min_steps}) was given, but its network has no Masking layer, expected one as the "
            "first: fastlrp.Network([fastlrp.Masking(value), ...])"
        )
    static_names(model)


def padding_of(model: Any) -> float:
    """The value of steps before a short history, which the network masks."""
    own = None if model.network is None else model.network.mask_value
    return PADDING if own is None else float(own)


def refuse_short(model: Any, door: str) -> None:
    """Refuse ``min_steps`` where panels in files are read, whose windows are all full."""
    if model.min_steps is not None:
        raise ValueError(
            f"{type(model).__name__}(min_steps={model.min_steps}) was given, but {door} trains on full windows alone: "
            "leave it out, or fit a panel in memory"
        )


def static_names(model: Any) -> list[str]:
    """Names of the columns of a panel that are static features.

    Raises
    ------
    ValueError
        If the model's names for them are no list, or not those of its own network.
    """
    me, given, net = type(model).__name__, model.static, model.network
    names = None
    if given is not None:
        try:
            names = as_names(given, len(given), f"{me}(static=...)", "one for each static feature")
        except TypeError:
            raise ValueError(f"{me}(static=...) takes a list of names, not {given!r}") from None
    if net is None:
        return list(names or ())
    if names is None and net.n_static and net.static is None:
        raise ValueError(
            f"{me}(network=...) has {count(net.n_static, 'static feature')} without names: name the panel's columns by "
            "static=[...]"
        )
    if names is not None and (len(names) != net.n_static or net.static not in (None, names)):
        own = count(net.n_static, "static feature") + (f" ({', '.join(net.static)})" if net.static else "")
        raise ValueError(f"{me}(static=...) names {', '.join(names) or 'none'}, but its network has {own}")
    return list(names or net.static or ())


def asked_steps(model: Any) -> int | None:
    """T, if a parameter says it."""
    return model.steps or (model.network.steps if isinstance(model.network, Network) else None)


def known_steps(model: Any) -> int:
    """T, which a parameter must say.

    Raises
    ------
    ValueError
        If none does.
    """
    steps = asked_steps(model)
    if steps is None:
        raise ValueError(
            "steps= is missing: a panel needs the length of its windows, as LSTMRegressor(steps=12) says it for 12 "
            "periods"
        )
    return steps


def member_seeds(seed: int, n: int) -> list[int]:
    """A seed for each member of an ensemble; a larger one begins with the same."""
    return [seed, *np.random.default_rng((seed, 2**32)).integers(2**31 - 1, size=n - 1).tolist()]


def refuse_static(model: Any) -> None:
    """Refuse static features, which files are not trained with."""
    if static_names(model):
        raise ValueError("fit_file does not train with static features: read the panel, and fit it in memory")


def first_network(
    model: Any,
    n_features: int,
    n_outputs: int,
    seed: int,
    dtype: Any,
    *,
    steps: int,
    features: Sequence[str] | None,
    outputs: Sequence[str] | None,
) -> Network:
    """The network that training starts from: the user's own, or one drawn as the parameters say. Of the ``n_features``
    columns and their names, static features are the last.

    Raises
    ------
    ValueError
        If the user's own does not take so many features, or has not so many outputs.
    """
    static = static_names(model)
    if static:
        n_features, features = n_features - len(static), None if features is None else features[: -len(static)]
    if model.network is None:
        units, dense = (tuple(map(int, sizes)) for sizes in (model.units, model.dense_units))
        chosen = Architecture(
            units, dense, bool(model.bidirectional), float(model.dropout), model.dense_activation,
            model.min_steps is not None,
        )  # fmt: skip
        rng = np.random.default_rng((seed,))
        return chosen.network(
            n_features, n_outputs, rng, dtype, steps=steps, features=features, static=static, outputs=outputs
        )
    net: Network = model.network
    for what, has, due in (("feature", net.n_features, n_features), ("output", net.n_outputs, n_outputs)):
        if has != due:
            given = f"X has {due}" if what == "feature" else f"y has {due}"
            raise ValueError(f"{type(model).__name__}(network=...) has {count(has, what)}, but {given}")
    if None not in (features, net.features) and tuple(features or ()) != net.features:
        raise ValueError(
            f"X's columns are not the inputs of {type(model).__name__}(network=...) in their order, "
            f"{', '.join((net.features or ())[:5])} ...: choose them by X[list(net.features)]"
        )
    return net.replaced(
        steps=steps, features=net.features or features, static=static, outputs=outputs or net.outputs
    )  # fmt: skip


def trainer_of(
    model: Any, net: Network, steps: int, dtype: Any, seed: int, threads: int, stop: Stop
) -> Trainer[Network]:
    """A trainer with the parameters' loss, penalty and Adam, which ``stop`` ends."""
    from fastlrp.kernels.training.trainer import Trainer

    return Trainer(
        net,
        steps=steps,
        loss=model.loss,
        huber_delta=model.huber_delta,
        alpha=model.alpha,
        learning_rate=model.learning_rate_init,
        beta_1=model.beta_1,
        beta_2=model.beta_2,
        epsilon=model.epsilon,
        clipnorm=model.clipnorm,
        dtype=dtype,
        seed=seed,
        threads=threads,
        stop=stop,
    )
