"""The two ways in which a handler or a rule says no to a message, and bad configuration."""

from __future__ import annotations


class OrdermeshError(Exception):
    """Base of everything that Ordermesh raises on purpose. The text is written for the person who must act on it."""


class NotYet(OrdermeshError):
    """The message is good but came before what it builds on: try again later, park it when it never comes."""


class Refused(OrdermeshError):
    """The message can never be handled as it is: park it with this reason."""


class BadConfiguration(OrdermeshError):
    """A setting is missing or wrong; names the setting and what would be right."""
