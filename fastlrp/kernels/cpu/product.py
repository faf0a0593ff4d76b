"""The matrix product of a tile: packed weights times rows of lanes, in blocks whose sums stay in registers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastlrp.kernels.lanes import at, emit_prefetch, most, rows_of, vector_lanes
from fastlrp.kernels.machine import WIDE
from fastlrp.kernels.program.instructions import SPREAD, SPREAD_ADD, STORE
from fastlrp.kernels.program.rows import HEIGHTS, block_height
from fastlrp.kernels.target import VECTOR_BYTES, compiled, multiply_add

#: Depth from which a product asks early for the rows that it will write.
PREFETCHED_DEPTH = 96


class _Block:
    """Emits one block of the product: ``height`` rows of weights times ``vectors`` vectors of lanes.

    The sums live in registers (phi nodes of the loop over depth): one load per vector and one broadcast per row feed
    height x vectors fused multiply-adds. Two sources follow one another (x_t, then h_{t-1}), so that a gate is summed
    in one go and written once.
    """

    def __init__(self, context: Any, builder: Any, sig: Any, height: int, wide: bool) -> None:
        self.builder, self.height = builder, height
        self.scalar = context.get_value_type(sig.args[0].dtype)
        size = VECTOR_BYTES // (4 if sig.args[0].dtype == types.float32 else 8)
        self.vector, self.n_vectors = ir.VectorType(self.scalar, size), WIDE if wide else 1
        self.size = size

    def load(self, pointer: Any, lane: int) -> Any:
        where = self.builder.gep(pointer, [ir.Constant(ir.IntType(64), lane * self.size)])
        return self.builder.load(self.builder.bitcast(where, self.vector.as_pointer()), align=4)

    def store(self, value: Any, pointer: Any, lane: int) -> None:
        where = self.builder.gep(pointer, [ir.Constant(ir.IntType(64), lane * self.size)])
        self.builder.store(value, self.builder.bitcast(where, self.vector.as_pointer()), align=4)

    def splat(self, value: Any) -> Any:
        start = self.builder.insert_element(
            ir.Constant(self.vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0)
        )
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.size), [0] * self.size)
        return self.builder.shuffle_vector(start, ir.Constant(self.vector, ir.Undefined), mask)

    def broadcast(self, pointer: Any, k: int) -> Any:
        return self.splat(self.builder.load(self.builder.gep(pointer, [ir.Constant(ir.IntType(64), k)])))

    def prefetch(self, out: tuple[Any, Any], mul: tuple[Any, Any], depth: Any) -> None:
        """Ask for the rows that ``finish`` reads or writes, while the sums are computed.

        The state of many steps is larger than the cache: late rows cost 6 % of the relevance at T, D, H = 60, 96, 128.
        A short sum would wait for the requests instead.
        """
        long = self.builder.icmp_signed(">=", depth, ir.Constant(ir.IntType(64), PREFETCHED_DEPTH))
        with self.builder.if_then(long):
            for (pointer, stride), write in ((out, True), (mul, False)):
                for _ in range(self.height):
                    for v in range(self.n_vectors):
                        where = self.builder.gep(pointer, [ir.Constant(ir.IntType(64), v * self.size)])
                        emit_prefetch(self.builder, where, write=write, locality=3)
                    pointer = self.builder.gep(pointer, [stride])

    def accumulate(self, sums: list[Any], weights: Any, source: Any, stride: Any, depth: Any) -> tuple[list[Any], Any]:
        """Add ``depth`` rows of ``source`` times their weights; return the sums and the weights' end."""
        builder, one = self.builder, ir.Constant(ir.IntType(64), 1)
        before = builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("depth", "fma", "summed"))
        builder.branch(head)
        builder.position_at_end(head)
        phis = [builder.phi(self.vector) for _ in sums]
        k, w, a = builder.phi(ir.IntType(64)), builder.phi(weights.type), builder.phi(source.type)
        starts = [*sums, ir.Constant(ir.IntType(64), 0), weights, source]
        for phi, start in zip([*phis, k, w, a], starts, strict=True):
            phi.add_incoming(start, before)
        builder.cbranch(builder.icmp_signed("<", k, depth), body, after)
        builder.position_at_end(body)
        lanes = [self.load(a, v) for v in range(self.n_vectors)]
        new = []
        for row in range(self.height):
            weight = self.broadcast(w, row)
            for v, lane in enumerate(lanes):
                new.append(multiply_add(builder, weight, lane, phis[row * self.n_vectors + v]))
        ends = [
            *new,
            builder.add(k, one),
            builder.gep(w, [ir.Constant(ir.IntType(64), self.height)]),
            builder.gep(a, [stride]),
        ]
        for phi, end in zip([*phis, k, w, a], ends, strict=True):
            phi.add_incoming(end, body)
        builder.branch(head)
        builder.position_at_end(after)
        return phis, w

    def start(self, weights: Any, init: Any, init_stride: Any) -> list[Any]:
        """The first sums: the biases that stand before the weights, or rows that were computed earlier."""
        builder = self.builder
        given = builder.icmp_signed(">=", init_stride, ir.Constant(ir.IntType(64), 0))
        from_rows, from_bias, begin = (builder.append_basic_block(name) for name in ("rows", "bias", "begin"))
        builder.cbranch(given, from_rows, from_bias)
        values = []
        builder.position_at_end(from_rows)
        pointer, rows = init, []
        for _ in range(self.height):
            rows += [self.load(pointer, v) for v in range(self.n_vectors)]
            pointer = builder.gep(pointer, [init_stride])
        builder.branch(begin)
        builder.position_at_end(from_bias)
        biases = [self.broadcast(weights, row) for row in range(self.height) for _ in range(self.n_vectors)]
        builder.branch(begin)
        builder.position_at_end(begin)
        for one, other in zip(rows, biases, strict=True):
            phi = builder.phi(self.vector)
            phi.add_incoming(one, from_rows)
            phi.add_incoming(other, from_bias)
            values.append(phi)
        return values

    def finish(self, sums: list[Any], out: tuple[Any, Any], mul: tuple[Any, Any], share: Any, mode: Any) -> None:
        """Write the sums as ``mode`` says, in one of three ways without another branch: a branch for each row made a
        product of depth 32 slower by 4 %."""
        builder = self.builder
        store, spread, fresh, onto, end = (
            builder.append_basic_block(name) for name in ("store", "spread", "fresh", "onto", "end")
        )
        builder.cbranch(builder.icmp_signed("==", mode, ir.Constant(ir.IntType(64), STORE)), store, spread)
        builder.position_at_end(store)
        for value, (pointer, v) in zip(sums, self.places(*out), strict=True):
            self.store(value, pointer, v)
        builder.branch(end)
        builder.position_at_end(spread)
        shares = [self.load(share, v) for v in range(self.n_vectors)]
        spreads = [
            multiply_add(builder, value, self.load(pointer, v), shares[v])
            for value, (pointer, v) in zip(sums, self.places(*mul), strict=True)
        ]
        builder.cbranch(builder.icmp_signed("==", mode, ir.Constant(ir.IntType(64), SPREAD_ADD)), onto, fresh)
        for block in (onto, fresh):
            builder.position_at_end(block)
            for value, (pointer, v) in zip(spreads, self.places(*out), strict=True):
                self.store(builder.fadd(value, self.load(pointer, v)) if block is onto else value, pointer, v)
            builder.branch(end)
        builder.position_at_end(end)

    def places(self, pointer: Any, stride: Any) -> Iterator[tuple[Any, int]]:
        """The address of each of the block's rows, and each vector in it."""
        for row in range(self.height):
            yield from ((pointer, v) for v in range(self.n_vectors))
            if row < self.height - 1:
                pointer = self.builder.gep(pointer, [stride])


