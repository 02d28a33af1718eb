"""Linear solves: the choice of a solver, and the check of its answer."""

from dini.linear._choice import choose as choose
from dini.linear._method import Direct as Direct, lanczos as lanczos, probe as probe
from dini.linear._system import (
    LinearConfig as LinearConfig,
    System as System,
    guarded as guarded,
    system as system,
)
