"""Run a selection of the tests on an emulated aarch64 processor, as Apple's and Graviton's are: ``python
scripts/test_aarch64.py``; other tests, ``python scripts/test_aarch64.py tests/keras/test_read.py -k files``.

It needs Debian or one of its descendants with ``apt install qemu-user-static``, and no root: Python for arm64 and its
libraries are packages of the same release, fetched by apt with lists of its own and unpacked into ``--folder``, and so
are the wheels of this library's dependencies for aarch64, by pip. Both come from wherever apt and pip fetch packages
here, and stay in the folder, with the compiled kernels: a second run starts at once. Emulation is slow: kernels that
compile in ten seconds take five to ten minutes, of which there are four in the selection. Processes that tests start
themselves are not emulated, so tests that do so are left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SYSTEM = ("python3", "libstdc++6")
WHEELS = ("numba", "numpy", "pandas", "h5py", "scikit-learn", "pyarrow", "pytest", "pytest-xdist", "hypothesis")
#: The oldest to the newest C library that wheels of aarch64 are built for.
PLATFORMS = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in (17, 24, 26, 27, 28)))
#: Both dtypes against the slow reference, arrays and panels, bits that no batch and no thread changes; a fit, and its
#: gradients; files of Keras.
TESTS = (
    "tests/test_against_reference.py::test_float32_agrees_with_the_reference",
    "tests/test_against_reference.py::test_float64_agrees_with_the_reference",
    "tests/test_against_reference.py::test_float32_predictions_agree_with_the_reference",
    "tests/test_against_reference.py::test_a_batch_is_its_rows",
    "tests/test_against_reference.py::test_threads_do_not_change_a_bit",
    "tests/panels/test_explain_panels.py::test_a_panel_is_its_windows",
    "tests/panels/test_explain_panels.py::test_windows_that_share_months_have_the_bits_of_single_ones",
    "tests/kernels/test_trainer.py::test_float32_gradients_are_float64s",
    "tests/learning/test_regressor.py::test_learns",
    "tests/keras/test_read.py::test_the_kernels_predict_it_too",
)


def fetch_system(folder: Path) -> Path:
    """Python for arm64 and its libraries below ``folder``; its root."""
    root, lists, cache = (folder / name for name in ("root", "lists", "cache"))
    if root.is_dir():
        return root
    for path in (lists / "partial", cache / "archives" / "partial"):
        path.mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()  # nothing is installed there
    options = {
        "APT::Architecture": "arm64", "APT::Architectures::": "arm64", "APT::Install-Recommends": "false",
        "Dir::State::Lists": lists, "Dir::State::status": folder / "status", "Dir::Cache": cache,
        "APT::Sandbox::User": "", "Debug::NoLocking": "true",
    }  # fmt: skip
    apt = ["apt-get", "--quiet", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
    subprocess.run([*apt, "update"], check=False)  # a source without arm64 is no obstacle
    subprocess.run([*apt, "--yes", "--download-only", "install", *SYSTEM], check=True)
    unpacked = folder / "unpacked"
    for package in (cache / "archives").glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, unpacked], check=True)
    return unpacked.rename(root)


def fetch_wheels(folder: Path, version: str) -> Path:
    """The dependencies for aarch64 and a version of Python such as "3.11", unpacked below ``folder``."""
    site, wheels = folder / "site", folder / "wheels"
    if site.is_dir():
        return site
    abi = "cp" + version.replace(".", "")
    kinds = [word for name in PLATFORMS for word in ("--platform", f"{name}_aarch64")]
    chosen = ["--only-binary", ":all:", "--python-version", version, "--implementation", "cp", "--abi", abi]
    more = ["--abi", "abi3", "--abi", "none", "--dest", str(wheels)]
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *chosen, *more, *kinds, *WHEELS], check=True)
    unpacked = folder / "unpacked"
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
    return unpacked.rename(site)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "fastlrp-aarch64", help="what is kept")
    args, pytest = parser.parse_known_args()
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    missing = [name for name in ("apt-get", "dpkg") if shutil.which(name) is None] + ["qemu-aarch64"] * (qemu is None)
    if missing:
        sys.exit(
            f"{' and '.join(missing)} cannot be found: this script needs Debian or a descendant, and qemu-user-static"
        )
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    root = fetch_system(folder)
    (python,) = (
        path for path in (root / "usr" / "bin").glob("python3.*") if path.name.removeprefix("python3.").isdigit()
    )
    site = fetch_wheels(folder, python.name.removeprefix("python"))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NUMBA", "OPENBLAS"))
    }
    environment |= {
        "PYTHONPATH": os.pathsep.join(map(str, (site, ROOT))), "PYTHONDONTWRITEBYTECODE": "1",
        "FASTLRP_TESTS_NUMBA": str(folder / "numba"),
    }  # fmt: skip
    chosen = pytest if any(word.startswith("tests") for word in pytest) else [*TESTS, *pytest]
    command = [qemu, "-L", root, python, "-m", "pytest", "-n", "0", "-v", "-p", "no:cacheprovider"]
    return subprocess.run([*map(str, command), *chosen], cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
