"""Frames, quaternions and gate crossing: the bottom of the engines."""
