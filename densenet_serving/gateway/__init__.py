"""The gateway: the tutorial's /predict and a page, in front of one TorchServe.

A request passes http/ (connections), guards/ (host, origin, key, body) and routes/; torchserve/ asks for the answer,
and limits/ counts what each client has. gateway.py starts, finds and stops the process.
"""
