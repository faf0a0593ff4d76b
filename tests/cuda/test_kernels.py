"""The CUDA kernels against the slow reference: every layer, rule and dtype, panels, chunks, and what can go wrong."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import reference
from helpers import TOTALS, close, same_relevance
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import bidirectional, cases, dense, lstm, network, reference_batch, rule_value

import fastlrp as fl

pytest.importorskip("numba_cuda", reason="the extra fastlrp[cuda] is not installed")
from fastlrp.kernels.cuda import cut, device, host, slots
from fastlrp.kernels.cuda.threads import SIMULATED

pytestmark = pytest.mark.filterwarnings(
    "ignore::fastlrp.ConservationWarning",
    "ignore:overflow encountered:RuntimeWarning",  # NumPy scalars warn where compiled code does not
    "ignore:invalid value:RuntimeWarning",
)

#: Number of drawn examples; a simulated one takes a second.
EXAMPLES = 15 if SIMULATED else 300
T, D = 3, 3


def small(rng, **options):
    return network([lstm(rng, D, 4), dense(rng, 4, 1)], **options)


def deep(rng):
    """A network of all kinds of layers and merges, two outputs, and activations that are not fused into a step."""
    return network(
        [
            *[bidirectional(rng, D, 3, "concat", return_sequences=True), {"kind": "dropout"}],
            *[dense(rng, 6, 3, activation="tanh"), lstm(rng, 3, 4, return_sequences=True, activation="relu")],
            *[bidirectional(rng, 4, 3, "sum"), dense(rng, 3, 2, activation="softmax")],
        ]
    )


def batch(rng, n=11, dtype=np.float64):
    return rng.normal(size=(n, T, D)).astype(dtype)


# -- the reference -----------------------------------------------------------------------------------------------------


@settings(max_examples=EXAMPLES)
@given(case=cases(samples=st.integers(1, 10), gru_too=False))
def test_float64_agrees_with_the_reference(case):
    want = reference_batch(case.layers, case.X, case.rule, case.target, case.aggregate)
    ask = {"rule": rule_value(case.rule), "target": case.target, "aggregate": case.aggregate, "dtype": np.float64}
    got = network(case.layers).explain(case.X, device="cuda", **ask)
    assert got.values.dtype == np.float64
    prediction = want["prediction"]
    close(got.prediction, prediction[:, 0] if prediction.shape[1] == 1 else prediction, 1e-12)
    scale = max(np.abs(want["values"]).max(), *(np.abs(want[key]).max() for key in TOTALS))
    close(got.values, want["values"], 1e-10)
    for key in TOTALS:
        close(getattr(got, key), want[key], 1e-10, scale)


@pytest.mark.parametrize("rule", [fl.Arras(), fl.Rudder(eps=0.01, delta=1.0), fl.Arras(recurrent=False)], ids=repr)
@pytest.mark.parametrize("build", [small, deep])
def test_float32_agrees_with_the_reference(rng, build, rule):
    net, X = build(rng), batch(rng, 10, np.float32)
    ask = {"rule": rule, "target": net.n_outputs - 1}
    got = net.explain(X, device="cuda", **ask)
    want = net.explain(X.astype(np.float64), device="cpu", **ask)
    assert got.values.dtype == got.prediction.dtype == np.float32
    close(got.prediction, want.prediction, 1e-6)
    close(got.values, want.values, 1e-4)
    gap = got.score - got.values.sum(axis=(1, 2)) - got.initial_state - got.unattributed
    scale = np.abs(got.values).sum(axis=(1, 2)) + np.abs(got.unattributed) + np.abs(got.score)
    assert np.all(np.abs(gap) < 1e-5 * scale)


@pytest.mark.parametrize("build", [small, deep])
def test_predicts_and_sums_over_steps(rng, build):
    net, X = build(rng), batch(rng)
    full = net.explain(X, device="cuda", target=0)
    close(net.predict(X, device="cuda"), full.prediction, 1e-14)
    summed = net.explain(X, device="cuda", target=0, reduce="steps")
    close(summed.values, full.values.sum(axis=1), 1e-13, np.abs(full.values).max())
    layers_alone = np.array([reference.predict(_plain_layers(net), x) for x in X])
    close(np.reshape(full.prediction, layers_alone.shape), layers_alone, 1e-12)


def _plain_layers(net):
    from strategies import plain

    return plain(net)


# -- panels ------------------------------------------------------------------------------------------------------------


def panel(rng, assets=2, months=13, missing=True):
    """Two stocks with a gap and missing values, the features of ``D``."""
    dates = pd.period_range("2001-01", periods=months, freq="M").to_timestamp()
    index = [
        (date, f"s{a}") for a in range(assets) for k, date in enumerate(dates) if not (missing and a == 1 and k == 5)
    ]
    values = rng.normal(size=(len(index), D))
    if missing:
        values[4, 1] = np.nan
    names = pd.MultiIndex.from_tuples(index, names=["date", "permno"])
    return pd.DataFrame(values, names, columns=[f"f{d}" for d in range(D)])


@pytest.mark.parametrize("build", [small, deep])
@pytest.mark.parametrize("rule", [fl.Arras(), fl.Rudder(delta=1.0)], ids=repr)
def test_panels_agree_with_the_cpu(rng, build, rule):
    net, frame = build(rng), panel(rng)
    ask = {"steps": T, "rule": rule, "target": 0}
    got, want = net.explain(frame, device="cuda", **ask), net.explain(frame, device="cpu", **ask)
    assert np.array_equal(got.missing, want.missing)
    assert want.missing.any()
    assert not want.missing.all()
    close(got.values, want.values, 1e-11)
    close(got.unattributed, want.unattributed, 1e-11, np.nanmax(np.abs(want.score)))


def test_panels_in_any_order_and_layout(rng):
    net, frame = small(rng), panel(rng)
    shuffled = frame.sample(frac=1, random_state=1)
    fortran = pd.DataFrame(np.asfortranarray(frame.to_numpy()), frame.index, frame.columns)
    want = net.explain(frame, steps=T, device="cuda")
    close(net.explain(fortran, steps=T, device="cuda").values, want.values, 1e-14)
    got = net.explain(shuffled, steps=T, device="cuda")
    again = got.to_frame().reindex(frame.index)
    close(again.to_numpy(), want.to_frame().to_numpy(), 1e-14)


def test_short_histories_load_each_window_by_itself(rng):
    """Windows do not share their months where few rows end a window."""
    net, frame = small(rng), panel(rng, assets=9, months=T, missing=False)
    got = net.explain(frame, steps=T, device="cuda")
    assert (~got.missing).sum() == 9
    close(got.values, net.explain(frame, steps=T, device="cpu").values, 1e-11)


def test_a_panel_in_which_no_window_ends(rng):
    frame = panel(rng, months=T - 1, missing=False)
    got = small(rng).explain(frame, steps=T, device="cuda")
    assert got.missing.all()
    assert np.isnan(got.values).all()


def test_a_panel_with_more_columns_than_the_network_takes(rng):
    """The panel's rows are a view with gaps, in an order of their own."""
    net, frame = small(rng, features=["f0", "f1", "f2"]), panel(rng)
    wide = frame.assign(other=1.0)[["f0", "f1", "f2", "other"]]
    wide = pd.DataFrame(np.ascontiguousarray(wide.to_numpy()), wide.index, wide.columns).sample(frac=1, random_state=3)
    got = net.explain(wide, steps=T, device="cuda").to_frame().reindex(frame.index)
    close(got.to_numpy(), net.explain(frame, steps=T, device="cpu").to_frame().to_numpy(), 1e-11)


