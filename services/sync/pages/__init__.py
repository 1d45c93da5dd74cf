"""The HTTP side of sync: webhooks of channels, and what the console reads and asks."""
