"""Contracts for the world outside: one JSON Schema per message version, one AsyncAPI 3 document per service and per kind of partner.

Everything comes from the contract registry, the services' tables of contents and the topology; nothing is written by hand twice.
Command line: ``python -m shared.contracts.generate [--check]``.
"""
