"""The routes: what each address of the gateway answers, and what it takes from a request."""
