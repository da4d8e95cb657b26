"""Races: policies that their owners enter are flown by the server itself, on seeds it draws."""
