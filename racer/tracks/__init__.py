"""Courses as the API shows them: shipped ones and people's own, checked, drawn and shared."""
