"""(b) The whole system, all as separate processes: from a channel's message to the 3PL's queue and to every channel's stock number.

``system``: bringing it up and filling it. ``load``: orders at a fixed rate. ``sustained``: the highest rate at which nothing grows.
``latency``: how long things take at half that rate. ``run``: all of it in order.
"""
