"""What root finders for many unknowns share: real vectors, the stopping rule, what they report."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Bool, Float, Int, PyTree, Scalar

from dini._tree import RealView, allowed_error, describe, max_abs

_Vector = Float[Array, " n"]
# F as a function of the vector of z, with the user's auxiliary output.
Residual = Callable[[_Vector], tuple[_Vector, PyTree]]


class Progress(eqx.Module):
    """Where a search stands; a method adds its own memory.

    Attributes:
        z: the last point accepted.
        done: whether z is a solution.
        result: a code other than successful where the search has failed.
        evaluations: how often F was evaluated.
        products: how many products with ∂F were taken.
        unit: the largest |F| at the start: what F is divided by, lest its squares underflow.
    """

    z: _Vector
    done: Bool[Array, ""]
    result: optx.RESULTS
    evaluations: Int[Array, ""]
    products: Int[Array, ""]
    unit: Scalar

    def unit_for(self, f: _Vector) -> Scalar:
        """The unit, which the first F that is seen sets."""
        largest = max_abs(f)
        known = jnp.isfinite(largest) & (largest > 0)
        return jnp.where(self.evaluations == 0, jnp.where(known, largest, 1), self.unit)


class AbstractSearch(optx.AbstractRootFinder):
    """A root finder that works on vectors and evaluates F at one point a step.

    Leaves of any inexact dtype are seen as one real vector, a complex number as two real ones: F
    need not be holomorphic. `stats` tells the "evaluations" of F and the "products" with ∂F.
    """

    rtol: eqx.AbstractVar[float]
    atol: eqx.AbstractVar[float]
    norm: eqx.AbstractVar[Callable[[PyTree], Scalar]]

    @abc.abstractmethod
    def start(self, z: _Vector) -> Progress:
        """What is known before the first evaluation."""

    @abc.abstractmethod
    def advance(
        self, residual: Residual, z: _Vector, before: Any, view: RealView
    ) -> tuple[_Vector, Any, PyTree]:
        """Evaluates F at z; the point to evaluate next or the solution, the progress, and aux."""

    def scaled(self, step: _Vector, z: _Vector, eps: float) -> Scalar:
        """A step in units of the tolerance, which never asks for more than rounding allows."""
        allowed = allowed_error(z, self.rtol, self.atol, eps)
        return self.norm(jnp.where(step == 0, 0, step / allowed))

    def init(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        f_struct: PyTree,
        aux_struct: PyTree,
        tags: frozenset[object],
    ) -> Progress:
        """Optimistix's protocol.

        Raises:
            TypeError: when there are not as many equations as unknowns.
        """
        del fn, args, options, aux_struct, tags
        view, n = RealView(y), RealView(f_struct).size
        if n != view.size:
            raise TypeError(
                f"{type(self).__name__}: there are {n} equations for {view.size} unknowns (real "
                f"numbers). The unknown is {describe(y)}, and the residual is "
                f"{describe(f_struct)}. A system with more equations than unknowns is a "
                "least-squares problem."
            )
        return self.start(jax.lax.stop_gradient(view.ravel(y)))

    def step(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        state: Any,
        tags: frozenset[object],
    ) -> tuple[PyTree, Any, PyTree]:
        """Optimistix's protocol."""
        del options, tags
        view = RealView(y)

        def residual(z: _Vector) -> tuple[_Vector, PyTree]:
            out, aux = fn(view.unravel(z), args)
            return RealView(out).ravel(out).astype(z.dtype), aux

        z, state, aux = self.advance(residual, view.ravel(y), state, view)
        return view.unravel(z), state, aux

    def terminate(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        state: Any,
        tags: frozenset[object],
    ) -> tuple[Bool[Array, ""], optx.RESULTS]:
        """Optimistix's protocol."""
        del fn, y, args, options, tags
        return state.done, state.result

    def postprocess(
        self,
        fn: Callable,
        y: PyTree,
        aux: PyTree,
        args: PyTree,
        options: dict[str, Any],
        state: Any,
        tags: frozenset[object],
        result: optx.RESULTS,
    ) -> tuple[PyTree, PyTree, dict[str, Any]]:
        """Optimistix's protocol: a search that failed returns the last point accepted."""
        del fn, args, options, tags, result
        reached = RealView(y).unravel(state.z)
        y = jax.tree_util.tree_map(lambda a, b: jnp.where(state.done, a, b), y, reached)
        return y, aux, {"evaluations": state.evaluations, "products": state.products}


def code(failed: Bool[Array, ""], why: Any) -> optx.RESULTS:
    """The result code of a search that goes on unless it has failed."""
    return optx.RESULTS.where(failed, why, optx.RESULTS.successful)
