"""Into and out of a tile: samples in memory are turned into rows of lanes and back, one square block at a time."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastlrp.kernels.lanes import at, least, rows_of, vector_lanes
from fastlrp.kernels.target import VECTOR_BYTES, compiled


class _Transpose:
    """Emits the transposition of a square block, one vector register wide, by log2(side) rounds of interleaving."""

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.builder, self.side = builder, VECTOR_BYTES // (4 if dtype == types.float32 else 8)
        self.vector = ir.VectorType(context.get_value_type(dtype), self.side)
        self.i64 = ir.IntType(64)

    def address(self, pointer: Any, offset: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(pointer, [offset]), self.vector.as_pointer())

    def place(self, starts: Any, k: int, first: Any) -> Any:
        """starts[k] + first: where the block's part of lane k begins."""
        return self.builder.add(self.builder.load(self.builder.gep(starts, [ir.Constant(self.i64, k)])), first)

    def row(self, ld: Any, k: int) -> Any:
        return self.builder.mul(ld, ir.Constant(self.i64, k))

    def turn(self, rows: list[Any]) -> list[Any]:
        half, i32 = self.side // 2, ir.IntType(32)
        order = [k // 2 + (k % 2) * self.side for k in range(self.side)]
        low, high = (ir.Constant(ir.VectorType(i32, self.side), [k + shift for k in order]) for shift in (0, half))
        for _ in range(self.side.bit_length() - 1):
            pairs = list(zip(rows[:half], rows[half:], strict=True))
            rows = [self.builder.shuffle_vector(a, b, mask) for a, b in pairs for mask in (low, high)]
        return rows


@intrinsic
def _load_block(typingctx: Any, source: Any, starts: Any, first: Any, rows: Any, ld: Any) -> Any:
    """rows[d, k] = source[starts[k] + first + d] for a square block."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source, starts, first, rows, ld = args
        emit = _Transpose(context, builder, sig.args[0].dtype)
        lines = [builder.load(emit.address(source, emit.place(starts, k, first)), align=4) for k in range(emit.side)]
        for d, line in enumerate(emit.turn(lines)):
            builder.store(line, emit.address(rows, emit.row(ld, d)), align=4)
        return context.get_dummy_value()

    return types.void(source, starts, types.int64, rows, types.int64), codegen


def _make_store(past_caches: bool) -> Any:
    """The intrinsic that stores a square block, into the caches or past them."""

    @intrinsic
    def block(typingctx: Any, rows: Any, ld: Any, out: Any, starts: Any, first: Any) -> Any:
        """out[starts[k] + first + d] = rows[d, k] for a square block."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            rows, ld, out, starts, first = args
            emit = _Transpose(context, builder, sig.args[0].dtype)
            lines = [builder.load(emit.address(rows, emit.row(ld, d)), align=4) for d in range(emit.side)]
            for k, line in enumerate(emit.turn(lines)):
                address = emit.address(out, emit.place(starts, k, first))
                stored = builder.store(line, address, align=VECTOR_BYTES if past_caches else 4)
                if past_caches:
                    stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
            return context.get_dummy_value()

        return types.void(rows, types.int64, out, starts, types.int64), codegen

    return block


_store_block, _stream_block = _make_store(False), _make_store(True)


@intrinsic
def _streamed(typingctx: Any) -> Any:
    """Order stores that went past the caches before all that follow, for other threads too."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def _off_line(typingctx: Any, pointer: Any) -> Any:
    """Bytes from the last multiple of a vector's size in memory to a pointer."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = builder.ptrtoint(args[0], ir.IntType(64))
        return builder.and_(address, ir.Constant(ir.IntType(64), VECTOR_BYTES - 1))

    return types.int64(pointer), codegen


@compiled
def load(source, starts, stride, width, rows, ld, lanes):  # type: ignore[no-untyped-def]
    """rows[d, k] = source[starts[k] + d*stride] for ``width`` rows d and every lane k (a multiple of LANES).

    The last columns' blocks overlap the ones before rather than leave a tail.
    """
    side = vector_lanes(rows)
    if stride == 1 and width >= side:
        for k in range(0, lanes, side):
            for d in range(0, width, side):
                first = least(d, width - side)
                _load_block(source, at(starts, k), first, at(rows, first * ld + k), ld)
        return
    for d in range(width):
        for k in range(lanes):
            rows[d * ld + k] = source[starts[k] + d * stride]


@compiled
def store(rows, ld, width, out, starts, lanes, stream):  # type: ignore[no-untyped-def]
    """out[starts[k] + d] = rows[d, k] for ``width`` rows d and the first ``lanes`` lanes k.

    ``stream``: write past the caches, where whole vectors of ``out`` are written.
    """
    side = vector_lanes(rows)
    whole = lanes // side * side if width >= side else 0
    stream = stream and width % side == 0 and _off_line(out) == 0
    for k in range(0, whole, side):
        for d in range(0, width, side):
            first = least(d, width - side)
            if stream:
                _stream_block(at(rows, first * ld + k), ld, out, at(starts, k), first)
            else:
                _store_block(at(rows, first * ld + k), ld, out, at(starts, k), first)
    if stream:
        _streamed()
    for k in range(whole, lanes):
        for d in range(width):
            out[starts[k] + d] = rows[d * ld + k]


# ---- the same in plain Python, for NUMBA_DISABLE_JIT=1: a pointer is the rest of a one-dimensional array -------------


def _plain_load(source, starts, stride, width, rows, ld, lanes):  # type: ignore[no-untyped-def]
    for d, row in enumerate(rows_of(rows, width, ld, lanes)):
        row[:] = source[starts[:lanes] + d * stride]


def _plain_store(rows, ld, width, out, starts, lanes, stream):  # type: ignore[no-untyped-def]
    for k in range(lanes):
        out[starts[k] : starts[k] + width] = rows_of(rows, width, ld, lanes)[:, k]


if config.DISABLE_JIT:
    load, store = _plain_load, _plain_store
