"""Serves an MPEG-TS file over RTSP with GStreamer, in real time: server.py FILE tcp|udp [USER PASSWORD | CERTIFICATE].

CERTIFICATE is a PEM file with the key, and makes it speak TLS.

Prints the port and what clients do, a line each.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer

Gst.init(None)
file, transport, *guard = sys.argv[1:]
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f"( filesrc location={file} ! tsparse set-timestamps=true ! rtpmp2tpay name=pay0 pt=33 )"
)
lower = GstRtsp.RTSPLowerTrans
factory.set_protocols(lower.TCP if transport == "tcp" else lower.UDP)

if guard:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if len(guard) == 2:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(*guard, token)
    else:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(*guard))
        auth.set_default_token(token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for permission in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("viewer", permission, True)
    factory.set_permissions(permissions)


def say_scale(_, context):
    result, scale = context.request.get_header(GstRtsp.RTSPHeaderField.SCALE, 0)
    if result == GstRtsp.RTSPResult.OK:
        print("scale", scale, flush=True)


def connected(_, client):
    for request in ("setup", "play", "teardown"):
        client.connect(f"{request}-request", lambda *_, name=request: print(name, flush=True))
    client.connect("play-request", say_scale)
    client.connect("closed", lambda _: print("closed", flush=True))


server.connect("client-connected", connected)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print("port", server.get_bound_port(), flush=True)
GLib.MainLoop().run()
