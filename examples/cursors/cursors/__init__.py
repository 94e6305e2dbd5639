"""A shared canvas: everybody's cursor, and waves where somebody clicks.

=======================  ======================================  ==================
file                     contains                                realtime-specific
=======================  ======================================  ==================
people.py                who there is                            no
presence.py              the presence channel, the waves         yes
board.py                 the canvas, its cursors                 yes
pointing.py              what a mouse or a key means             no
page.py                  the page, its providers                 connects
server/realtime_auth.py  `authorize`, `validate`                 yes
server/app.py            the application                         makes it
=======================  ======================================  ==================
"""
