"""Functions of matrices: values and derivatives, batched, on any device."""

from dini.linalg._expm import expm as expm
from dini.linalg._inv import inv as inv
from dini.linalg._trigonometric import (
    coshm as coshm,
    cosm as cosm,
    sinhm as sinhm,
    sinm as sinm,
)
