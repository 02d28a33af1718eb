"""What fixed-point solvers share: vectors, one evaluation of the map a step, the stopping rule."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Inexact, PyTree, Scalar


class IterationState(eqx.Module):
    """The method's own memory, and whether the last point evaluated was a fixed point."""

    memory: PyTree[Array]
    done: Bool[Array, ""]


class AbstractIteration(optx.AbstractFixedPointSolver):
    """A fixed-point method that evaluates T once a step, and returns a z that it has evaluated.

    It stops at the first z with |T(z) − z| ≤ atol + rtol |z|, in the solver's norm, so that the
    solution returned is one at which the displacement is known, and not one step further on.
    """

    rtol: eqx.AbstractVar[float]
    atol: eqx.AbstractVar[float]
    norm: eqx.AbstractVar[Callable[[PyTree], Scalar]]

    @abc.abstractmethod
    def start(self, z: Inexact[Array, " n"]) -> PyTree[Array]:
        """The memory before the first evaluation."""

    @abc.abstractmethod
    def advance(
        self, z: Inexact[Array, " n"], r: Inexact[Array, " n"], memory: PyTree[Array]
    ) -> tuple[Inexact[Array, " n"], PyTree[Array]]:
        """The next point, from the displacement r = T(z) − z at this one."""

    def init(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        f_struct: PyTree,
        aux_struct: PyTree,
        tags: frozenset[object],
    ) -> IterationState:
        """Optimistix's protocol."""
        del fn, args, options, f_struct, aux_struct, tags
        return IterationState(self.start(ravel_pytree(y)[0]), jnp.asarray(False))

    def step(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        state: IterationState,
        tags: frozenset[object],
    ) -> tuple[PyTree, IterationState, PyTree]:
        """Optimistix's protocol."""
        del options, tags
        out, aux = fn(y, args)
        z, unravel = ravel_pytree(y)
        r = ravel_pytree(out)[0] - z
        scaled = jnp.abs(r) / (self.atol + self.rtol * jnp.abs(z))
        done = self.norm(jnp.where(r == 0, 0, scaled)) <= 1
        after, memory = self.advance(z, r, state.memory)
        after = jnp.where(done, z, after)
        return unravel(after), IterationState(memory, done), aux

    def terminate(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        state: IterationState,
        tags: frozenset[object],
    ) -> tuple[Bool[Array, ""], optx.RESULTS]:
        """Optimistix's protocol."""
        del fn, y, args, options, tags
        return state.done, optx.RESULTS.successful

    def postprocess(
        self,
        fn: Callable,
        y: PyTree,
        aux: PyTree,
        args: PyTree,
        options: dict[str, Any],
        state: IterationState,
        tags: frozenset[object],
        result: optx.RESULTS,
    ) -> tuple[PyTree, PyTree, dict[str, Any]]:
        """Optimistix's protocol."""
        del fn, args, options, state, tags, result
        return y, aux, {}


def size(r: Inexact[Array, " n"]) -> Scalar:
    """The Euclidean norm, infinite where it is not a number."""
    norm = jax.lax.stop_gradient(jnp.linalg.norm(r))
    return jnp.where(jnp.isnan(norm), jnp.inf, norm)
