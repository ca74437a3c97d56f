"""The training of the bundled models, a stage a module."""
