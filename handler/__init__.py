"""What runs inside a TorchServe worker. A request's bytes travel one road, in one direction:

    protocols -> decoding -> engines -> operations -> responses
    (a row)      (bytes)     (pixels)   (logits)      (JSON)

`classifier` alone knows their order. A module imports only from layers below its own (tests/handler/test_imports.py):

    classifier                                                      composes the rest
    protocols                                                       how each address is asked and answers
    decoding, requests                                              a batch's images; a row's images and operation
    decoder                                                         processes in which images are decoded
    images, memory, operations                                      bytes to RGB; predict and explain
    payload, responses, explanations, preprocessing, engines, unended
    cores, parameters, metrics
    settings, labels, encodings, documents
    card
    errors, context, signatures

Pictures and engines know nothing of requests: `decoding` is where the two meet. What decodes a stranger's bytes,
`decoder.program`, runs in processes of its own.
"""
