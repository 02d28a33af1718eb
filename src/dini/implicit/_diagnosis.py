"""What is known of a solution and its derivative, in words and as a picture."""

import dataclasses
from typing import TYPE_CHECKING

import jax.tree_util as jtu
import numpy as np
from jaxtyping import PyTree

from dini._tree import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What [`diagnose`][dini.diagnose] found; `print` shows it in words.

    Attributes:
        name: the decorated function.
        value: z, whether or not it was accepted.
        solved: whether it was.
        result: the verdict on z, in words.
        residual: the largest number in F(z), in its own units: T(z) − z, F, ∇f.
        error: the largest number in the estimated error of z.
        condition: estimate of |∂zF|₁ |(∂zF)⁻¹|₁, almost always within a factor of 10.
        contraction: the spectral radius of ∂T at a fixed point, the factor by which an error
            shrinks in a step of the plain iteration; None for other equations.
        cotangent: z̄, as it was given.
        adjoint_residual: |(∂zF)ᵀλ − z̄| / |z̄|, largest numbers, of the adjoint solve.
        gradient: θ̄, a tree like each argument by the name of its parameter; None where there is no
            derivative.
        gradient_error: a bound of the largest error in each leaf of the gradient, a tree like it:
            from the error of z, the residual of the adjoint solve, and rounding.
        linear_solver: the Lineax solver of the derivative, and why it was chosen.
        steps: how many steps the solver took; None for a foreign solver.
        evaluations: how often the equation was evaluated on the way, with or without its
            derivative; None for a foreign solver.
        history: of each step, the residual where it began, and how far it moved, of shape
            (steps, 2); empty for a foreign solver.
    """

    name: str
    value: PyTree
    solved: bool
    result: str
    residual: float
    error: float
    condition: float
    contraction: float | None
    cotangent: PyTree
    adjoint_residual: float
    gradient: PyTree
    gradient_error: PyTree
    linear_solver: str
    steps: int | None
    evaluations: int | None
    history: np.ndarray

    def __str__(self) -> str:
        rows = {
            "solution": f"{describe(self.value)}, {self.result}",
            "residual": f"{self.residual:.1e}",
            "error of z": f"{self.error:.1e}, estimated",
            "condition": f"{self.condition:.1e}, estimated",
            "contraction": self._contraction(),
            "linear solver": self.linear_solver,
            "adjoint residual": f"{self.adjoint_residual:.1e}, relative",
            "gradient": self._gradient(),
            "cost": self._cost(),
        }
        width = max(map(len, rows))
        lines = [
            f"  {name if i == 0 else '':<{width}}  {line}"
            for name, text in rows.items()
            for i, line in enumerate(text.splitlines())
        ]
        return "\n".join([self.name, *lines])

    def _contraction(self) -> str:
        rate = self.contraction
        if rate is None:
            return ""
        if rate >= 1:
            return f"{rate:.3g} a step: the plain iteration does not converge"
        return f"{rate:.3g} a step"

    def _gradient(self) -> str:
        errors = jtu.tree_flatten_with_path(self.gradient_error)[0]
        sizes = [float(np.max(np.abs(x), initial=0)) for x in jtu.tree_leaves(self.gradient)]
        names = [path[0].key + jtu.keystr(path[1:]) for path, _ in errors]
        lines = [
            f"in {name}: at most {size:.3g}, off by at most {float(bound):.1e}"
            for name, size, (_, bound) in zip(names, sizes, errors, strict=True)
        ]
        return "\n".join(lines)

    def _cost(self) -> str:
        if self.steps is None:
            return ""
        return f"{self.steps} steps, {self.evaluations} evaluations of the equation"

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draws the residual and the length of each step, on a logarithmic scale.

        Args:
            ax: the Matplotlib axes to draw in; by default those of a new figure.

        Returns:
            The axes.

        Raises:
            ImportError: if Matplotlib is not installed, which the extra `dini[plot]` brings.
            ValueError: if there is no history, as for a foreign solver.
        """
        if not len(self.history):
            raise ValueError(f"{self.name}: a foreign solver leaves no history to draw.")
        try:
            import matplotlib.pyplot as plt  # noqa: PLC0415
            from matplotlib.ticker import MaxNLocator  # noqa: PLC0415
        except ImportError as error:
            raise ImportError('A picture needs Matplotlib: pip install "dini[plot]".') from error
        if ax is None:
            _, ax = plt.subplots(figsize=(6, 4), layout="constrained")
        assert ax is not None
        steps = np.arange(1, len(self.history) + 1)
        for numbers, label in zip(self.history.T, ("residual", "length of the step"), strict=True):
            shown = np.where(numbers > 0, numbers, np.nan)
            ax.semilogy(steps, shown, "o-", markersize=3, label=label)
        ax.set(xlabel="step", title=self.name)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.3)
        ax.legend()
        return ax
