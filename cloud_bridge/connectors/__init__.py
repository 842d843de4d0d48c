"""Ways into the hospital's own systems. One method each; the base owns the error contract."""
