"""A chat with rooms: messages that stay, who is typing, who is here.

=============================  ======================================  ==================
file                           contains                                realtime-specific
=============================  ======================================  ==================
rooms.py, schemas.py           who is in which room, row types         no
server/archive.py              the messages, in SQLite                 no
server/functions/messages.py   server functions                        one publishes
server/realtime_auth.py        `authorize`, `validate`                 yes
collections.py                 the live channel, the presence channel  yes, their types
components.py                  messages and the box to write them      no
company.py                     who is typing, who is here              yes
page.py                        the page, its providers                 connects
server/app.py                  the application                         makes it
=============================  ======================================  ==================
"""
