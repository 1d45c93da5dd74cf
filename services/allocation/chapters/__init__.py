"""The chapters of allocation's table of contents: messages in -> handler, messages out, schedules, routes."""
