"""Collections, and the clients that own them. Nothing here knows of queries.

================ ===================================================================================
``client``       `DbClient`: one user's collections and tasks; which client is meant right now
``sessions``     a client per session, where one process renders for many users
``collection``   `Collection`: what applications call
``core``         what every collection is made of, with the hooks for other collection types
``config``       a collection's options, checked when they are declared
``subscription`` `Change`, and who hears of one
================ ===================================================================================
"""
