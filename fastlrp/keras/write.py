"""Writes a Network as a file that Keras loads: legacy ``.h5`` (tf.keras 2 and Keras 3) or ``.keras`` (Keras 3)."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fastlrp.ensemble import Ensemble
from fastlrp.errors import ModelFileError
from fastlrp.keras.fold import Array
from fastlrp.keras.folder import write_members
from fastlrp.keras.names import name_attributes
from fastlrp.keras.template import ACTIVATION_LAYERS, recurrent_config
from fastlrp.keras.v3 import snake_case
from fastlrp.model.layers import Bidirectional, Dense, Layer, Masking, Recurrent
from fastlrp.network import Network
from fastlrp.objects import as_path
from fastlrp.whole import whole

#: The version that a legacy file states decides what its hard_sigmoid means to a reader.
_VERSIONS = {2: "2.15.0", 3: "3.0.5"}
#: Activations that Keras' files call otherwise; both versions know the older name of silu.
_SPELLED = {"hard_sigmoid_keras2": "hard_sigmoid", "silu": "swish"}


def write_keras(network: Network | Ensemble, path: str | os.PathLike[str]) -> None:
    """Write a network as a Keras model, or an ensemble as a folder of them; Keras loads them and predicts alike.

    Parameters
    ----------
    network : Network or Ensemble
        Names of its features and outputs are kept beside the weights, as attributes that Keras ignores:
        :func:`fastlrp.read_keras` brings them back.
    path : str or path
        Ends in ``.h5`` (read by tf.keras 2 and Keras 3) or ``.keras`` (Keras 3). Of an ensemble, the folder of
        ``member_000.keras`` and so on (``.h5`` where it has Keras 2's hard_sigmoid). An existing file, or a folder that
        holds nothing but members, is replaced only when the new one is complete.

    Raises
    ------
    ValueError
        If the path ends otherwise, the network mixes both kinds of hard_sigmoid, which no version of Keras supports,
        or has gelu_tanh, for which Keras has no name, or a name holds control characters; of an ensemble, if the folder
        exists and holds anything else.
    """
    where = as_path(path, "write_keras(path=...)")
    if isinstance(network, Ensemble):
        write_members(network, where, _member)
        return
    if where.suffix not in {".h5", ".keras"}:
        raise ValueError(f"write_keras(path=...) takes a name that ends in .h5 or .keras, not {str(where)!r}")
    data = _data(network, where.suffix)
    try:
        with whole(where) as beside:
            beside.write_bytes(data)
    except ValueError as error:
        raise ModelFileError(str(error)) from None


def _member(network: Network) -> tuple[str, bytes]:
    """The ending and the contents of the file of an ensemble's member."""
    suffix = ".h5" if "hard_sigmoid_keras2" in _activations(network) else ".keras"
    return suffix, _data(network, suffix)


def _data(network: Network, suffix: str) -> bytes:
    """The contents of a file with this ending."""
    _refuse_reversed_masks(network)
    version, layers = _version(network, suffix), _keras_layers(network)
    names = _layer_names(layers, {"features", "static", "concatenate"} if network.n_static else {"features"})
    return _legacy(network, layers, names, version) if suffix == ".h5" else _archive(network, layers, names)


class _Activation(NamedTuple):
    """A layer of Keras' that is the activation of the Dense layer below."""

    kind: str
    options: dict[str, float]
    name: str
    arrays: tuple[Array, ...] = ()


Written = Layer | _Activation


def _keras_layers(network: Iterable[Layer]) -> list[Written]:
    """The layers as Keras has them: an activation that its names leave open stands in a layer of its own."""
    layers: list[Written] = []
    for layer in network:
        if isinstance(layer, Dense) and (own := _own_activation(layer)) is not None:
            layers += [replace(layer, activation="linear", alpha=None), own]
        else:
            layers.append(layer)
    return layers


def _own_activation(layer: Dense) -> _Activation | None:
    name = f"{layer.name or 'dense'}_activation"
    if layer.activation == "relu6":  # Keras 2 has no such name
        return _Activation("ReLU", {"max_value": 6.0}, name)
    if layer.alpha is None or (layer.activation, layer.alpha) == ("elu", 1.0):
        return None
    return _Activation(ACTIVATION_LAYERS[layer.activation], {"alpha": layer.alpha}, name)


def _layer_names(layers: Sequence[Written], taken: set[str]) -> list[str]:
    """A name for each layer, its own where possible; Keras requires unique names without slashes."""
    names: list[str] = []
    for layer in layers:
        base = (layer.name or layer.kind.lower()).replace("/", "_")
        name, count = base, 0
        while name in names or name in taken:
            count += 1
            name = f"{base}_{count}"
        names.append(name)
    return names


def _refuse_reversed_masks(network: Network) -> None:
    if network.mask_value is None:
        return
    for layer in network:
        if isinstance(layer, Recurrent) and layer.go_backwards and layer.return_sequences:
            raise ValueError(
                f"layer {layer.name or layer.kind!r} returns its steps newest first below a Masking layer, whose mask "
                "Keras hands on oldest first: it would predict otherwise, so the network cannot be written"
            )


def _activations(network: Network) -> set[str | None]:
    return {getattr(layer, key, None) for layer in _plain(network) for key in ("activation", "recurrent_activation")}


def _version(network: Network, suffix: str) -> int:
    """The major version of Keras whose functions the network uses."""
    used = _activations(network)
    if "gelu_tanh" in used:
        raise ValueError("the network has gelu_tanh, for which Keras' files have no name, expected gelu or another one")
    if {"hard_sigmoid", "hard_sigmoid_keras2"} <= used:
        raise ValueError("the network has hard_sigmoid both as Keras 2 and as Keras 3 defines it, expected one of them")
    if "hard_sigmoid_keras2" in used and suffix == ".keras":
        raise ValueError(
            "the network has Keras 2's hard_sigmoid, which Keras 3 computes otherwise: write it as .h5 for tf.keras 2"
        )
    return 3 if "hard_sigmoid" in used else 2


def _plain(network: Network) -> list[Layer]:
    return [
        part
        for layer in network
        for part in ((layer.forward, layer.backward) if isinstance(layer, Bidirectional) else (layer,))
    ]


# ------------------------------------------------------------------ the configuration


def _options(layer: Written, name: str, *, keras3: bool) -> dict[str, Any]:
    """Keras' options for a layer; weights are stored in its own dtype."""
    config: dict[str, Any] = {"name": name, "trainable": True, "dtype": _dtype(layer)}
    if isinstance(layer, _Activation):
        config |= layer.options
        if keras3 and layer.kind == "LeakyReLU":  # in .h5 files both versions read Keras 2's name
            config["negative_slope"] = config.pop("alpha")
    elif isinstance(layer, Recurrent):
        options = recurrent_config(layer, name)
        options.pop("kernel_shape")
        config |= options | {"return_state": False, "stateful": False, "unroll": False}
    elif isinstance(layer, Dense):
        config |= {"units": layer.n_outputs, "use_bias": layer.b is not None, "activation": layer.activation}
    elif isinstance(layer, Bidirectional):
        for key, part, backwards in (("layer", layer.forward, False), ("backward_layer", layer.backward, True)):
            prefix = "forward" if key == "layer" else "backward"
            options = _options(part, f"{prefix}_{name}", keras3=keras3)
            config[key] = _entry(part.kind, options | {"go_backwards": backwards})
        config["merge_mode"] = layer.merge_mode
    elif isinstance(layer, Masking):
        config["mask_value"] = layer.value
    else:
        config["rate"] = layer.rate
    for key in ("activation", "recurrent_activation"):
        config |= {key: _SPELLED[config[key]]} if config.get(key) in _SPELLED else {}
    return config


def _entry(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


def _model(network: Network, layers: Sequence[Written], names: Sequence[str], *, keras3: bool) -> dict[str, Any]:
    """The configuration of a Sequential model, or of a functional one with two inputs, in terms that both Keras 2 and 3
    know."""
    first = network.layers[network.mask_value is not None]
    window = [network.steps, network.n_features] if network.recurrent else [network.n_features]
    entries = [_input("features", [None, *window], first)]
    for layer, name in zip(layers, names, strict=True):
        entries.append(_entry(layer.kind, _options(layer, name, keras3=keras3)))
    if network.n_static:
        return _functional(network, entries)
    config = {"name": network.name or "network", "layers": entries}
    return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}


def _input(name: str, shape: list[int | None], above: Layer) -> dict[str, Any]:
    return _entry("InputLayer", {"batch_input_shape": shape, "dtype": _dtype(above), "sparse": False, "name": name})


def _functional(network: Network, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The configuration of a functional model: static features join the chain of entries, which begins with its input.

    Calls are written as Keras 2 does, which Keras 3 reads, too.
    """
    dense = network.layers[network.join]
    join = len(_keras_layers(network.layers[: network.join]))
    static = _input("static", [None, network.n_static], dense)
    merge = _entry("Concatenate", {"name": "concatenate", "trainable": True, "dtype": _dtype(dense), "axis": -1})
    layers = [*entries[: 1 + join], static, merge, *entries[1 + join :]]
    below: list[str] = []
    for entry in layers:
        name = entry["name"] = entry["config"]["name"]
        alone = entry["class_name"] == "InputLayer"
        entry["inbound_nodes"] = [] if alone else [[[one, 0, 0, {}] for one in below]]
        below = [*below, name] if entry is static else [name]
    ends = {"input_layers": [["features", 0, 0], ["static", 0, 0]], "output_layers": [[below[0], 0, 0]]}
    config = {"name": network.name or "network", "trainable": True, "layers": layers, **ends}
    return {"module": "keras", "class_name": "Model", "config": config, "registered_name": None}


def _dtype(layer: Written) -> str:
    return str(np.result_type(*layer.arrays)) if layer.arrays else "float32"


# ------------------------------------------------------------------ the two formats


def _legacy(network: Network, layers: Sequence[Written], names: Sequence[str], version: int) -> bytes:
    """A legacy whole-model file, as Keras 2 wrote it."""
    import h5py

    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        config = json.dumps(_model(network, layers, names, keras3=False))
        for group in (file, root := file.create_group("model_weights")):
            group.attrs["keras_version"], group.attrs["backend"] = _VERSIONS[version], "tensorflow"
        file.attrs["model_config"] = config
        file.attrs.update(name_attributes(network))
        root.attrs["layer_names"] = list(names)
        for layer, name in zip(layers, names, strict=True):
            group = root.create_group(name)
            weights = [(f"{name}/{where}:0", array) for where, array in _named_arrays(layer, name)]
            group.attrs["weight_names"] = [where for where, _ in weights]
            for where, array in weights:
                group.create_dataset(where, data=array)
        root.create_group("top_level_model_weights").attrs["weight_names"] = []
    return out.getvalue()


def _named_arrays(layer: Written, name: str) -> list[tuple[str, Array]]:
    """The arrays of a layer under the names that Keras 2 gives them."""
    roles = ("kernel", "recurrent_kernel", "bias")
    if isinstance(layer, Recurrent):
        return [(f"{layer.kind.lower()}_cell/{role}", array) for role, array in zip(roles, layer.arrays, strict=False)]
    if isinstance(layer, Bidirectional):
        parts = (("forward", layer.forward), ("backward", layer.backward))
        return [(f"{side}_{name}/{where}", array) for side, part in parts for where, array in _named_arrays(part, name)]
    return list(zip(("kernel", "bias"), layer.arrays, strict=False))


def _archive(network: Network, layers: Sequence[Written], names: Sequence[str]) -> bytes:
    """A ``.keras`` archive, as Keras 3 writes it."""
    import h5py

    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        used: dict[str, int] = {}
        for layer, name in zip(layers, names, strict=True):
            kind = snake_case(layer.kind)
            count = used[kind] = used.get(kind, -1) + 1
            base = f"layers/{kind}_{count}" if count else f"layers/{kind}"
            file.create_group(f"{base}/vars").attrs["name"] = name
            for part, where in _variable_groups(layer, base):
                for i, array in enumerate(part):
                    file.create_dataset(f"{where}/{i}", data=array)
        file.create_group("vars")
        file.attrs.update(name_attributes(network))
    members = {
        "metadata.json": json.dumps({"keras_version": _VERSIONS[3], "date_saved": "2000-01-01@00:00:00"}).encode(),
        "config.json": json.dumps(_model(network, layers, names, keras3=True)).encode(),
        "model.weights.h5": weights.getvalue(),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as bundle:
        for member, data in members.items():
            bundle.writestr(zipfile.ZipInfo(member, (2000, 1, 1, 0, 0, 0)), data)  # the same network, the same bytes
    return out.getvalue()


def _variable_groups(layer: Written, base: str) -> list[tuple[tuple[Array, ...], str]]:
    """A layer's arrays and the groups that hold them."""
    if isinstance(layer, Recurrent):
        return [(layer.arrays, f"{base}/cell/vars")]
    if isinstance(layer, Bidirectional):
        sides = (("forward_layer", layer.forward), ("backward_layer", layer.backward))
        return [(part.arrays, f"{base}/{side}/cell/vars") for side, part in sides]
    return [(layer.arrays, f"{base}/vars")] if layer.arrays else []
