"""All SQL of allocation: literal, set-based statements, one function each."""
