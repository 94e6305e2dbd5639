"""``python -m cursors [PORT]`` serves the page."""

from __future__ import annotations

import argparse

import uvicorn

from .server.app import app

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m cursors")
    parser.add_argument("port", nargs="?", type=int, default=8000, help="where to serve the page")
    port: int = parser.parse_args().port
    print(f"Cursors: open http://127.0.0.1:{port}/ in two windows. Ctrl+C ends it.", flush=True)
    uvicorn.run(app, port=port, log_level="warning")
