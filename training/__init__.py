"""Training a DenseNet-121 from a teacher's answers: see README.md. No part of the installed distribution."""
