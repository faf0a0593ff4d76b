"""``python -m benchmarks.gpu``: fastlrp on a GPU beside torch and CuPy on the same one; (re)writes results-gpu.md.

Without a GPU it writes what can be known without one, namely the compiler's output for the kernels and the layout of
tiles on cards, and says that nothing was measured.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from benchmarks import machine
from benchmarks.cases import KINDS, RULES, SHAPES, Array, Case
from benchmarks.report import at_least, goals, table, tell

#: Factor on the CPU cases' number of samples, to fill a GPU.
FILL = 20
ROUNDS = 20
#: Goals on an H100: samples a second at the first shape, speed over torch's forward plus relevance, share of peak.
SAMPLES_A_SECOND, OVER_TORCH, SHARE_OF_PEAK, SHARE_OF_COPY = 200e6, (5.0, 5.0, 5.0, 2.0), 0.30, 0.80
CARDS = (("H100", 132, 232_448), ("A100", 108, 166_912), ("RTX 4090", 128, 101_376))
KERNELS = ("tiles_all_shared", "tiles_weights_shared", "tiles_none_shared")

GOALS_OPEN = f"""\
- (5, 16, 16): {SAMPLES_A_SECOND / 1e6:.0f} million samples a second, forward plus arras, data on an H100;
- at least 5x torch's forward plus relevance at the first three shapes and 2x at (60, 96, 128);
- at least 30 % of the float32 peak at (12, 96, 64);
- from host memory at least 80 % of what the copy to and from the card allows;
- tests/cuda on a GPU (1e-4 of scale in float32, 1e-10 in float64)."""


# ---- what needs no GPU -----------------------------------------------------------------------------------------------


def _network(case: Case) -> Any:
    from benchmarks.peers.fastlrp_peer import network

    return network(case.weights(), case.steps)


def compile_ptx(name: str, bits: int, capability: tuple[int, int]) -> str:
    """A kernel's PTX, without a GPU: Numba asks for the current device and is given a stand-in."""
    from numba import cuda, from_dtype, types
    from numba.cuda import dispatcher

    from fastlrp.kernels.cuda import kernel
    from fastlrp.kernels.cuda.device import MOST_THREADS
    from fastlrp.kernels.program.instructions import INSTRUCTION

    number = getattr(types, f"float{bits}")[::1]
    job, program = (types.Array(from_dtype(dtype), 1, "C") for dtype in (kernel.JOB, INSTRUCTION))
    whole, yes = types.int64[::1], types.boolean[::1]
    arguments = (job, number, program, program, program, number, number, whole, yes, *[number] * 6, whole)
    device = SimpleNamespace(compute_capability=capability)
    with mock.patch.object(dispatcher, "get_current_device", return_value=device):
        ptx, _ = cuda.compile(
            getattr(kernel, name), arguments, cc=capability, device=False, abi="numba", launch_bounds=MOST_THREADS
        )
    return str(ptx)


def _ptxas() -> str | None:
    """The assembler, from the package nvidia-cuda-nvcc or from the path."""
    here = [path for folder in sys.path for path in Path(folder or ".").glob("nvidia/*/bin/ptxas")]
    return str(here[0]) if here else shutil.which("ptxas")


