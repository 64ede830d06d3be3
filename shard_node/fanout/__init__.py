"""All that reaches into python-socketio, python-engineio and uvicorn; pinned to minor versions in pyproject.toml.

packets      Socket.IO and Engine.IO packets as text
transport    uvicorn's WebSocket protocol, which tells the ASGI scope about itself
connection   one client's connection: write, count what waits, cut
server       python-socketio's server, with every event answered by our own gateway
members      the members of one room: one frame to all, and a cursor for each that cannot keep up
"""
