"""What a solver costs, counted where it happens: in the function that it is given."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

import dini

DIRECT = 500  # unknowns up to which a Newton step is found by a dense solve
UNDERFLOW = 1e-300  # a residual as small as this is zero


class Counted:
    """F or T, of (z, args), that counts its evaluations and the products with its derivative.

    In JAX through `traced`, under any transformation: a product is one with ∂F or its transpose,
    and a batch of them counts each. On the host through `host` and `host_jacobian`, where a
    Jacobian counts as a product for every column.
    """

    def __init__(
        self, fun: Callable[[jax.Array, Any], jax.Array], fixed_point: bool = False
    ) -> None:
        self.tally: Counter[str] = Counter()
        self.fixed_point = fixed_point
        self.traced = self._counting(fun)
        self._residual = (lambda z, args: fun(z, args) - z) if fixed_point else fun
        self._value = jax.jit(self._residual)
        self._jacobian = jax.jit(jax.jacfwd(self._residual))

    def _count(self, what: str, *arrays: jax.Array) -> jax.Array:
        """0, brought by a call to the host that happens as often as the arrays change together."""

        def call(*probes: Any) -> np.ndarray:
            self.tally[what] += int(np.prod(probes[0].shape))
            return np.zeros(probes[0].shape, probes[0].dtype)

        probes = [x.ravel()[0] for x in arrays]
        out = jax.ShapeDtypeStruct((), probes[0].dtype)
        return jax.pure_callback(call, out, *probes, vmap_method="broadcast_all")

    # ż ↦ ∂F ż is a linear map of its own, so that a solver's products and transposed products are
    # seen apart from its evaluations.
    def _counting(self, fun: Callable) -> Callable:
        def product(at: tuple, v: jax.Array) -> jax.Array:
            z, args = at
            return jax.jvp(lambda z: fun(z, args), (z,), (v,))[1] + self._count("products", z, v)

        def transposed(at: tuple, v: jax.Array) -> jax.Array:
            z, args = at
            (out,) = jax.vjp(lambda z: fun(z, args), z)[1](v)
            return out + self._count("products", z, v)

        @jax.custom_jvp
        def counting(z: jax.Array, args: Any) -> jax.Array:
            return fun(z, args) + self._count("evaluations", z)

        @counting.defjvp
        def _(primals: tuple, tangents: tuple) -> tuple:
            out = counting(*primals)
            return out, dini.linear_map(product, transposed, primals, tangents[0])

        return counting

    def host(self, z: np.ndarray, args: Any = None) -> np.ndarray:
        """The residual, for a solver on the host."""
        self.tally["evaluations"] += 1
        return np.array(self._value(jnp.asarray(z), args))

    def host_jacobian(self, z: np.ndarray, args: Any = None) -> np.ndarray:
        """Its Jacobian, for a solver on the host."""
        self.tally["products"] += np.size(z)
        return np.array(self._jacobian(jnp.asarray(z), args))

    def correction(self, z: np.ndarray, args: Any = None) -> np.ndarray:
        """Newton's step from z, uncounted: the error of z, whatever the scale of F.

        Zero where F has underflowed; NaN where F or ∂F is not finite, and where ∂F is singular and
        F is not zero: the step does not solve the linear model.
        """
        z = jnp.asarray(z)
        value = np.asarray(self._value(z, args))
        if np.max(np.abs(value)) < UNDERFLOW:
            return np.zeros_like(value)
        if z.size <= DIRECT:
            matrix = np.asarray(self._jacobian(z, args)).reshape(z.size, z.size)
            if not (np.all(np.isfinite(matrix)) and np.all(np.isfinite(value))):
                return np.full_like(value, np.nan)
            step = np.linalg.lstsq(matrix, value.ravel())[0]
            left = matrix @ step - value.ravel()
        else:
            step, left = self._iterative(z, args, value)
        good = np.linalg.norm(left) <= 1e-2 * np.linalg.norm(value)
        return step if good else np.full_like(step, np.nan)

    def _iterative(
        self, z: jax.Array, args: Any, value: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        def product(z: jax.Array, v: np.ndarray) -> jax.Array:
            return jax.jvp(lambda z: self._residual(z, args), (z,), (v,))[1]

        compiled = jax.jit(product)
        mv = lambda v: np.array(compiled(z, v))
        operator = LinearOperator((z.size, z.size), matvec=mv, dtype=float)
        step, _ = gmres(operator, value, rtol=1e-3, restart=500, maxiter=2)
        return step, mv(step) - value
