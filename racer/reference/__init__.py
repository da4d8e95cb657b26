"""The best time that physics allows on a course: a time-optimal planner for a point mass."""
