"""The machine's units and caches, and the choices of kernels that follow from them: the only table of such choices.

All of them change speed alone. A lane's sums are the same multiply-adds in the same order in every block and tile, so
the bits stay the same whatever is chosen (``tests/kernels/test_machine.py``).
"""

from __future__ import annotations

from pathlib import Path

import llvmlite.binding as llvm
from numba import config

from fastlrp.kernels.program.rows import LANES
from fastlrp.kernels.target import MANY_VECTORS, VECTOR_BYTES, X86

#: Processors whose cores make one 512-bit multiply-add a cycle, by LLVM's names; others with AVX-512 are taken to make
#: two, as nearly all servers do (Intel since Skylake-SP but for its smallest Xeons, AMD since Zen 5). Zen 4 makes it in
#: two halves (AMD, "Software Optimization Guide for the AMD Zen4 Microarchitecture", 57647, section 2.11); Intel's
#: processors for clients have no unit at port 5 ("Intel 64 and IA-32 Architectures Optimization Reference Manual",
#: 248966, chapter 2).
ONE_UNIT = frozenset({"znver4", "cannonlake", "icelake-client", "tigerlake", "rocketlake"})
#: Intel's processors for servers since Skylake-SP: what the second-level cache does not hold comes over a mesh of all
#: cores, in some 70 ns (the same manual, chapter 2), where AMD's third level is shared by eight cores and takes 10.
FAR_THIRD_LEVEL = frozenset(
    {
        *("skylake-avx512", "cascadelake", "cooperlake", "icelake-server"),
        *("sapphirerapids", "emeraldrapids", "graniterapids", "graniterapids-d"),
    }
)
#: A second-level cache of a size that the system does not tell, and the sizes that are believed: larger ones belong to
#: several cores, or to a machine that was made up.
CACHE_BYTES, LEAST_CACHE, MOST_CACHE = 1 << 20, 1 << 18, 1 << 21


def _processor() -> str:
    """LLVM's name of the processor that kernels are compiled for."""
    return str(config.CPU_NAME or llvm.get_host_cpu_name())


def _units() -> int:
    """Multiply-adds of whole vectors that a core makes in a cycle."""
    return 1 if VECTOR_BYTES == 64 and _processor() in ONE_UNIT else 2


def second_level(caches: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int:
    """Bytes of a core's second-level cache, as Linux tells them; elsewhere what most machines have."""
    for index in sorted(caches.glob("index*")):
        try:
            if (index / "level").read_text().strip() == "2":
                size = (index / "size").read_text().strip()  # "512K"
                return min(max(int(size.removesuffix("K")) << 10, LEAST_CACHE), MOST_CACHE)
        except (OSError, ValueError):
            continue
    return CACHE_BYTES


#: Multiply-add units of a core, and bytes of its second-level cache.
UNITS, SECOND_LEVEL = _units(), second_level()

# Each choice, and its effect at the benchmark's shapes T, D, H (arras in float32 unless said otherwise). Zen 1 (256-bit
# vectors, 512 KB), Zen 4 (one 512-bit unit, 1 MB), Zen 5 (two, 1 MB) and Emerald Rapids (two, 2 MB) were measured; an
# estimate is a count of cycles by LLVM's model of a processor (``scripts/count_cycles.py``).

#: Vectors of sums in a row of a product's block. 6 rows x 2 vectors hide the time that a multiply-add takes, and fit
#: into 16 registers: estimates are 99 % of a core's multiply-adds on Haswell and Zen 1, and 85 % on Skylake-SP, which
#: takes four instructions a cycle. With the 32 registers of AVX-512, 6 x 4 was 2 to 4 % slower at all four shapes (Zen
#: 4): there are half as many blocks, but they start and end with twice the loads and stores. NEON has more units to
#: keep busy.
WIDE = 2 if X86 else 4
#: Rows of b in a block of training's contraction: both operands are whole vectors there, and more sums per load are
#: faster.
COLUMNS = 4 if MANY_VECTORS else 2
#: Bytes of a tile's row: enough lanes that calls and loop overhead vanish (on Zen 4 half of it is 2 to 3 % slower at
#: 5, 16, 16, and for the panel of the benchmark; on Zen 1 half and twice of it are within 2 %). A span of panel windows
#: that share months has at least as many lanes.
TILE_BYTES = 512
#: A tile of more bytes than this gets half the lanes, and half again: what it keeps of each step should stay near. On
#: Zen 4 (2 MB) this saves 2 % at 12, 96, 64; at 60, 96, 128 4 % of an array's time, and 8 to 12 % of a panel's. On
#: Zen 1, 1 MB instead of 2 MB saves another 2 % at 12, 96, 64, 5 % in float64, and 1 % of the benchmark's panel; half
#: of that saves 1 to 3 % at 5, 16, 32, and costs the panel 2 %. Where the third level is far, all of it should fit,
#: with room for X and the results: on Emerald Rapids 1 MB instead of 4 MB saves 10 to 12 % at 12, 96, 64, as much in
#: float64, 9 % of windows at 12, 96, 32, and 2 to 7 % of the benchmark's panel; half of that is the same within 1 %.
LARGE_TILE = SECOND_LEVEL // 2 if _processor() in FAR_THIRD_LEVEL else 2 * SECOND_LEVEL
#: Vectors in a row of the smallest tile. One vector leaves blocks of 6 x 1: six chains of additions, each of which
#: waits four cycles. That is enough for one unit; two need eight (Skylake-SP: an estimate of 74 %). At 60, 96, 128 two
#: vectors took Zen 5 from 160 to 204 GFLOP/s a thread; Zen 4 is 4 % slower with them, as its tile doubles.
FEWEST_VECTORS = WIDE if UNITS > 1 else 1
#: Bytes of weights from which the smallest tile has two vectors in a row whatever the units: they come from memory at
#: every step of every tile, and are waited for. At the shape of STAC's LSTM_C (120 MB) two vectors took Zen 4, two
#: threads, from 17 to 29 predictions a second, and from 15 to 22 explanations; four gave no more. At LSTM_B's (4 MB)
#: and LSTM_A's one, two and four are within 2 %, or four are slower.
FAR_WEIGHTS = 16 << 20


def fewest_lanes(itemsize: int, weights: int) -> int:
    """Lanes of the smallest tile, for numbers of ``itemsize`` bytes and so many bytes of weights."""
    vectors = max(FEWEST_VECTORS, 2) if weights > FAR_WEIGHTS else FEWEST_VECTORS
    return max(LANES, vectors * VECTOR_BYTES // itemsize)