def test_windows_longer_than_a_block_is_wide_are_loaded_each_for_itself():
    card = device.current_card()
    rows, ends = np.zeros((4000, 1)), np.ones(4000, bool)
    most = 8 * device.LEAST_THREADS - max(card.lanes)
    for steps, shared in ((2, True), (most - 3, True), (most + 2, False)):
        ends[: steps - 1] = False
        assert cut.cut_windows(host.Windows(rows, None, ends), steps, card).shared is shared


# -- how work is cut ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared_bytes", [1 << 17, 6000, 700])
def test_where_rows_and_weights_stand_does_not_matter(rng, monkeypatch, shared_bytes):
    """With everything in shared memory, only the weights, or nothing, the bits are the same."""
    card = device.current_card()
    net, X = small(rng), batch(rng)
    want = net.explain(X, device="cuda")
    used = []
    start = device.start
    monkeypatch.setattr(host, "current_card", lambda: card._replace(shared_bytes=shared_bytes + 1024, lanes=(8,)))
    monkeypatch.setattr(
        slots, "start", lambda launch, *args: (used.append(launch.kernel.__name__), start(launch, *args))
    )
    got = net.explain(X, device="cuda")
    expected = {1 << 17: "tiles_all_shared", 6000: "tiles_weights_shared", 700: "tiles_none_shared"}
    assert used == [expected[shared_bytes]]
    close(got.values, want.values, 1e-13)
    same_relevance(got, net.explain(X, device="cuda"))


