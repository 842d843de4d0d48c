"""Clinical rules: pure functions over the fold of stored readings."""
