"""What Ordermesh can do on this machine, measured in one run against something measured in the same run: ``make bench``."""
