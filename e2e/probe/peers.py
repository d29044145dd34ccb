"""Classic ends over WebSocket, made of Python's websockets (probe spec A.7, A.8).

server DELAY    prints its port; takes parameters, then one message per DELAY seconds; prints each message's length
client PORT     sends parameters, five messages of 1000 bytes, and closes
"""

import asyncio
import json
import socket
import sys

import websockets


async def serve(websocket):
    parameters = json.loads(await websocket.recv())
    print("parameters", parameters["payloadSize"], parameters["requestsTotal"], flush=True)
    total = 0
    try:
        async for message in websocket:
            total += len(message)
            print("read", len(message), total, flush=True)
            await asyncio.sleep(DELAY)
        print("closed", websocket.close_code, flush=True)
    except websockets.ConnectionClosed as error:
        print("error", error, flush=True)


async def run_server():
    # A small queue and a small window, so that neither the library nor the kernel takes in seconds of a slow reader's
    # work: a sender gets on again soon after each message.
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    async with websockets.serve(serve, sock=listener, max_queue=1, read_limit=4096, max_size=1 << 24) as server:
        print("port", server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()


async def run_client(port):
    async with websockets.connect(f"ws://127.0.0.1:{port}/ws") as websocket:
        await websocket.send(json.dumps({"payloadSize": 1000, "requestsTotal": 5}))
        for number in range(5):
            # A library may cut a message into fragments as it likes.
            await websocket.send([bytes([number]) * 400, bytes([number]) * 600])
        await asyncio.wait_for(await websocket.ping(), 10)
    print("closed", websocket.close_code, flush=True)


if sys.argv[1] == "server":
    DELAY = float(sys.argv[2])
    asyncio.run(run_server())
else:
    asyncio.run(run_client(int(sys.argv[2])))
