"""Phases 1 to 4 of SISE, each a module of plain functions over arrays."""
