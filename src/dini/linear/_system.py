"""The linear system of a derivative: how it is solved, and how the answer is checked."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Bool, Float, PyTree

from dini._tree import RealView, all_finite, max_abs
from dini.linear._choice import choose
from dini.linear._method import DIRECT_SOLVERS, Direct, Iterative, Method, factorise, magnitude

_FAILED_EQUATION = (
    "the derivative of {name} was asked for at a point that does not solve the equation: its "
    "solver failed. Look at the result of `.solve(...)` with throw=False; try a better guess or "
    "another solver."
)
_NOT_FINITE = (
    "the {side} solve of {name} was given a right-hand side that is not finite (NaN or infinite "
    "{given}): look at what the {given} was computed from."
)
_NOT_SOLVED = (
    "the {side} solve of {name}, a linear system of {size} unknowns, failed: its residual is "
    "larger than the relative tolerance allows. ∂zF is singular or nearly so at the solution, or "
    "{solver} stagnated. Try {remedy}, or a scaled equation; a larger rtol accepts a less accurate "
    "derivative."
)

_ITERATIVE_REMEDY = "linear_solver=lineax.LU(), a preconditioner"
_DIRECT_REMEDY = "linear_solver=lineax.AutoLinearSolver(well_posed=False)"

_DEFINITE = {lx.positive_semidefinite_tag, lx.negative_semidefinite_tag}
_SPOILT_BY_SCALING = {lx.symmetric_tag, lx.unit_diagonal_tag, *_DEFINITE}


class LinearConfig(eqx.Module):
    """What the user says about the linear systems of a derivative.

    Attributes:
        solver: "auto" or any Lineax solver.
        preconditioner: an approximate inverse of ∂zF, a Lineax operator on vectors of shape
            (size,), for the solvers that read one.
        tags: Lineax tags that hold for ∂zF.
        rtol: relative tolerance of the equation's own solve, which the checks here follow.
        throw: whether a failure raises, or gives NaN.
        name: what errors call the equation.
    """

    solver: lx.AbstractLinearSolver | str = "auto"
    preconditioner: lx.AbstractLinearOperator | None = None
    tags: frozenset[object] = eqx.field(static=True, default=frozenset())
    rtol: float = 0.0
    throw: bool = eqx.field(static=True, default=True)
    name: str = eqx.field(static=True, default="an implicit function")


class System(eqx.Module):
    """A square real system A x = b, A known by its action.

    What is solved is (D A) x = D b, with the rows brought to one scale where need be: the same x,
    and the same answer to the question whether a residual is small, in whatever units the equations
    are written.

    Attributes:
        config: what the user says.
        action: v ↦ A v, on vectors of shape (n,).
        struct: shape and dtype of x.
        eps: the machine epsilon of the least precise number in A.
        weight: the diagonal of D, shape (n,).
    """

    config: LinearConfig
    action: Callable[[Float[Array, " n"]], Float[Array, " n"]]
    struct: jax.ShapeDtypeStruct = eqx.field(static=True)
    eps: float = eqx.field(static=True)
    weight: Float[Array, " n"]

    def matvec(self, v: Float[Array, " n"]) -> Float[Array, " n"]:
        """D A v."""
        return self.weight * self.action(v)

    @property
    def target(self) -> Any:
        """The relative residual that an iterative solver aims at: rtol, at least 64 eps."""
        return jnp.maximum(self.config.rtol, 64 * self.eps)

    @property
    def accepted(self) -> Any:
        """The largest relative residual accepted: 10 times the target, in [16 √eps, 0.1]."""
        return jnp.clip(10 * self.target, 16 * self.eps**0.5, 0.1)

    @property
    def solver(self) -> lx.AbstractLinearSolver:
        """The Lineax solver chosen."""
        return choose(self.config.solver, self.struct.shape[0], self.config.tags, self.target)

    def factorise(self) -> Direct | None:
        """What a direct solver makes of D A, for all solves; None if it is iterative."""
        return factorise(self.solver, self.matvec, self.struct, self.config.tags)

    def compute(
        self,
        factors: Direct | None,
        matvec: Callable[[Float[Array, " n"]], Float[Array, " n"]],
        b: Float[Array, " n"],
        failed: Bool[Array, ""],
        transpose: bool = False,
    ) -> tuple[Float[Array, " n"], Bool[Array, ""], Bool[Array, ""]]:
        """Solves (D A) x = b, or (D A)ᵀ x = b with `transpose`; `matvec` is that of the matrix.

        The right-hand side is scaled to 1 first. Where there is nothing to solve (the equation
        itself has failed, or b is zero or not finite) the system solved is I x = 1, so that no
        iteration runs in vain.

        Returns:
            x, whether b is finite, and whether the system is solved.
        """
        b = _held(b)
        size = max_abs(b)
        finite = jnp.isfinite(size)
        idle = failed | ~finite | (size == 0)
        unit = jnp.where(idle, 1, b / jnp.where(idle, 1, size))
        method = self._method(factors, transpose)
        product = method.action(matvec)

        def action(v: Float[Array, " n"]) -> Float[Array, " n"]:
            return jnp.where(idle, v, product(v))

        x, correction = method.solve(self.solver, action, unit)
        allowed = method.allowed(action, unit, x, self.accepted, self.eps)
        solved = jnp.all(jnp.abs(unit - action(x)) <= allowed) & all_finite(x)
        solved = idle | solved & (correction <= self.accepted * max_abs(x))
        return jnp.where(idle, 0, x * size), finite, solved

    def _method(self, factors: Direct | None, transpose: bool) -> Method:
        if factors is not None:
            return factors.transpose(self.solver) if transpose else factors
        tags, p = self.config.tags, self.config.preconditioner
        if p is not None:
            p = p @ lx.DiagonalLinearOperator(1 / self.weight)
            if tags & _DEFINITE:
                p = lx.TaggedLinearOperator(p, lx.positive_semidefinite_tag)
            p = p.transpose() if transpose else p
        return Iterative(lx.transpose_tags(tags) if transpose else tags, p)

    def inverse(
        self, factors: Direct | None, b: Float[Array, " n"], failed: Bool[Array, ""]
    ) -> Float[Array, " n"]:
        """Gives A⁻¹ b as a linear function of b that JAX can differentiate and transpose, checked.

        With config.throw a failure raises inside the solve, where nothing differentiates it away;
        without, the answer is NaN.
        """

        def checked(side: str, given: str, transpose: bool) -> Callable:
            words = {"side": side, "given": given, "solver": type(self.solver).__name__}
            words["remedy"] = _ITERATIVE_REMEDY if factors is None else _DIRECT_REMEDY

            def solve(matvec: Callable, b: Float[Array, " n"]) -> Float[Array, " n"]:
                x, finite, solved = self.compute(factors, matvec, b, failed, transpose)
                return _report(self.config, x, words, failed, finite, solved)

            return solve

        forward = checked("tangent", "tangent", transpose=False)
        backward = checked("adjoint", "cotangent", transpose=True)
        return jax.lax.custom_linear_solve(self.matvec, self.weight * b, forward, backward)


def system(
    config: LinearConfig,
    action: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    struct: jax.ShapeDtypeStruct,
    eps: float,
) -> System:
    """The system of a matrix known by its action; for an iterative solver its rows are scaled.

    D is one over the size of each row of A, in powers of 1024, from a few products with A: a row of
    ordinary size is left exactly as it is. So is a matrix that scaling its rows would rob of a
    structure that it is known to have. A direct solver is checked row by row as they stand.
    """
    plain = System(config, action, struct, eps, jnp.ones(struct.shape, struct.dtype))
    if config.tags & _SPOILT_BY_SCALING or isinstance(plain.solver, DIRECT_SOLVERS):
        return plain
    size = jax.lax.stop_gradient(magnitude(action, struct))
    known = jnp.isfinite(size) & (size > 0)
    power = jnp.where(known, -10 * jnp.round(jnp.log2(jnp.where(known, size, 1)) / 10), 0)
    return dataclasses.replace(plain, weight=jnp.exp2(power))


def guarded(
    tree: PyTree[Array], failed: Bool[Array, ""], message: str, throw: bool
) -> PyTree[Array]:
    """The identity; where `failed` it raises or gives NaN, for the value and every derivative.

    It is written as the solution of I x = b: what checks stands inside the solve, where neither
    differentiation nor dead-code elimination can part it from the value, tangent or cotangent.
    """

    def solve(_: Callable, vector: Array) -> Array:
        if throw:
            return eqx.error_if(vector, failed, message)
        return jnp.where(failed, jnp.nan, vector)

    inexact, rest = eqx.partition(tree, eqx.is_inexact_array)
    view = RealView(inexact)
    vector = jax.lax.custom_linear_solve(lambda v: v, view.ravel(inexact), solve, solve)
    return eqx.combine(view.unravel(vector), rest)


def _report(
    config: LinearConfig,
    x: Float[Array, " n"],
    words: dict[str, str],
    failed: Bool[Array, ""],
    finite: Bool[Array, ""],
    solved: Bool[Array, ""],
) -> Float[Array, " n"]:
    """Lets x through where all went well; else raises, saying what did not, or gives NaN."""
    bad = failed | ~finite | ~solved
    if not config.throw:
        return jnp.where(bad, jnp.nan, x)
    which = jnp.where(failed, 0, jnp.where(finite, 2, 1))
    messages = [
        m.format(name=config.name, size=x.shape[0], **words)
        for m in (_FAILED_EQUATION, _NOT_FINITE, _NOT_SOLVED)
    ]
    return eqx.branched_error_if(x, bad, which, messages)


def _held(b: Float[Array, " n"]) -> Float[Array, " n"]:
    """The same b, held in memory.

    A compiler that fuses may compute b anew for each of its uses. Where b is all rounding, as is
    a residual at its root or a cotangent at an optimum, those copies differ as much as b is large,
    and no residual can be checked against them. It may not look into a library call: 1 x = b.
    """
    one = jnp.ones((1, 1), b.dtype)
    return jax.lax.linalg.triangular_solve(one, b[None], left_side=True, lower=True)[0]
