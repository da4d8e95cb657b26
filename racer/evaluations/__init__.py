"""Evaluations of policies as jobs: completion, times, crashes, trajectories, comparisons."""
