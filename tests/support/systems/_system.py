"""What a test system is."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np


@dataclass(frozen=True)
class System:
    """An equation in a vector: F(z, args) = 0, or T(z, args) = z for a class of fixed points.

    Attributes:
        name: as in the literature.
        fun: F or T, of (z, args), in JAX.
        starts: the starting points, the standard one first.
        root: where ∂F is singular at the root, the root; no Newton step tells it there.
    """

    name: str
    fun: Callable[[jax.Array, None], jax.Array]
    starts: tuple[np.ndarray, ...]
    root: np.ndarray | None = None

    @property
    def size(self) -> int:
        """The number of unknowns."""
        return self.starts[0].size
