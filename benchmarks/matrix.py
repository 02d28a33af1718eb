"""Functions of matrices and matrix equations, in units of one matrix product of that size.

    python benchmarks/matrix.py

Each task is a value, a derivative along one direction (with the value), or a gradient (with the
value), at matrices with known eigenvectors or a known solution, so that every error is against the
truth: a derivative's against the derivative, a gradient's by its inner product with a direction.
Peers: JAX by plain differentiation, SciPy (whose derivatives are Fréchet derivatives where it has
them, the block matrix or a further equation where it does not), and PyTorch where it is installed.
"""

import functools
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg as sl
from harness import Entry, Row, race, report
from matrix_cases import (
    Case,
    continuous_riccati,
    discrete_riccati,
    discrete_riccati_matrices,
    generalized_matrices,
    lyapunov_matrices,
    quadratic_matrices,
    riccati_matrices,
    solved,
    spectral,
    stein_matrices,
    sylvester_matrices,
    transposed,
)

from dini import linalg

SHAPES = ((10, 10), (50, 50), (200, 200), (500, 500), (256, 10, 10))
MODES = ("value", "jvp", "gradient")
SECONDS = 4  # for the rounds of one task


class Task(NamedTuple):
    """A function, its truth, and the functions of its peers by mode: (a, e) or (a, u) to arrays."""

    f: Callable
    case: Callable[[np.random.Generator, tuple], Case]
    peers: dict[str, dict[str, Callable]]


# --- Peers ---------------------------------------------------------------------------------------


def by_jax(f: Callable) -> dict[str, Callable]:
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


def by_block(f: Callable) -> dict[str, Callable]:
    """SciPy's function of [[A, E], [0, A]]."""

    def block(a, e):
        n = a.shape[-1]
        whole = np.concatenate(
            [np.concatenate([a, e], -1), np.concatenate([np.zeros_like(a), a], -1)], -2
        )
        out = f(whole)
        return out[..., :n, :n], out[..., :n, n:]

    return {
        "value": f,
        "jvp": lambda a, e: block(a[0], e[0]),
        "gradient": lambda a, u: of_transpose(block, a, u),
    }


def of_transpose(pair: Callable, a: tuple, u: Any) -> tuple:
    out, along = pair(a[0], transposed(u))
    return out, (transposed(along),)


def by_frechet() -> dict[str, Callable]:
    one = np.vectorize(sl.expm_frechet, signature="(n,n),(n,n)->(n,n),(n,n)")
    return {
        "value": sl.expm,
        "jvp": lambda a, e: one(a[0], e[0]),
        "gradient": lambda a, u: of_transpose(one, a, u),
    }


def by_sylvester(f: Callable) -> dict[str, Callable]:
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


def by_solver(f: Callable, rhs: Callable) -> dict[str, Callable]:
    """SciPy's equation, and once more for its derivative, with another right-hand side."""
    return {"value": f, "jvp": lambda a, e: (x := f(*a), f(*a[:-1], rhs(x, a, e)))}


def by_torch() -> dict[str, Callable]:
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


def by_eigh(a):
    """What one writes today: JAX differentiates the eigenvectors."""
    w, v = jnp.linalg.eigh(a)
    return (v * jnp.exp(w)[..., None, :]) @ jnp.swapaxes(v, -1, -2)


def hermitian_exp(a):
    return linalg.spectral_function(a, "exp")


def riccati(solver: Callable) -> Callable:
    one = each(solver, "(n,n),(n,k),(n,n),(k,k)->(n,n)")
    return lambda a, b, r, q: one(a, b, q, r)


def in_order(f: Callable) -> Callable:
    """Our function with the constructed weight last."""
    return lambda a, b, r, q: f(a, b, q, r)


MATRIX, TWO = "(n,n)->(n,n)", "(m,m),(n,n),(m,n)->(m,n)"


