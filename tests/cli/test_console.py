"""How commands end: Ctrl-C, a full disk, a closed reader, a log file instead of a terminal."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fastlrp
from fastlrp import Network
from fastlrp.cli import console
from fastlrp.data import model_path
from fastlrp.relevance.result import Relevance
from fastlrp.rules import Arras

MODEL = str(model_path())


@pytest.fixture
def bars(run, small, monkeypatch):
    """Run explain without kernels; return whether it asked for a progress bar, and its stderr."""
    asked = []

    def explain(net, panel, **options):
        asked.append(options["progress"])
        totals = dict.fromkeys(("prediction", "score", "initial_state", "unattributed"), np.zeros(len(panel)))
        return Relevance(values=panel.to_numpy(), **totals, rule=Arras(), steps=12, index=panel.index, reduced=True)

    monkeypatch.setattr(Network, "explain", explain)
    small.to_csv("panel.csv", index=False)

    def bars(*options):
        code, _, said = run("explain", MODEL, "panel.csv", "-o", "out.csv", *options)
        assert code == 0, said
        return asked[-1], said

    return bars


def test_progress_bars_stay_out_of_log_files(bars, monkeypatch):
    pytest.importorskip("tqdm")
    asked, said = bars()
    assert (asked, "%|" in said) == (False, False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    asked, said = bars()
    assert (asked, "write:" in said) == (True, True)
    asked, said = bars("--no-progress")
    assert (asked, "write:" in said) == (False, False)


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("arguments", [["info", MODEL], ["explain", "--help"]])
def test_a_full_stdout_is_one_sentence(arguments, unbuffered):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    if unbuffered and "--help" in arguments:
        pytest.skip("argparse keeps errors of an unbuffered stdout to itself")
    with open("/dev/full", "w") as full:
        done = program(*arguments, stdout=full, env={"PYTHONUNBUFFERED": "1" if unbuffered else ""})
    assert done.returncode == 2
    assert done.stderr == f"fastlrp: stdout cannot be written: {os.strerror(errno.ENOSPC)}\n"


def test_a_reader_that_has_gone_ends_it_quietly():
    read, write = os.pipe()
    os.close(read)
    done = program("info", MODEL, stdout=write, env={})
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_other_errors_keep_their_traceback(run, monkeypatch):
    def broken(*args, **kwargs):
        raise OSError(errno.ENOTCONN, "nobody expected this")

    monkeypatch.setattr("fastlrp.keras.describe_keras", broken)
    with pytest.raises(OSError, match="nobody expected"):
        run("info", MODEL)


def test_ctrl_c_while_packages_are_imported(tmp_path):
    """A compiled module that is interrupted as it loads may raise anything, or nothing."""
    (tmp_path / "h5py.py").write_text(
        "import time\nprint('importing', flush=True)\ntry:\n    time.sleep(60)\n"
        "except BaseException:\n    raise ImportError('h5py failed to load') from None\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "fastlrp", "info", MODEL], env=environment(tmp_path), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "importing\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "\nfastlrp: interrupted\n"


def test_ctrl_c_is_python_s_again_after_the_imports():
    before = signal.getsignal(signal.SIGINT)
    with console.quick_to_stop():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("target=3 is not an output", "--target 3 is not an output"),
        ("choose with target= (0, 1)", "choose with --target (0, 1)"),
        ("compute with dtype='float64'", "compute with --dtype float64"),
        ("Arras(eps=...) takes a positive number", "--eps takes a positive number"),
        ("threads= takes a whole number", "--threads takes a whole number"),
        ("steps=5 was given", "--steps 5 was given"),
        ("column 'subtarget=' and --target=1", "column 'subtarget=' and --target=1"),
    ],
)
def test_arguments_are_said_as_options(said, shown):
    assert console.as_options(said) == shown


def program(*arguments, stdout, env):
    return subprocess.run(
        [sys.executable, "-m", "fastlrp", *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False,
        timeout=120, env=environment() | env,
    )  # fmt: skip


def environment(*first):
    root = str(Path(fastlrp.__file__).parents[1])
    path = os.pathsep.join(filter(None, [*map(str, first), root, os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path}
