"""The rules of routing: values in (the clock and new ids included), frozen values out. No database, no network, no clock."""
