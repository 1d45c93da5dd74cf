"""What sync does with each message: load, decide, save, return what to publish."""
