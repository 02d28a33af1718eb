"""Bounded parameters as unbounded numbers."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from dini._tree import asarrays, is_inexact
from dini.economics._parameters import pretty
from dini.linear import guarded


# With σ(u) = 1/(1 + e⁻ᵘ) and s(u) = log(1 + eᵘ), s′ = σ and σ′(u) = σ(u) σ(−u):
#     l < x:      x = l + s(u)              log dx/du = −s(−u)
#     x < h:      x = h − s(−u)             log dx/du = −s(u)
#     l < x < h:  x = l + (h − l) σ(u)      log dx/du = log(h − l) − s(u) − s(−u)
# All of them grow with u.
class Bounds:
    """Parameters with bounds, and the numbers without that stand for them.

    ```python
    bounds = dini.economics.Bounds({"alpha": (0, 1), "sigma": (0, None), "drift": None})
    u = bounds.unconstrain({"alpha": 0.3, "sigma": 0.02, "drift": 0.0})  # any real numbers
    params = bounds.constrain(u)  # within the bounds
    ```

    An optimiser or a sampler runs on u. One that wants a vector gets it by
    `vector, unravel = jax.flatten_util.ravel_pytree(u)`, and `bounds.constrain(unravel(vector))`
    leads back. The maps are l + log(1 + eᵘ), its mirror image h − log(1 + e⁻ᵘ), and
    l + (h − l) / (1 + e⁻ᵘ): all increase, are smooth, and keep their digits near 0 and near a
    bound. Far out, where the distance to a bound is less than rounding, x is the bound itself.

    Args:
        bounds: (lower, upper) in the place of each parameter, or of a whole branch of parameters;
            None, or an infinite number, for an open end, and None for both. A bound is a number, or
            an array that fits the parameter, all of it finite or infinite.

    Raises:
        TypeError: for a bound that is none.
        ValueError: when a lower bound is not below the upper one.
    """

    def __init__(self, bounds: PyTree) -> None:
        self._pairs = jtu.tree_map_with_path(_pair, bounds, is_leaf=_is_pair)

    def constrain(self, u: PyTree) -> PyTree:
        """The parameters x(u), each of the dtype of its u.

        Args:
            u: a tree like the parameters; what is not a floating-point number passes unchanged.
        """
        return self._each(lambda _, pair, u: _inside(*_like(u, pair), u), u)

    def unconstrain(self, params: PyTree, *, throw: bool = True) -> PyTree:
        """The numbers u(x), the inverse of `constrain`.

        Args:
            params: the parameters, strictly within their bounds.
            throw: whether others raise, or give NaN.

        Raises:
            ValueError: with throw=True, for parameters that are not, by name.
            RuntimeError: the same in compiled code.
        """

        def one(name: str, pair: tuple, x: Array) -> Array:
            lower, upper = _like(x, pair)
            bad = ~jnp.all(_above(x, lower) & _above(upper, x))
            if throw and not isinstance(bad, Tracer) and bad:
                raise ValueError(_outside(name, pair, f", and is {x}"))
            return _outward(lower, upper, guarded(x, bad, _outside(name, pair, ""), throw))

        return self._each(one, params)

    def log_det_jacobian(self, u: PyTree) -> Float[Array, ""]:
        """The number log |det ∂x/∂u|, to be added to a log density of x to have that of u."""
        slopes = self._each(lambda _, pair, u: jnp.sum(_log_slope(*_like(u, pair), u)), u)
        return sum((x for x in jtu.tree_leaves(slopes) if is_inexact(x)), jnp.asarray(0.0))

    def log_density(self, fn: Callable[[PyTree], Any]) -> Callable[[PyTree], Float[Array, ""]]:
        """The log density of u where `fn` is that of the parameters.

        Args:
            fn: params ↦ a number.

        Returns:
            u ↦ fn(constrain(u)) + log_det_jacobian(u).
        """
        return lambda u: fn(self.constrain(u)) + self.log_det_jacobian(u)

    def _each(self, fn: Callable[[str, tuple, Array], Array], tree: PyTree) -> PyTree:
        """fn(name, (lower, upper), number) for the floating-point numbers of a tree."""

        def branch(path: Any, pair: tuple, tree: PyTree) -> PyTree:
            def leaf(more: Any, x: Any) -> Any:
                name = pretty((*path, *more))
                if is_inexact(x):
                    return fn(name, pair, x)
                if pair != (None, None):
                    raise TypeError(
                        f"Bounds: {name} has bounds, and must be a floating-point number for them, "
                        f"and is {x!r}."
                    )
                return x

            return jtu.tree_map_with_path(leaf, tree)

        return jtu.tree_map_with_path(branch, self._pairs, asarrays(tree), is_leaf=_is_pair)


def _is_pair(x: Any) -> bool:
    if x is None:
        return True
    is_bound = lambda b: b is None or isinstance(b, int | float | np.generic | np.ndarray | Array)
    return type(x) is tuple and len(x) == 2 and all(map(is_bound, x))  # noqa: PLR2004


def _pair(path: Any, pair: Any) -> tuple:
    if not _is_pair(pair):
        raise TypeError(
            f"Bounds takes a pair (lower, upper) for {pretty(path)}, or None, and was given "
            f"{pair!r}."
        )
    lower, upper = (None, None) if pair is None else pair
    lower, upper = _bound(path, lower, -np.inf), _bound(path, upper, np.inf)
    if lower is not None and upper is not None and not np.all(np.asarray(lower) < upper):
        raise ValueError(
            f"Bounds: the lower bound of {pretty(path)} must be below the upper one, and they are "
            f"{lower} and {upper}."
        )
    return lower, upper


def _bound(path: Any, bound: Any, infinite: float) -> Any:
    """None for an open end."""
    if bound is None:
        return None
    numbers = np.asarray(bound, float)
    if np.all(numbers == infinite):
        return None
    if not np.all(np.isfinite(numbers)):
        raise ValueError(f"Bounds: a bound of {pretty(path)} is {bound}.")
    return numbers if numbers.ndim else float(numbers)


def _like(x: Array, pair: tuple) -> tuple[Array | None, Array | None]:
    """Bounds in the precision of x."""
    lower, upper = (None if b is None else jnp.asarray(b, x.dtype) for b in pair)
    return lower, upper


def _inside(lower: Array | None, upper: Array | None, u: Array) -> Array:
    if lower is None:
        return u if upper is None else upper - _softplus(-u)
    if upper is None:
        return lower + _softplus(u)
    near = jnp.where(u < 0, lower, upper)
    share = jnp.where(u < 0, _sigmoid(u), -_sigmoid(-u))
    return near + (upper - lower) * share


def _outward(lower: Array | None, upper: Array | None, x: Array) -> Array:
    if lower is None:
        return x if upper is None else -_inverse_softplus(upper - x)
    if upper is None:
        return _inverse_softplus(x - lower)
    return jnp.log(x - lower) - jnp.log(upper - x)


def _log_slope(lower: Array | None, upper: Array | None, u: Array) -> Array:
    if lower is None:
        return jnp.zeros_like(u) if upper is None else -_softplus(u)
    if upper is None:
        return -_softplus(-u)
    return jnp.log(upper - lower) - _softplus(u) - _softplus(-u)


# By e = e^−|u|, which does not overflow, in branches that are one analytic function: so that all
# their derivatives are right, to the last digits in both tails.
def _softplus(u: Array) -> Array:
    e = jnp.exp(jnp.where(u < 0, u, -u))
    return jnp.where(u < 0, 0, u) + jnp.log1p(e)


def _sigmoid(u: Array) -> Array:
    e = jnp.exp(jnp.where(u < 0, u, -u))
    return jnp.where(u < 0, e, 1) / (1 + e)


def _inverse_softplus(y: Array) -> Array:
    return y + jnp.log(-jnp.expm1(-y))


def _above(x: Array | None, y: Array | None) -> Any:
    return True if x is None or y is None else x > y


def _outside(name: str, pair: tuple, value: str) -> str:
    ends = [
        f"{side} {b}" for side, b in zip(("above", "below"), pair, strict=True) if b is not None
    ]
    return f"Bounds: {name} must be {' and '.join(ends) or 'a number'}{value}."
