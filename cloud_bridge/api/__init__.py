"""Thin routers: what the outside may ask of the bridge."""
