// The CRC-64 of two pieces from the CRC-64 of each: what lets several threads share one checksum. The bytes of the second piece act on the
// first one's CRC as that many zeros would, which is a linear map over bits, squared for every power of two.

/** The reflected polynomial of CRC-64/ISO, as crc64.ts has it. */
const polynomial = 0xd800_0000_0000_0000n;

const bits = 64;

/** A linear map: what becomes of each bit. */
type BitMap = readonly bigint[];

/** What appending one zero byte does, and its squares: 2, 4, 8, … bytes. Made as far as they are needed. */
const zeroBytes: BitMap[] = [];

/** The CRC-64 of A followed by B, from that of A, that of B, and the length of B in bytes. */
export function crc64Combine(crcA: bigint, crcB: bigint, lengthB: number): bigint {
  let moved = crcA;
  let left = lengthB;
  for (let power = 0; left > 0; power += 1) {
    if (left % 2 === 1) moved = apply(zeroBytesMap(power), moved);
    left = Math.floor(left / 2);
  }
  return moved ^ crcB;
}

function zeroBytesMap(power: number): BitMap {
  let map = zeroBytes[power];
  if (map === undefined) {
    const half = power === 0 ? undefined : zeroBytesMap(power - 1);
    map = half === undefined ? oneZeroByte() : half.map((column) => apply(half, column));
    zeroBytes[power] = map;
  }
  return map;
}

function oneZeroByte(): BitMap {
  const oneBit: bigint[] = [polynomial];
  for (let bit = 1; bit < bits; bit += 1) oneBit.push(1n << BigInt(bit - 1));
  let map: BitMap = oneBit;
  for (let squared = 0; squared < 3; squared += 1) {
    const half = map;
    map = half.map((column) => apply(half, column));
  }
  return map;
}

function apply(map: BitMap, value: bigint): bigint {
  let sum = 0n;
  let left = value;
  for (let bit = 0; left !== 0n; bit += 1) {
    if ((left & 1n) === 1n) sum ^= map[bit] as bigint;
    left >>= 1n;
  }
  return sum;
}
