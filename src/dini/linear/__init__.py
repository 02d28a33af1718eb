"""Linear solves: the choice of a solver, and the check of its answer."""

from dini.linear._choice import choose as choose, explain as explain
from dini.linear._condition import norm_estimate as norm_estimate, row_sizes as row_sizes
from dini.linear._method import (
    Direct as Direct,
    lanczos as lanczos,
    magnitude as magnitude,
    probe as probe,
)
from dini.linear._minimal_residual import minimal_residual as minimal_residual
from dini.linear._preconditioner import on_vectors as on_vectors
from dini.linear._system import (
    LinearConfig as LinearConfig,
    System as System,
    guarded as guarded,
    system as system,
)
