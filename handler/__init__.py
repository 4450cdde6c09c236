"""What runs inside a TorchServe worker. A request's bytes go through once, in one direction:

    protocols -> decoding -> engines -> operations -> answers
    (a row)      (bytes)     (pixels)   (logits)      (JSON)

`classifier` alone knows their order. A module imports only from layers below its own (tests/handler/test_imports.py):

    classifier                                     composes the rest
    protocols                                      how each address is asked and answers
    decoding, decoder_program                      a batch's images; what a decoder process runs
    decoder_process, operations                    the worker's end of one; predict and explain
    images, engines, metrics                       a file to pixels; pixels to logits
    preprocessing, explanations, labels, cores, parameters
    settings, encodings, answers
    card
    errors, context, memory

Pictures and engines know nothing of requests: `decoding` is where the two meet.
"""
