"""A network written as an ONNX graph, node by node, for the runtimes that read one."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.cases import Array, Weights

OPSET, IR = 17, 9  # old enough for every runtime that is installed today
INPUT, OUTPUT = "X", "prediction"


def in_onnx_order(array: Array) -> Array:
    """The last axis' four gates, Keras' i, f, g, o, in ONNX's order: i, o, f, g (there called c)."""
    i, f, g, o = np.split(array, 4, axis=-1)
    return np.concatenate([i, o, f, g], axis=-1)


def graph(weights: Weights, samples: int | str = "samples", steps: int | str = "steps") -> bytes:
    """The serialised model: X (samples, steps, features) to prediction (samples, 1).

    ONNX's LSTM reads (step, sample, feature) and knows one direction as an axis of its own.
    """
    dtype = weights.W.dtype
    kind = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float64): TensorProto.DOUBLE}[dtype]
    constants = {"direction": np.array([1], np.int64), "step": np.array([0], np.int64)}
    nodes = [helper.make_node("Transpose", [INPUT], ["x0"], perm=[1, 0, 2])]
    for k, (W, U, b) in enumerate(weights.stack):
        gates = in_onnx_order(np.stack([b, np.zeros_like(b)]))  # the second is added in the recurrent product
        constants |= {
            f"W{k}": in_onnx_order(W).T[None],
            f"R{k}": in_onnx_order(U).T[None],
            f"B{k}": gates.reshape(1, -1),
        }
        nodes += [
            helper.make_node("LSTM", [f"x{k}", f"W{k}", f"R{k}", f"B{k}"], [f"all{k}", f"last{k}"], hidden_size=len(U)),
            helper.make_node("Squeeze", [f"all{k}", "direction"], [f"x{k + 1}"]),
        ]
    nodes.pop()  # of the highest layer only the last step is read
    constants |= {"V": weights.V, "c": weights.c}
    nodes += [
        helper.make_node("Squeeze", [f"last{len(weights.below)}", "step"], ["h"]),
        helper.make_node("Gemm", ["h", "V", "c"], [OUTPUT]),
    ]
    made = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(INPUT, kind, [samples, steps, len(weights.stack[0][0])])],
        [helper.make_tensor_value_info(OUTPUT, kind, [samples, 1])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(model)
    return model.SerializeToString()
