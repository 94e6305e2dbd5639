"""The engine: operators that keep a result up to date, given only what changed.

====================================  ==================================================================================
``_stage``                            what an operator is: keyed deltas in, keyed deltas out
``_filter _project``                  rows that pass; rows made of rows
``_join``, ``_buckets``               pairs of rows with equal keys; the hash index below
``_include``                          rows with the list of their children
``_group``, ``_accumulators``         groups, and aggregates that can take a value back
``_union``, ``_distinct``             several inputs as one; each different row once
``_order``                            windows on an order; ``_order_hub`` lets many windows share one ``_order_index``
``_sorted``, ``_prefix``              a sorted list in chunks, with snapshots that share what did not change
``_totals``                           plain functions of all rows
``_dispatch``                         one index and one sink for all queries that compare a column with constants
``_values``, ``_sortkey``             how values compare: null, NaN, types that do not mix; a total order over anything
``_laws``                             the laws of deltas as code, for tests
====================================  ==================================================================================

Deltas are keyed: ``(key, old, new)``. The usual form of incremental engines is the weighted multiset, ``(row, +1)`` and
``(row, -1)``. Rows here always have a key, and with it an update stays one item that says what it replaces, so no
operator has to find out by comparing or hashing whole rows which retraction belongs to which insertion. Measured, a
filter costs half, a changed row in a join half, and a join's first run a third. The price is that every operator must
say which key its output rows have.

Nothing here knows collections, clients or subscribers; ``ARCHITECTURE.md`` beside this file has the laws that the tests
hold each operator to.
"""
