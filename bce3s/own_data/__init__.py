"""Anybody's own pictures: what is there, its splits, settings that suit it, what looks wrong."""
