"""Virtual time, where tests look for it; it came into the product with `edge-agent replay`."""

from device_drivers.virtual_time import virtually

__all__ = ["virtually"]
