"""Fewer bits for weights and for keys and values: RTN, LLM.int8, NF4, FP4, GPTQ, AWQ, each step in view."""