def tasks() -> dict[str, Task]:
    expm_peers = {"JAX": by_jax(jax.scipy.linalg.expm), "SciPy": by_frechet()}
    if importlib.util.find_spec("torch"):
        expm_peers["PyTorch"] = by_torch()
    jax_sqrtm = jax.jit(jnp.vectorize(jax.scipy.linalg.sqrtm, signature=MATRIX))
    exponential = np.exp, np.exp
    cosine = np.cos, lambda x: -np.sin(x)
    log = np.log, lambda x: 1 / x
    root = np.sqrt, lambda x: 0.5 / np.sqrt(x)
    power = lambda x: x**0.3, lambda x: 0.3 * x**-0.7
    inverse = lambda x: 1 / x, lambda x: -1 / x**2
    scipy_power = each(lambda a: sl.fractional_matrix_power(a, 0.3), MATRIX)
    sylvester = lambda x, a, b: a @ x + x @ b
    lyapunov = lambda x, a: a @ x + x @ transposed(a)
    stein = lambda x, a: x - a @ x @ transposed(a)
    changed = lambda term: lambda x, _, e: e[-1] - term(x, *e[:-1])
    return {
        "expm": Task(linalg.expm, spectral(*exponential, -2.0, 2.0), expm_peers),
        "expm, large": Task(linalg.expm, spectral(*exponential, -30.0, 3.0), expm_peers),
        "cosm": Task(linalg.cosm, spectral(*cosine, -4.0, 4.0), {"SciPy": by_block(sl.cosm)}),
        "inv": Task(
            linalg.inv,
            spectral(*inverse, 0.5, 4.0),
            {"JAX": by_jax(jnp.linalg.inv), "SciPy": {"value": sl.inv}},
        ),
        "logm": Task(linalg.logm, spectral(*log, 0.1, 4.0), {"SciPy": by_block(sl.logm)}),
        "power 0.3": Task(
            lambda a: linalg.fractional_matrix_power(a, 0.3),
            spectral(*power, 0.1, 4.0),
            {"SciPy": by_block(scipy_power)},
        ),
        "sqrtm": Task(
            linalg.sqrtm,
            spectral(*root, 0.1, 4.0),
            {
                "SciPy": by_sylvester(sl.sqrtm),
                "JAX": {"value": jax_sqrtm},
            },
        ),
        "spectral exp": Task(
            hermitian_exp,
            spectral(*exponential, -2.0, 2.0, symmetric=True),
            {"JAX, eigh": by_jax(by_eigh), "JAX, expm": by_jax(jax.scipy.linalg.expm)},
        ),
        "sylvester": Task(
            linalg.solve_sylvester,
            solved(sylvester, sylvester_matrices),
            {
                "SciPy": by_solver(
                    each(sl.solve_sylvester, TWO), lambda x, _, e: e[2] - e[0] @ x - x @ e[1]
                )
            },
        ),
        "lyapunov": Task(
            linalg.solve_continuous_lyapunov,
            solved(lyapunov, lyapunov_matrices),
            {
                "SciPy": by_solver(
                    each(sl.solve_continuous_lyapunov, "(n,n),(n,n)->(n,n)"), changed(lyapunov)
                )
            },
        ),
        "stein": Task(
            linalg.solve_discrete_lyapunov,
            solved(stein, stein_matrices),
            {
                "SciPy": by_solver(
                    each(
                        lambda a, q: sl.solve_discrete_lyapunov(a, q, method="bilinear"),
                        "(n,n),(n,n)->(n,n)",
                    ),
                    lambda x, a, e: (
                        e[1] + e[0] @ x @ transposed(a[0]) + a[0] @ x @ transposed(e[0])
                    ),
                )
            },
        ),
        "generalized": Task(
            linalg.solve_generalized_sylvester,
            solved(lambda x, a, b, c, d: a @ x @ b + c @ x @ d, generalized_matrices),
            {},
        ),
        "quadratic": Task(
            linalg.solve_quadratic,
            solved(lambda x, a, b: -(a @ x @ x + b @ x), quadratic_matrices),
            {},
        ),
        "riccati": Task(
            in_order(linalg.solve_continuous_are),
            solved(continuous_riccati, riccati_matrices),
            {"SciPy": {"value": riccati(sl.solve_continuous_are)}},
        ),
        "discrete riccati": Task(
            in_order(linalg.solve_discrete_are),
            solved(discrete_riccati, discrete_riccati_matrices),
            {"SciPy": {"value": riccati(sl.solve_discrete_are)}},
        ),
    }


