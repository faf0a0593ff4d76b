"""Run tests of the kernels as they are compiled for older processors of x86: ``python scripts/test_processors.py``;
others than those below, with pytest's arguments.

A Haswell has AVX2 and fused multiply-add; x86-64 stands for what every such processor has, SSE2 alone. This machine
must be able to run the code. ``tests/kernels/test_machine.py`` compares the bits.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROCESSORS = {"haswell": "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+sse4.2,+popcnt,+lzcnt", "x86-64": "+sse2"}
TESTS = (
    "tests/test_against_reference.py", "tests/test_gradient_rules.py", "tests/panels/test_explain_panels.py",
    "tests/kernels/test_formulas.py", "tests/kernels/test_trainer.py",
)  # fmt: skip


def main() -> int:
    failed = []
    for name, features in PROCESSORS.items():
        with tempfile.TemporaryDirectory() as folder:
            place = {"FASTLRP_TESTS_NUMBA": folder, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
            print(f"---- {name} ({features})", flush=True)
            command = [sys.executable, "-m", "pytest", "-q", *(sys.argv[1:] or TESTS)]
            if subprocess.run(command, cwd=ROOT, env=os.environ | place, check=False).returncode:
                failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all passed")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
