"""A third rule, registered from outside fastlrp and run end to end, with the steps that CONTRIBUTING lists.

LRP-alpha-beta at Dense layers (Bach et al. 2015, doi:10.1371/journal.pone.0130140, equation 60) and arras through
LSTMs: contributions a_i w_ij of either sign share a unit's relevance among themselves, alpha of it and -beta, with
alpha - beta = 1. Biases take no part. All its instructions already exist, so a value, a program and a reference are
all it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose
from strategies import bidirectional, dense, lstm, network

import fastlrp as fl
from fastlrp import rules
from fastlrp.kernels.program.instructions import (
    SPREAD,
    SPREAD_ADD,
    activate,
    add,
    copy,
    fill,
    linear_rule,
    product,
    scale,
    sum_rows,
)
from fastlrp.kernels.program.rules import ArrasProgram
from fastlrp.kernels.program.walk import Map, Walk

# ---- the value that users choose ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AlphaBeta(fl.Arras):
    """LRP-alpha-beta at Dense layers; :class:`fastlrp.Arras` through LSTMs."""

    beta: float = 1.0


# ---- its program ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AlphaBetaProgram(ArrasProgram):
    """Treats positive and negative contributions separately."""

    beta: float

    def dense(self, walk: Walk, layer: fl.Dense, steps: list[Map]) -> None:
        """z+ = a+ W+ + a- W-, z- = a+ W- + a- W+: a+ and W+ are the positive parts of a and W, a- and W- the rest."""
        W, K, M = walk.cast(layer.W), layer.n_inputs, layer.n_outputs
        positive, negative = np.maximum(W, 0), np.minimum(W, 0)
        up = [walk.matrix(np.concatenate(pair).T) for pair in ((positive, negative), (negative, positive))]
        down = {sign: walk.matrix(part) for sign, part in ((1, positive), (-1, negative))}
        parts, z, q, no_bias, gone = walk.rows(2 * K), walk.rows(M), walk.rows(M), walk.keep(np.zeros(M)), walk.rows(1)
        relevance = walk.rows(M)
        for m in steps:
            a, emit = m.below.row(m.t), walk.down.append
            emit(activate(K, a=a, out=parts, activation="relu"))
            emit(copy(K, a=a, out=parts + K))
            emit(add(K, a=parts, out=parts + K, factor=-1.0))
            for k, (weights, factor) in enumerate(zip(up, (1.0 + self.beta, -self.beta), strict=True)):
                emit(product(M, out=z, weights=weights, a=parts, a_depth=2 * K))
                emit(copy(M, a=m.relevance, out=relevance))
                emit(scale(M, out=relevance, factor=factor))
                emit(
                    linear_rule(M, z=z, relevance=relevance, extra=walk.zeros, bias=no_bias, q=q, share=gone, inputs=1)
                )
                emit(sum_rows(1, a=gone, out=walk.lost))  # nobody gets the stabiliser's share
                emit(fill(1, out=gone))
                for place, sign in ((0, 1), (1, -1)):
                    emit(
                        product(K, out=m.below.relevance(m.t), weights=down[sign if k == 0 else -sign], a=q, a_depth=M,
                                mul=parts + place * K, share=gone,
                                mode=SPREAD_ADD if m.adds or k or place else SPREAD)
                    )  # fmt: skip


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    rules.register(AlphaBeta, lambda rule: AlphaBetaProgram(rule.recurrent, rule.beta))
    yield
    rules.unregister(AlphaBeta)


# ---- its reference --------------------------------------------------------------------------------------------------


def dense_reference(layer, tape, R, beta, eps, ledger):
    """Relevance by contributions, one by one."""
    a, _ = tape
    W = np.asarray(layer["W"])
    if a.ndim == 2:
        return np.array([dense_reference(layer, (a[t], None), R[t], beta, eps, ledger) for t in range(len(a))])
    given = np.zeros(len(a))
    for j, r in enumerate(R):
        for factor, part in ((1 + beta, np.maximum(a * W[:, j], 0)), (-beta, np.minimum(a * W[:, j], 0))):
            total = part.sum()
            given += part * factor * r / (total + eps * reference.sign(total))
    ledger.unattributed += float(R.sum() - given.sum())
    return given


def explained(monkeypatch, layers, X, rule):
    monkeypatch.setattr(
        reference, "dense_relevance",
        lambda layer, tape, R, _, ledger: dense_reference(layer, tape, R, rule.beta, rule.eps, ledger),
    )  # fmt: skip
    return [reference.explain(layers, x, reference.Rule(eps=rule.eps, recurrent=rule.recurrent)) for x in X]


LAYERS = {
    "one": lambda rng: [lstm(rng, 3, 4), dense(rng, 4, 1)],
    "deep": lambda rng: [lstm(rng, 3, 6), dense(rng, 6, 5, activation="relu"), dense(rng, 5, 1)],
    "a Dense layer on a sequence": lambda rng: [
        *[bidirectional(rng, 3, 3, return_sequences=True), dense(rng, 6, 4, activation="tanh")],
        *[lstm(rng, 4, 5), dense(rng, 5, 1)],
    ],
}


@pytest.mark.parametrize("rule", [AlphaBeta(), AlphaBeta(beta=0.0), AlphaBeta(eps=0.1, recurrent=False)])
@pytest.mark.parametrize("name", LAYERS)
def test_it_is_explained_from_end_to_end(monkeypatch, name, rule):
    rng = np.random.default_rng(7)
    layers, X = LAYERS[name](rng), rng.normal(size=(40, 4, 3))
    want = explained(monkeypatch, layers, X, rule)
    for dtype, tol in ((np.float64, 1e-10), (np.float32, 1e-3)):
        rel = network(layers).explain(X.astype(dtype), rule=rule)
        for key, theirs in (("values", "relevance"), ("score", "score"), ("unattributed", "unattributed")):
            expected = np.array([getattr(row, theirs) for row in want])
            assert_allclose(getattr(rel, key), expected, rtol=0, atol=tol * np.abs(expected).max())
        assert rel.reconcile().relative_worst < (1e-12 if dtype == np.float64 else 1e-5)


def test_its_name_is_taken_wherever_rules_are_named(tmp_path):
    rng = np.random.default_rng(1)
    net, X = network(LAYERS["one"](rng)), rng.normal(size=(5, 4, 3))
    assert rules.rule_names() == ("arras", "rudder", "gradient_x_input", "integrated_gradients", "alphabeta")
    assert_allclose(net.explain(X, rule="alphabeta").values, net.explain(X, rule=AlphaBeta()).values, rtol=0)
    assert fl.LSTMRegressor(rule="alphabeta", max_iter=2).fit(X, X[:, 0, 0]).explain(X).rule == AlphaBeta()
    with pytest.raises(ValueError, match=r"rule= takes 'arras' or .* or 'alphabeta', or a value"):
        net.explain(X, rule="gamma")
    assert "alphabeta" not in str(net.explain(X).summary())
    assert "AlphaBeta(" in str(net.explain(X, rule="alphabeta").summary())


def test_two_rules_do_not_share_a_name():
    class Arras(fl.Arras):
        pass

    with pytest.raises(ValueError, match="a rule named 'arras' is registered already: Arras"):
        rules.register(Arras, lambda rule: ArrasProgram(True))
