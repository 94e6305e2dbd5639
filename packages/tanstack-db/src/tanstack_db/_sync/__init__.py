"""How rows get into a collection, and for how long: the contract with its source.

============== =====================================================================================
``contract``   `SyncContext`, `SyncRun`: what a source is given, and what it gives back
``lifecycle``  when a source runs: statuses, consumers, and the timer that stops what nobody needs
``demand``     which subsets of an on-demand source are needed
``subsets``    whether a demand has another's rows; `comparisons`: its conditions for backends
============== =====================================================================================
"""
