"""The embedded vehicle: racer.sim's dynamics behind PX4's MAVLink behaviour."""
