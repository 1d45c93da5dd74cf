"""The sync service: orders in from channels; stock numbers, tracking and refunds out to them."""
