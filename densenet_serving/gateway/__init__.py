"""The gateway: the tutorial's /predict and a page, in front of one TorchServe.

A request passes, from the outside in:

    connections, protocol                 below any request: how many there may be, and how much each may send
    messages, sites, access, bodies       the guards: spelling and headers, host and origin, API key, body
    photos, status, pages                 the routes; uploads finds the photos, schemas is what /docs shows
    upstream, retry, answer               TorchServe, and what it answered

budget, clients and slots count what each client has. server/gateway.py starts, finds and stops the process.
"""
