"""Picard iteration: the map itself, damped."""

from collections.abc import Callable

import optimistix as optx
from jaxtyping import Array, Inexact, PyTree, Scalar

from dini.solvers._iteration import AbstractIteration


class Picard(AbstractIteration):
    """Damped fixed-point iteration, z₊ = z + damping · (T(z) − z).

    It stops at the first z with |T(z) − z| ≤ atol + rtol |z| and returns that z. It converges
    linearly where all eigenvalues of I − damping · (I − ∂T) are inside the unit circle: damping
    below 1 tames a map that oscillates, eigenvalues of ∂T below −1 included.

    Attributes:
        rtol: relative tolerance of T(z) − z.
        atol: absolute tolerance of T(z) − z.
        damping: the step length, in (0, 1]; 1 is the plain iteration.
        norm: how the scaled displacement is measured; by its largest entry by default.

    Reference: Ortega and Rheinboldt, Iterative Solution of Nonlinear Equations in Several
    Variables (1970), chapter 12.
    """

    rtol: float
    atol: float
    damping: float = 1.0
    norm: Callable[[PyTree], Scalar] = optx.max_norm

    def __check_init__(self) -> None:
        if isinstance(self.damping, float | int) and not 0 < self.damping <= 1:
            raise ValueError(f"damping must be in (0, 1], and is {self.damping}.")

    def start(self, z: Inexact[Array, " n"]) -> None:
        """Picard iteration remembers nothing."""
        del z

    def advance(
        self, z: Inexact[Array, " n"], r: Inexact[Array, " n"], memory: None
    ) -> tuple[Inexact[Array, " n"], None]:
        """Steps to z + damping · r."""
        return z + self.damping * r, memory
