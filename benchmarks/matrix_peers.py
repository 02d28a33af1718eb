"""What JAX, SciPy and PyTorch have of functions of matrices, and of their derivatives.

Each gives functions by mode: "value" (*a), "jvp" (a, e) to (f, its derivative along e), "gradient"
(a, u) to (f, the cotangents of a).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg as sl
import scipy.sparse.linalg
from matrix_cases import transposed


def differentiated(f: Callable) -> dict[str, Callable]:
    """Plain differentiation of JAX's own function."""
    return modes_of(f)


def modes_of(f: Callable) -> dict[str, Callable]:
    return {
        "value": jax.jit(f),
        "jvp": jax.jit(lambda a, e: jax.jvp(f, a, e)),
        "gradient": jax.jit(lambda a, u: value_and_gradient(f, a, u)),
    }


def value_and_gradient(f: Callable, a: tuple, u: Any) -> tuple:
    out, pullback = jax.vjp(f, *a)
    return out, pullback(u)


def of_block(f: Callable) -> dict[str, Callable]:
    """SciPy's function of [[A, E], [0, A]]."""

    def block(a, e):
        n = a.shape[-1]
        out = f(upper(a, e))
        return out[..., :n, :n], out[..., :n, n:]

    return {
        "value": f,
        "jvp": lambda a, e: block(a[0], e[0]),
        "gradient": lambda a, u: of_transpose(block, a, u),
    }


def upper(a: np.ndarray, e: np.ndarray) -> np.ndarray:
    """[[A, E], [0, A]]."""
    rows = np.concatenate([a, e], -1), np.concatenate([np.zeros_like(a), a], -1)
    return np.concatenate(rows, -2)


def of_transpose(pair: Callable, a: tuple, u: Any) -> tuple:
    out, along = pair(a[0], transposed(u))
    return out, (transposed(along),)


def frechet() -> dict[str, Callable]:
    one = np.vectorize(sl.expm_frechet, signature="(n,n),(n,n)->(n,n),(n,n)")
    return {
        "value": sl.expm,
        "jvp": lambda a, e: one(a[0], e[0]),
        "gradient": lambda a, u: of_transpose(one, a, u),
    }


def root(f: Callable) -> dict[str, Callable]:
    """SciPy's root, and S L + L S = E."""
    solve = np.vectorize(sl.solve_sylvester, signature="(m,m),(n,n),(m,n)->(m,n)")

    def pair(a, e):
        s = f(a)
        return s, solve(s, s, e)

    return {
        "value": f,
        "jvp": lambda a, e: pair(a[0], e[0]),
        "gradient": lambda a, u: of_transpose(pair, a, u),
    }


def linear_equation(
    f: Callable, rhs: Callable, adjoint: Callable, pulled: Callable
) -> dict[str, Callable]:
    """SciPy's linear equation f(*a), and once more for each derivative.

    Its right-hand side along e is rhs(x, a, e); adjoint(a, u) solves the transposed equation, and
    pulled(x, a, y) gives the cotangents but the last, which is y.
    """

    def along(a, e):
        x = f(*a)
        return x, f(*a[:-1], rhs(x, a, e))

    def gradient(a, u):
        x, y = f(*a), adjoint(a, u)
        return x, (*pulled(x, a, y), y)

    return {"value": f, "jvp": along, "gradient": gradient}


def closed_loop(f: Callable, loop: Callable, linear: Callable) -> dict[str, Callable]:
    """SciPy's Riccati equation; its derivative by the Lyapunov equation of the closed loop."""

    def along(a, e):
        x = f(*a)
        gain, closed, weight = loop(x, *a[:3])
        move = transposed(e[0] - e[1] @ gain) @ weight
        right = e[3] + transposed(gain) @ e[2] @ gain + move + transposed(move)
        return x, linear(transposed(closed), right)

    return {"value": f, "jvp": along}


