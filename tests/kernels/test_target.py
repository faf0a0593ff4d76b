"""The processor that kernels are compiled for, and processes that cannot keep compiled code."""

import platform
import shutil

import numpy as np
import pytest
from helpers import ROOT, run_python

PACKAGE = ROOT / "fastlrp"
#: Where code is only to be compiled, in less time. (At 0, Numba keeps nothing.)
FAST = {"NUMBA_OPT": "1"}

EXPLAIN = """
import numpy as np
import fastlrp as fl
rng = np.random.default_rng(4)
T, D, H = 3, 4, 5
W, U, b, V = (0.5 * rng.normal(size=shape) for shape in ((D, 4 * H), (H, 4 * H), (4 * H,), (H, 1)))
net = fl.Network([fl.LSTM(W, U, b), fl.Dense(V, None)])
X = rng.normal(size=(3, T, D))
found = net.explain(X, rule=fl.Arras(delta=1))
whole = found.values.sum(axis=(1, 2)) + found.initial_state + found.unattributed
np.testing.assert_allclose(whole, found.score, rtol=0, atol=1e-12 * abs(found.score).max())
"""


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="looks at x86 instructions")
def test_a_processor_without_fused_multiply_add_gets_two_instructions():
    """On the processor that Numba calls generic, a function call for each number was 40 times as slow."""
    check = """
from fastlrp.kernels.cpu.few import run_few
from fastlrp.kernels.cpu.tiles import run_tiles
net.explain(np.concatenate([X] * 4))
code = "".join([*run_tiles.inspect_asm().values(), *run_few.inspect_asm().values()])
assert "mulpd" in code and "addpd" in code, "no vector code at all"
calls = [line.strip() for line in code.splitlines() if "fma" in line]
assert not calls, calls[:3]
"""
    done = run_python("-c", EXPLAIN + check, NUMBA_CPU_NAME="generic")
    assert done.returncode == 0, done.stderr[-2000:]


#: The product's code for an aarch64 processor, compiled on any: addresses instead of arrays, whose counts of references
#: are instructions of the host.
NEON = """
import platform
import re
import sys

platform.machine = lambda: "aarch64"
import llvmlite.binding as llvm
from numba import types
from fastlrp.kernels.cpu.product import WIDE, product

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
triple = "aarch64-unknown-linux-gnu"
try:
    target = llvm.Target.from_triple(triple)
except RuntimeError:
    sys.exit("no aarch64")
for number in (types.float32, types.float64):
    p, i = types.CPointer(number), types.int64
    product.compile((p, i, i, p, i, p, i, p, i, i, p, i, i, p, i, p, i))
    (code,) = (code for signature, code in product.inspect_llvm().items() if signature[0] == p)
    code = re.sub("target triple = .*", f'target triple = "{triple}"', code)
    code = re.sub('target datalayout = .*|"target-(cpu|features)"="[^"]*"', "", code)
    for cpu in ("generic", "apple-m1", "neoverse-v1"):
        machine = target.create_target_machine(cpu=cpu, opt=3)
        blocks = re.split(r"^\\.?\\w+:", machine.emit_assembly(llvm.parse_assembly(code)), flags=re.MULTILINE)
        bodies = [[line.strip() for line in block.splitlines() if line.startswith("\\t")] for block in blocks]
        fused = max(sum(line.startswith("fmla") for line in body) for body in bodies)
        loops = [body for body in bodies if sum(line.startswith("fmla") for line in body) == fused]
        shortest = sorted(loops, key=len)[:2]
        on_stack = sum("[sp" in line for body in shortest for line in body)
        print(number, cpu, fused == 6 * WIDE, len(shortest[1]) - fused, on_stack)
"""


def test_products_for_aarch64_keep_their_sums_in_registers():
    """The two inner loops of a block of 6 x 4 vectors, one for each source, have 24 multiply-adds and few instructions
    beside them (11 when this was written), and nothing of theirs lies on the stack."""
    features = "+neon" if platform.machine().lower() in ("arm64", "aarch64") else "+sse2"
    done = run_python("-c", NEON, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES=features)
    if done.stderr.strip() == "no aarch64":
        pytest.skip("this LLVM does not compile for aarch64")
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[1] for line in lines] == 2 * ["generic", "apple-m1", "neoverse-v1"]
    for _, _, full, beside, on_stack in lines:
        assert (full, on_stack) == ("True", "0"), done.stdout
        assert int(beside) <= 13, done.stdout


def test_kernels_compile_where_nothing_can_be_kept(tmp_path):
    """A read-only installation and home, even for root: files take the place of Numba's folders."""
    shutil.copytree(PACKAGE, tmp_path / "fastlrp", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("cpu", "training"):
        (tmp_path / "fastlrp" / "kernels" / folder / "__pycache__").write_text("")
    (tmp_path / "home").write_text("")
    nowhere = str(tmp_path / "home" / "cache")
    environment = {
        "XDG_CACHE_HOME": nowhere,
        "HOME": nowhere,
        "NUMBA_CACHE_DIR": "",
        "PYTHONPATH": str(tmp_path),
    } | FAST
    done = run_python(
        "-c",
        EXPLAIN + "net.explain(X.astype('f4')); import fastlrp.kernels.training.epochs",
        cwd=tmp_path,
        **environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("NUMBA_CACHE_DIR") == 1, done.stderr


def test_code_that_is_kept_is_not_used_once_another_file_has_changed(tmp_path):
    """Numba itself looks at a function's own file only, and would go on with the old formula without a word."""
    shutil.copytree(PACKAGE, tmp_path / "fastlrp", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)} | FAST
    predict = (
        "import numpy as np, fastlrp as fl\n"
        "net = fl.Network([fl.LSTM(np.ones((1, 4)), np.ones((1, 4))), fl.Dense(np.full((1, 1), -1.0), None, 'relu')])\n"
        "print(net.predict(np.ones((1, 1, 1)))[0], fl.__file__)\n"
    )

    def predicted():
        done = run_python("-c", predict, cwd=tmp_path, **environment)
        assert done.returncode == 0, done.stderr[-2000:]
        number, file = done.stdout.split()
        assert file == str(tmp_path / "fastlrp" / "__init__.py")
        return float(number)

    assert predicted() == 0.0
    kept = sorted((tmp_path / "cache").rglob("*.nbc"))
    assert kept
    assert predicted() == 0.0
    assert sorted((tmp_path / "cache").rglob("*.nbc")) == kept
    formulas = tmp_path / "fastlrp" / "kernels" / "formulas.py"
    text = formulas.read_text()
    assert text.count("return zero if x < zero else x\n") == 1
    formulas.write_text(text.replace("return zero if x < zero else x\n", "return x\n", 1))
    assert predicted() == pytest.approx(-np.tanh(np.tanh(1) / (1 + np.exp(-1))) / (1 + np.exp(-1)))


def test_kernels_are_imported_from_a_zip(tmp_path):
    shutil.make_archive(str(tmp_path / "packed"), "zip", PACKAGE.parent, "fastlrp")
    done = run_python("-c", "import fastlrp.kernels.cpu.tiles as tiles; print(tiles.__file__)", cwd=tmp_path,
                      PYTHONPATH=str(tmp_path / "packed.zip"), NUMBA_CACHE_DIR=str(tmp_path / "cache"))  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "packed.zip" in done.stdout
