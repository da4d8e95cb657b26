"""Reward functions that users write: parsed, checked and compiled, never executed."""
