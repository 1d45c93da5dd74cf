"""All SQL of sync: literal statements, one function each, set-based."""
