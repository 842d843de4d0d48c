"""Frames of makers who do not keep to a Bluetooth specification: bytes to value objects and back. Pure."""
