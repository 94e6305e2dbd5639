"""Recipes for collections. `tanstack_db.shapes` has another one.

==================== ===============================================================================
``options``          `collection_options`, `local_only_collection_options`
``query_collection`` `query_collection_options`: rows that a function fetches; ``fetching`` says when
``direct``           writes below the optimistic rows
==================== ===============================================================================
"""
