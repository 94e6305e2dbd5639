"""A conversation with a language model, whose answers grow in every window that shows it.

=============================  ======================================  ==================
file                           contains                                realtime-specific
=============================  ======================================  ==================
sessions.py, schemas.py        who may read which session, row types   no
server/model.py                a fake model; a real SDK is one line    no
server/transcript.py           what was said                           no
server/functions/ai.py         server functions                        publish
server/realtime_auth.py        `authorize`                             yes
collections.py                 the live channel of a session           yes, its type
components.py                  the conversation, the question box      no
page.py                        the page, its providers                 connects
server/app.py                  the application                         makes it
=============================  ======================================  ==================
"""
