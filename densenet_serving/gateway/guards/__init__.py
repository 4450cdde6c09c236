"""The guards that a request passes before its route: host, origin, API key, body; and the headers of every answer."""
