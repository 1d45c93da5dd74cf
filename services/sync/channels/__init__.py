"""Talking to channels: what can be asked of one, what it may answer, and one file per kind of API."""
