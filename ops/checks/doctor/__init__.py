"""`lyceum doctor`: what is wrong with a real campus, asked before anything is built on it."""
