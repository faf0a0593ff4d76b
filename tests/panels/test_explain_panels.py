"""Panels through predict and explain: windows that share months give the same results as single windows."""

import threading

import numpy as np
import pandas as pd
import pytest

import fastlrp as fl
from fastlrp.kernels.cpu import host as cpu
from fastlrp.kernels.cpu.months import segment_size, segments
from fastlrp.kernels.program.rows import LANES
from fastlrp.panels.windows import Windows, runs

T, D = 4, 5
RULES = [fl.Arras(), fl.Rudder(), fl.Arras(recurrent=False, delta=1.0), fl.Rudder(stabilizer="absorbed")]
pytestmark = pytest.mark.filterwarnings("ignore::fastlrp.ConservationWarning")


def lstm(rng, inputs, units, **options):
    shapes = ((inputs, 4 * units), (units, 4 * units), (4 * units,))
    return fl.LSTM(*(rng.normal(0, 0.6, shape) for shape in shapes), **options)


def networks(rng):
    pair = fl.Bidirectional(lstm(rng, D, 3, return_sequences=True), lstm(rng, D, 3, return_sequences=True))
    return {
        "one": fl.Network([lstm(rng, D, 6), fl.Dense(rng.normal(size=(6, 1)), rng.normal(size=1))]),
        "both ways": fl.Network([pair, lstm(rng, 6, 4), fl.Dense(rng.normal(size=(4, 2)))]),
        "dense first": fl.Network([fl.Dense(rng.normal(size=(D, 3)), activation="tanh"), lstm(rng, 3, 4)], name="n"),
    }


def messy(rng, assets=23, months=40, gaps=0.03, missing=0.01):
    """A panel with late starts, early ends, missing months and missing values."""
    index = []
    for asset in range(assets):
        first, last = sorted(rng.integers(0, months, 2))
        index += [(asset, month) for month in range(first, last + 1) if rng.random() > gaps]
    values = rng.normal(size=(len(index), D))
    values[rng.random(values.shape) < missing] = np.nan
    dates = pd.period_range("2001-01", periods=months, freq="M").to_timestamp()
    named = pd.MultiIndex.from_tuples([(dates[m], f"stock {a}") for a, m in index], names=["date", "permno"])
    return pd.DataFrame(values, index=named, columns=[f"f{d}" for d in range(D)])


def windows_by_hand(panel, T=T):
    """(row, window) of every full window, found by looking up each month."""
    rows = {key: row for row, key in enumerate(panel.index)}
    values, found = panel.to_numpy(), []
    for row, (date, asset) in enumerate(panel.index):
        keys = [(date - pd.DateOffset(months=lag), asset) for lag in range(T - 1, -1, -1)]
        if all(key in rows for key in keys):
            found.append((row, values[[rows[key] for key in keys]]))
    return np.array([row for row, _ in found]), np.array([window for _, window in found])


def forms(panel, rng):
    """The same panel in the forms that users may have."""
    shuffled = panel.sample(frac=1, random_state=1)
    columns = pd.DataFrame({name: panel[name].to_numpy() for name in panel}, index=panel.index)
    return {
        "as is": panel,
        "by month": panel.sort_index(),
        "by stock": panel.swaplevel().sort_index(),
        "shuffled": shuffled,
        "column by column": columns,
        "fortran": pd.DataFrame(np.asfortranarray(panel.to_numpy()), index=panel.index, columns=panel.columns),
        "fortran shuffled": pd.DataFrame(
            np.asfortranarray(shuffled.to_numpy()), index=shuffled.index, columns=panel.columns
        ),
    }


def months_are_shared(panel, rows, steps):
    """Whether this panel's windows, which end in ``rows``, take the path on which they share months."""
    ends = np.isin(np.arange(len(panel)), rows)
    return cpu._cut(Windows(panel.to_numpy(), None, ends), steps, 1).months > 0


@pytest.mark.parametrize("reduce", [None, "steps"])
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("name", ["one", "both ways", "dense first"])
def test_a_panel_is_its_windows(rng, name, rule, reduce):
    net, panel = networks(rng)[name], messy(rng)
    target = None if net.n_outputs == 1 else 1
    rows, X = windows_by_hand(panel)
    assert months_are_shared(panel, rows, T)
    want = net.explain(X, rule=rule, reduce=reduce, target=target)
    got = net.explain(panel, steps=T, rule=rule, reduce=reduce, target=target)
    assert got.index.equals(panel.index)
    others = np.setdiff1d(np.arange(len(panel)), rows)
    for key in ("values", "prediction", "score", "initial_state", "unattributed"):
        mine, theirs = getattr(got, key), getattr(want, key)
        atol = 1e-12 * np.nanmax(np.abs(theirs), initial=1e-3)
        np.testing.assert_allclose(mine[rows], theirs, rtol=0, atol=atol, err_msg=key)
        assert np.isnan(mine[others]).all(), key


