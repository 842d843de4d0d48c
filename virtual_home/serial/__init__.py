"""Simulated meters on serial cables."""
