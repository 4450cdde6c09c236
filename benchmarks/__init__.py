"""Every server one might pick for this model, measured side by side on one machine: `python -m benchmarks.run`.

material -> peers -> lineup -> service -> load + measure -> results -> report, plot
(photos)    (venv)   (who)     (start)    (figures)         (spread)   (files)
"""