@pytest.mark.parametrize(
    "form", ["as is", "by month", "by stock", "shuffled", "column by column", "fortran", "fortran shuffled"]
)
def test_rows_come_back_where_they_were(rng, form):
    net, panel = networks(rng)["one"], messy(rng)
    rows, X = windows_by_hand(panel)
    want = pd.DataFrame(net.explain(X, reduce="steps").values, index=panel.index[rows], columns=panel.columns)
    given = forms(panel, rng)[form]
    got = pd.DataFrame(net.explain(given, steps=T, reduce="steps").values, index=given.index, columns=panel.columns)
    if got.index.names != want.index.names:
        got = got.swaplevel()
    np.testing.assert_allclose(got.loc[want.index].to_numpy(), want.to_numpy(), rtol=0, atol=1e-12)
    assert got.drop(want.index).isna().all().all()
    prediction = net.predict(given, steps=T)
    assert prediction.index.equals(given.index)
    np.testing.assert_array_equal(prediction.notna(), got.notna().all(axis=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("steps", [2, 3, 12, 30])
def test_windows_that_share_months_have_the_bits_of_single_ones(rng, monkeypatch, steps, dtype):
    net, panel = networks(rng)["one"], messy(rng, assets=60, months=90, gaps=0.004).astype(dtype)
    rows, X = windows_by_hand(panel, steps)
    ends = np.isin(np.arange(len(panel)), rows)
    assert months_are_shared(panel, rows, steps)
    want = net.explain(X, device="cpu")
    # a span in one tile, or in as many as it has vectors; tiles that fill a span, or leave a remainder
    for large, size in ((cpu.LARGE_TILE, 0), (0, 0), (cpu.LARGE_TILE, 9), (cpu.LARGE_TILE, 23), (0, 11)):
        monkeypatch.setattr(cpu, "LARGE_TILE", large)
        if size:
            monkeypatch.setattr(cpu, "segment_size", lambda *_, size=size: size)
        got = net.explain(panel, steps=steps, device="cpu")
        for key in ("values", "prediction", "score", "initial_state", "unattributed"):
            np.testing.assert_array_equal(getattr(got, key)[rows], getattr(want, key), err_msg=key)
            assert np.isnan(getattr(got, key)[~ends]).all(), key


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 1.0])
def test_segments_have_every_window_and_stay_within_the_panel(rng, size, share):
    for n in (size, 50, 333):
        ends = rng.random(n) < share
        ends[rng.integers(n)] = True
        first = segments(*runs(ends), size, n)
        assert len(first) % LANES == 0
        lanes = first[:, None] + np.arange(size)
        assert lanes.min() >= 0
        assert lanes.max() < n
        assert set(np.flatnonzero(ends)) <= set(lanes.ravel())
        assert len(first) <= np.count_nonzero(ends) / size + len(runs(ends)[0]) + LANES