# (K, A − B K, and X or X (A − B K): what Ȧ − Ḃ K meets.)
def continuous_loop(x, a, b, r):
    gain = np.linalg.solve(r, transposed(b) @ x)
    return gain, a - b @ gain, x


def discrete_loop(x, a, b, r):
    bx = transposed(b) @ x
    gain = np.linalg.solve(r + bx @ b, bx @ a)
    closed = a - b @ gain
    return gain, closed, x @ closed


def action() -> dict[str, Callable]:
    """SciPy's e^A B; along (E, Ḃ) it is the upper half of exp([[A, E], [0, A]]) [Ḃ; B]."""
    one = each(scipy.sparse.linalg.expm_multiply, "(n,n),(n,k)->(n,k)")

    def along(a, e):
        n = a[0].shape[-1]
        out = one(upper(a[0], e[0]), np.concatenate([e[1], a[1]], -2))
        return out[..., n:, :], out[..., :n, :]

    return {"value": one, "jvp": along}


def torch_exponential() -> dict[str, Callable]:
    import torch  # noqa: PLC0415  where it is installed

    f = torch.linalg.matrix_exp
    tensor = torch.from_numpy

    def gradient(a, u):
        x = tensor(a[0]).requires_grad_()
        out = f(x)
        out.backward(tensor(u))
        return out.detach().numpy(), (x.grad.numpy(),)

    def along(a, e):
        out = torch.func.jvp(f, (tensor(a[0]),), (tensor(e[0]),))
        return tuple(x.numpy() for x in out)

    return {"value": lambda a: f(tensor(a)).numpy(), "jvp": along, "gradient": gradient}


def each(f: Callable, signature: str) -> Callable:
    return np.vectorize(f, signature=signature)


def exp_by_eigh(a):
    """What one writes today: JAX differentiates the eigenvectors."""
    w, v = jnp.linalg.eigh(a)
    return (v * jnp.exp(w)[..., None, :]) @ jnp.swapaxes(v, -1, -2)


def riccati(solver: Callable) -> Callable:
    one = each(solver, "(n,n),(n,k),(n,n),(k,k)->(n,n)")
    return lambda a, b, r, q: one(a, b, q, r)


def in_order(f: Callable) -> Callable:
    """Our function with the constructed weight last."""
    return lambda a, b, r, q: f(a, b, q, r)


MATRIX, PAIR, TWO = "(n,n)->(n,n)", "(n,n),(n,n)->(n,n)", "(m,m),(n,n),(m,n)->(m,n)"


solve_sylvester = each(sl.solve_sylvester, TWO)
continuous_lyapunov = each(sl.solve_continuous_lyapunov, PAIR)
discrete_lyapunov = each(lambda a, q: sl.solve_discrete_lyapunov(a, q, method="bilinear"), PAIR)


def sylvester() -> dict[str, Callable]:
    """A X + X B = Q."""
    return linear_equation(
        solve_sylvester,
        lambda x, _, e: e[2] - e[0] @ x - x @ e[1],
        lambda a, u: solve_sylvester(transposed(a[0]), transposed(a[1]), u),
        lambda x, _, y: (-y @ transposed(x), -transposed(x) @ y),
    )


def lyapunov() -> dict[str, Callable]:
    """A X + X Aᵀ = Q."""
    return linear_equation(
        continuous_lyapunov,
        lambda x, _, e: e[1] - e[0] @ x - x @ transposed(e[0]),
        lambda a, u: continuous_lyapunov(transposed(a[0]), u),
        lambda x, _, y: (-y @ transposed(x) - transposed(y) @ x,),
    )


def stein() -> dict[str, Callable]:
    """A X Aᵀ − X + Q = 0."""
    return linear_equation(
        discrete_lyapunov,
        lambda x, a, e: e[1] + e[0] @ x @ transposed(a[0]) + a[0] @ x @ transposed(e[0]),
        lambda a, u: discrete_lyapunov(transposed(a[0]), u),
        lambda x, a, y: (y @ a[0] @ transposed(x) + transposed(y) @ a[0] @ x,),
    )
