"""What the other layers have in common: deltas, batches, relations, and the trees of expressions.

============== =====================================================================================
``delta``      `Delta`: how one row changed
``batch``      batches in two phases: derived results first, then whoever is told
``relation``   `Relation`, what queries read; `LoadSubset`, what they ask for; `Lease`, what keeps it
``lease``      `StateLease`, the lease on what has its own state
``ir``         what a query says, as trees; sources are told conditions in the same form
``snapshot``   `Rows` and `JoinRow`, what is shown
============== =====================================================================================
"""
