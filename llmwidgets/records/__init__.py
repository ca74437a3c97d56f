"""What is asked, measured and drawn: frozen dataclasses over numpy that import nothing of the project."""
