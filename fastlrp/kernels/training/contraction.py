"""The vector code that training needs besides ``lanes``: a product summed over samples.

``contract`` is the gradient of a matrix: sums over steps and lanes of every row of one operand times every row of the
other. Both stand as rows of lanes, so nothing is transposed: each sum is kept as one vector of partial sums, and only
when all steps are done are its elements added up. Under ``NUMBA_DISABLE_JIT=1`` one thread does it in NumPy.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastlrp.kernels.lanes import at
from fastlrp.kernels.machine import COLUMNS
from fastlrp.kernels.target import VECTOR_BYTES, compiled, multiply_add
from fastlrp.kernels.training.threads import atomic_read

_LONG, _INT = ir.IntType(64), ir.IntType(32)


class _Contraction:
    """Emits one block of ``contract``: ``height`` rows of a times COLUMNS rows of b."""

    def __init__(self, context: Any, builder: Any, sig: Any, height: int) -> None:
        self.builder, self.height = builder, height
        self.scalar = context.get_value_type(sig.args[0].dtype)
        self.size = VECTOR_BYTES // (4 if sig.args[0].dtype == types.float32 else 8)
        self.vector = ir.VectorType(self.scalar, self.size)

    def load(self, pointer: Any, offset: Any) -> Any:
        where = self.builder.gep(pointer, [offset])
        return self.builder.load(self.builder.bitcast(where, self.vector.as_pointer()), align=4)

    def rows(self, pointer: Any, stride: Any, count: int, live: Any) -> list[Any]:
        """The rows' addresses; rows past the last live one repeat it."""
        builder, result = self.builder, [pointer]
        for k in range(1, count):
            inside = builder.icmp_signed("<", ir.Constant(_LONG, k), live)
            result.append(builder.select(inside, builder.gep(result[-1], [stride]), result[-1]))
        return result

    def accumulate(self, a: list[Any], b: list[Any], a_step: Any, b_step: Any, lanes: Any, steps: Any) -> list[Any]:
        """Sums of the block as vectors: a loop over steps around a loop over a step's lanes."""
        builder, zero = self.builder, ir.Constant(_LONG, 0)
        before = builder.block
        head, inner, body, onward, after = (
            builder.append_basic_block(name) for name in ("step", "lane", "fma", "next", "summed")
        )
        builder.branch(head)
        builder.position_at_end(head)
        step = builder.phi(_LONG)
        pointers = [builder.phi(p.type) for p in [*a, *b]]
        outer = [builder.phi(self.vector) for _ in range(len(a) * len(b))]
        builder.cbranch(builder.icmp_signed("<", step, steps), inner, after)
        builder.position_at_end(inner)
        lane = builder.phi(_LONG)
        sums = [builder.phi(self.vector) for _ in outer]
        builder.cbranch(builder.icmp_signed("<", lane, lanes), body, onward)
        builder.position_at_end(body)
        values = [self.load(p, lane) for p in pointers]
        left, right = values[: len(a)], values[len(a) :]
        new = [
            multiply_add(builder, x, y, sums[i * len(b) + j]) for i, x in enumerate(left) for j, y in enumerate(right)
        ]
        lane_next = builder.add(lane, ir.Constant(_LONG, self.size))
        builder.branch(inner)
        builder.position_at_end(onward)
        moved = [builder.gep(p, [a_step if k < len(a) else b_step]) for k, p in enumerate(pointers)]
        step_next = builder.add(step, ir.Constant(_LONG, 1))
        builder.branch(head)
        zeros = [ir.Constant(self.vector, None) for _ in outer]
        for phi, start in zip([step, *pointers, *outer], [zero, *a, *b, *zeros], strict=True):
            phi.add_incoming(start, before)
        for phi, end in zip([step, *pointers, *outer], [step_next, *moved, *sums], strict=True):
            phi.add_incoming(end, onward)
        for phi, start, end in zip([lane, *sums], [zero, *outer], [lane_next, *new], strict=True):
            phi.add_incoming(start, head)
            phi.add_incoming(end, body)
        builder.position_at_end(after)
        return outer

    def shuffle(self, one: Any, other: Any, places: list[int]) -> Any:
        mask = ir.Constant(ir.VectorType(_INT, len(places)), places)
        return self.builder.shuffle_vector(one, other, mask)

    def total(self, sums: list[Any]) -> Any:
        """One vector that holds each sum's total: halves are added while the sums are woven into one another."""
        builder, n, size = self.builder, len(sums), self.size
        if size < n:
            total = ir.Constant(ir.VectorType(self.scalar, n), ir.Undefined)
            for j, value in enumerate(sums):
                parts = [builder.extract_element(value, ir.Constant(_INT, k)) for k in range(size)]
                whole = parts[0]
                for part in parts[1:]:
                    whole = builder.fadd(whole, part)
                total = builder.insert_element(total, whole, ir.Constant(_INT, j))
            return total
        width = 1  # number of sums side by side in each vector, in groups of n
        while len(sums) > 1:
            woven = []
            for one, other in zip(sums[::2], sums[1::2], strict=True):
                low, high = [], []
                for group in range(0, size, n):
                    for k in range(0, n, 2 * width):
                        half = range(group + k // 2, group + k // 2 + width)
                        rest = range(group + n // 2 + k // 2, group + n // 2 + k // 2 + width)
                        low += [*half, *(size + p for p in half)]
                        high += [*rest, *(size + p for p in rest)]
                woven.append(builder.fadd(self.shuffle(one, other, low), self.shuffle(one, other, high)))
            sums, width = woven, 2 * width
        value = sums[0]
        while size > n:
            size //= 2
            low = self.shuffle(value, value, list(range(size)))
            value = builder.fadd(low, self.shuffle(value, value, list(range(size, 2 * size))))
        return value

    def finish(self, sums: list[Any], out: Any, stride: Any, onto: Any, rows: Any, columns: Any) -> None:
        """Write the live rows and columns, or add them to what is there."""
        builder, wide = self.builder, COLUMNS
        kind = ir.VectorType(self.scalar, wide)
        end = builder.append_basic_block("end")
        whole = builder.icmp_signed(">=", columns, ir.Constant(_LONG, wide))
        adds = builder.icmp_signed("!=", onto, ir.Constant(_LONG, 0))
        for row in range(self.height):
            live, full, add, put, part, done = (
                builder.append_basic_block(name) for name in ("live", "full", "add", "put", "part", "done")
            )
            builder.cbranch(builder.icmp_signed("<", ir.Constant(_LONG, row), rows), live, end)
            builder.position_at_end(live)
            total = self.total(sums[row * wide : (row + 1) * wide])
            builder.cbranch(whole, full, part)
            builder.position_at_end(full)
            where = builder.bitcast(out, kind.as_pointer())
            builder.cbranch(adds, add, put)
            builder.position_at_end(add)
            more = builder.fadd(builder.load(where, align=4), total)
            builder.branch(put)
            builder.position_at_end(put)
            value = builder.phi(kind)
            value.add_incoming(total, full)
            value.add_incoming(more, add)
            builder.store(value, where, align=4)
            builder.branch(done)
            builder.position_at_end(part)
            for j in range(wide - 1):
                with builder.if_then(builder.icmp_signed("<", ir.Constant(_LONG, j), columns)):
                    place = builder.gep(out, [ir.Constant(_LONG, j)])
                    element = builder.extract_element(total, ir.Constant(_INT, j))
                    there = builder.select(adds, builder.load(place), ir.Constant(self.scalar, 0.0))
                    builder.store(builder.fadd(there, element), place)
            builder.branch(done)
            builder.position_at_end(done)
            out = builder.gep(out, [stride])
        builder.branch(end)
        builder.position_at_end(end)


def _make_block(height: int) -> Any:
    """The intrinsic for one height of block; see ``contract`` for its arguments."""

    @intrinsic
    def block(
        typingctx: Any, out: Any, ldo: Any, a: Any, a_step: Any, b: Any, b_step: Any, ld: Any, steps: Any, onto: Any,
        rows: Any, columns: Any,
    ) -> Any:  # fmt: skip
        i = types.int64
        signature = types.void(out, i, a, i, b, i, i, i, i, i, i)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            o, o_ld, ap, a_by, bp, b_by, lanes, n_steps, adds, n_rows, n_columns = args
            emit = _Contraction(context, builder, sig, height)
            left, right = emit.rows(ap, lanes, height, n_rows), emit.rows(bp, lanes, COLUMNS, n_columns)
            sums = emit.accumulate(left, right, a_by, b_by, lanes, n_steps)
            emit.finish(sums, o, o_ld, adds, n_rows, n_columns)
            return context.get_dummy_value()

        return signature, codegen

    return block


_block6, _block4, _block2 = (_make_block(height) for height in (6, 4, 2))


@compiled
def contract(out, ldo, rows, columns, a, a_step, b, b_step, lanes, steps, onto, stop):
    """out[i, j] = sum over steps s and lanes k of a[s][i, k] * b[s][j, k], on top of ``out`` where ``onto`` is not 0.

    ``out`` is (rows, columns), its rows ``ldo`` apart; rows of a and b are ``lanes`` apart, their steps ``a_step`` and
    ``b_step``. Once ``stop`` is set it ends between two blocks of columns.
    """
    for j in range(0, columns, COLUMNS):
        if atomic_read(stop) != 0:
            return
        right, i = at(b, j * lanes), 0
        while i < rows:
            left = rows - i
            place, source = at(out, i * ldo + j), at(a, i * lanes)
            if left > 4:
                _block6(place, ldo, source, a_step, right, b_step, lanes, steps, onto, left, columns - j)
                i += 6
            elif left > 2:
                _block4(place, ldo, source, a_step, right, b_step, lanes, steps, onto, left, columns - j)
                i += 4
            else:
                _block2(place, ldo, source, a_step, right, b_step, lanes, steps, onto, left, columns - j)
                i += 2


# ---- the same in plain Python, for NUMBA_DISABLE_JIT=1: a pointer is the rest of a one-dimensional array -------------


def _plain_contract(out, ldo, rows, columns, a, a_step, b, b_step, lanes, steps, onto, stop):
    size, view = out.itemsize, np.lib.stride_tricks.as_strided
    left = view(a, (steps, rows, lanes), (a_step * size, lanes * size, size))
    right = view(b, (steps, columns, lanes), (b_step * size, lanes * size, size))
    total, whole = np.einsum("sik,sjk->ij", left, right), view(out, (rows, columns), (ldo * size, size))
    whole[:] = total + whole if onto else total


if config.DISABLE_JIT:
    contract = _plain_contract
