"""A few samples have the same bits from the machine that has units in its lanes as from tiles."""

import threading
import warnings

import golden
import numpy as np
import pytest
from helpers import close, same_bits, same_relevance
from numba import njit

import fastlrp as fl
from fastlrp.kernels.cpu import few_host, host
from fastlrp.kernels.cpu.vector_product import SPARE, TOGETHER, product
from fastlrp.kernels.lanes import at
from fastlrp.kernels.program.instructions import CELL, SPREAD, SPREAD_ADD, STORE
from fastlrp.kernels.program.rows import PANELS, pack_panels
from fastlrp.panels.windows import Windows


@pytest.fixture
def ran(monkeypatch):
    """The numbers of samples that the machine was given, call by call."""
    counts, run = [], few_host.run_few

    def counted(job, *arguments):
        counts.append(int(job[0]["n"]))
        return run(job, *arguments)

    monkeypatch.setattr(few_host, "run_few", counted)
    return counts


def by_tiles(monkeypatch, call):
    with monkeypatch.context() as patch:
        patch.setattr(few_host, "MOST", 0)
        patch.setattr("fastlrp.explain.answer", lambda *_: None)
        return call()


def small(rng, dtype=np.float64, T=3, D=4, H=5, **options):
    W, U, b, V = (rng.normal(size=shape).astype(dtype) for shape in ((D, 4 * H), (H, 4 * H), (4 * H,), (H, 1)))
    return fl.Network([fl.LSTM(W, U, b), fl.Dense(V, None)], steps=T, **options)


def rules(rng, D):
    baseline = rng.normal(size=D)
    return [
        fl.Arras(), fl.Arras(recurrent=False, delta=1), fl.Arras(stabilizer="absorbed"), fl.Rudder(),
        fl.Rudder(delta=1), fl.GradientXInput(), fl.IntegratedGradients(3), fl.IntegratedGradients(2, baseline),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_bits_are_those_of_tiles(monkeypatch, ran, seed):
    """Any chain, dtype, rule and option; with samples that miss a value, and some whose numbers overflow."""
    rng = np.random.default_rng(seed)
    net = golden.network(rng)
    n, T, dtype = 1 + seed % few_host.MOST, int(rng.integers(1, 8)), ("float32", "float64")[seed % 2]
    X = rng.normal(size=(n, T, net.n_features)).astype(dtype)
    if rng.random() < 0.3:
        X[rng.integers(n), rng.integers(T), rng.integers(net.n_features)] = np.nan
    if rng.random() < 0.3:
        X[rng.integers(n)] *= np.finfo(dtype).max / 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows that overflow, relevance that rudder loses
        for rule in rules(rng, net.n_features):
            ask = {"rule": rule, "target": net.n_outputs - 1, "reduce": rng.choice([None, "steps"])}
            if rule.hands_down:
                ask["aggregate"] = rng.choice(["sequence", "average", "last"])
            want = by_tiles(monkeypatch, lambda ask=ask: net.explain(X, **ask))
            assert not ran
            same_relevance(net.explain(X, **ask), want)
            same_bits(net.predict(X), by_tiles(monkeypatch, lambda: net.predict(X)))
            assert ran == [n, n]
            ran.clear()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(12, 96, 64), (7, 33, 50)])
def test_bits_are_those_of_tiles_at_larger_shapes(monkeypatch, rng, shape, dtype):
    """Panels of all widths, steps that fill groups and steps that are left."""
    T, D, H = shape
    weights = [rng.normal(size=size) / np.sqrt(size[0]) for size in ((D, 4 * H), (H, 4 * H), (4 * H,), (H, 1))]
    W, U, b, V = (array.astype(dtype) for array in weights)
    net = fl.Network([fl.LSTM(W, U, b), fl.Dense(V, None)])
    X = rng.normal(size=(6, T, D)).astype(dtype)
    for n in (1, 6):
        want = by_tiles(monkeypatch, lambda n=n: net.explain(X[:n]))
        same_relevance(net.explain(X[:n]), want)


def test_which_machine_computes(rng, ran):
    net = small(rng)
    X = rng.normal(size=(few_host.MOST + 1, 3, 4))
    net.predict(X)
    assert not ran
    net.predict(X[1:])
    net.explain(X[:1].astype("float32"))
    assert ran == [few_host.MOST, 1]


