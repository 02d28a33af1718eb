"""Continuation: a root that no guess reaches, along a path from an equation already solved."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import optimistix as optx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree, Scalar

from dini._tree import all_finite, asarrays, describe
from dini.solvers._root import code

# A corrector that took at most this share of its steps was an easy one.
_EASY = 1 / 2


class _State(eqx.Module):
    """The last two points of the path, (z, λ) and (earlier_z, earlier), and the step tried next."""

    z: PyTree[Array]
    reached: Float[Array, ""]
    earlier_z: PyTree[Array]
    earlier: Float[Array, ""]
    stride: Float[Array, ""]
    offset: PyTree[Array]
    evaluations: Int[Array, ""]
    products: Int[Array, ""]
    result: optx.RESULTS


# z₀ solves H(z, 0) = 0 and a root of H(z, 1) is a root of F, with
#     H(z, λ) = F(z, (1 − λ) θ₀ + λ θ) − (1 − λ) F(z₀, θ₀).
# Where ∂zH is regular the implicit function theorem gives a curve z(λ) from z₀ on. It is followed
# in λ: a secant through the last two points predicts the next, and a root finder corrects it.
class Continuation(optx.AbstractRootFinder):
    """Follows the solution of an easy equation to that of a hard one.

    An economist who has solved a model at `params0`, with solution z0, gets to `params1` by

        steady_state = dini.implicit_root(F, solver=dini.Continuation(optx.Newton(1e-8, 1e-8)))
        steady_state.with_options(options={"start": (params0,)})(z0, params1)

    where F(z, params) = 0 is the model: the parameters go from those of `options["start"]` to those
    of the call on a straight line, and z follows. `start` stands for Optimistix's `args`, which
    under a decorator are the positional arguments of the call. Without it the equation at the guess
    is shifted until the guess solves it, and the shift is taken back: Newton's homotopy. Any other
    homotopy is an equation with λ among its arguments, and a start that differs in λ alone.

    λ goes from 0 to 1. A step that the solver cannot correct is halved, an easy one makes the next
    twice as long. Where no step of `min_step` succeeds the search stops with the code
    `nonlinear_divergence` and returns the last point of the path: at a fold, where the path turns
    back, at a point where ∂zH is singular, or where F is not defined. `stats` holds "lambda", how
    far the path was followed (1: to the end), and what it cost, "evaluations" and "products": as
    the solver counts them, or, where it does not, an evaluation and all of ∂zF for each step.

    The path is followed in real numbers: a fold is not turned, no branch is chosen at a crossing,
    and a step that is too long may land on another branch; a smaller `initial_step` makes that less
    likely. A root at λ = 1 is one of F, whatever the path.

    Attributes:
        solver: the root finder, least-squares solver or minimiser that corrects, up to its own
            tolerances; what else `options` holds is handed to it.
        initial_step: the first step in λ, in (0, 1].
        min_step: the smallest.
        max_corrections: how many steps the solver may take for one point of the path.

    Raises:
        ValueError: when `start` does not fit the arguments, leaf by leaf, or a step is not in
            (0, 1].

    References: Allgower and Georg, Introduction to Numerical Continuation Methods (2003), chapters
    1 and 2; Keller, Global homotopies and Newton methods (1978).
    """

    solver: optx.AbstractRootFinder | optx.AbstractLeastSquaresSolver | optx.AbstractMinimiser
    initial_step: float = 0.25
    min_step: float = 1e-5
    max_corrections: int = eqx.field(static=True, default=10)
    remedy: ClassVar[str] = (
        'stats["lambda"] tells how far the path was followed: at a fold the solution ceases to '
        "exist on it, and another start may lead past it. Or try another solver, a larger "
        "max_steps, or a smaller min_step"
    )

    def __check_init__(self) -> None:
        for name in ("initial_step", "min_step"):
            value = getattr(self, name)
            if isinstance(value, float | int) and not 0 < value <= 1:
                raise ValueError(f"{name} must be in (0, 1], and is {value}.")
        if self.max_corrections < 1:
            raise ValueError(f"max_corrections must be at least 1, and is {self.max_corrections}.")

    @property
    def rtol(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the solver."""
        return self.solver.rtol

    @property
    def atol(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the solver."""
        return self.solver.atol

    @property
    def norm(self) -> Callable[[PyTree], Scalar]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """That of the solver."""
        return self.solver.norm

    def init(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        f_struct: PyTree,
        aux_struct: PyTree,
        tags: frozenset[object],
    ) -> _State:
        """Optimistix's protocol."""
        del f_struct, aux_struct, tags
        zero = jnp.zeros(())
        offset, _ = fn(y, _between(args, options, zero))
        return _State(
            z=y,
            reached=zero,
            earlier_z=y,
            earlier=zero - 1,
            stride=zero + self.initial_step,
            offset=offset,
            evaluations=jnp.asarray(1),
            products=jnp.asarray(0),
            result=code(~_finite(offset), optx.RESULTS.nonfinite),
        )

    def step(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        state: _State,
        tags: frozenset[object],
    ) -> tuple[PyTree, _State, PyTree]:
        """Optimistix's protocol."""
        s = state
        target = jnp.minimum(s.reached + s.stride, 1)
        # What is left is not left for a step of its own.
        target = jnp.where(1 - target < s.stride / 4, 1, target)
        ahead = (target - s.reached) / (s.reached - s.earlier)
        guess = jtu.tree_map(lambda z, e: z + ahead.astype(z.dtype) * (z - e), s.z, s.earlier_z)
        solution = self._correct(fn, guess, args, options, s.offset, target, tags)

        ok = (solution.result == optx.RESULTS.successful) & _finite(solution.value)
        keep = lambda new, old: jtu.tree_map(lambda n, o: jnp.where(ok, n, o), new, old)
        z, earlier_z = keep((solution.value, s.z), (s.z, s.earlier_z))
        steps = solution.stats["num_steps"]
        easy = steps <= _EASY * self.max_corrections
        stride = target - s.reached
        stride = jnp.where(ok, jnp.where(easy, 2 * stride, stride), stride / 2)
        stuck = ~ok & (stride < self.min_step)
        size = sum(leaf.size for leaf in jtu.tree_leaves(y))
        spent = {"evaluations": steps, "products": size * steps} | solution.stats
        after = _State(
            z=z,
            reached=jnp.where(ok, target, s.reached),
            earlier_z=earlier_z,
            earlier=jnp.where(ok, s.reached, s.earlier),
            stride=stride,
            offset=s.offset,
            evaluations=s.evaluations + spent["evaluations"],
            products=s.products + spent["products"],
            result=code(stuck, optx.RESULTS.nonlinear_divergence),
        )
        return z, after, solution.aux

    def _correct(
        self,
        fn: Callable,
        z: PyTree,
        args: PyTree,
        options: dict[str, Any],
        offset: PyTree,
        at: Float[Array, ""],
        tags: frozenset[object],
    ) -> optx.Solution:
        """Solves H(z, λ) = 0 at one λ."""

        def homotopy(z: PyTree, _: None) -> tuple[PyTree, PyTree]:
            f, aux = fn(z, _between(args, options, at))
            return jtu.tree_map(lambda f, o: f - (1 - at).astype(f.dtype) * o, f, offset), aux

        return optx.root_find(
            homotopy,
            self.solver,
            z,
            None,
            {k: v for k, v in options.items() if k != "start"},
            has_aux=True,
            max_steps=self.max_corrections,
            throw=False,
            tags=tags,
        )

    def terminate(
        self,
        fn: Callable,
        y: PyTree,
        args: PyTree,
        options: dict[str, Any],
        state: _State,
        tags: frozenset[object],
    ) -> tuple[Bool[Array, ""], optx.RESULTS]:
        """Optimistix's protocol."""
        del fn, y, args, options, tags
        return state.reached == 1, state.result

    def postprocess(
        self,
        fn: Callable,
        y: PyTree,
        aux: PyTree,
        args: PyTree,
        options: dict[str, Any],
        state: _State,
        tags: frozenset[object],
        result: optx.RESULTS,
    ) -> tuple[PyTree, PyTree, dict[str, Any]]:
        """Optimistix's protocol."""
        del fn, args, options, tags, result
        counts = {"evaluations": state.evaluations, "products": state.products}
        return y, aux, {"lambda": state.reached} | counts


def _finite(tree: PyTree) -> Bool[Array, ""]:
    return all_finite(ravel_pytree(tree)[0])


def _between(args: PyTree, options: dict[str, Any], at: Float[Array, ""]) -> PyTree:
    """(1 − λ) θ₀ + λ θ in the inexact arrays of the arguments; all else is that of the call."""
    if "start" not in options:
        return args
    inexact = lambda tree: eqx.partition(tree, eqx.is_inexact_array)
    end, fixed = inexact(args)
    start, _ = inexact(asarrays(options["start"]))
    shapes = lambda tree: jtu.tree_map(jnp.shape, tree)
    if jtu.tree_structure(start) != jtu.tree_structure(end) or shapes(start) != shapes(end):
        raise ValueError(
            'dini.Continuation: options["start"] must be like the arguments of the equation (a '
            "tuple of the positional ones, under a decorator), with an array of the same shape for "
            f"each array. It is {describe(options['start'])}, and they are {describe(args)}."
        )

    def leaf(a: Array, b: Array) -> Array:
        share = at.astype(jnp.finfo(b.dtype).dtype)
        return jnp.where(at == 1, b, ((1 - share) * a + share * b).astype(b.dtype))

    return eqx.combine(jax.tree.map(leaf, start, end), fixed)
