"""The matrix product of a few samples: panels of packed weights times single numbers, with the rows in the lanes.

The blocks of ``product.py`` have a vector of samples for each row of weights. Here a vector holds rows of weights and
meets one number of each sample. A sum has the same terms in the same order, so its bits are the same.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from fastlrp.kernels.lanes import at, distinct, fma, least, line_numbers, most
from fastlrp.kernels.program.instructions import SPREAD_ADD, STORE
from fastlrp.kernels.program.rows import LINE_BYTES, PANEL_BYTES, panel_width
from fastlrp.kernels.target import VECTOR_BYTES, compiled, multiply_add

#: Inputs that share each load of weights, where there are so many: four times the sums of a line of weights, and what
#: they need besides, fit into 16 registers.
TOGETHER = 4
#: Numbers that ``product`` needs to work in.
SPARE = TOGETHER * PANEL_BYTES // 4


class _Sums:
    """Emits ``inputs`` times the sums of ``n_bytes`` of a panel's rows, which live in registers."""

    def __init__(self, context: Any, builder: Any, dtype: Any, n_bytes: int, inputs: int) -> None:
        self.builder, self.inputs = builder, inputs
        self.size = VECTOR_BYTES // (4 if dtype == types.float32 else 8)
        self.vector, self.n_vectors = ir.VectorType(context.get_value_type(dtype), self.size), n_bytes // VECTOR_BYTES

    def line(self, pointer: Any) -> list[Any]:
        """The addresses of the vectors that begin at an address."""
        found = [self.builder.gep(pointer, [ir.Constant(ir.IntType(64), v * self.size)]) for v in range(self.n_vectors)]
        return [self.builder.bitcast(where, self.vector.as_pointer()) for where in found]

    def places(self, pointer: Any, stride: Any) -> list[Any]:
        """The addresses of every input's vectors."""
        found = self.line(pointer)
        for _ in range(1, self.inputs):
            pointer = self.builder.gep(pointer, [stride])
            found += self.line(pointer)
        return found

    def splat(self, pointer: Any) -> Any:
        """A vector of the number at an address."""
        nothing = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(nothing, self.builder.load(pointer), ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(
            one, nothing, ir.Constant(ir.VectorType(ir.IntType(32), self.size), [0] * self.size)
        )

    def weights(self, pointer: Any) -> list[Any]:
        """The vectors of weights at an address."""
        return [self.builder.load(where, align=4) for where in self.line(pointer)]

    def start(self, biases: Any, init: Any, stride: Any) -> list[Any]:
        """The first sums: biases, or, where ``stride`` is not negative, rows that were computed earlier."""
        builder, before = self.builder, self.builder.block
        given = builder.icmp_signed(">=", stride, ir.Constant(ir.IntType(64), 0))
        from_rows, begin = (builder.append_basic_block(name) for name in ("rows", "begin"))
        bias = self.weights(biases) * self.inputs
        builder.cbranch(given, from_rows, begin)
        builder.position_at_end(from_rows)
        rows = [builder.load(where, align=4) for where in self.places(init, stride)]
        builder.branch(begin)
        builder.position_at_end(begin)
        sums = []
        for one, other in zip(rows, bias, strict=True):
            phi = builder.phi(self.vector)
            phi.add_incoming(one, from_rows)
            phi.add_incoming(other, before)
            sums.append(phi)
        return sums

    def accumulate(
        self, sums: list[Any], weights: Any, step: Any, source: Any, stride: Any, depth: Any
    ) -> tuple[list[Any], Any]:
        """Add ``depth`` numbers of each input times their weights; return the sums and the weights' end."""
        builder, one = self.builder, ir.Constant(ir.IntType(64), 1)
        before = builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("depth", "fma", "summed"))
        builder.branch(head)
        builder.position_at_end(head)
        phis = [builder.phi(self.vector) for _ in sums]
        k, w = builder.phi(ir.IntType(64)), builder.phi(weights.type)
        for phi, start in zip([*phis, k, w], [*sums, ir.Constant(ir.IntType(64), 0), weights], strict=True):
            phi.add_incoming(start, before)
        builder.cbranch(builder.icmp_signed("<", k, depth), body, after)
        builder.position_at_end(body)
        loaded, place, new = self.weights(w), builder.gep(source, [k]), []
        for i in range(self.inputs):
            number = self.splat(place)
            new += [
                multiply_add(builder, weight, number, phis[i * self.n_vectors + v]) for v, weight in enumerate(loaded)
            ]
            place = builder.gep(place, [stride])
        for phi, end in zip([*phis, k, w], [*new, builder.add(k, one), builder.gep(w, [step])], strict=True):
            phi.add_incoming(end, body)
        builder.branch(head)
        builder.position_at_end(after)
        return phis, w