def _assembled(ptx: str, capability: tuple[int, int]) -> tuple[object, object]:
    """Registers of a thread, and bytes spilled from them."""
    ptxas = _ptxas()
    if ptxas is None:
        return "no ptxas", "no ptxas"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        command = [ptxas, "-v", f"-arch=sm_{capability[0]}{capability[1]}", str(source), "-o", "/dev/null"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    registers, spilled = re.search(r"Used (\d+) registers", said), re.search(r"(\d+) bytes spill loads", said)
    assert registers
    assert spilled
    return int(registers[1]), int(spilled[1])


def compiled() -> Iterator[tuple[object, ...]]:
    """The compiler's result for each kernel."""
    for capability in ((8, 0), (9, 0)):
        for name in KERNELS:
            for bits in (32, 64):
                tell(f"compiling {name}, float{bits}, compute capability {capability}")
                ptx = compile_ptx(name, bits, capability)
                kind = f"{capability[0]}.{capability[1]}"
                yield f"{name}, float{bits}", kind, *_assembled(ptx, capability), f"{len(ptx) // 1000} kB"


def layouts() -> Iterator[tuple[object, ...]]:
    """The layout of each shape's tiles on the cards."""
    from fastlrp.kernels.cuda.device import Card, lay_out
    from fastlrp.kernels.program.inference import make_plan
    from fastlrp.kernels.program.rows import QUADS
    from fastlrp.rules import Arras

    for name, multiprocessors, shared_bytes in CARDS:
        card = Card(name, multiprocessors, shared_bytes, (64, 32))
        for case in SHAPES:
            plan = make_plan(_network(case), case.steps, np.dtype(np.float32), rule=Arras(), layout=QUADS)
            launch = lay_out(plan, card, shared=False)
            scratch = launch.blocks * launch.tile_size * 4 / 1e6 if launch.scratch else 0
            yield (
                f"{name}, ({case.label})", launch.kernel.__name__, launch.lanes, launch.threads,
                launch.blocks // multiprocessors, f"{launch.shared_bytes / 1024:.0f} KiB", f"{scratch:.0f} MB",
            )  # fmt: skip


def known_without() -> str:
    """Results of the compiler and the layout, the same on any machine."""
    about = (
        "Kernels compiled to PTX and, where the assembler is installed, to machine code. Registers are limited to 128 "
        "a thread, for blocks of 512; what did not fit are addresses and counters outside the loops that multiply: "
        "those hold 64 multiply-adds for about 37 other instructions (float32) and touch no local memory."
    )
    made = table(("kernel", "compute capability", "registers", "spill loads, B", "PTX"), compiled())
    columns = "card and shape", "kernel", "samples a tile", "threads a block", "blocks a multiprocessor"
    laid = table((*columns, "shared memory a block", "rows in global memory"), layouts())
    tiles = "Tiles of the benchmark's shapes (float32, arras, arrays):"
    return "\n\n".join(["## Known without a GPU", about, made, tiles, laid])


# ---- on a GPU --------------------------------------------------------------------------------------------------------


def _event_seconds(call: Callable[[], Any], rounds: int) -> float:
    """Median seconds of a call between two CUDA events, after warm-up calls."""
    from numba import cuda

    taken = []
    for _ in range(rounds + 3):
        start, end = cuda.event(), cuda.event()
        cuda.synchronize()
        start.record()
        call()
        cuda.synchronize()  # peers may launch on streams of their own
        end.record()
        end.synchronize()
        taken.append(start.elapsed_time(end) / 1000)
    return statistics.median(taken[3:])


def _error(got: Array, want: Array) -> float:
    return float(np.abs(got - want).max() / np.abs(want).max())


def _rows(case: Case, rounds: int) -> Iterator[tuple[str, str, float, float]]:
    """(library, kind, seconds, error) of every variant; one that fails is reported, with NaN for its time."""
    from numba import cuda

    from benchmarks.peers import gpu_peers, numpy_peer

    weights, X, net = case.weights(), case.inputs(), _network(case)
    few, exact = X[:512].astype(np.float64), case.weights(np.float64)
    wanted = {kind: numpy_peer.FUNCTIONS[kind](exact, few) for kind in KINDS}
    there = cuda.to_device(X)
    for kind in KINDS:
        call = (lambda: net.predict(there)) if kind == "forward" else (lambda rule=kind: net.explain(there, rule=rule))
        result = call() if kind == "forward" else call().values
        yield "fastlrp", kind, _event_seconds(call, rounds), _error(result.copy_to_host()[:512], wanted[kind])
    peers: list[Any] = [gpu_peers.TorchOnDevice(weights, "cuda")]
    try:
        peers.append(gpu_peers.CupyPeer(weights))
    except ImportError:
        tell("CuPy is not installed")
    for peer in peers:
        held = peer.put(X)
        for kind in KINDS:
            for way, prepare in peer.variants(kind).items():
                try:
                    call = prepare(held)
                    error = _error(peer.fetch(call())[:512], wanted[kind])
                    yield f"{peer.name}, {way}", kind, _event_seconds(call, rounds), error
                except Exception as failure:  # out of memory, or no compiler for torch.compile: reported, not hidden
                    tell(f"{peer.name}, {way}, {kind}: {type(failure).__name__}: {str(failure)[:200]}")
                    yield f"{peer.name}, {way}", kind, float("nan"), float("nan")


def _float32_peak() -> float:
    """Peak float32 operations a second of the card, from its clock and multiprocessors."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    return 2.0 * 128 * properties.multi_processor_count * torch.cuda.clock_rate() * 1e6


def measure_shape(index: int, case: Case, rounds: int) -> str:
    """One shape's table and goals."""
    found = list(_rows(case, rounds))
    times = {(library, kind): seconds for library, kind, seconds, _ in found if seconds == seconds}
    asked = []
    for rule in RULES:
        best = min(s for (library, kind), s in times.items() if kind == rule and library.startswith("torch"))
        asked.append(at_least(f"{rule}: times torch's best", best / times["fastlrp", rule], OVER_TORCH[index]))
    rate = case.samples / times["fastlrp", "arras"]
    if index == 0:
        asked.append(at_least("arras: million samples a second", rate / 1e6, SAMPLES_A_SECOND / 1e6, "{:.0f}"))
    if index == 2:
        share = case.explain_flops("arras") * rate / _float32_peak()
        asked.append(at_least("arras: share of the float32 peak", share, SHARE_OF_PEAK, "{:.0%}"))
    rows = [
        (library, kind, f"{1000 * s:.3f}", f"{case.samples / s / 1e6:.1f}", f"{error:.0e}")
        for library, kind, s, error in found
    ]
    head = f"### Shape (T, D, H) = ({case.label}), {case.samples:,} samples"
    columns = "library", "kind", "ms", "million samples a second", "error"
    return "\n\n".join([head, table(columns, rows), goals(asked)])


def measure_host(case: Case, rounds: int) -> str:
    """From host memory: X in, relevance out, against copies of as many bytes between pinned memory and the card."""
    from numba import cuda

    X, net = case.inputs(), _network(case)
    net.explain(X, device="cuda")
    whole = _event_seconds(lambda: net.explain(X, device="cuda"), max(3, rounds // 4))
    pinned, there = cuda.pinned_array(X.shape, X.dtype), cuda.device_array(X.shape, X.dtype)
    one, two = cuda.stream(), cuda.stream()
    back, other = cuda.pinned_array(X.shape, X.dtype), cuda.device_array(X.shape, X.dtype)

    def copies() -> None:
        there.copy_to_device(pinned, stream=one)
        other.copy_to_host(back, stream=two)

    copied = _event_seconds(copies, rounds)
    return "\n\n".join(
        [
            f"## From host memory: ({case.label}), {case.samples:,} samples",
            f"explain from and to NumPy's arrays {1000 * whole:.1f} ms; copying as many bytes both ways at once "
            f"between page-locked memory and the card {1000 * copied:.1f} ms.",
            goals([at_least("share of what the copy allows", copied / whole, SHARE_OF_COPY, "{:.0%}")]),
        ]
    )


def measured(quick: bool) -> str:
    import torch

    rounds = 5 if quick else ROUNDS
    fill = 2 if quick else FILL
    torch.backends.cuda.matmul.allow_tf32 = False
    shapes = [measure_shape(k, case.scaled(fill * case.samples), rounds) for k, case in enumerate(SHAPES)]
    name = torch.cuda.get_device_name(0)
    return "\n\n".join(
        [
            f"## On a {name}, data on the card",
            "Network LSTM(H) + Dense(1), float32 without tf32; median between CUDA events, warmed, results allocated "
            "anew in each call, checks and totals included. torch's forward is cuDNN's nn.LSTM. Errors: largest "
            "difference from float64 NumPy over the largest value, of the first 512 samples.",
            *shapes,
            measure_host(SHAPES[0].scaled(fill * SHAPES[0].samples), rounds),
            f"{name}; torch {torch.__version__}; " + machine.describe(("fastlrp", "Numba", "NumPy"), 1),
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples, few rounds")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results-gpu.md")
    options = parser.parse_args(arguments)
    from fastlrp.kernels.cuda import why_unavailable

    missing = why_unavailable(simulated=False)
    if missing is None:
        body = measured(options.quick)
    else:
        reason = missing.split(" (")[0]
        body = f"## Nothing was measured on a GPU\n\nHere {reason}. These goals are open:\n\n{GOALS_OPEN}"
    head = "# On a GPU\n\nWritten by `python -m benchmarks.gpu`; do not edit."
    options.output.write_text("\n\n".join([head, body, known_without()]) + "\n", encoding="utf-8")
    print(f"Wrote {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
