"""A saslauthd-compatible authentication daemon: asks an LDAP directory, answers mail servers."""

__version__ = "1.0.0"
