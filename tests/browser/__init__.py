"""Tests in a real Chromium: exported pages, JupyterLab, marimo."""
