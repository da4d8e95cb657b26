"""Versions of trained policies: kept, listed, sent, taken in, exported, deleted."""
