"""The adjoints: how the derivative of a solution is obtained. All are Optimistix adjoints."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx
from jaxtyping import Array, Bool, Float, PyTree

from dini._tree import RealView, stop_gradient
from dini.implicit._theorem import TangentRule, find, implicit_function
from dini.linear import Direct, LinearConfig, System, guarded, on_vectors

_UNSUITABLE = (
    "the Neumann series for the derivative of {name} was asked for at a point that does not solve "
    "the equation, or its terms still grow after {terms} of them: the map is no contraction there, "
    "or the series is too short. Use dini.Implicit(), or more terms."
)


class _ByTheorem(optx.AbstractAdjoint):
    """An adjoint that goes by the implicit function theorem, with some rule for its system."""

    rtol: float | None = eqx.field(default=None, kw_only=True)
    throw: bool = eqx.field(static=True, default=True, kw_only=True)
    name: str = eqx.field(static=True, default="an implicit function", kw_only=True)

    def apply(
        self,
        primal_fn: Callable[[PyTree], tuple[PyTree, PyTree]],
        rewrite_fn: Callable[[PyTree, PyTree, PyTree], PyTree],
        inputs: PyTree,
        tags: frozenset[object],
    ) -> Any:
        """Optimistix's protocol: runs the solver's loop and gives its result derivatives."""
        inputs = (*inputs, while_loop)
        return implicit_function(primal_fn, rewrite_fn, inputs, self.rule(primal_fn, inputs, tags))

    @abc.abstractmethod
    def rule(self, primal_fn: Callable, inputs: PyTree, tags: frozenset[object]) -> TangentRule:
        """How the linear system of the theorem is solved for these inputs."""

    def _config(self, inputs: PyTree, tags: frozenset[object], **solve: Any) -> LinearConfig:
        rtol = self.rtol
        if rtol is None:
            solver = find(inputs, optx.AbstractIterativeSolver)
            rtol = 0.0 if solver is None else solver.rtol
        config = LinearConfig(**solve, tags=tags, rtol=rtol, throw=self.throw, name=self.name)
        return stop_gradient(config)


class Implicit(_ByTheorem):
    """The exact derivative, by the implicit function theorem: ∂zF ż = −∂θF θ̇.

    Attributes:
        linear_solver: "auto" (dense up to 128 unknowns, Krylov with a fallback beyond; structured
            where the tags say so), or any Lineax solver.
        preconditioner: an approximate inverse of ∂zF for iterative solvers: a linear function on
            trees like the unknown, or a Lineax operator on its vector of real numbers, of shape
            (size,). It is transposed for the adjoint solve and never differentiated.
        rtol: the tolerance that the linear solves follow; the solver's own where it is None. An
            iterative solver aims at a relative residual of rtol, and one above 10 rtol (but at
            least 16 √eps, at most 0.1) is a failure.
        throw: whether a failed tangent or adjoint solve raises, or gives NaN. Under a decorator
            that of the decorator counts, and its name too.
        name: what errors call the equation.

    Reference: Krantz and Parks, The Implicit Function Theorem (2002).
    """

    linear_solver: lx.AbstractLinearSolver | str = "auto"
    preconditioner: lx.AbstractLinearOperator | Callable[[PyTree], PyTree] | None = None

    def rule(self, primal_fn: Callable, inputs: PyTree, tags: frozenset[object]) -> TangentRule:
        """The exact solve of ∂zF ż = b."""
        p = self.preconditioner
        if p is not None and not isinstance(p, lx.AbstractLinearOperator):
            z, _ = eqx.filter_eval_shape(primal_fn, inputs)
            p = on_vectors(p, RealView(z))
        return _Exact(self._config(inputs, tags, solver=self.linear_solver, preconditioner=p))


class Neumann(_ByTheorem):
    """A cheap derivative of a contraction T: the first terms of (I − ∂T)⁻¹ = Σᵢ ∂Tⁱ.

    With one term this is one-step differentiation, also called Jacobian-free backpropagation: the
    derivative of T in θ alone. The relative error after k terms is of order ρ(∂T)ᵏ. A root F is
    read as the fixed point of T(z) = z + F(z), a minimum as that of T(z) = z − ∇f(z).

    Attributes:
        terms: how many terms are summed, at least 1.
        rtol: not used.
        throw: whether a derivative at a point that does not solve the equation, or by a series of
            two terms or more that grows, raises, or is NaN.
        name: what errors call the equation.

    References: Fung et al., JFB: Jacobian-free backpropagation for implicit networks (2022);
    Bolte, Pauwels and Vaiter, One-step differentiation of iterative algorithms (2023).
    """

    terms: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        if self.terms < 1:
            raise ValueError(f"Neumann needs at least one term, and has {self.terms}.")

    def apply(
        self, primal_fn: Callable, rewrite_fn: Callable, inputs: PyTree, tags: frozenset[object]
    ) -> Any:
        """As `Implicit`; Optimistix states a minimum as ∇f = 0, which is read as −∇f = 0."""
        if isinstance(inputs[1], optx.AbstractMinimiser | optx.AbstractLeastSquaresSolver):
            rewrite_fn = _Negative(rewrite_fn)
        return super().apply(primal_fn, rewrite_fn, inputs, tags)

    def rule(self, primal_fn: Callable, inputs: PyTree, tags: frozenset[object]) -> TangentRule:
        """The truncated series for ∂zF ż = b."""
        del primal_fn
        return _Series(self._config(inputs, tags), self.terms)


class _Exact(eqx.Module):
    config: LinearConfig

    def tangent(
        self, system: System, factors: Direct | None, b: Array, failed: Bool[Array, ""]
    ) -> Float[Array, " n"]:
        return system.inverse(factors, b, failed)


# F(z) = T(z) − z  ⇒  −∂zF = I − ∂T  ⇒  ż = (∂zF)⁻¹ b = −Σᵢ ∂Tⁱ b, with ∂T = I + ∂zF.
class _Series(eqx.Module):
    config: LinearConfig
    terms: int = eqx.field(static=True)

    def tangent(
        self, system: System, factors: Direct | None, b: Array, failed: Bool[Array, ""]
    ) -> Float[Array, " n"]:
        del factors
        _, _, total = self._sum(system, -b)
        if self.terms > 1:
            # The terms of a series that converges shrink in the end, for any first term.
            probe = jnp.where(jnp.arange(b.size) % 2 == 0, 1, -1).astype(b.dtype)
            before, last, _ = jax.lax.stop_gradient(self._sum(system, probe))
            last, before = jnp.linalg.norm(last), jnp.linalg.norm(before)
            failed = failed | ~(last <= jnp.maximum(before, jnp.linalg.norm(probe)))
        message = _UNSUITABLE.format(name=self.config.name, terms=self.terms)
        return guarded(total, failed, message, self.config.throw)

    def _sum(self, system: System, first: Array) -> tuple[Array, Array, Array]:
        """The last term but one, the last term, and the sum."""

        def step(carry: tuple[Array, Array, Array], _: None) -> tuple:
            term, total = carry[1:]
            after = term + system.action(term)
            return (term, after, total + after), None

        carry, _ = jax.lax.scan(step, (first, first, first), length=self.terms - 1)
        return carry


class _Negative(eqx.Module):
    residual_fn: Callable

    def __call__(self, z: PyTree, extra: PyTree, inputs: PyTree) -> PyTree:
        return jax.tree_util.tree_map(jnp.negative, self.residual_fn(z, extra, inputs))


def while_loop(
    cond: Callable[[PyTree], Array],
    body: Callable[[PyTree], PyTree],
    init: PyTree,
    *,
    max_steps: int | None = None,
) -> PyTree:
    """The loop that an Optimistix solver is handed: `lax.while_loop`, with a bound on its turns."""
    if max_steps is None:
        return jax.lax.while_loop(cond, body, init)
    _, final = jax.lax.while_loop(
        lambda carry: (carry[0] < max_steps) & cond(carry[1]),
        lambda carry: (carry[0] + 1, body(carry[1])),
        (jnp.asarray(0), init),
    )
    return final