# --- The race ------------------------------------------------------------------------------------


def truth(case: Case, mode: str) -> Any:
    """What an answer must be; of a gradient, its inner product with the direction."""
    if mode == "value":
        return case.value
    if mode == "jvp":
        return case.value, case.along
    return case.value, np.sum(case.u * case.along, axis=(-2, -1))


def paired(answer: tuple, case: Case) -> tuple:
    """A gradient's inner product with the direction in its place."""
    out, gradient = answer
    pairs = zip(gradient, case.e, strict=True)
    return out, sum(np.sum(np.asarray(g) * d, axis=(-2, -1)) for g, d in pairs)


def run(name: str, task: Task, shape: tuple, rng: np.random.Generator) -> list[Row]:
    """All modes of one function at one size."""
    case, rows = task.case(rng, shape), []
    product = functools.partial(jax.jit(jnp.matmul), *[jnp.asarray(case.u)] * 2)
    label = name if len(shape) == 2 else f"{name}, {shape[0]} of them"
    contestants = {"dini": modes_of(task.f), **task.peers}
    inputs = {"value": case.a, "jvp": (case.a, case.e), "gradient": (case.a, case.u)}
    for mode in MODES:
        args = inputs[mode]
        read = functools.partial(paired, case=case) if mode == "gradient" else lambda x: x
        entries = [Entry("product", product, None)]
        for who, modes in contestants.items():
            if mode in modes:
                here = jax.tree.map(jnp.asarray, args) if who.startswith(("dini", "JAX")) else args
                run_one = functools.partial(modes[mode], *here)
                entries.append(Entry(who, run_one, read))
        for entry in entries:  # once to compile
            jax.block_until_ready(entry.run())
        start = time.perf_counter()
        for entry in entries:
            jax.block_until_ready(entry.run())
        rounds = int(np.clip(SECONDS / (time.perf_counter() - start), 3, 31))
        rows += race(f"{label}: {mode}", shape[-1], entries, truth(case, mode), rounds)
        told = [
            f"{row.name} {row.ratio:.1f} ({row.error:.0e})" for row in rows[-len(entries) + 1 :]
        ]
        print(f"{label}: {mode}, n = {shape[-1]}", *told, sep="   ", flush=True)
    return rows


def summary(rows: list[Row]) -> None:
    """Ours against the best peer of each cell."""
    ratios = {}
    for task, size in dict.fromkeys((row.task, row.size) for row in rows):
        cell = {r.name: r.median for r in rows if (r.task, r.size) == (task, size)}
        peers = [t for name, t in cell.items() if name not in ("dini", "product")]
        if peers:
            ratios[task, size] = cell["dini"] / min(peers)
    print(
        f"\ngeometric mean of {len(ratios)} cells: {statistics.geometric_mean(ratios.values()):.2f}"
    )
    for (task, size), ratio in sorted(ratios.items(), key=lambda item: -item[1]):
        if ratio > 1.1:
            print(f"  {ratio:6.2f}  {task}, n = {size}")


def main(names: list[str]) -> None:
    jax.config.update("jax_enable_x64", True)
    rng, rows = np.random.default_rng(0), []
    for name, task in tasks().items():
        if not names or name in names:
            for shape in SHAPES:
                rows += run(name, task, shape, rng)
    if not names:
        report("matrix", rows)
    summary(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
