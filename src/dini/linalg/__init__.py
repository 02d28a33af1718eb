"""Functions of matrices: values and derivatives, batched, on any device."""

from dini.linalg._expm import expm as expm
from dini.linalg._expm_multiply import expm_multiply as expm_multiply
from dini.linalg._fractional_matrix_power import fractional_matrix_power as fractional_matrix_power
from dini.linalg._inv import inv as inv
from dini.linalg._logm import logm as logm
from dini.linalg._trigonometric import (
    coshm as coshm,
    cosm as cosm,
    sinhm as sinhm,
    sinm as sinm,
)
