"""The rules of returns and refunds: values in, values out. No database, no clock, no network."""