@pytest.mark.parametrize("kind", ["array", "panel", "short"])
def test_chunks_do_not_matter(rng, monkeypatch, kind):
    net = small(rng)
    X = (
        batch(rng, 37)
        if kind == "array"
        else panel(rng, 3, 12)
        if kind == "panel"
        else panel(rng, 20, T, missing=False)
    )
    want = net.explain(X, steps=T, device="cuda")
    began = []
    begin = slots.Slot.begin
    monkeypatch.setattr(slots.Slot, "begin", lambda self, *a: (began.append(a[:2]), begin(self, *a)))
    monkeypatch.setattr(host, "chunk_size", lambda plan, launch, cut: launch.lanes)
    got = net.explain(X, steps=T, device="cuda", threads=2)
    assert len(began) >= 3
    same_relevance(got, want)


@pytest.mark.parametrize("shared_bytes", [6000, 700])
def test_launches_on_their_way_together_have_rows_of_their_own(rng, monkeypatch, shared_bytes):
    """A block reuses its rows for its next tile, but a chunk in another stream never does."""
    net, X = small(rng), batch(rng, 37)
    want = net.explain(X, device="cuda")
    card, start, finish = device.current_card(), slots.start, slots.Slot.finish
    used: dict[int, object] = {}

    def starts(launch, arguments, stream):
        scratch = id(arguments[9])
        assert scratch not in used, "rows of a launch that has not finished"
        used[scratch] = stream
        start(launch, arguments, stream)

    def finishes(self, *arguments):
        used.pop(id(self.scratch), None)
        return finish(self, *arguments)

    monkeypatch.setattr(host, "current_card", lambda: card._replace(shared_bytes=shared_bytes + 1024))
    monkeypatch.setattr(host, "chunk_size", lambda plan, launch, cut: launch.lanes)
    monkeypatch.setattr(slots, "start", starts)
    monkeypatch.setattr(slots.Slot, "finish", finishes)
    close(net.explain(X, device="cuda").values, want.values, 1e-13)


def test_progress_counts_every_sample_once(rng, monkeypatch):
    from fastlrp.kernels import cuda
    from fastlrp.panels.windows import Windows

    monkeypatch.setattr(host, "chunk_size", lambda plan, launch, cut: launch.lanes)
    net, X, done = small(rng), batch(rng, 20), []
    cuda.run(net, Windows(X.reshape(-1, D)), T, rule=fl.Arras(), advance=done.append)
    assert sum(done) == 20
    assert len(done) == 3


# -- what can go wrong -------------------------------------------------------------------------------------------------


def test_a_missing_value_stays_in_its_row(rng):
    net, X = small(rng), batch(rng, 10)
    want = net.explain(X, device="cuda")
    X[3, 1, 2] = X[9, 0, 0] = np.nan
    got = net.explain(X, device="cuda")
    bad = np.isin(np.arange(10), [3, 9])
    for key in ("values", "prediction", *TOTALS):
        assert np.isnan(getattr(got, key)[bad]).all()
        assert np.array_equal(getattr(got, key)[~bad], getattr(want, key)[~bad])


@pytest.mark.parametrize("kind", ["array", "panel"])
def test_an_infinite_value_is_named(rng, kind):
    net = small(rng, features=["a", "b", "c"])
    X = batch(rng) if kind == "array" else panel(rng, missing=False).set_axis(list("abc"), axis=1)
    if kind == "array":
        X[7, 2, 1] = np.inf
    else:
        X.iloc[5, 1] = -np.inf
    with pytest.raises(ValueError, match=r"(?s)inf.*b|b.*inf"):
        net.explain(X, steps=T, device="cuda")


