"""A condition: an equation made of functions that share their arguments."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from dini._tree import RealView, allowed_error, asarrays, batched_with, describe

_Vector = Float[Array, " n"]


class Precision(NamedTuple):
    """How well an unknown is known: to atol + rtol |z|, and not better than rounding."""

    rtol: Any
    atol: Any
    eps: float

    def error(self, v: _Vector) -> _Vector:
        """What each number may be off by."""
        return allowed_error(v, self.rtol, self.atol, self.eps)


@dataclasses.dataclass(frozen=True)
class Condition:
    """F(z, *args, **kwargs), which is zero where z satisfies a condition of optimality.

    Attributes:
        name: the kind of condition.
        residual: (name, precision, one_sided, z, *functions) ↦ F, for functions of one argument.
        functions: the user's, each a function of (., *args, **kwargs); None for one left out.
        one_sided: whether the derivative at a tie or kink is that on one of its sides.
        bound: `self`, where the condition stands for a method.
        rtol, atol: how well z is known; √eps of its dtype where None.
    """

    name: str
    residual: Callable[..., PyTree]
    functions: tuple[Callable | None, ...]
    one_sided: bool = False
    bound: tuple = ()
    rtol: Any = None
    atol: Any = None

    def __post_init__(self) -> None:
        for fn in self.functions:
            if not (fn is None or callable(fn)):
                raise TypeError(f"dini.conditions.{self.name} takes functions, and not {fn!r}.")

    def of_method(self, *bound: Any) -> Self:
        """The condition whose functions get `self` first."""
        return dataclasses.replace(self, bound=bound)

    def within(self, rtol: Any, atol: Any) -> Self:
        """The condition for an unknown that is known to atol + rtol |z|."""
        return dataclasses.replace(self, rtol=rtol, atol=atol)

    def __call__(self, z: PyTree, /, *args: Any, **kwargs: Any) -> PyTree:
        def sharing(fn: Callable | None) -> Callable | None:
            return fn and (lambda v: asarrays(fn(*self.bound, v, *args, **kwargs)))

        z = asarrays(z)
        eps = RealView(z).eps
        rtol, atol = (eps**0.5 if x is None else x for x in (self.rtol, self.atol))
        precision = Precision(rtol, atol, eps)
        functions = map(sharing, self.functions)
        return self.residual(self.name, precision, self.one_sided, z, *functions)


def scalar(name: str, fun: Callable[[PyTree], Array], view: RealView) -> Callable[[_Vector], Array]:
    """A real function of a tree as one of its vector of real numbers."""

    def of_vector(v: _Vector) -> Array:
        out = fun(view.unravel(v))
        if jnp.shape(out) != () or not jnp.issubdtype(jnp.result_type(out), jnp.floating):
            raise TypeError(
                f"dini.conditions.{name}: an objective or generator must return one real number, "
                f"of shape (), and returns {describe(out)}."
            )
        return out.astype(view.dtype)

    return of_vector


@jax.custom_jvp
def undifferentiable(x: Array, where: Array) -> Array:
    """x, whose derivative is NaN `where` it has none."""
    return batched_with(x, where)


@undifferentiable.defjvp
def _nan_derivative(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (x, where), (x_dot, _) = primals, tangents
    return undifferentiable(x, where), x_dot * jnp.where(where, jnp.nan, 1).astype(x.dtype)
