"""A call that repeats the one before, with other numbers, is that call made anew: its bits, refusals and warnings."""

import gc
import pickle
import threading
import warnings
import weakref

import golden
import numpy as np
import pytest
from helpers import close, same_bits, same_relevance

import fastlrp as fl
from fastlrp import explain as module
from fastlrp.kernels.cpu import few_host


def network(rng, T=4, D=3, H=5, outputs=1, dtype=np.float64, **options):
    shapes = ((D, 4 * H), (H, 4 * H), (4 * H,), (H, outputs))
    W, U, b, V = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    return fl.Network([fl.LSTM(W, U, b), fl.Dense(V)], steps=T, **options)


@pytest.fixture
def short(monkeypatch):
    """Whether each call took the short way, call by call."""
    taken, real = [], module.answer

    def seen(*arguments):
        found = real(*arguments)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(module, "answer", seen)
    return taken


def anew(net, X, **options):
    """The same call of a network that has not been asked before."""
    return pickle.loads(pickle.dumps(net)).explain(X, **options)


@pytest.mark.parametrize("seed", range(12))
def test_it_has_the_bits_and_words_of_a_first_call(rng, short, seed):
    rng = np.random.default_rng(seed)
    net = golden.network(rng)
    n, dtype = 1 + seed % few_host.MOST, ("float32", "float64")[seed % 2]
    rule = [fl.Arras(delta=1), fl.Rudder(), fl.GradientXInput(), fl.IntegratedGradients(3)][seed % 4]
    ask = {"rule": rule, "target": net.n_outputs - 1, "reduce": [None, "steps"][seed // 2 % 2]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a rule loses
        for _ in range(3):
            X = rng.normal(size=(n, 5, net.n_features)).astype(dtype)
            if rng.random() < 0.3:
                X[rng.integers(n), 2, 0] = np.nan
            got, want = net.explain(X, **ask), anew(net, X, **ask)
            same_relevance(got, want)
            assert (str(got), got.features, got.target, got.rule) == (str(want), want.features, want.target, want.rule)
            assert got.summary() == want.summary()
            assert got.network == want.network
            same_bits(net.predict(X), pickle.loads(pickle.dumps(net)).predict(X))
    plain = net.mask_value is None and not net.sequence and not net.n_static
    assert short[::4][1:] == [plain] * 2  # net.explain, from the second on
    assert short[2::4][1:] == [plain] * 2  # net.predict


def test_two_rules_in_turn_are_both_answered(rng, short):
    net, X = network(rng), rng.normal(size=(2, 4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what rudder loses
        for rule in ("arras", "rudder", fl.GradientXInput()) * 3:
            same_relevance(net.explain(X, rule=rule), anew(net, X, rule=rule))
    assert short[::2] == [False] * 3 + [True] * 6
    assert not any(short[1::2])


def test_what_differs_goes_the_long_way(rng, short):
    net, X = network(rng, outputs=2), rng.normal(size=(2, 4, 3))
    ask = {"target": 0, "threads": 1}
    net.explain(X, **ask)
    net.explain(X, **ask)
    assert short == [False, True]
    for other in (X[:1], X.astype("float32"), np.asfortranarray(X), X[:, ::-1], X.tolist(), np.ma.array(X)):
        net.explain(X, **ask)
        short.clear()
        close(net.explain(other, **ask).score, anew(net, np.array(other), **ask).score, 1e-5)
        assert short == [False, False]
    for more in ({"target": 1}, {"rule": "rudder"}, {"reduce": "steps"}, {"threads": 2}, {"dtype": "float32"},
                 {"aggregate": "last"}, {"device": "cpu"}):  # fmt: skip
        net.explain(X, **ask)
        short.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            same_relevance(net.explain(X, **ask | more), anew(net, X, **ask | more))
        assert short == [False, False]


def test_as_many_samples_of_other_steps_go_the_long_way(rng, short):
    net = fl.Network(network(rng).layers)
    for T in (4, 6, 5):
        X = rng.normal(size=(2, T, 3))
        same_relevance(net.explain(X), anew(net, X))
        same_bits(net.predict(X), pickle.loads(pickle.dumps(net)).predict(X))
    assert not any(short)


def test_whole_numbers_go_the_long_way(rng, short):
    """Kernels read a copy of them."""
    net = network(rng)
    for _ in range(3):
        X = rng.integers(-3, 4, (2, 4, 3))
        same_relevance(net.explain(X), anew(net, X.astype(float)))
    assert short[::2] == [False] * 3


def test_steps_that_are_masked_go_the_long_way(rng, short):
    layers = network(rng).layers
    net, X = fl.Network([fl.Masking(0.0), *layers], steps=4), rng.normal(size=(2, 4, 3))
    for masked in (0, 0, 2):
        X[:, :masked] = 0.0
        same_relevance(net.explain(X), anew(net, X))
    assert short[::2] == [False] * 3


def test_an_equal_rule_made_anew_is_the_same(rng, short):
    net, X = network(rng), rng.normal(size=(1, 4, 3))
    for _ in range(2):
        net.explain(X, rule=fl.Arras(eps=0.01))
    net.explain(X, rule=fl.Arras(eps=0.02))
    assert short == [False, True, False]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"target": True}, "target=True is not an output"), ({"threads": True}, "threads= takes"),
        ({"at_step": False}, "at_step"),
    ],
)  # fmt: skip
def test_what_equals_an_option_and_is_none_stays_refused(rng, wrong, said):
    net, X = network(rng, outputs=2), rng.normal(size=(1, 4, 3))
    right = {"target": 1, "threads": 1, "at_step": -1}
    net.explain(X, **right)
    with pytest.raises(ValueError, match=said):
        net.explain(X, **right | wrong)


