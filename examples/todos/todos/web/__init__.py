"""The web page: ``components`` shows the list, ``page`` gives each window its session and its connection."""
