"""`lyceum doctor`: checks of a real campus before anything is built on it."""