def test_an_infinity_is_refused_by_name_and_the_next_call_is_right(rng, short):
    net, X = network(rng, features=["a", "b", "c"]), rng.normal(size=(2, 4, 3))
    want = net.explain(X)
    X[1, 2, 1] = np.inf
    for call in (net.explain, net.predict):
        with pytest.raises(ValueError, match="infinite"):
            call(X)
    X[1, 2, 1] = 0.0
    got = net.explain(X)
    assert short == [False, False, False, True]
    same_bits(got.values[0], want.values[0])
    assert got.origin == (net,)


def test_overflow_and_loss_are_warned_of_again(rng):
    net, X = network(rng), rng.normal(size=(1, 4, 3))
    layer = net.layers[0]
    linear = fl.Network([fl.LSTM(layer.W, layer.U, layer.b, activation="linear"), net.layers[1]])
    huge = np.full_like(X, 1e308)
    for _ in range(2):
        with pytest.warns(fl.OverflowWarning):
            linear.explain(huge)
        with pytest.warns(fl.OverflowWarning):
            linear.predict(huge)
        with pytest.warns(fl.ConservationWarning):
            net.explain(1e-3 * X, rule=fl.Rudder(eps=10))


def test_a_network_that_was_asked_can_go(rng):
    net, X = network(rng), rng.normal(size=(1, 4, 3))
    for _ in range(2):
        net.explain(X)
        net.predict(X)
    gone = weakref.ref(net)
    gc.disable()
    try:
        del net
        assert gone() is None  # nothing that it keeps holds it
    finally:
        gc.enable()


def test_memory_that_is_short_goes_the_long_way(rng, monkeypatch, short):
    net, X = network(rng), rng.normal(size=(1, 4, 3))
    want, real, fails = net.explain(X), few_host.Few.run, [MemoryError]

    def run(self, rows, target):
        if fails:
            raise fails.pop()
        return real(self, rows, target)

    monkeypatch.setattr(few_host.Few, "run", run)
    same_relevance(net.explain(X), want)
    assert short == [False, False]


def test_threads_ask_one_network_different_questions(rng):
    net = network(rng, dtype=np.float32)
    X = [rng.normal(size=(n, 4, 3)).astype("float32") for n in (1, 2, 3, 4)]
    want, wrong = [anew(net, x) for x in X], []

    def ask(k):
        for _ in range(300):
            if net.explain(X[k]).values.tobytes() != want[k].values.tobytes():
                wrong.append(k)

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
