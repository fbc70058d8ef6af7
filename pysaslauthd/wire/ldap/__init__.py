"""LDAP on the wire: the only place, with ``directory`` for filters and DNs, that knows ldap3."""