def _make_sums(n_bytes: int, inputs: int) -> Any:
    """The intrinsic for so many bytes of rows and so many inputs: out = biases, or rows of ``init``, + weights times
    ``ka`` numbers of a and ``kb`` of b. ``width``: rows of the panel; ``ld`` counts numbers from input to input."""

    @intrinsic
    def sums(
        typingctx: Any, out: Any, ldo: Any, w: Any, width: Any, init: Any, ldi: Any, a: Any, lda: Any, ka: Any,
        b: Any, ldb: Any, kb: Any,
    ) -> Any:  # fmt: skip
        i = types.int64
        signature = types.void(out, i, w, i, init, i, a, i, i, b, i, i)

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            o, o_ld, wp, step, ip, i_ld, ap, a_ld, a_k, bp, b_ld, b_k = args
            emit = _Sums(context, builder, sig.args[0].dtype, n_bytes, inputs)
            values, weights = emit.start(wp, ip, i_ld), builder.gep(wp, [step])
            values, weights = emit.accumulate(values, weights, step, ap, a_ld, a_k)
            values, weights = emit.accumulate(values, weights, step, bp, b_ld, b_k)
            for value, where in zip(values, emit.places(o, o_ld), strict=True):
                builder.store(value, where, align=4)
            return context.get_dummy_value()

        return signature, codegen

    return sums


_one4, _one3, _one2, _one1 = (_make_sums(n_bytes, 1) for n_bytes in range(PANEL_BYTES, 0, -LINE_BYTES))
_together = _make_sums(LINE_BYTES, TOGETHER)


@compiled
def _one(lines, out, w, width, init, ldi, a, ka, b, kb):  # type: ignore[no-untyped-def]
    """A panel of so many cache lines times one input."""
    if lines == 4:
        _one4(out, 0, w, width, init, ldi, a, 0, ka, b, 0, kb)
    elif lines == 3:
        _one3(out, 0, w, width, init, ldi, a, 0, ka, b, 0, kb)
    elif lines == 2:
        _one2(out, 0, w, width, init, ldi, a, 0, ka, b, 0, kb)
    else:
        _one1(out, 0, w, width, init, ldi, a, 0, ka, b, 0, kb)


@compiled
def _finish(n, sums, out, mul, share, mode):  # type: ignore[no-untyped-def]
    """Write n sums as ``mode`` says."""
    distinct()
    even = share[0]
    if mode == STORE:
        for k in range(n):
            out[k] = sums[k]
    elif mode == SPREAD_ADD:
        for k in range(n):
            out[k] += fma(sums[k], mul[k], even)
    else:
        for k in range(n):
            out[k] = fma(sums[k], mul[k], even)


@compiled
def product(  # type: ignore[no-untyped-def]
    inputs, out, ldo, w, rows, init, ldi, a, lda, ka, b, ldb, kb, mul, ldm, share, lds, mode, spare
):
    """out = bias (or ``init``) + packed weights times ``ka`` numbers of a and ``kb`` of b, then what ``mode`` says.

    There are ``rows`` sums for each of ``inputs``; ``ld`` counts numbers from one input to the next, and ldi < 0 means
    that there is no ``init``. Beyond its rows it may read ``init``, whatever stands there.
    """
    line = line_numbers(out)
    row, i_step = 0, most(ldi, 0)
    while row < rows:
        lines = least((rows - row + line - 1) // line, PANEL_BYTES // LINE_BYTES)
        width = lines * line
        some = least(width, rows - row)
        straight = mode == STORE and some == width
        i = 0
        while i < inputs:
            x, y, f, o = at(a, i * lda), at(b, i * ldb), at(init, i * i_step + row), at(out, i * ldo + row)
            into, ld = (o, ldo) if straight else (spare, width)
            n = TOGETHER if inputs - i >= TOGETHER else 1
            if n == 1:
                _one(lines, into, w, width, f, ldi, x, ka, y, kb)
            else:
                for part in range(0, width, line):
                    _together(at(into, part), ld, at(w, part), width, at(f, part), ldi, x, lda, ka, y, ldb, kb)
            for k in range(0 if straight else n):
                _finish(some, at(into, k * ld), at(o, k * ldo), at(mul, (i + k) * ldm + row), at(share, (i + k) * lds),
                        mode)  # fmt: skip
            i += n
        w = at(w, width * (1 + ka + kb))
        row += width


# ---- the same in plain Python, for NUMBA_DISABLE_JIT=1: a pointer is the rest of a one-dimensional array -------------


def _plain_product(  # type: ignore[no-untyped-def]
    inputs, out, ldo, w, rows, init, ldi, a, lda, ka, b, ldb, kb, mul, ldm, share, lds, mode, spare
):
    row = 0
    while row < rows:
        width = panel_width(rows - row, out.itemsize)
        some = min(width, rows - row)
        panel = w[: width * (1 + ka + kb)].reshape(1 + ka + kb, width)[:, :some]
        for i in range(inputs):
            sums = panel[0] if ldi < 0 else init[i * ldi + row : i * ldi + row + some].copy()
            numbers = [*a[i * lda : i * lda + ka], *b[i * ldb : i * ldb + kb]]
            for weights, number in zip(panel[1:], numbers, strict=True):
                sums = sums + weights * number
            _finish(some, sums, out[i * ldo + row :], mul[i * ldm + row :], share[i * lds :], mode)
        w, row = w[width * (1 + ka + kb) :], row + width


if config.DISABLE_JIT:
    product = _plain_product
