"""Names of a network's features and outputs in a Keras file.

Keras' own formats have no place for them. They are attributes of the root of the HDF5 file (``model.weights.h5`` in a
``.keras`` archive), each a json list as text; Keras ignores them when it loads a model.
"""

from __future__ import annotations

import json
import re
from typing import Any

from fastlrp.errors import ModelFileError
from fastlrp.keras.config import MAX_JSON, load_json
from fastlrp.keras.hdf5 import HDF5File
from fastlrp.keras.tree import brief
from fastlrp.model.chain import as_names
from fastlrp.network import Network

FEATURES, STATIC, OUTPUTS = "fastlrp_features", "fastlrp_static", "fastlrp_outputs"
#: Codes that move a terminal's cursor or are no character; names from spreadsheets do hold line breaks and tabs.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def name_attributes(network: Network) -> dict[str, str]:
    """The attributes that keep a network's names; raises ValueError where a name cannot be kept."""
    found = {}
    for attribute, names in ((FEATURES, network.features), (STATIC, network.static), (OUTPUTS, network.outputs)):
        if names is None:
            continue
        bad = next((name for name in names if _UNPRINTABLE.search(name)), None)
        if bad is not None:
            raise ValueError(f"the name {brief(bad)} holds a control character, which is not written: change the name")
        found[attribute] = json.dumps(names)
        if len(found[attribute]) > MAX_JSON:
            raise ValueError(f"the network's names take {len(found[attribute]) / 1e6:.0f} MB, more than is written")
    return found


def with_stored_names(network: Network, file: HDF5File) -> Network:
    """The network with the names that the file keeps; raises ModelFileError where they do not fit it."""
    features, static, outputs = (_stored(file, attribute) for attribute in (FEATURES, STATIC, OUTPUTS))
    if features is None and static is None and outputs is None:
        return network
    return Network(
        network.layers,
        steps=network.steps,
        features=as_names(features, network.n_features, _where(file, FEATURES), "one for each input of the network"),
        static=as_names(static, network.n_static, _where(file, STATIC), "one for each static feature of the network")
        or network.n_static,
        outputs=as_names(outputs, network.n_outputs, _where(file, OUTPUTS), "one for each output of the network")
        or network.outputs,
        name=network.name,
    )


def _where(file: HDF5File, attribute: str) -> str:
    return f"attribute {attribute!r} of {file.label}"


def _stored(file: HDF5File, attribute: str) -> list[str] | None:
    """The list of names in an attribute, or None where there is no such attribute."""
    texts, where = file.texts("", attribute), _where(file, attribute)
    if texts is None:
        return None
    if len(texts) != 1:
        raise ModelFileError(f"{where} holds {len(texts)} texts, expected one: a json list of names")
    names: Any = load_json(texts[0], where)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelFileError(f"{where} is {brief(names)}, expected a json list of names")
    bad = next((name for name in names if _UNPRINTABLE.search(name)), None)
    if bad is not None:
        raise ModelFileError(f"{where} holds the name {brief(bad)}, which has a control character")
    return names
