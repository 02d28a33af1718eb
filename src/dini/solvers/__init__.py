"""Solvers, each an Optimistix solver."""

from dini.solvers._anderson import Anderson as Anderson
from dini.solvers._bracketing import Bracketing as Bracketing
from dini.solvers._broyden import Broyden as Broyden
from dini.solvers._continuation import Continuation as Continuation
from dini.solvers._newton_krylov import NewtonKrylov as NewtonKrylov
from dini.solvers._picard import Picard as Picard
from dini.solvers._powell_hybrid import PowellHybrid as PowellHybrid
