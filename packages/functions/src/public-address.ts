// Which addresses a URL of somebody else's may lead to: those of the public internet, and no other. What the machine's own
// network trusts, such as a metadata service, must not be reachable through a name in a webhook.

import { BlockList, isIP } from "node:net";

/** IPv4 that is not the public internet: RFC 6890's special purposes, multicast, and services that clouds hide in public space. */
const special4 = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["168.63.129.16", 32],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
] as const;

/** Within global unicast: protocols' own (Teredo among them), documentation, 6to4. Outside of it nothing is public. */
const special6 = [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
] as const;

/** IPv6 addresses that are an IPv4 address by another name, which then decides: mapped, and translated (NAT64). */
const embedding6 = [
  ["::ffff:0:0", 96],
  ["64:ff9b::", 96],
] as const;

const [blocked4, blocked6, global6, embedded4] = [
  new BlockList(),
  new BlockList(),
  new BlockList(),
  new BlockList(),
];
for (const [address, bits] of special4) blocked4.addSubnet(address, bits, "ipv4");
for (const [address, bits] of special6) blocked6.addSubnet(address, bits, "ipv6");
for (const [address, bits] of embedding6) embedded4.addSubnet(address, bits, "ipv6");
global6.addSubnet("2000::", 3, "ipv6");

/** Tells whether an address, as a resolver writes it, is one of the public internet. What is no address is not. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !blocked4.check(address, "ipv4");
  if (family !== 6 || address.includes("%")) return false;
  if (embedded4.check(address, "ipv6")) return isPublicAddress(lastFourBytes(address));
  return global6.check(address, "ipv6") && !blocked6.check(address, "ipv6");
}

/** The IPv4 address in the end of an IPv6 address. */
function lastFourBytes(address: string): string {
  if (address.includes(".")) return address.slice(address.lastIndexOf(":") + 1);
  // A URL writes it in its canonical form, in which the last two groups stand at the end.
  const groups = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::").at(-1)?.split(":") ?? [];
  const [high = 0, low = 0] = ["0", "0", ...groups]
    .slice(-2)
    .map((group) => Number.parseInt(group || "0", 16));
  return [high >> 8, high & 255, low >> 8, low & 255].join(".");
}
