"""All SQL of the routing service: literal statements, one function each, set-based."""
