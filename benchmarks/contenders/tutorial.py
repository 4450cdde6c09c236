"""The app of PyTorch's tutorial "Deploying PyTorch in Python via a REST API with Flask", with our checkpoint in it.

https://pytorch.org/tutorials/intermediate/flask_rest_api_tutorial.html
`python -m benchmarks.contenders.tutorial` is its `app.run()`; gunicorn serves the same `app`.
"""

from __future__ import annotations

import os

from flask import Flask, Response, jsonify, request

from benchmarks.contenders.eager import best_classes, load_model, load_names, transform

app = Flask(__name__)
model = load_model()
names = load_names()


@app.route("/predict", methods=["POST"])
def predict() -> Response:
    photo = request.files["file"].read()
    best = best_classes(model, transform(photo).unsqueeze(0))[0]
    return jsonify({"class_id": str(best), "class_name": names[best]})


if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]))
