"""Functions given by a SymPy expression, with SymPy's derivatives of every order."""

from dini.rules.symbolic._symbolic_rule import (
    SymbolicRule as SymbolicRule,
    symbolic_rule as symbolic_rule,
)
