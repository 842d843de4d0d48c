"""Rehearsal: proposed thresholds over a history, stored or simulated, before anybody is paged by them."""
