"""The benchmark: this daemon, the original saslauthd and Dovecot's auth, side by side on one directory.

``scripts/bench`` runs it. It is no test: it measures, and says beside each figure what was aimed at. Two small
programs in C make the load, since a client in Python would be slower than what it measures; they are compiled
into a temporary folder.
"""
