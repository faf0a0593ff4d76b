"""``fastlrp compile``: after it, no user's call compiles anything; it says where it put what, or why it cannot."""

from __future__ import annotations

import os
import re

import pytest
from helpers import run_python

pytestmark = pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="nothing is compiled")

#: Runs the command; then, that its jobs call all kernels of all modules.
COMPILE = """
import pkgutil, sys
from importlib import import_module
from fastlrp import cli
code = cli.main(["compile", *sys.argv[1:]])
import fastlrp.kernels
for _, name, _ in pkgutil.walk_packages(fastlrp.kernels.__path__, "fastlrp.kernels."):
    if not name.startswith("fastlrp.kernels.cuda"):
        import_module(name)
from fastlrp.kernels.target import ENTRIES
print("not called:", sorted(kernel.__name__ for kernel in ENTRIES if not kernel.signatures))
sys.exit(code)
"""

#: What users do, each in both precisions, with every compilation counted.
USE = """
import warnings
warnings.simplefilter("ignore")
import numpy as np, pandas as pd
from numba.core import event
compiled = []
class Listener(event.Listener):
    def on_start(self, one):
        compiled.append(str(one.data["dispatcher"]))
    def on_end(self, one):
        pass
event.register("numba:compile", Listener())
import fastlrp as fl
rng = np.random.default_rng(0)
index = pd.MultiIndex.from_product([pd.period_range("2000-01", periods=40, freq="M"), list("abcdefgh")])
for dtype in ("float32", "float64"):
    W, U, V, S = (rng.normal(size=shape).astype(dtype) for shape in ((3, 16), (4, 16), (4, 1), (4, 2)))
    net = fl.Network([fl.LSTM(W, U), fl.Dense(V)], steps=4)
    several = fl.Network([fl.LSTM(W, U, activation="relu"), fl.Dense(S, None, "softmax")], steps=4)
    X = rng.normal(size=(300, 4, 3)).astype(dtype)
    panel = pd.DataFrame(rng.normal(size=(len(index), 3)).astype(dtype), index, list("xyz"))
    shuffled = panel.sample(frac=1, random_state=0)
    for rows in (X, X[:1], X.reshape(100, 12, 3)[:, ::3], panel, shuffled, panel.iloc[:60]):
        net.predict(rows)
        for rule in ("arras", "rudder", fl.Arras(recurrent=False), "gradient_x_input", fl.IntegratedGradients(4)):
            net.explain(rows, rule=rule)
        net.explain(rows, reduce="steps")
        several.explain(rows, target=1)
    fl.Ensemble([net, net]).explain(panel)
    y = pd.Series(rng.normal(size=len(index)), index)
    model = fl.LSTMRegressor(units=(4,), steps=4, max_iter=2, dtype=dtype, random_state=0).fit(panel, y)
    model.predict(panel), model.explain(panel)
    fl.RollingLSTM(model, window=24, step=12).fit(panel, y).predict(panel)
print(len(compiled), *compiled)
"""


@pytest.fixture(scope="module")
def filled():
    """The output of the command, into the session's own cache."""
    done = run_python("-c", COMPILE)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_jobs_call_every_kernel(filled):
    assert "not called: []" in filled


def test_it_says_what_is_where(filled):
    cache = os.environ["NUMBA_CACHE_DIR"]
    found = re.search(r"^(\d+) files, ([\d,]+) bytes, of which (\d+) were there before, in (.*)$", filled, re.M)
    assert found, filled
    assert found[4] == os.path.abspath(cache)
    n_files, size = int(found[1]), int(found[2].replace(",", ""))
    there = [os.path.join(folder, name) for folder, _, names in os.walk(cache) for name in names]
    assert 0 < n_files <= len(there)
    assert size <= sum(map(os.path.getsize, there))
    rows = re.findall(r"^(\S.*?) +(float\d\d) +[\d.]+ +([\d,]+)  (compiled|was there)$", filled, re.M)
    assert size == sum(int(row[2].replace(",", "")) for row in rows)
    assert {row[1] for row in rows} == {"float32", "float64"}
    assert len(rows) == 2 * len({row[0] for row in rows})


def test_a_second_time_all_was_there(filled):
    done = run_python("-c", COMPILE, "--dtype", "float32", "--no-training")
    assert done.returncode == 0, done.stderr[-2000:]
    states = re.findall(r"(compiled|was there)$", done.stdout, re.M)
    assert states
    assert set(states) == {"was there"}
    assert "float64" not in done.stdout
    assert "training" not in done.stdout


def test_then_a_process_compiles_nothing(filled):
    done = run_python("-c", USE)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["0"], done.stdout


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"NUMBA_DISABLE_JIT": "1"}, "fastlrp: NUMBA_DISABLE_JIT is set, so nothing is compiled: unset it"),
        ({"NUMBA_OPT": "0"}, "fastlrp: NUMBA_OPT is 0, at which Numba keeps no code for later processes: unset it"),
    ],
)
def test_it_refuses_where_nothing_would_be_kept(environment, sentence):
    done = run_python("-m", "fastlrp", "compile", **environment)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (2, "", sentence)


def test_it_refuses_a_folder_that_cannot_be_written(tmp_path):
    """A file stands where the folder would be: root, too, cannot write there."""
    (tmp_path / "file").write_text("")
    done = run_python("-m", "fastlrp", "compile", NUMBA_CACHE_DIR=str(tmp_path / "file"))
    sentence = f"fastlrp: NUMBA_CACHE_DIR names {tmp_path / 'file'}, where nothing can be written"
    assert (done.returncode, done.stdout, done.stderr.strip()) == (2, "", sentence)
