"""Toledo Racer: train, race and fly autonomous drones from one service."""

__version__ = "0.1.0"