def full(monkeypatch, room):
    """A GPU whose allocations fail beyond ``room`` numbers."""
    allocate = host.cuda.device_array

    def device_array(shape, *args, **options):
        if np.prod(shape) > room:
            raise MemoryError("CUDA_ERROR_OUT_OF_MEMORY")
        return allocate(shape, *args, **options)

    monkeypatch.setattr(host.cuda, "device_array", device_array)


def test_out_of_memory_falls_back_to_smaller_chunks_and_says_so(rng, monkeypatch):
    net, X = small(rng), batch(rng, 37)
    want = net.explain(X, device="cuda")
    full(monkeypatch, 200)
    with pytest.warns(RuntimeWarning, match="no room for chunks of 40 samples: they are computed 16 at a time"):
        got = net.explain(X, device="cuda")
    same_relevance(got, want)


def test_out_of_memory_at_the_smallest_chunk_is_an_error(rng, monkeypatch):
    full(monkeypatch, 3)
    with pytest.raises(MemoryError, match=r"no room for one tile of 8 samples.*device='cpu'"):
        small(rng).explain(batch(rng), device="cuda")


def test_a_gpu_that_fails_is_an_exception(rng, monkeypatch):
    from numba.cuda.cudadrv.driver import CudaAPIError

    def lost(*_):
        raise CudaAPIError(999, "CUDA_ERROR_UNKNOWN") if not SIMULATED else CudaAPIError("CUDA_ERROR_UNKNOWN")

    monkeypatch.setattr(slots, "start", lost)
    with pytest.raises(RuntimeError, match=r"the GPU failed: .*CUDA_ERROR_UNKNOWN"):
        small(rng).explain(batch(rng), device="cuda")


# -- arrays on the GPU -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["arras", "rudder"])
def test_an_array_on_the_gpu_stays_there(rng, rule):
    net, X = small(rng), batch(rng)
    X[2, 0, 0] = np.nan
    there = host.cuda.to_device(X)
    want = net.explain(X, device="cuda", rule=rule)
    got = net.explain(there, rule=rule)  # "auto" runs where X is
    for key in ("values", "prediction", *TOTALS):
        assert type(getattr(got, key)) is type(there), key
        assert np.array_equal(getattr(got, key).copy_to_host(), getattr(want, key), equal_nan=True)
    assert got.summary() == want.summary()
    pd.testing.assert_frame_equal(got.to_frame(), want.to_frame())
    assert np.array_equal(got.missing, want.missing)
    assert len(got[:3]) == 3
    assert np.array_equal(net.predict(there).copy_to_host(), want.prediction, equal_nan=True)


def test_what_is_wrong_with_an_array_on_the_gpu(rng):
    net, X = small(rng), batch(rng)
    there = host.cuda.to_device(X)
    with pytest.raises(ValueError, match="X lives on the GPU, expected an array in the host's memory"):
        net.explain(there, device="cpu")
    with pytest.raises(ValueError, match="X is float64 on the GPU, expected float32"):
        net.explain(there, dtype=np.float32)
    with pytest.raises(ValueError, match="X is int64 on the GPU, expected float32 or float64"):
        net.explain(host.cuda.to_device(X.astype(np.int64)))
    with pytest.raises(ValueError, match=r"X has 2 features, expected 3 features"):
        net.explain(host.cuda.to_device(np.ascontiguousarray(X[:, :, :2])))
    with pytest.raises(ValueError, match="not contiguous"):
        net.explain(host.cuda.to_device(np.asfortranarray(X)))
    X[1, 1, 1] = np.inf
    with pytest.raises(ValueError, match="inf"):
        net.explain(host.cuda.to_device(X))


# -- the estimator -----------------------------------------------------------------------------------------------------


def test_the_estimator_predicts_and_explains_there(rng):
    X, y = batch(rng, 12), rng.normal(size=12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two epochs are too few to converge
        model = fl.LSTMRegressor((3,), steps=T, max_iter=2, random_state=0, dtype="float64").fit(X, y)
    want, relevance = model.predict(X), model.explain(X)
    model.set_params(device="cuda")
    close(model.predict(X), want, 1e-13)
    close(model.explain(X).values, relevance.values, 1e-12)
