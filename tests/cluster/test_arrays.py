"""dask arrays against the same array in memory."""

import dask
import dask.array as da
import numpy as np
import pytest
from cluster_cases import STEPS, make_network
from helpers import same_bits, same_relevance

import fastlrp as fl
from fastlrp.cluster import arrays


@pytest.fixture
def X(rng):
    X = rng.normal(size=(100, STEPS, 2)).astype(np.float32)
    X[13, 1, 0] = np.nan
    return X


@pytest.mark.parametrize("reduce", ["none", "steps"])
def test_numbers_are_those_in_memory(client, net, X, reduce):
    lazy = fl.cluster.explain(da.from_array(X, chunks=(30, -1, -1)), net, reduce=reduce)
    want = net.explain(X, reduce=None if reduce == "none" else reduce)
    assert lazy.values.shape == want.values.shape
    assert lazy.values.chunks[0] == lazy.score.chunks[0] == (30, 30, 30, 10)
    assert lazy.values.dtype == np.float32
    got = lazy.compute()
    same_relevance(got, want)
    assert (got.features, got.rule, got.network) == (want.features, want.rule, want.network)
    same_bits(lazy.score.compute(), want.score)


def test_each_chunk_is_computed_once_for_all_arrays(net, X, monkeypatch):
    calls, real = [], arrays._block
    monkeypatch.setattr(arrays, "_block", lambda *args, **how: calls.append(len(args[0])) or real(*args, **how))
    fl.cluster.explain(da.from_array(X, chunks=(60, -1, -1)), net).compute(scheduler="synchronous")
    assert sorted(calls) == [40, 60]


def test_predictions(net, X):
    lazy = da.from_array(X, chunks=(30, -1, -1))
    with dask.config.set(scheduler="synchronous"):
        same_bits(fl.cluster.predict(lazy, net).compute(), net.predict(X))
        same_bits(fl.cluster.predict(lazy, net, dtype="float64").compute(), net.predict(X, dtype="float64"))
        several = fl.Ensemble([make_network(outputs=2), make_network(outputs=2, seed=1)])
        same_bits(fl.cluster.predict(lazy, several).compute(), several.predict(X))
        some = lazy[da.from_array(X[:, 0, 1] > 0, chunks=30)]  # the number of samples is not known
        same_bits(fl.cluster.predict(some, net).compute(), net.predict(X[X[:, 0, 1] > 0]))


def test_refusals(net, X):
    lazy = da.from_array(X, chunks=(30, -1, -1))
    for given, options, message in (
        (lazy.rechunk((30, 1, 2)), {}, "X has 3 chunks of steps and 1 of features, expected chunks of samples"),
        (lazy[:, :2], {}, "X has 2 steps, expected 3 steps"),
        (lazy[:, 0], {}, "expected 3 dimensions"),
        (lazy.astype(complex), {}, "must hold float32 or float64"),
        (lazy, {"index": ("date", "ticker")}, "index= and shuffle= are for DataFrames"),
    ):
        with pytest.raises(ValueError, match=message):
            fl.cluster.explain(given, net, **options)
    with pytest.raises(ValueError, match="explained by one network, not an Ensemble"):
        fl.cluster.explain(lazy, fl.Ensemble([net, net]))
    X[77, 1, 0] = np.inf
    odd = fl.cluster.predict(da.from_array(X, chunks=(30, -1, -1)), net)
    with pytest.raises(ValueError, match=r"infinite .* at sample 17, step 1, .*counted from 60 on"):
        odd.compute(scheduler="synchronous")
