"""Simulated homes: real GATT over a virtual radio, and the tools that break things on purpose."""
