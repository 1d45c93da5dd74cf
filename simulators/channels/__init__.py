"""Sales channels: an HTTP process that shows stock, moves money and hears of parcels as a shop's API would, well or badly as told."""
