"""How the directory is asked: templates, connections, servers, an LDIF file in their place."""
