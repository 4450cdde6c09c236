"""The connections of clients, below any request: how many there may be, and how much each may send."""
