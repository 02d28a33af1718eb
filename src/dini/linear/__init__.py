"""Linear solves: the choice of a solver, and the check of its answer."""

from dini.linear._choice import DENSE as DENSE, choose as choose
from dini.linear._system import (
    LinearConfig as LinearConfig,
    System as System,
    guarded as guarded,
    probe as probe,
    row_scale as row_scale,
)
