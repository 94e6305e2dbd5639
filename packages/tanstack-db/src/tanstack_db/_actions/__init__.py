"""Functions that write: shown at once, told to the server now or at a pace.

============== =====================================================================================
``optimistic`` `create_optimistic_action`: what to show and whom to tell, as one function
``paced``      `create_paced_mutations`; ``pacing`` says when: windows of time, and a queue
============== =====================================================================================
"""
