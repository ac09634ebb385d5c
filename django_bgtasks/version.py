"""Which version of the package this is. The wheel's metadata is made from it."""

VERSION = "0.1.0"
