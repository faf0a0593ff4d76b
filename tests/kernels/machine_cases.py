"""All kinds of results of one network, here or as a process of its own that saves them to a file: for other processors
and other blocks of the product, ``python machine_cases.py FILE DTYPES [WIDE]``."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd

import fastlrp as fl

T, D = 4, 5
RULES = (fl.Arras(eps=0.01), fl.Rudder(eps=0.01))


def network():
    """Both directions, and blocks of six, four, two rows and one."""
    rng = np.random.default_rng(11)

    def lstm(inputs, units, **options):
        shapes = ((inputs, 4 * units), (units, 4 * units), (4 * units,))
        return fl.LSTM(*(rng.normal(0, 0.4, shape) for shape in shapes), **options)

    pair = fl.Bidirectional(lstm(D, 13, return_sequences=True), lstm(D, 13, return_sequences=True))
    hidden = fl.Dense(rng.normal(size=(7, 3)), rng.normal(size=3), "tanh")
    return fl.Network([pair, lstm(26, 7), hidden, fl.Dense(rng.normal(size=(3, 1)), rng.normal(size=1))])


def inputs():
    """Windows that fill several tiles and a part of one; and a panel with two gaps, whose windows share months."""
    rng = np.random.default_rng(12)
    keys = pd.MultiIndex.from_product([range(20), range(40)], names=["stock", "month"])
    panel = pd.DataFrame(rng.normal(size=(len(keys), D)), keys, [f"x{k}" for k in range(D)])
    return rng.normal(size=(333, T, D)), panel.drop(panel.index[[45, 300]])


def results(dtypes=("f4", "f8")):
    """Arrays by name: every number of every result."""
    net, (X, panel), found = network(), inputs(), {}
    for dtype in dtypes:
        for rule in RULES:
            for kind, what in (("array", X.astype(dtype)), ("panel", panel.astype(dtype))):
                how = {"steps": T} if kind == "panel" else {}
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", fl.ConservationWarning)
                    result = net.explain(what, rule=rule, device="cpu", threads=1, **how)
                for key in ("values", "prediction", "score", "initial_state", "unattributed"):
                    found[f"{dtype} {type(rule).__name__} {kind} {key}"] = np.asarray(getattr(result, key))
    return found


if __name__ == "__main__":
    if len(sys.argv) > 3:
        from fastlrp.kernels import machine

        machine.WIDE = int(sys.argv[3])  # before the product, which is made for it, is imported
    np.savez(sys.argv[1], **results(sys.argv[2].split(",")))
