"""Version of the package, for modules that cannot import its root."""

__version__ = "0.1.0"
