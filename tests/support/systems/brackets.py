"""The scalar equations with brackets by which Alefeld, Potra and Shi test their Algorithm 748.

Reference: Alefeld, Potra and Shi, Algorithm 748: Enclosing zeros of continuous functions (1995),
table I. The roots are theirs, or closed forms.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np


class Instance(NamedTuple):
    """One equation of a family: its parameter, bracket and root."""

    parameter: tuple[float, ...]
    lower: float
    upper: float
    root: float


class Bracketed(NamedTuple):
    """A family of scalar equations f(x, parameter) = 0."""

    name: str
    fun: Callable
    instances: tuple[Instance, ...]


def _family(name, fun, parameters, brackets, roots):
    """`brackets` is one for all, or one for each parameter; so is `roots`."""
    brackets = brackets if isinstance(brackets, list) else [brackets] * len(parameters)
    roots = roots if isinstance(roots, list) else [roots] * len(parameters)
    rows = zip(parameters, brackets, roots, strict=True)
    instances = (
        Instance(p if isinstance(p, tuple) else (float(p),), *b, root) for p, b, root in rows
    )
    return Bracketed(name, fun, tuple(instances))


def _poles(x, _):
    i = np.arange(1, 21)
    return -2 * jnp.sum((2 * i - 5) ** 2 / (x - i**2) ** 3)


def _step(x, p):
    """Exponential between two constants."""
    n = p[0]
    top = 0.002 / (1 + n)
    rise = jnp.exp((n + 1) * jnp.clip(x, 0, top) * 500) - 1.859
    return jnp.where(x < 0, -0.859, jnp.where(x > top, jnp.e - 1.859, rise))


def _flat(x, _):
    """All derivatives vanish at the root."""
    safe = jnp.where(x == 0, 1.0, x)
    return jnp.where(x == 0, 0.0, x * jnp.exp(-1 / safe**2))


def _corner(x, p):
    return p[0] / 20 * jnp.where(x >= 0, x / 1.5 + jnp.sin(x) - 1, -1)


_POWERS = [(float(n), a) for a in (0.2, 1.0) for n in (4, 6, 8, 10, 12)]
_STEEP = [*range(20, 41), *range(100, 1001, 100)]
_ROOTS = [*range(2, 7), *range(7, 34, 2)]

BRACKETS = (
    _family(
        "sin x − x/2", lambda x, _: jnp.sin(x) - x / 2, [0], (np.pi / 2, np.pi), 1.8954942670339809
    ),
    _family(
        "poles at squares",
        _poles,
        [*range(1, 11)],
        [(n**2 + 1e-9, (n + 1) ** 2 - 1e-9) for n in range(1, 11)],
        [
            3.0229153472730568,
            6.6837535608080785,
            11.238701655002211,
            19.676000080623410,
            29.828227326504756,
            41.906116195289414,
            55.953595800143091,
            71.985665586587800,
            90.008868539166670,
            110.02653274833020,
        ],
    ),
    _family(
        "a x exp(b x)",
        lambda x, p: p[0] * x * jnp.exp(p[1] * x),
        [(-40.0, -1.0), (-100.0, -2.0), (-200.0, -3.0)],
        (-9.0, 31.0),
        0.0,
    ),
    _family(
        "xⁿ − a",
        lambda x, p: x ** p[0] - p[1],
        [*_POWERS, *((float(n), 1.0) for n in (8, 10, 12, 14))],
        [(0.0, 5.0)] * 10 + [(-0.95, 4.05)] * 4,
        [a ** (1 / n) for n, a in _POWERS] + [1.0] * 4,
    ),
    _family("sin x − ½", lambda x, _: jnp.sin(x) - 0.5, [0], (0.0, 1.5), np.pi / 6),
    _family(
        "2x exp(−n) − 2 exp(−nx) + 1",
        lambda x, p: 2 * x * jnp.exp(-p[0]) - 2 * jnp.exp(-p[0] * x) + 1,
        [1, 2, 3, 4, 5, 20, 40, 60, 80, 100],
        (0.0, 1.0),
        [
            0.42247770964123671,
            0.30669941048320371,
            0.22370545765466296,
            0.17171914751950837,
            0.13825715505682407,
            0.034657359020853852,
            0.017328679513998632,
            0.011552453009332422,
            0.0086643397569993157,
            0.0069314718055994542,
        ],
    ),
    _family(
        "(1 + (1 − n)²) x − (1 − nx)²",
        lambda x, p: (1 + (1 - p[0]) ** 2) * x - (1 - p[0] * x) ** 2,
        [5, 10, 20],
        (0.0, 1.0),
        [0.038402551840621899, 0.0099000099980004995, 0.0024937500390620118],
    ),
    _family(
        "x² − (1 − x)ⁿ",
        lambda x, p: x**2 - (1 - x) ** p[0],
        [2, 5, 10, 15, 20],
        (0.0, 1.0),
        [0.5, 0.34595481584824206, 0.24512233375330722, 0.19554762353656563, 0.16492095727644096],
    ),
    _family(
        "(1 + (1 − n)⁴) x − (1 − nx)⁴",
        lambda x, p: (1 + (1 - p[0]) ** 4) * x - (1 - p[0] * x) ** 4,
        [1, 2, 4, 5, 8, 15, 20],
        (0.0, 1.0),
        [
            0.27550804099948440,
            0.13775402049974220,
            0.010305283778156442,
            0.0036171081789040634,
            0.00041087291849639537,
            2.5989575892907629e-05,
            7.6685951221853371e-06,
        ],
    ),
    _family(
        "exp(−nx) (x − 1) + xⁿ",
        lambda x, p: jnp.exp(-p[0] * x) * (x - 1) + x ** p[0],
        [1, 5, 10, 15, 20],
        (0.0, 1.0),
        [
            0.40105813754154701,
            0.51615351875793358,
            0.53952222690841578,
            0.54818229434065524,
            0.55270466667848783,
        ],
    ),
    _family(
        "(nx − 1) / ((n − 1) x)",
        lambda x, p: (p[0] * x - 1) / ((p[0] - 1) * x),
        [2, 5, 15, 20],
        (0.01, 1.0),
        [1 / 2, 1 / 5, 1 / 15, 1 / 20],
    ),
    _family(
        "x^(1/n) − n^(1/n)",
        lambda x, p: x ** (1 / p[0]) - p[0] ** (1 / p[0]),
        _ROOTS,
        (1.0, 100.0),
        [float(n) for n in _ROOTS],
    ),
    _family("x exp(−1/x²)", _flat, [0], (-1.0, 4.0), 0.0),
    _family("corner", _corner, [*range(1, 41)], (-1e4, np.pi / 2), 0.62380651896161243),
    _family(
        "step",
        _step,
        _STEEP,
        (-1e4, 1e-4),
        [float(0.002 * np.log(1.859) / (1 + n)) for n in _STEEP],
    ),
)
