"""The road an image travels inside a TorchServe worker.

    payload -> images -> preprocessing -> engine -> labels -> responses
    (bytes)    (Pillow)  (uint8 NHWC)     (logits)  (names)   (JSON)

Each module is one stage and knows no other; `classifier` alone knows their order. A protocol (`protocols`,
`inference_protocols`) is a pair of ends for it: how a payload is read, how a response is written.
"""
