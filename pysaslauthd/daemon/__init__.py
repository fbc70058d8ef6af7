"""The daemon: builds the parts, starts them in order, stops them in order. The only place where they meet."""

from pysaslauthd.daemon.run import serve

__all__ = ["serve"]
