"""A live todo list.

==========================  ====================================  =================
file                        contains                              realtime-specific
==========================  ====================================  =================
db/schema.py                SQLAlchemy tables                     no
schemas.py                  row types that both ends share        no
server/functions/*.py       plain server functions                no
server/realtime_auth.py     `authorize`                           yes
server/app.py               the Starlette application             mounts it
collections.py              collections                           yes, their type
components.py               live queries                          no
client.py, demo.py          a client process, the demonstration   connects
==========================  ====================================  =================
"""
