"""Speed and memory as a user meets them; results in README.md."""
