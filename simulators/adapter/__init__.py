"""A stand-in for channel adapters: orders from a generated day or from merchants' files, published with a channel's limited broker user."""
