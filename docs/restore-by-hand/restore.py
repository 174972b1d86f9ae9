#!/usr/bin/env python3
"""Rebuilds a bolt database from a pageferry manifest: docs/restore-by-hand.md. Python 3.8 and the `zstd` command, nothing else.

    restore.py MANIFEST OUT [DIRECTORY]

MANIFEST is a file or a URL. Objects are read from DIRECTORY (by their names, as in a replica), else from the places in the manifest. A token
in PAGEFERRY_TOKEN is sent to the manifest's own host alone. Archives of the Go implementation are not its matter: it wants meta pages."""
import hashlib, json, os, struct, subprocess, sys
from urllib.parse import urljoin, urlsplit
from urllib.request import Request, urlopen


def fetch(url, home):
    token = os.environ.get("PAGEFERRY_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token and urlsplit(url).netloc == urlsplit(home).netloc else {}
    with urlopen(Request(url, headers=headers)) as answer:
        return answer.read()


def cbor(b, at=0):
    """One CBOR item at `at`: the value, and where it ends."""
    kind, small, at = b[at] >> 5, b[at] & 31, at + 1
    if kind == 7:
        size = {25: 2, 26: 4, 27: 8}.get(small, 0)
        return (struct.unpack({2: ">e", 4: ">f", 8: ">d"}[size], b[at:at + size])[0] if size else {20: False, 21: True}.get(small)), at + size
    size = {24: 1, 25: 2, 26: 4, 27: 8}.get(small, 0)
    count, at = (int.from_bytes(b[at:at + size], "big") if size else small), at + size
    if kind == 0: return count, at
    if kind == 1: return -1 - count, at
    if kind == 2: return b[at:at + count], at + count
    if kind == 3: return bytes(b[at:at + count]).decode(), at + count
    if kind == 6: return cbor(b, at)
    items = []
    for _ in range(count * (2 if kind == 5 else 1)):
        item, at = cbor(b, at)
        items.append(item)
    return (dict(zip(items[::2], items[1::2])) if kind == 5 else items), at


def document(b):
    value, end = cbor(memoryview(b))
    assert end == len(b), "bytes after the end"
    return value


def unpacked(data, header):
    """`data` as it was before it was compressed: zstd frames one after another, of which skippable ones hold indexes."""
    if header["compression"] == "none": return bytes(data)
    return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout


def crc64(data, table=[]):
    """CRC-64/ISO."""
    if not table:
        for byte in range(256):
            for _ in range(8): byte = byte >> 1 ^ (0xD800000000000000 if byte & 1 else 0)
            table.append(byte)
    crc = 2**64 - 1
    for byte in data: crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 2**64 - 1


def meta_page(page, slot, txid):
    """The meta page of `txid` for a slot: its own page id, the transaction, and FNV-1a 64 over bytes 16 to 71."""
    page = bytearray(page)
    struct.pack_into("<Q", page, 0, slot)
    struct.pack_into("<Q", page, 64, txid)
    checksum = 0xCBF29CE484222325
    for byte in page[16:72]: checksum = (checksum ^ byte) * 0x100000001B3 & 2**64 - 1
    struct.pack_into("<Q", page, 72, checksum)
    return page


def segments(step, b):
    """The segments of a step, oldest first: itself, or those of a pack that lead to where it ends."""
    if step["kind"] == "segment": return [document(b)]
    pack = document(b)
    assert pack["magic"] == "PFPK", "no pack"
    wanted = [row for row in pack["index"] if int(step["fromTxId"], 16) < row[1] <= int(step["toTxId"], 16)]
    return [document(pack["segments"][row[4]:row[4] + row[5]]) for row in wanted]


def restore(manifest, read, out):
    snapshot, *steps = manifest["objects"]
    base = document(read(snapshot))
    out.write(unpacked(base["data"], base["header"]))
    size, reached, end, meta = base["header"]["pageSize"], base["header"]["txId"], base["header"]["pageCount"], None
    for step in steps:
        for segment in segments(step, read(step)):
            header, data = segment["header"], segment["data"]
            assert header["magic"] == "BTLS" and header["pageSize"] == size, "no segment of this database"
            assert header["parentTxId"] <= reached < header["txId"], f"does not lead on from {reached}"
            assert len(data) > 2**22 or crc64(data) == header["checksum"], "CRC-64"  # zstd has checksums of its own
            payload, meta = document(unpacked(data, header)), None
            for frame in payload["pages"]:
                if frame["ID"] == header["txId"] % 2: meta = bytes(frame["Data"])
                out.seek(frame["ID"] * size)
                out.write(frame["Data"])
            assert meta, "a segment without a meta page: it was made by the Go implementation"
            reached, end = header["txId"], header["highWaterMark"]
    out.truncate(end * size)
    assert reached == int(manifest["txId"], 16), f"ends at {reached}"
    if meta is None: return  # the snapshot alone: it has both meta pages
    for slot in (0, 1):
        out.seek(slot * size)
        out.write(meta_page(meta, slot, reached if slot == reached % 2 else reached - 1))


def main(place, path, directory=None):
    is_url = place.startswith(("http://", "https://"))
    manifest = json.loads(fetch(place, place) if is_url else open(place, "rb").read())

    def read(step):
        name = step["name"]
        b = open(os.path.join(directory, name), "rb").read() if directory else fetch(urljoin(place, step["url"]), place)
        assert len(b) == step["size"], f"{name}: {len(b)} bytes, not {step['size']}"
        assert step.get("sha256", hashlib.sha256(b).hexdigest()) == hashlib.sha256(b).hexdigest(), f"{name}: SHA-256"
        return b

    with open(path, "xb") as out:
        restore(manifest, read, out)
    print(f"{path}: transaction {manifest['txId']}, state {manifest.get('stateHash', 'unknown')}")


if __name__ == "__main__":
    main(*sys.argv[1:])
