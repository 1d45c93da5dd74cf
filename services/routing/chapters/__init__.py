"""Chapters of the service's table of contents that would make it too long to read at a glance."""
