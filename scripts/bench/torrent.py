"""One libtorrent node for transfer.py: `seed FILE META PORT` makes META and serves FILE, `get DIR META PORT` fetches it from there."""

import os
import sys
import time

import libtorrent as lt

role, path, meta, port = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
settings = {
    "enable_dht": False,
    "min_reconnect_time": 1,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
    # Plain TCP: its fastest.
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "in_enc_policy": int(lt.enc_policy.disabled),
    "out_enc_policy": int(lt.enc_policy.disabled),
    "listen_interfaces": f"127.0.0.1:{port if role == 'seed' else 0}",
    "alert_mask": lt.alert.category_t.storage_notification | lt.alert.category_t.status_notification,
}
session = lt.session(settings)
if role == "seed":
    files = lt.file_storage()
    lt.add_files(files, path)
    torrent = lt.create_torrent(files, piece_size=4 << 20, flags=lt.create_torrent.v1_only)
    lt.set_piece_hashes(torrent, os.path.dirname(path))
    with open(meta, "wb") as f:
        f.write(lt.bencode(torrent.generate()))
    params = lt.add_torrent_params()
    params.ti, params.save_path = lt.torrent_info(meta), os.path.dirname(path)
    params.flags |= lt.torrent_flags.seed_mode
    handle = session.add_torrent(params)
    # Before that it turns away whoever comes, who then waits for a minute.
    while not handle.status().is_seeding:
        time.sleep(0.01)
    print("ready", flush=True)
    while True:
        time.sleep(3600)
params = lt.add_torrent_params()
params.ti, params.save_path = lt.torrent_info(meta), path
handle = session.add_torrent(params)
flushing = False
while True:
    # One that comes before it has looked at its files is forgotten for a minute.
    if handle.status().num_peers == 0 and not flushing:
        handle.connect_peer(("127.0.0.1", port))
    if not flushing and handle.status().is_seeding:
        handle.flush_cache()
        flushing = True
    session.wait_for_alert(100)
    if any(isinstance(alert, lt.cache_flushed_alert) for alert in session.pop_alerts()) and flushing:
        print("flushed", flush=True)
        break
time.sleep(3600)
