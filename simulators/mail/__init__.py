"""A mail server that keeps what it gets, for demos and tests: SMTP in, HTTP to look."""