def test_segments_are_long_where_they_waste_little():
    def waste(size, lengths):
        return sum(-(-length // size) * size - length for length in lengths)

    for lengths in ([229] * 300, [589] * 6667, [12, 30, 229, 700], [8], [32] * 5, [33] * 5):
        for least, most in ((4, 40), (8, 16), (8, 3)):
            size = segment_size(np.array(lengths), least, most)
            assert least <= size <= max(least, min(most, 32))
            better = [n for n in range(size + 1, min(most, 32) + 1) if waste(n, lengths) <= waste(size, lengths)]
            assert not better, "a longer one would waste no more"
    assert segment_size(np.array([229] * 300), 8, 40) == 23  # 10 segments of 23 are 230 windows


def test_short_histories_take_the_path_of_single_windows(rng):
    net = networks(rng)["one"]
    panel = messy(rng, assets=700, months=7)
    rows, X = windows_by_hand(panel)
    assert len(rows) > 300
    assert not months_are_shared(panel, rows, T)
    got, want = net.explain(panel, steps=T), net.explain(X)
    np.testing.assert_array_equal(got.values[rows], want.values)
    assert np.isnan(np.delete(got.score, rows)).all()


def test_threads_and_cuts_do_not_change_a_bit_of_a_panel(rng):
    net, panel = networks(rng)["both ways"], messy(rng, assets=120)
    one = net.explain(panel, steps=T, target=0, threads=1)
    for threads in (2, 3, 7):
        assert net.explain(panel, steps=T, target=0, threads=threads).values.tobytes() == one.values.tobytes()
    first = panel[panel.index.get_level_values(1) == "stock 5"]
    alone = net.explain(first, steps=T, target=0)
    np.testing.assert_array_equal(alone.values, one.values[panel.index.get_level_values(1) == "stock 5"])


def test_a_panel_without_one_full_window_is_all_missing(rng):
    panel = messy(rng, gaps=0).groupby(level=1).head(T - 1)
    prediction = networks(rng)["one"].predict(panel, steps=T)
    assert prediction.isna().all()
    assert prediction.index.equals(panel.index)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinity_in_a_panel_names_its_row(rng, dtype):
    panel = messy(rng, missing=0).astype(dtype)
    panel.iloc[7, 2] = -np.inf
    date, stock = panel.index[7]
    with pytest.raises(ValueError, match=f"f2.*{date:%Y-%m}.*{stock}"):
        networks(rng)["one"].explain(panel, steps=T)


@pytest.mark.parametrize("windows", [1, 8, 9, 40])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("steps", [2, 5])
def test_infinity_in_a_row_that_no_window_reads_is_found_too(rng, steps, shuffled, windows):
    lengths = [windows + steps - 1] * 10 + [steps - 1] + [windows + steps - 1] * 10
    dates = pd.period_range("2001-01", periods=max(lengths), freq="M").to_timestamp()
    index = pd.MultiIndex.from_tuples([(dates[m], a) for a, n in enumerate(lengths) for m in range(n)])
    panel = pd.DataFrame(rng.normal(size=(len(index), D)), index=index, columns=[f"f{d}" for d in range(D)])
    panel = panel.sample(frac=1, random_state=1) if shuffled else panel
    net = networks(rng)["one"]
    assert net.predict(panel, steps=steps).notna().sum() == 20 * windows
    panel.loc[(dates[steps - 2], 10), "f3"] = np.inf
    for call in (net.predict, net.explain):
        with pytest.raises(ValueError, match=r"f3.*2001.*10"):
            call(panel, steps=steps)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_every_result_is_counted_once(rng, monkeypatch, shared, threads):
    net, panel = networks(rng)["one"], messy(rng, assets=200)
    rows, X = windows_by_hand(panel)
    ends = np.isin(np.arange(len(panel)), rows)
    windows = Windows(panel.to_numpy(), None, ends) if shared else Windows(X.reshape(-1, D))
    everyone, ran, real, counts = threading.Barrier(threads), [], cpu.run_tiles, []

    def run_tiles(*arguments):
        """Wait until every thread has work; otherwise the scheduler may give it all to one."""
        if threading.get_ident() not in ran:
            everyone.wait(timeout=600)
        ran.append(threading.get_ident())
        return real(*arguments)

    def advance(count):
        assert threading.current_thread() is threading.main_thread()
        counts.append(count)

    monkeypatch.setattr(cpu, "run_tiles", run_tiles)
    cpu.run(net, windows, T, rule=fl.Arras(), threads=threads, advance=advance)
    assert len(set(ran)) == threads
    assert sum(counts) == (len(panel) if shared else len(X))
    assert len(counts) > 1 or threads > 1  # a single thread reports each of its chunks


def test_progress_counts_every_row_once(rng, capsys):
    pytest.importorskip("tqdm", reason="the extra fastlrp[progress] is not installed")
    panel = messy(rng, assets=200)
    networks(rng)["one"].explain(panel, steps=T, progress=True, threads=2)
    shown = capsys.readouterr().err
    assert "100%" in shown
    assert "explain" in shown


def test_masked_values_are_missing(rng):
    net, X = networks(rng)["one"], rng.normal(size=(6, T, D))
    mask = np.zeros(X.shape, bool)
    mask[2, 1, 3] = True
    got, want = net.explain(np.ma.masked_array(X, mask)), net.explain(np.where(mask, np.nan, X))
    np.testing.assert_array_equal(got.values, want.values)
    assert np.isnan(got.score[2])
