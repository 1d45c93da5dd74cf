"""Letters to customers and how they are sent. ``letters``: from a notification to a mail. ``sending``: from a mail to the mail server."""
