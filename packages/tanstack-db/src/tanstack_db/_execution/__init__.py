"""What runs for a query, once per client for equal ones.

============== =====================================================================================
``result``     `LiveResult`: takes the changes of its sources and tells everybody of its own
``table``      its rows under the keys that are published, and how they changed
``pipeline``   the operators of ``ivm`` that make up one query
``plan``       which condition is tested where, and what each source is asked for
``pushdown``   tells subqueries what the query that reads them says about their rows
``paging``     what a windowed query loads from an on-demand source
``changes``    how rows are identified, and how changes are told
``explain``    the operators with the work that each did; ``meter`` counts it, once somebody asks
``pause``      no garbage collection while much is made that will stay
============== =====================================================================================
"""
