"""What routing saves (feature C12): the same orders by named habits, by the planner, and by somebody who knows the future.

Stock, destinations, weights and promises are declared and drawn from a seed, so every figure is simulated; what people buy together comes
from a real history where it lies beside the project. Nothing here needs a server.
"""
