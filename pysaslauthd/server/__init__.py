"""Sockets and the event loop: one thin shell for each protocol."""
