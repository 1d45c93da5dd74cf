"""The one error of the benchmark."""


class BenchmarkError(Exception):
    """A measurement could not be made; the text says why and what to do."""
