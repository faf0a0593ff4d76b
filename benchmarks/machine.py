"""Describes what was measured and where: processor, vector units, versions, commit."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import llvmlite.binding as llvm

from benchmarks.workers import cores

_SIMD = (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("fma", "FMA"), ("asimd", "NEON"), ("sve", "SVE"))
_DISTRIBUTIONS = {
    "NumPy": "numpy",
    "JAX": "jax",
    "Numba": "numba",
    "ONNX Runtime": "onnxruntime",
    "OpenVINO": "openvino",
}


def kind() -> str:
    """The kind of processor, such as "znver4", by which results of different machines are kept apart; where kernels are
    compiled for another one, as NUMBA_CPU_NAME says, that one, too."""
    host, chosen = llvm.get_host_cpu_name(), os.environ.get("NUMBA_CPU_NAME", "")
    return f"{host} as {chosen}" if chosen not in ("", host) else host


def _proc(key: str) -> str:
    """A field of /proc/cpuinfo, empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _cache(level: int) -> str:
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            kind, found = ((index / name).read_text().strip() for name in ("type", "level"))
            if kind != "Instruction" and int(found) == level:
                return f"L{level} {(index / 'size').read_text().strip()}"
        except (OSError, ValueError):
            continue
    return ""


def memory_gb() -> tuple[float, float]:
    """Total and available memory in GB; zeros where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0, 0.0
    fields = {line.split(":")[0]: float(line.split()[1]) * 1024 / 1e9 for line in lines if line.endswith("kB")}
    return fields.get("MemTotal", 0.0), fields.get("MemAvailable", 0.0)


def commit() -> str:
    """The commit that was measured, and whether files differed from it."""

    def git(*words: str) -> str:
        here = Path(__file__).resolve().parent
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "../fastlrp")
        return git("rev-parse", "--short", "HEAD") + (" with uncommitted changes in fastlrp" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def version(name: str) -> str:
    """The installed version of a peer or library, or "not installed"."""
    if name == "fastlrp":
        import fastlrp

        return fastlrp.__version__
    try:
        return importlib.metadata.version(_DISTRIBUTIONS.get(name, name))
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe(names: Sequence[str], threads: int) -> str:
    """One paragraph: machine, versions, threads, time."""
    flags = set((_proc("flags") or _proc("Features")).split())
    simd = ", ".join(title for flag, title in _SIMD if flag in flags) or "SIMD unknown"
    model = " ".join(filter(None, (_proc("model name") or platform.processor() or platform.machine(),)))
    caches = ", ".join(filter(None, (_cache(level) for level in (1, 2, 3))))
    family = f" (family {_proc('cpu family')}, model {_proc('model')})" if _proc("cpu family") else ""
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"{model}{family}, {len(cores())} cores usable, {simd}, {caches}, {memory_gb()[0]:.0f} GB; "
        f"{platform.system()}; {threads} thread{'s' * (threads > 1)}; "
        f"Python {platform.python_version()}, {versions}; commit {commit()}; "
        f"{datetime.date.today().isoformat()}{load}."
    )
