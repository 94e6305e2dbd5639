"""``python -m cursors [PORT]`` serves the page."""

from __future__ import annotations

import sys

import uvicorn

from .server.app import app

if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    print(f"Cursors: open http://127.0.0.1:{port}/ in two windows. Ctrl+C ends it.", flush=True)
    uvicorn.run(app, port=port, log_level="warning")