def _make_block(height: int, wide: bool) -> Any:
    """The intrinsic for one size of block; see ``product`` for its arguments."""

    @intrinsic
    def block(
        typingctx: Any, out: Any, ldo: Any, w: Any, init: Any, ldi: Any, a: Any, lda: Any, ka: Any,
        b: Any, ldb: Any, kb: Any, mul: Any, ldm: Any, share: Any, mode: Any,
    ) -> Any:  # fmt: skip
        i = types.int64
        signature = types.void(out, i, w, init, i, a, i, i, b, i, i, mul, i, share, i)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            o, o_ld, wp, ip, i_ld, ap, a_ld, a_k, bp, b_ld, b_k, mp, m_ld, sp, how = args
            emit = _Block(context, builder, sig, height, wide)
            sums = emit.start(wp, ip, i_ld)
            emit.prefetch((o, o_ld), (mp, m_ld), builder.add(a_k, b_k))
            weights = builder.gep(wp, [ir.Constant(ir.IntType(64), height)])
            sums, weights = emit.accumulate(sums, weights, ap, a_ld, a_k)
            sums, _ = emit.accumulate(sums, weights, bp, b_ld, b_k)
            emit.finish(sums, (o, o_ld), (mp, m_ld), sp, how)
            return context.get_dummy_value()

        return signature, codegen

    return block


