"""What an administrator asks, without the daemon but of its own parts: ``check`` and ``explain``."""
