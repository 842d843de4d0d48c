"""One file per quantity: the specification's value objects, with `from_bytes` and `__bytes__`."""