_wide6, _wide4, _wide2, _wide1 = (_make_block(height, True) for height in HEIGHTS)
_narrow6, _narrow4, _narrow2, _narrow1 = (_make_block(height, False) for height in HEIGHTS)
_WIDE_VECTORS = WIDE


@compiled
def product(out, ldo, lanes, w, rows, init, ldi, a, lda, ka, b, ldb, kb, mul, ldm, share, mode):  # type: ignore[no-untyped-def]
    """out = bias (or ``init``) + packed weights times ``ka`` rows of a and ``kb`` rows of b, then what ``mode`` says.

    There are ``rows`` sums for each of ``lanes`` lanes (a multiple of LANES). ``ld`` counts lanes from one row to the
    next, and ldi < 0 means that there is no ``init``. Lanes are taken as many vectors at a time as there are registers
    for, and those left over one vector at a time, in the same order of operations, so that a lane's bits do not depend
    on its neighbours.
    """
    size = vector_lanes(out)
    wide = size * _WIDE_VECTORS
    lane = 0
    while lane < lanes:
        o, i, x, y, m, s = at(out, lane), at(init, lane), at(a, lane), at(b, lane), at(mul, lane), at(share, lane)
        whole = lanes - lane >= wide
        weights, row, i_step = w, 0, most(ldi, 0)
        while row < rows:
            left = rows - row
            height = 6 if left >= 6 else 4 if left >= 4 else 2 if left >= 2 else 1
            if whole:
                if height == 6:
                    _wide6(o, ldo, weights, i, ldi, x, lda, ka, y, ldb, kb, m, ldm, s, mode)
                elif height == 4:
                    _wide4(o, ldo, weights, i, ldi, x, lda, ka, y, ldb, kb, m, ldm, s, mode)
                elif height == 2:
                    _wide2(o, ldo, weights, i, ldi, x, lda, ka, y, ldb, kb, m, ldm, s, mode)
                else:
                    _wide1(o, ldo, weights, i, ldi, x, lda, ka, y, ldb, kb, m, ldm, s, mode)
            elif height == 6:
                _narrow6(o, ldo, weights, i, ldi, x, lda, ka, y, ldb, kb, m, ldm, s, mode)
            elif height == 4:
                _narrow4(o, ldo, weights, i, ldi, x, lda, ka, y, ldb, kb, m, ldm, s, mode)
            elif height == 2:
                _narrow2(o, ldo, weights, i, ldi, x, lda, ka, y, ldb, kb, m, ldm, s, mode)
            else:
                _narrow1(o, ldo, weights, i, ldi, x, lda, ka, y, ldb, kb, m, ldm, s, mode)
            weights = at(weights, height * (1 + ka + kb))
            row += height
            o, m, i = at(o, height * ldo), at(m, height * ldm), at(i, height * i_step)
        lane += wide if whole else size


# ---- the same in plain Python, for NUMBA_DISABLE_JIT=1: a pointer is the rest of a one-dimensional array -------------


def _plain_product(out, ldo, lanes, w, rows, init, ldi, a, lda, ka, b, ldb, kb, mul, ldm, share, mode):  # type: ignore[no-untyped-def]
    inputs = np.concatenate([rows_of(a, ka, lda, lanes), rows_of(b, kb, ldb, lanes)])
    result, factors = rows_of(out, rows, ldo, lanes), rows_of(mul, rows, ldm, lanes)
    row = 0
    while row < rows:
        height = block_height(rows - row)
        block = w[: height * (1 + ka + kb)].reshape(1 + ka + kb, height)
        w = w[block.size :]
        part = slice(row, row + height)
        sums = block[0, :, None] if ldi < 0 else rows_of(init, rows, ldi, lanes)[part]
        for weight, line in zip(block[1:, :, None], inputs, strict=True):  # in order: a sum may be cut in two
            sums = sums + weight * line
        if mode == STORE:
            result[part] = sums
        elif mode == SPREAD:
            result[part] = sums * factors[part] + share[:lanes]
        else:
            result[part] += sums * factors[part] + share[:lanes]
        row += height


if config.DISABLE_JIT:
    product = _plain_product
