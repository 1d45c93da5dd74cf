"""`make demo`: a day of orders through the whole system on a private stack, with a report of what became of them."""
