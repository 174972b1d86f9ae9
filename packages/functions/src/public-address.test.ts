import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { isPublicAddress } from "./public-address.ts";

suite("an address is public", () => {
  test("when it is one of the internet", () => {
    for (const address of [
      "1.1.1.1",
      "9.255.255.255",
      "172.32.0.1",
      "192.167.1.1",
      "198.20.0.1",
      "223.255.255.254",
    ])
      assert.ok(isPublicAddress(address), address);
    for (const address of [
      "2606:4700::1111",
      "2a00:1450:4001::5",
      "::ffff:1.1.1.1",
      "::ffff:101:101",
      "64:ff9b::101:101",
    ])
      assert.ok(isPublicAddress(address), address);
  });

  test("and not when it is the machine's own, its network's, a cloud's, or nobody's", () => {
    for (const address of [
      ...["0.0.0.0", "127.0.0.1", "127.8.9.10", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1"],
      ...["169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1"],
      ...["203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255"],
      ...["::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"],
      ...["2002:7f00:1::", "2001:0:7f00:1::", "::7f00:1", "100::1", "64:ff9b:1::1"],
    ])
      assert.ok(!isPublicAddress(address), address);
  });

  test("and not when it is an IPv4 address of those in IPv6's clothes", () => {
    for (const address of [
      ...["::ffff:127.0.0.1", "::ffff:7f00:1", "0:0:0:0:0:ffff:7f00:0001", "::ffff:a9fe:a9fe", "::ffff:0:0"],
      ...["64:ff9b::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::", "::ffff:10.0.0.1"],
    ])
      assert.ok(!isPublicAddress(address), address);
  });

  test("and not when it is no address", () => {
    for (const text of ["", "localhost", "1.1.1", "0x7f.1", "2130706433", "[::1]"])
      assert.ok(!isPublicAddress(text), text);
  });
});
