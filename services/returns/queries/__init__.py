"""All SQL of the returns service: literal statements, one function each, set-based."""
