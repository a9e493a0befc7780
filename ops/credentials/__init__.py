"""Secrets, tokens and certificates of a stack."""
