"""Value and gradient of a fixed point and of a root: dini against its peers.

    python benchmarks/implicit.py [--plot] [--sizes 2 64 1024]

The fixed point is z = tanh(W z + x) with a contraction W, solved by plain iteration by everyone;
the root is z + ½ sin(W z) = x, solved by Newton's method by everyone who has it. The gradient is
that of |z|² in W and x, and its error is against a dense solve at a solution converged to rounding.
"""

import argparse
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import jaxopt
import numpy as np
import optimistix as optx
from harness import Entry, Row, plot, race, report

import dini

jax.config.update("jax_enable_x64", True)
TOL = 1e-10


def step(z: jax.Array, w: jax.Array, x: jax.Array) -> jax.Array:
    """T(z) = tanh(W z + x)."""
    return jnp.tanh(w @ z + x)


def residual(z: jax.Array, w: jax.Array, x: jax.Array) -> jax.Array:
    """F(z) = z + ½ sin(W z) − x."""
    return z + 0.5 * jnp.sin(w @ z) - x


@jax.custom_vjp
def by_hand(w: jax.Array, x: jax.Array) -> jax.Array:
    """The rule that one writes by hand: iterate forward, iterate the adjoint equation back."""
    return _iterate(lambda z: step(z, w, x), jnp.zeros_like(x))


def _iterate(fun: Callable, z: jax.Array) -> jax.Array:
    def unconverged(carry: tuple) -> jax.Array:
        before, after = carry
        return jnp.max(jnp.abs(after - before) / (TOL + TOL * jnp.abs(after))) > 1

    return jax.lax.while_loop(unconverged, lambda c: (c[1], fun(c[1])), (z, fun(z)))[1]


def _forward(w: jax.Array, x: jax.Array) -> tuple[jax.Array, tuple]:
    z = by_hand(w, x)
    return z, (z, w, x)


def _backward(saved: tuple, ct: jax.Array) -> tuple:
    z, w, x = saved
    _, pullback = jax.vjp(step, z, w, x)
    adjoint = _iterate(lambda u: ct + pullback(u)[0], ct)
    return pullback(adjoint)[1:]


by_hand.defvjp(_forward, _backward)


def fixed_points() -> dict[str, Callable]:
    """Everyone's fixed point as a function of (W, x)."""
    ours = dini.implicit_fixed_point(step, solver=dini.Picard(TOL, TOL))
    anderson = dini.implicit_fixed_point(step, solver=dini.Anderson(TOL, TOL))
    theirs = jaxopt.FixedPointIteration(step, tol=TOL, maxiter=256, implicit_diff=True)

    def optimistix(adjoint: optx.AbstractAdjoint) -> Callable:
        solver = optx.FixedPointIteration(TOL, TOL)
        fun = lambda z, args: step(z, *args)
        return lambda w, x: (
            optx.fixed_point(fun, solver, jnp.zeros_like(x), (w, x), adjoint=adjoint).value
        )

    return {
        "dini, Picard": lambda w, x: ours(jnp.zeros_like(x), w, x),
        "dini, Anderson": lambda w, x: anderson(jnp.zeros_like(x), w, x),
        "optimistix": optimistix(optx.ImplicitAdjoint()),
        "optimistix with dini.Implicit": optimistix(dini.Implicit()),
        "jaxopt": lambda w, x: theirs.run(jnp.zeros_like(x), w, x).params,
        "by hand": by_hand,
    }


def roots() -> dict[str, Callable]:
    """Everyone's root as a function of (W, x); jaxopt has Broyden's method and no Newton's."""
    newton = optx.Newton(TOL, TOL)
    ours = dini.implicit_root(residual, solver=newton)
    default = dini.implicit_root(residual)
    theirs = jaxopt.Broyden(residual, tol=TOL, maxiter=256, implicit_diff=True)
    fun = lambda z, args: residual(z, *args)
    return {
        "dini, Newton": lambda w, x: ours(x, w, x),
        "dini, default (Dogleg)": lambda w, x: default(x, w, x),
        "optimistix, Newton": lambda w, x: optx.root_find(fun, newton, x, (w, x)).value,
        "jaxopt, Broyden": lambda w, x: theirs.run(x, w, x).params,
    }


def exact(fun: Callable, w: jax.Array, x: jax.Array) -> tuple:
    """Solves F(z) = fun(z, W, x) = 0 to rounding; z, and the gradient of |z|² by a dense solve."""
    z = x
    for _ in range(100):
        z = z - jnp.linalg.solve(jax.jacfwd(fun)(z, w, x), fun(z, w, x))
    adjoint = -jnp.linalg.solve(jax.jacfwd(fun)(z, w, x).T, 2 * z)
    _, pullback = jax.vjp(lambda w, x: fun(z, w, x), w, x)
    return jax.tree.map(np.asarray, (z, pullback(adjoint)))


def run(sizes: Sequence[int], rounds: int) -> list[Row]:
    """All races."""
    rows = []
    kinds = {
        "fixed point": (fixed_points(), lambda z, w, x: step(z, w, x) - z),
        "root": (roots(), residual),
    }
    for n in sizes:
        w = jnp.asarray(np.random.default_rng(0).normal(size=(n, n)) * 0.5 / np.sqrt(n))
        x = jnp.asarray(np.random.default_rng(1).normal(size=n))
        for kind, (everyone, fun) in kinds.items():
            z, gradient = exact(fun, w, x)
            value = [Entry(k, _bind(jax.jit(f), w, x)) for k, f in everyone.items()]
            slope = [Entry(k, _bind(_gradient(f), w, x)) for k, f in everyone.items()]
            rows += race(f"{kind}: value", n, value, z, rounds)
            rows += race(f"{kind}: grad", n, slope, gradient, rounds)
    return rows


def _bind(fun: Callable, *args: jax.Array) -> Callable:
    return lambda: fun(*args)


def _gradient(fun: Callable) -> Callable:
    return jax.jit(jax.grad(lambda w, x: jnp.sum(fun(w, x) ** 2), argnums=(0, 1)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 64, 1024])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    results = run(options.sizes, options.rounds)
    report("implicit", results)
    if options.plot:
        plot("implicit", results)
