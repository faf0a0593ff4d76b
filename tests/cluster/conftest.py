"""Shared by tests of fastlrp.cluster: a cluster of processes, a network and a panel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("distributed", reason="the extra fastlrp[dask] is not installed")

from cluster_cases import make_network, make_panel

import fastlrp as fl


@pytest.fixture(scope="package")
def cluster() -> Iterator[Any]:
    """Two processes of one thread each: as many threads as the test machine has cores."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as one:
        yield one


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    with cluster.get_client() as one:
        one.wait_for_workers(2)
        yield one


@pytest.fixture(scope="package")
def net() -> fl.Network:
    return make_network()


@pytest.fixture(scope="package")
def panel() -> pd.DataFrame:
    return make_panel()
