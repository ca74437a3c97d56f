"""The one exception a person who trains should see."""


class TrainingError(Exception):
    """Input that training cannot use, in one line for the terminal."""
