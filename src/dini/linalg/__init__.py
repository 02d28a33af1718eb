"""Functions of matrices, and equations in them, with derivatives of every order."""

from dini.linalg._spectral_function import spectral_function as spectral_function
