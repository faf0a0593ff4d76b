"""CUDA without a GPU: kernels in Numba's simulator and compiled to PTX, and the messages that users see."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, TESTS, run_python

import fastlrp as fl
from fastlrp import kernels
from fastlrp.kernels import cpu

if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # benchmarks are not part of the installed package
pytest.importorskip("numba_cuda", reason="the extra fastlrp[cuda] is not installed")


@pytest.fixture
def no_gpu():
    if kernels._why_no_cuda() is None:
        pytest.skip("a GPU answers here")


def small_network():
    rng = np.random.default_rng(0)
    return fl.Network(
        [fl.LSTM(*(rng.normal(size=s) for s in ((2, 12), (3, 12), (12,)))), fl.Dense(rng.normal(size=(3, 1)))]
    )


def test_kernels_agree_with_the_reference_in_the_simulator():
    run = run_python("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", str(TESTS / "cuda"),
                     NUMBA_ENABLE_CUDASIM="1", NUMBA_DISABLE_JIT="1")  # fmt: skip
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    assert " passed" in run.stdout
    assert "skipped" not in run.stdout


# -- PTX ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capability", [(8, 0), (9, 0)], ids=lambda cc: f"sm_{cc[0]}{cc[1]}")
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", ["tiles_all_shared", "tiles_weights_shared", "tiles_none_shared"])
def test_kernels_compile_to_ptx(name, bits, capability):
    from benchmarks.gpu import compile_ptx

    ptx = compile_ptx(name, bits, capability)
    assert f".target sm_{capability[0]}{capability[1]}" in ptx
    assert ".maxntid 512" in ptx
    assert ".local" not in ptx, "sums must stay in registers"
    space = "global" if name == "tiles_none_shared" else "shared"
    wide = f"ld.{space}.v4.f32" if bits == 32 else f"ld.{space}.v2.f64"
    assert wide in ptx, "weights must be loaded four at a time"
    assert f"fma.rn.f{bits}" in ptx
    if bits == 32:
        for operation in ("fma.rn", "mul", "add", "div.rn"):
            assert f"{operation}.f64" not in ptx, "float32 kernels must not compute in float64"


# -- how work is laid over a card --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("T", "D", "H"), [(1, 1, 1), (5, 16, 16), (5, 16, 32), (12, 96, 64), (60, 96, 128), (3, 7, 400)]
)
@pytest.mark.parametrize(("multiprocessors", "shared_bytes"), [(132, 232_448), (128, 101_376), (20, 48 << 10)])
def test_tiles_fit_the_card(T, D, H, dtype, multiprocessors, shared_bytes):
    from fastlrp.kernels.cuda.device import MOST_THREADS, Card, lay_out
    from fastlrp.kernels.program.inference import make_plan
    from fastlrp.kernels.program.rows import QUADS

    card = Card("a card", multiprocessors, shared_bytes, (64, 32))
    shapes = ((D, 4 * H), (H, 4 * H), (4 * H,))
    net = fl.Network([fl.LSTM(*(np.zeros(s) for s in shapes)), fl.Dense(np.zeros((H, 1)))])
    for shared in (False, True):
        for rule in (None, fl.Arras(), fl.Rudder()):
            plan = make_plan(net, T, np.dtype(dtype), rule=rule, shared=shared, layout=QUADS)
            launch = lay_out(plan, card, shared=shared)
            blocks = launch.blocks // multiprocessors
            assert launch.blocks % multiprocessors == 0
            assert blocks * launch.shared_bytes <= shared_bytes
            assert blocks * launch.threads <= 512  # each thread has 128 registers
            assert launch.lanes <= launch.threads <= MOST_THREADS
            assert launch.threads % 32 == 0
            assert launch.lanes in card.lanes
            held = plan.weights.size * (launch.kernel.__name__ != "tiles_none_shared")
            rows = launch.tile_size * (not launch.scratch)
            assert launch.shared_bytes == (held + rows + 2 * launch.threads) * np.dtype(dtype).itemsize
            # rows lie a whole, odd number of quads apart: they are aligned, and a column of quads touches every bank
            row_length = (launch.tile_size - (plan.month_rows + 1) * launch.months) / plan.rows
            assert row_length == launch.lanes + 4
            assert launch.months % 8 == (4 if shared else 0)


# -- without a GPU -----------------------------------------------------------------------------------------------------


def test_backends_are_called_alike():
    from fastlrp.kernels import cuda

    of_gpu, of_cpu = (inspect.signature(backend.run).parameters for backend in (cuda, cpu))
    assert list(of_cpu.values()) == [*of_gpu.values(), of_cpu["at_step"]]  # a GPU computes no sequences


def test_asking_for_a_gpu_that_is_not_there(no_gpu):
    with pytest.raises(ValueError, match=r"^device='cuda' is not available: no NVIDIA GPU answers \(.+\)$"):
        small_network().predict(np.zeros((1, 2, 2)), device="cuda")


def test_the_command_line_says_so_in_a_sentence(no_gpu, tmp_path, capsys):
    from fastlrp.cli import main
    from fastlrp.data import model_path

    data = Path(fl.__file__).parent / "data" / "panel.csv.gz"
    out = tmp_path / "out.csv"
    command = ["explain", str(model_path()), str(data), "-o", str(out), "--drop", "ret_next", "--device", "cuda"]
    assert main(command) == 2
    assert "--device cuda is not available: no NVIDIA GPU answers" in capsys.readouterr().err
    assert not out.exists()


def test_asking_for_a_gpu_without_the_package(monkeypatch):
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r'missing: pip install "numba-cuda\[cu13\]" \(or, in a checkout of .* "\.\[cuda\]"\)'
    ):
        small_network().predict(np.zeros((1, 2, 2)), device="cuda")


def test_auto_looks_for_a_gpu_only_where_it_is_worth_it(monkeypatch):
    asked = []
    monkeypatch.setattr(kernels, "_why_no_cuda", lambda **_: asked.append(1) or "none")
    assert kernels.get_backend("auto", None, 1e11) is cpu
    assert not asked
    assert kernels.get_backend("auto", None, 1e13) is cpu
    assert asked
    assert kernels.get_backend("cpu", None, 1e13) is cpu
    monkeypatch.setattr(kernels, "_why_no_cuda", lambda **_: None)
    from fastlrp.kernels import cuda

    assert kernels.get_backend("auto", None, 1e13) is cuda


def test_auto_computes_on_the_cpu_where_the_gpu_fails(monkeypatch):
    class Broken:
        @staticmethod
        def run(*_, **__):
            raise RuntimeError("the GPU failed: CUDA_ERROR_NO_BINARY_FOR_GPU")

    net, X = small_network(), np.ones((3, 2, 2))
    want = net.explain(X)
    net = small_network()  # the other would know already where three samples were computed
    choose = kernels.get_backend
    monkeypatch.setattr("fastlrp.explain.get_backend", lambda device, *a: choose("cpu") if device == "cpu" else Broken)
    with pytest.warns(
        RuntimeWarning, match="computed on the CPU instead: the GPU failed: CUDA_ERROR_NO_BINARY"
    ) as said:
        got = net.explain(X)
    assert said[0].filename == __file__
    assert np.array_equal(got.values, want.values)
    with pytest.raises(RuntimeError, match="the GPU failed"):
        net.explain(X, device="cuda")


def test_an_array_that_fails_to_say_where_it_is_is_on_the_host():
    class Odd:
        @property
        def __cuda_array_interface__(self):
            raise RuntimeError("not on a GPU")

    assert not kernels.on_gpu(Odd())
    assert not kernels.on_gpu(np.ones(3))
    assert kernels.on_gpu(type("There", (), {"__cuda_array_interface__": {}})())


def test_a_broken_installation_is_a_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastlrp.kernels.cuda", None)
    with pytest.raises(ValueError, match=r"device='cuda' is not available: numba-cuda does not work here \("):
        small_network().predict(np.zeros((1, 2, 2)), device="cuda")


def test_nothing_of_cuda_is_imported_before_it_is_asked_for():
    code = (
        "import sys, numpy as np, fastlrp as fl; net = fl.Network([fl.LSTM(np.ones((2, 4)), np.ones((1, 4)))]);"
        "net.explain(np.ones((1, 2, 2)));"
        "assert 'fastlrp.kernels.cpu' in sys.modules;"
        "loaded = ('fastlrp.kernels.cuda', 'cuda.', 'numba.cuda.cudadrv');"
        "assert not [name for name in sys.modules if name.startswith(loaded)]"
    )
    run = run_python("-c", code)
    assert run.returncode == 0, run.stderr
