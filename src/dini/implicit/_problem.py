"""The four kinds of equation, each as a residual F with F(z) = 0 at the solution."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import lineax as lx
import optimistix as optx
from jaxtyping import Array, Float, PyTree

from dini._tree import RealView, describe, max_abs
from dini.linear import probe
from dini.rules import Derivative
from dini.solvers import Anderson

_Vector = Float[Array, " n"]


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A kind of equation.

    Attributes:
        kind: its name.
        search: the Optimistix function that solves it, for a user's function between real trees.
        residual: the user's function, seen as F from vectors to vectors of shape (size,). F is
            turned so that z ↦ z + F(z) is its natural iteration: T(z) − z, F(z), −∇f(z).
        solvers: the kinds of Optimistix solver that `search` takes.
        plain_solver: one that needs no reverse mode, where the default one does.
        default_solver: the Optimistix solver where the user names none, from rtol = atol.
        power: which power of eps that tolerance is.
        tags: what is known of ∂zF.
    """

    kind: str
    search: Callable
    residual: Callable[[Callable, RealView], Callable[[_Vector], _Vector]]
    solvers: tuple[type, ...]
    default_solver: Callable[[float, float], optx.AbstractIterativeSolver]
    power: float = 1 / 2
    plain_solver: Callable[[float, float], optx.AbstractIterativeSolver] | None = None
    tags: frozenset[object] = frozenset()

    def tolerance(self, eps: float) -> float:
        """The default rtol and atol, for numbers with this machine epsilon."""
        return eps**self.power

    def turn(self, tags: frozenset[object]) -> frozenset[object]:
        """The tags of ∂zF, from those that the user states: of a minimum, for the Hessian."""
        if self.residual is not _descent and self.residual is not _least_squares_descent:
            return tags | self.tags
        definite = {lx.positive_semidefinite_tag, lx.negative_semidefinite_tag}
        return (tags - definite) | self.tags


def _displacement(fun: Callable, view: RealView) -> Callable[[_Vector], _Vector]:
    return lambda v: view.ravel(fun(view.unravel(v))) - v


def _as_it_is(fun: Callable, view: RealView) -> Callable[[_Vector], _Vector]:
    def residual(v: _Vector) -> _Vector:
        f = fun(view.unravel(v))
        return RealView(f).ravel(f).astype(v.dtype)

    return residual


def _descent(fun: Callable, view: RealView) -> Callable[[_Vector], _Vector]:
    return lambda v: -jax.grad(lambda v: fun(view.unravel(v)).astype(v.dtype))(v)


def _least_squares_descent(fun: Callable, view: RealView) -> Callable[[_Vector], _Vector]:
    residual = _as_it_is(fun, view)
    return lambda v: -jax.grad(lambda v: 0.5 * jnp.sum(residual(v) ** 2))(v)


def check_output(problem: Problem, name: str, z: PyTree, out: PyTree) -> None:
    """Refuses a function whose output does not fit the kind of problem, naming both shapes."""
    n, m = RealView(z).size, RealView(out).size
    if n == 0:
        raise TypeError(
            f"{name}: the unknown has nothing to differentiate: it is {describe(z)}, without a "
            "floating-point or complex number."
        )
    if problem.kind == "fixed_point" and _struct(z) != _struct(out):
        raise TypeError(
            f"{name}: a fixed-point map must return what it is given, in structure, shapes and "
            f"dtypes. The unknown is {describe(z)}, and the map returns {describe(out)}."
        )
    if problem.kind == "root" and n != m:
        raise TypeError(
            f"{name}: there are {m} equations for {n} unknowns (real numbers). The unknown is "
            f"{describe(z)}, and the residual is {describe(out)}. A system with more equations "
            "than unknowns is a least-squares problem."
        )
    if problem.kind == "minimum":
        leaves = jtu.tree_leaves(out)
        scalar = len(leaves) == 1 and leaves[0].shape == ()
        if not (scalar and jnp.issubdtype(leaves[0].dtype, jnp.floating)):
            raise TypeError(
                f"{name}: an objective must return one real number, of shape (), and returns "
                f"{describe(out)}. The unknown is {describe(z)}. The sum of squares of a vector "
                "of residuals is a least-squares problem."
            )


def _struct(tree: PyTree) -> tuple:
    leaves, treedef = jtu.tree_flatten(tree)
    return treedef, [(x.shape, x.dtype) if hasattr(x, "dtype") else x for x in leaves]


def scale_of(derivative: Derivative, v: _Vector) -> Float[Array, ""]:
    """How much F changes when z = v changes by its own size: 1 where that cannot be told.

    A solver that is handed an equation divided by this number reads its absolute tolerance on F as
    one on z, and takes the same steps for F and for 1e12 F. Of an objective F is ∇f; residuals,
    whose squares make an objective, are divided by its square root.
    """
    scale = max_abs(derivative.pushforward(probe(v) * (1 + jnp.abs(v))))
    return jnp.where(jnp.isfinite(scale) & (scale > 0), scale, 1)


_minimisers = (optx.AbstractMinimiser,)
_least_squares_solvers = (optx.AbstractLeastSquaresSolver, *_minimisers)
_root_finders = (optx.AbstractRootFinder, *_least_squares_solvers)
_fixed_point_solvers = (optx.AbstractFixedPointSolver, *_root_finders)
_concave = frozenset({lx.symmetric_tag, lx.negative_semidefinite_tag})

fixed_point = Problem(
    "fixed_point", optx.fixed_point, _displacement, _fixed_point_solvers, Anderson, power=3 / 4
)
root = Problem(
    "root", optx.root_find, _as_it_is, _root_finders, optx.Dogleg, plain_solver=optx.Newton
)
minimum = Problem("minimum", optx.minimise, _descent, _minimisers, optx.BFGS, tags=_concave)
least_squares = Problem(
    "least_squares",
    optx.least_squares,
    _least_squares_descent,
    _least_squares_solvers,
    optx.LevenbergMarquardt,
    tags=_concave,
)
