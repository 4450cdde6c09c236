"""How many photos a second `densenet bulk` classifies, beside the same without Ray and what people write instead."""
