"""The benchmarks at a tiny size: every peer answers the same question, and the file holds what was measured."""

from __future__ import annotations

import os
import platform
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import reference
from helpers import close

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # not part of the installed package; last, so that it shadows nothing

from benchmarks import machine, peers, report, timing  # noqa: E402
from benchmarks.__main__ import main  # noqa: E402
from benchmarks.cases import KINDS, SHAPES, STAC, TINY, TINY_STACK, Case  # noqa: E402
from benchmarks.peers import numpy_peer  # noqa: E402
from benchmarks.peers.base import Layout  # noqa: E402
from benchmarks.runner import PeerRunner, deviation, oracle  # noqa: E402
from benchmarks.sections import SECTIONS, evidence, gradients, panel, stac, starting  # noqa: E402
from benchmarks.workers import Worker, WorkerError, cores  # noqa: E402

COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"


def load(name):
    """A peer's class, or a skip that says what is missing; peers' own warnings at import are ignored."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return peers.load(name)
    except peers.PeerMissingError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("case", [TINY, TINY_STACK], ids=["one", "stack"])
@pytest.mark.parametrize("kind", KINDS)
def test_numpy_peer_agrees_with_the_reference(case, kind):
    w, X = case.weights(np.float64), case.inputs(np.float64)
    if kind not in numpy_peer.NumpyPeer(w, 1).offered:
        pytest.skip("not computed of a stack")
    lstm = {"kind": "lstm", "go_backwards": False, "activation": "tanh", "recurrent_activation": "sigmoid"}
    layers = [
        {**lstm, "W": W, "U": U, "b": b, "return_sequences": k < case.layers - 1} for k, (W, U, b) in enumerate(w.stack)
    ]
    layers += [{"kind": "dense", "W": w.V, "b": w.c, "activation": "linear"}]
    if kind == "forward":
        want = np.array([reference.predict(layers, x)[0] for x in X])
    else:
        want = np.array([reference.explain(layers, x, reference.Rule(kind)).relevance for x in X])
    close(numpy_peer.NumpyPeer(w, 1).answer(kind, X), want, 1e-12)


@pytest.mark.parametrize("case", [TINY, TINY_STACK], ids=["one", "stack"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["fastlrp", "NumPy", "torch", "JAX", "ONNX Runtime", "OpenVINO"])
def test_peer_agrees_with_float64(name, kind, case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rudder's own, and deprecations in a peer's library
        peer = load(name)(case.weights(), 1)
        if kind not in peer.offered:
            pytest.skip("not computed by this peer")
        got = peer.answer(kind, case.inputs())
    assert got.dtype == np.float32
    found = deviation(got, oracle(case, kind))
    assert found.median < 1e-5
    assert found.worst < 1e-3


def test_physioex_agrees_where_stabilisers_vanish():
    w, X, eps = TINY.weights(np.float64), TINY.inputs(np.float64), 1e-9
    got = load("physioex")(w, 1, eps=eps).answer("arras", X)
    close(got, numpy_peer.arras(w, X, eps), 1e-5)


@pytest.mark.parametrize("name", ["NumPy", "torch", "JAX", "ONNX Runtime", "OpenVINO"])
@pytest.mark.parametrize("layout", [Layout(1), Layout(3), Layout(4, "python")], ids=str)
def test_cut_batches_give_the_whole_batch(name, layout):
    peer, X = load(name)(TINY.weights(), 2), TINY.inputs()
    for kind in peer.kinds:
        parts = peer.run(kind, peer.cut(X, layout), layout)
        assert len(parts) == layout.chunks
        close(np.concatenate([peer.fetch(part) for part in parts]), peer.answer(kind, X), 1e-4)


def test_unknown_or_missing_peer_is_named(monkeypatch):
    monkeypatch.setitem(peers._MODULES, "nobody", "no_such_module")
    with pytest.raises(peers.PeerMissingError, match="nobody cannot be imported"):
        peers.load("nobody")


def test_cases_repeat_themselves_and_count_their_products():
    few, many = TINY.scaled(5), TINY.scaled(50)
    assert np.array_equal(few.inputs(), many.inputs()[:5])
    assert all(np.array_equal(a, b) for a, b in zip(few.weights(), many.weights(), strict=True))
    assert np.array_equal(few.weights(np.float64).U.astype(np.float32), few.weights().U)
    assert Case(5, 16, 16, 1).explain_flops("arras") == 1.25 * Case(5, 16, 16, 1).forward_flops
    assert Case(5, 16, 16, 1).forward_flops == 5 * (16 + 16) * 64 * 2 + 32
    assert all(shape.panel_flops < shape.explain_flops("arras") for shape in SHAPES)
    assert TINY_STACK.forward_flops == 4 * (6 + 5 * 8) * 32 * 2 + 16
    # a weight is used once a step, and twice counted; biases are not
    parameters = {"LSTM_A": 160_901, "LSTM_B": 1_002_601, "LSTM_C": 30_017_001}
    for name, case in STAC.items():
        biases = case.layers * 4 * case.units + 1
        assert parameters[name] == (case.forward_flops / 2 - case.units) / case.steps + case.units + biases


def test_shapes_of_the_benchmark_of_finance(monkeypatch):
    """At a tiny size: a row for each library and call, the goals where both were measured, what is absent, by name."""
    found = stac.measure(TINY_STACK, report.Options(1, quick=True), ("fastlrp", "ONNX Runtime", "nobody"))
    assert "KeyError: 'nobody'" in found.absent.pop("nobody")
    assert set(found.absent) <= {"ONNX Runtime"}
    lines = stac.results_table(TINY_STACK, found, "24.0").splitlines()
    assert [line.split(" |")[0] for line in lines[2:4]] == ["| fastlrp, predict", "| fastlrp, explain"]
    assert lines[-1] == "| FPGA, predict, as published |  | 24.0 |  |  |"
    p50, p99, calls = found.single["fastlrp", "arras"]
    assert 0 < p50 <= p99
    assert calls >= 10
    goals = [len(stac.goal_rows(model, found, k)) for k, model in enumerate(STAC)]
    assert goals == ([0, 0, 0] if found.absent else [2, 1, 0])
    found.absent["somebody"] = "is not installed"
    monkeypatch.setattr(stac, "measure", lambda case, options: found)
    text = stac.run(report.Options(1, quick=True))
    assert text.count("| fastlrp, explain |") == len(STAC)
    assert "### LSTM_C: 100 steps x 500 features, 4 x LSTM(1000), Dense(1); batches of 6\n" in text
    assert "Not measured: somebody: is not installed" in text
    assert f"the fewest were\n{min(calls for *_, calls in found.single.values())}." in text


def test_runner_in_a_worker_tunes_rounds_and_answers():
    case = TINY.scaled(1024)
    start = time.perf_counter()
    with Worker("benchmarks.runner:PeerRunner", 1, peer="NumPy", case=case, threads=1) as worker:
        assert worker.call("tune", kind="arras", threaded="library") in {"1,024", "512", "256", "128"}
        assert worker.call("tune", kind="arras", threaded="python") is None  # there is only one thread
        assert 0 < worker.call("round", kind="arras") < time.perf_counter() - start
        assert deviation(worker.call("answer", kind="arras", samples=64), oracle(case, "arras", 64)).worst < 1e-2
        with pytest.raises(WorkerError, match="KeyError"):
            worker.call("round", kind="rudder")  # this one was not tuned


def test_worker_that_cannot_start_says_why():
    with pytest.raises(WorkerError, match="KeyError: 'nobody'"):
        Worker("benchmarks.runner:PeerRunner", 1, peer="nobody", case=TINY, threads=1)


def test_worker_gets_its_threads_before_libraries_load():
    with Worker("benchmarks.workers:Surroundings", 1) as worker:
        found = worker.call("settings")
    assert {value for key, value in found.items() if key.endswith("THREADS")} == {"1"}
    assert found["cores"] == "1" or not hasattr(os, "sched_setaffinity")


def test_one_sample_at_once():
    taken = PeerRunner("NumPy", TINY, 1).once("arras", 20)
    assert taken.shape == (20,)
    assert (taken > 0).all()


def test_deviation_is_relative_to_each_sample():
    want = np.array([[1.0, -2.0], [100.0, 50.0], [4.0, 0.0]])
    found = deviation(want + np.array([[0.0, 0.02], [0.0, 0.1], [0.0, 0.0]]), want)
    assert found.worst == pytest.approx(0.01)
    assert found.median == pytest.approx(0.001)


def test_rounds_alternate_and_medians_are_medians():
    order = []
    calls = {name: lambda name=name: order.append(name) or len(order) for name in "ABC"}
    found = timing.alternate(calls, 3)
    assert "".join(order) == "ABCABCABC"
    assert found["B"].rounds == (2, 5, 8)
    assert found["B"].median == 5
    assert found["B"].spread == pytest.approx(1.5 / 5)
    assert str(timing.Timing((0.25,))) == "0.25 ±0 %"


def test_a_round_does_not_count_the_first_call(monkeypatch):
    calls = []
    timing.round_of(lambda: calls.append(1), most=4)
    assert len(calls) == 5
    for first, counted in ((0.3, 3), (2.0, 1)):
        taken = iter([first, *range(1, 9)])
        monkeypatch.setattr(timing, "seconds", lambda call, taken=taken: next(taken))
        assert timing.round_of(lambda: None) == (counted + 1) / 2, "the median of 1, 2 ... and not of the first"


def test_table_has_a_cell_for_each_head():
    lines = report.table(("library", "s"), [("a", 1.5), ("b", "2 ±3 %")]).splitlines()
    assert lines == ["| library | s |", "|---|---:|", "| a | 1.5 |", "| b | 2 ±3 % |"]
    with pytest.raises(ValueError, match="a row has 1 cells, expected 2"):
        report.table(("library", "s"), [("a",)])


def test_file_keeps_other_sections_and_tells_losses(tmp_path):
    path, order = tmp_path / "results.md", ["one", "two", "three"]
    won = report.goals([report.at_least("speed", 3.0, 2.0)])
    lost = report.goals([report.at_most("ratio", 0.75, 0.5), report.at_most("memory", 1.0, 1.15, "{:.2f}")])
    report.write(path, "two", "znver4", f"## Second\n\n{lost}", order)
    report.write(path, "one", "znver4", f"## First\n\n{won}", order)
    text = path.read_text(encoding="utf-8")
    assert list(report.sections(text)) == [("one", "znver4"), ("two", "znver4")]
    assert report.sections(text)["two", "znver4"] == f"## Second (znver4)\n\n{lost}"
    assert "Goals: 2 of 3 passed." in text
    assert "- Second: ratio: 0.75x, asked at most 0.50x" in text
    report.write(path, "two", "znver4", f"## Second\n\n{won}", order)
    assert "Goals: 2 of 2 passed." in path.read_text(encoding="utf-8")
    assert "Missed" not in path.read_text(encoding="utf-8")
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.md"]


def test_file_keeps_the_sections_of_other_machines(tmp_path):
    path, order = tmp_path / "results.md", ["one", "two"]
    speeds = {2.0: "two", 3.0: "three"}
    for kind, speed in (("znver4", 3.0), ("haswell as generic", 1.0), ("znver4", 2.0)):
        for name in order:
            goal = report.goals([report.at_least(speeds.get(speed, "one"), speed, 1.5)])
            report.write(path, name, kind, f"## {name}\n\n{goal}", order)
    text = path.read_text(encoding="utf-8")
    assert list(report.sections(text)) == [(name, kind) for name in order for kind in ("znver4", "haswell as generic")]
    assert "three" not in text, "the later measurement takes the earlier one's place"
    assert "**znver4.** Goals: 2 of 2 passed." in text
    assert "**haswell as generic.** Goals: 0 of 2 passed." in text
    assert "- two: one: 1.00x, asked at least 1.50x" in text


def test_results_name_every_section_and_its_machine():
    text = (ROOT / "benchmarks" / "results.md").read_text(encoding="utf-8")
    found = report.sections(text)
    assert text == report.compose(found), "the file is written by python -m benchmarks alone"
    assert {name for name, _ in found} <= set(SECTIONS)
    for (name, kind), body in found.items():
        assert body.splitlines()[0].endswith(f" ({kind})"), name


def test_a_number_that_is_none_is_a_miss():
    assert report.at_least("share", float("nan"), 0.5)[-1] == report.MISS
    assert report.at_most("ratio", float("nan"), 0.5)[-1] == report.MISS


def test_windows_beside_a_panel_are_its_windows():
    both = panel.Panels(Case(3, 2, 4, 0), stocks=5, months=7, threads=1)
    frame = both.panel
    assert both.windows.shape == (25, 3, 2)
    month, stock = 2, 3  # the third full window's month, the fourth stock
    own = frame.xs(10_000 + stock, level="permno").to_numpy()
    assert np.array_equal(both.windows[month * 5 + stock], own[month : month + 3])
    assert frame.index.names == ["month", "permno"]
    assert both.first == 10


@pytest.mark.skipif(not COMPILED, reason="the peak is compiled code; Numba's compiler is off in this session")
def test_peak_is_counted_and_keeps_to_registers():
    peak = pytest.importorskip("benchmarks.peak")
    try:
        bits, chains = peak.vector_block()
    except RuntimeError as error:
        pytest.skip(str(error))
    assert peak.flops_per_step(np.float32) == 2 * chains * bits // 32
    assert peak.Peak(1).rate(lasting=0.002) > 1e8
    if platform.machine() not in ("x86_64", "AMD64"):
        return
    (signature,) = (s for s in peak.fma_chains.signatures if "float32" in str(s))
    loop = peak.fma_chains.inspect_asm(signature).splitlines()
    fused = [k for k, line in enumerate(loop) if "vfmadd" in line]
    between = loop[fused[0] : fused[0] + chains]
    assert sum("vfmadd" in line for line in between) >= chains - 2  # only the counter stands beside them
    assert not any("rsp" in line for line in between)


def test_controls_are_timed_in_turn():
    found = gradients.Controls(TINY).times(rounds=1, threads=1)
    assert list(found) == ["arras", "gradient x input", "integrated gradients"]
    assert all(timing.median > 0 for timing in found.values())


def test_evidence_is_timed_on_some_rows():
    of = evidence.Evidence(rows=400, threads=1)
    assert of.windows.shape == (evidence.POINTS * of.samples(), 12, 20)
    assert all(of.time(what, "feature") > 0 for what in ("predictions", "faithfulness", "compare"))
    assert np.isfinite(of.numbers("arras", "cell")).all()


def test_a_new_process_can_be_timed():
    start = time.perf_counter()
    assert 0.05 < starting.python("import time; time.sleep(0.05)") < time.perf_counter() - start


def test_command_line_refuses_in_a_sentence(capsys):
    assert main(["--threads", "0"]) == 2
    assert f"--threads takes 1 to {len(cores())}" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["--only", "nothing"])
    assert stop.value.code == 2
    assert "invalid choice: 'nothing'" in capsys.readouterr().err


def test_command_line_writes_what_it_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(SECTIONS, "latency", lambda options: f"## Latency\n\n{options.threads} threads")
    path = tmp_path / "results.md"
    assert main(["--only", "latency", "--threads", "1", "--output", str(path)]) == 0
    assert f"## Latency ({machine.kind()})\n\n1 threads" in path.read_text(encoding="utf-8")

    def fails(options):
        raise WorkerError("it broke")

    monkeypatch.setitem(SECTIONS, "latency", fails)
    assert main(["--only", "latency", "--threads", "1", "--output", str(path)]) == 1
    assert "section latency failed: it broke" in capsys.readouterr().err
    assert f"## Latency ({machine.kind()})\n\n1 threads" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_torch_on_a_device_agrees_with_numpy(kind):
    """The GPU benchmark's peer, on the CPU."""
    load("torch")
    from benchmarks.peers.gpu_peers import TorchOnDevice

    w, X = TINY.weights(np.float64), TINY.inputs(np.float64)
    peer = TorchOnDevice(w, "cpu")
    call = peer.variants(kind)["eager"](peer.put(X))
    close(peer.fetch(call()), numpy_peer.FUNCTIONS[kind](w, X), 1e-12)


def test_gpu_results_say_what_was_not_measured(tmp_path, monkeypatch):
    pytest.importorskip("numba_cuda", reason="the extra fastlrp[cuda] is not installed")
    from benchmarks import gpu
    from fastlrp.kernels.cuda import why_unavailable

    if why_unavailable(simulated=False) is None:
        pytest.skip("a GPU answers here")
    monkeypatch.setattr(gpu, "compiled", lambda: iter([("a kernel", "9.0", 128, 0, "1 kB")]))
    path = tmp_path / "results-gpu.md"
    assert gpu.main(["--output", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    assert "Nothing was measured on a GPU" in text
    assert "200 million samples a second" in text
    assert "| H100, (12, 96, 64) | tiles_weights_shared | 64 | 512 |" in text
