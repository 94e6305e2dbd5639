"""What applications hold of running queries.

============== =====================================================================================
``live_query`` `live_query`: handles of live results; `query_once`
``pages``      `infinite_query`, `paged_query`: long results in pieces
``effect``     `create_effect`: functions that are called as rows enter and leave a result
``keyed``      `KeyedList`: how a widget follows a result row by row
============== =====================================================================================
"""
