"""Optimistic writes: what is shown at once, told to the server, and taken back when the server refuses.

================ ===================================================================================
``transaction``  `Transaction`, `Tx`: pending, persisting, completed or failed
``work``         the state machine behind it; ``savepoint`` undoes a part of its changes
``mutation``     one change of one row, and how two of them become one; ``ids`` names them
``overlay``      visible rows: those of the source with the optimistic ones on top
================ ===================================================================================
"""
