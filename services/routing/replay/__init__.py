"""Makes recorded decisions again: to prove that they are the same, or to see what other rules would have cost."""
