"""The rules of allocation: values in, values out; no clock, no database, no network."""
