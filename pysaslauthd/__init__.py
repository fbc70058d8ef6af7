"""A saslauthd-compatible authentication daemon: asks an LDAP directory, answers mail servers."""

__version__ = "0.1.0"
