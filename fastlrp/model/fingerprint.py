"""A network's fingerprint, by which a stored result can be told to be its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastlrp.model.chain import Chain
from fastlrp.model.plain import Plain, plain_layers


def fingerprint(networks: Iterable[Chain]) -> str:
    """A SHA-256 hash of networks' layers, options and weights, the same on every machine.

    Networks that compute the same have the same fingerprint, whatever they and their layers, inputs and outputs are
    called. Several are the members of an ensemble, or a rolling fit's networks, in order.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for net in networks:
        for layer in plain_layers(net):
            _feed(digest, layer)
        digest.update(b"end of network\0")
    return digest.hexdigest()


def _feed(digest: Any, plain: Plain) -> None:
    """Hash what a layer holds, in the order of its keys."""
    for key in sorted(plain.keys() - {"name"}):
        value = plain[key]
        digest.update(f"{key}:".encode())
        if isinstance(value, dict):
            _feed(digest, value)
        elif isinstance(value, np.ndarray):
            digest.update(f"{value.dtype.name}{value.shape}".encode())
            digest.update(value.astype(value.dtype.newbyteorder("<"), order="C", copy=False).tobytes())
        else:
            digest.update(repr(value.item() if isinstance(value, np.generic) else value).encode())
        digest.update(b"\0")
