"""What allocation does on each message: load, decide, save, return what to publish."""
