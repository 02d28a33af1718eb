"""Expressions and their partial derivatives as programs, each with the next as its rule."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import sympy as sp
from jaxtyping import Array

from dini.rules._custom_rule import CustomRule, custom_rule
from dini.rules.symbolic._jax import Evaluation, missing
from dini.rules.symbolic._lower import Lowering
from dini.rules.symbolic._normal import derivative, normal
from dini.rules.symbolic._points import Point
from dini.rules.symbolic._regular import Regular
from dini.rules.symbolic._typing import Expr, Symbol

_SWOLLEN = 2000  # operations

# The parameters in which a derivative is taken, in order: () is the value, (0, 0, 1) is ∂³/∂x₀²∂x₁.
Partial = tuple[int, ...]


class Formula:
    """Expressions of symbols, with their partial derivatives."""

    def __init__(
        self,
        name: str,
        expressions: list[Expr],
        symbols: list[Symbol],
        points: list[Point] | None,
    ) -> None:
        self.name, self.symbols = name, symbols
        self._regular = Regular(points)
        self._joint: dict[tuple[Partial, ...], CustomRule] = {}
        self._warned: set[int] = set()
        expressions = [normal(e) for e in expressions]
        for e in expressions:
            self._check(e)
        self._partials: dict[Partial, list[Expr]] = {(): [self._regular(e) for e in expressions]}

    def __call__(self, *x: Array) -> list[Array]:
        """The values, of the arrays' common shape and dtype."""
        return self.joint([()])(*x)[()]

    def partial(self, index: Partial) -> list[Expr]:
        """A partial derivative of each expression, without removable singularities."""
        if index not in self._partials:
            symbol = self.symbols[index[-1]]
            try:
                slopes = [derivative(e, symbol) for e in self.partial(index[:-1])]
            except TypeError as error:
                raise TypeError(f"{self.name} has no derivative in `{symbol}`: {error}.") from error
            self._partials[index] = [self._regular(e) for e in slopes]
        return self._partials[index]

    def joint(self, indices: Iterable[Partial]) -> CustomRule:
        """Some partial derivatives as one differentiable function of arrays."""
        key = tuple(sorted(set(indices), key=lambda index: (len(index), index)))
        if key not in self._joint:
            joint = _Joint(self, key)
            self._joint[key] = custom_rule(joint)
            self._joint[key].defjvp(joint.rule, symbolic_zeros=True)
        return self._joint[key]

    def program(self, indices: tuple[Partial, ...], eps: float) -> Callable:
        """The derivatives in numbers of this precision, common subexpressions shared."""
        lower = Lowering(self._regular, eps)
        outputs = [lower(e) for index in indices for e in self.partial(index)]
        shared: Any = sp.cse([*outputs, *lower.definitions.values()], list=False)
        outputs, bodies = shared[1][: len(outputs)], shared[1][len(outputs) :]
        definitions = dict(shared[0]) | dict(zip(lower.definitions, bodies, strict=True))
        whole = [*outputs, *definitions.values()]
        for e in whole:
            self._check(e)
        self._weigh(sum(e.count_ops() for e in whole), max(map(len, indices)))

        def run(*x: Array) -> dict[Partial, list[Array]]:
            evaluate = Evaluation(dict(zip(self.symbols, x, strict=True)), definitions)
            shape, dtype = jnp.broadcast_shapes(*map(jnp.shape, x)), jnp.result_type(*x, float)
            values = [jnp.broadcast_to(jnp.asarray(evaluate(e), dtype), shape) for e in outputs]
            many = len(values) // len(indices)
            return {index: values[many * i : many * (i + 1)] for i, index in enumerate(indices)}

        return jax.jit(run)

    def _check(self, e: Expr) -> None:
        if (what := missing(e)) is not None:
            raise TypeError(f"{self.name}: {what}.")

    def _weigh(self, operations: int, order: int) -> None:
        if operations > _SWOLLEN and order not in self._warned:
            self._warned.add(order)
            what = f"derivatives up to order {order} take" if order else "the value takes"
            warnings.warn(
                f"{self.name}: {what} {operations} operations, with common subexpressions shared. "
                "JAX's own derivatives of the same formula in jax.numpy are likely cheaper.",
                stacklevel=2,
            )


# With f_α the partial derivative of the index α, ḟ_α = Σᵢ f_(α + i) ẋᵢ: the derivative of some of
# them is made of more of them, and all are found together.
class _Joint:
    """Partial derivatives of a formula; `rule` is their JVP."""

    def __init__(self, formula: Formula, indices: tuple[Partial, ...]) -> None:
        self._formula, self._indices = formula, indices
        self._programs: dict[float, Callable] = {}

    def __call__(self, *x: Array) -> dict[Partial, list[Array]]:
        dtype = jnp.result_type(*x, float)
        work = jnp.promote_types(dtype, jnp.float32)
        eps = float(jnp.finfo(work).eps)
        if eps not in self._programs:
            self._programs[eps] = self._formula.program(self._indices, eps)
        values = self._programs[eps](*(jnp.asarray(v, work) for v in x))
        return jax.tree.map(lambda v: v.astype(dtype), values)

    def rule(self, x: tuple, x_dot: tuple) -> tuple[Any, Any]:
        moving = [i for i, v in enumerate(x_dot) if v is not None]
        more = {(a, i): tuple(sorted((*a, i))) for a in self._indices for i in moving}
        values = self._formula.joint([*self._indices, *more.values()])(*x)
        out = {a: values[a] for a in self._indices}
        out_dot = {}
        for a in self._indices:
            slopes = [self._formula.partial(more[a, i]) for i in moving]
            terms = [
                [
                    values[more[a, i]][j] * x_dot[i]
                    for i, slope in zip(moving, slopes, strict=True)
                    if slope[j] != 0
                ]
                for j in range(len(out[a]))
            ]
            out_dot[a] = [
                sum(t, jnp.zeros_like(v)).astype(v.dtype)
                for t, v in zip(terms, out[a], strict=True)
            ]
        return out, out_dot
