"""One small program for each contender, written as its own documentation shows it.

What they need stands in the environment: PORT, and CHECKPOINT (eager PyTorch) or ARCHIVE and THREADS (our engine).
"""
