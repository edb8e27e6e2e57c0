"""Sweeps: many trainings with different settings, planned once, run anywhere, ranked when they are done."""
