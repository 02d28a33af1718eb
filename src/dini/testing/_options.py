"""What holds for a whole check."""

import dataclasses

import numpy as np

from dini.testing._map import Map

# What rounding may make of numbers of size 1, in units of eps.
ROUNDING = 100
# The modes by their short names.
MODES = {"fwd": "forward", "rev": "reverse"}


@dataclasses.dataclass(frozen=True)
class Options:
    """The seed of the random directions, the modes, the tolerance, and whether f is analytic."""

    seed: int
    modes: tuple[str, ...]
    rtol: float
    analytic: bool

    def random(self, *place: int) -> np.random.Generator:
        """Random numbers that are the same for every run, and others at every place."""
        return np.random.default_rng((self.seed, *place))

    def share(self, map_: Map) -> float:
        """The relative error that counts as none."""
        return ROUNDING * map_.eps + self.rtol