@pytest.mark.parametrize("mode", [STORE, SPREAD, SPREAD_ADD])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_product_against_numpy(rng, mode, dtype):
    """Every number of rows up to a panel and some, inputs in groups and left over; nothing else is written."""
    for rows in (1, 2, 7, 8, 15, 16, 17, 31, 33, 48, 63, 64, 65, 100, 128, 130):
        for inputs, ka, kb in ((1, 5, 0), (2, 0, 3), (TOGETHER, 4, 2), (2 * TOGETHER + 1, 1, 1)):
            matrix, bias = rng.normal(size=(rows, ka + kb)).astype(dtype), rng.normal(size=rows).astype(dtype)
            a, b, mul = (rng.normal(size=(inputs, size)).astype(dtype) for size in (ka, kb, rows))
            share, init = (rng.normal(size=(inputs, size)).astype(dtype) for size in (1, rows + 64))
            out = rng.normal(size=(inputs, rows + 3)).astype(dtype)
            for given in (False, True):
                start = init[:, :rows] if given else bias
                want = start + np.concatenate([a, b], axis=1).astype(np.float64) @ matrix.T
                if mode != STORE:
                    want = want * mul + share
                if mode == SPREAD_ADD:
                    want = want + out[:, :rows]
                found = out.copy()
                flat = [array.reshape(-1) for array in (found, init, a, b, mul, share)]
                _product(inputs, flat, pack_panels(matrix, bias, np.dtype(dtype)), rows, given, ka, kb, mode)
                close(found[:, :rows], want, 1e-14 if dtype == np.float64 else 1e-5)
                same_bits(found[:, rows:], out[:, rows:])


def _product(inputs, flat, w, rows, given, ka, kb, mode):
    out, init, a, b, mul, share = (np.append(array, np.zeros(1, array.dtype)) for array in flat)
    spare = np.full(SPARE, np.nan, out.dtype)
    _call(inputs, out, w, rows, init, rows + 64 if given else -1, a, ka, b, kb, mul, share, mode, spare)
    flat[0][:] = out[:-1]


@njit(error_model="numpy")
def _call(inputs, out, w, rows, init, ldi, a, ka, b, kb, mul, share, mode, spare):
    product(inputs, at(out, 0), rows + 3, at(w, 0), rows, at(init, 0), ldi, at(a, 0), ka, ka, at(b, 0), kb, kb,
            at(mul, 0), rows, at(share, 0), 1, mode, at(spare, 0))  # fmt: skip


def test_a_network_with_an_unknown_instruction_goes_to_tiles(monkeypatch, rng, ran):
    net, X = small(rng), rng.normal(size=(2, 3, 4))
    want = net.explain(X)
    assert ran == [2]
    asked, make = [], few_host.make_plan
    monkeypatch.setattr(few_host, "make_plan", lambda *given, **ask: asked.append(ask) or make(*given, **ask))
    monkeypatch.setattr(few_host, "PANELS", PANELS._replace(kinds=PANELS.kinds - {CELL}))
    other = fl.Network(net.layers)
    for _ in range(3):
        same_relevance(other.explain(X), want)
    assert ran == [2]
    assert len(asked) == 1  # it is not tried again at each call


def test_an_infinite_value_is_refused_and_the_next_call_is_right(rng, ran):
    net, X = small(rng), rng.normal(size=(2, 3, 4))
    want = net.explain(X)
    bad = X.copy()
    bad[1, 2, 3] = np.inf
    with pytest.raises(ValueError, match=r"infinite .* at sample 1, step 2, feature 3"):
        net.explain(bad)
    same_relevance(net.explain(X), want)
    assert ran == [2, 2, 2, 2]  # the infinite value was met the short way, and then by who says where it is


def test_many_threads_share_a_network(rng):
    net, X = small(rng), rng.normal(size=(40, 3, 4))
    want = net.explain(X)  # by tiles
    wrong = []

    def work(first):
        for k in range(200):
            i = (first + k) % 40
            rel = net.explain(X[i : i + 1])
            if rel.values.tobytes() != want.values[i : i + 1].tobytes():
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(7 * k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_progress_counts_the_samples(rng):
    net, X = small(rng), rng.normal(size=(4 * 3, 4))
    done = []
    results = host.run(net, Windows(X), 3, advance=done.append)
    assert done == [4]
    same_bits(results.prediction[:, 0], net.predict(X.reshape(4, 3, 4)))


def test_results_do_not_share_memory_with_later_ones(rng):
    net, X = small(rng), rng.normal(size=(2, 1, 3, 4))
    first = net.explain(X[0])
    kept = first.values.copy(), first.score.copy()
    net.explain(X[1])
    same_bits(first.values, kept[0])
    same_bits(first.score, kept[1])
