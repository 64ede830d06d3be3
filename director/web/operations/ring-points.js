/** Ring points: where nodes and rooms stand on the hash circle, as director/core/ring places them (BLAKE2b, RFC 7693). */

const POINTS = 160;
// Words of 64 bits are two of 32, the lower one first.
const IV = Uint32Array.of(
  0xf3bcc908, 0x6a09e667, 0x84caa73b, 0xbb67ae85, 0xfe94f82b, 0x3c6ef372, 0x5f1d36f1, 0xa54ff53a,
  0xade682d1, 0x510e527f, 0x2b3e6c1f, 0x9b05688c, 0xfb41bd6b, 0x1f83d9ab, 0x137e2179, 0x5be0cd19,
);
const SIGMA = [
  "0123456789abcdef", "ea489fd61c02b753", "b8c052fdae367194", "7931dcbe265a40f8", "905724afe1bc683d", "2c6a0b834d75fe19",
  "c51fed4a0763928b", "db7ec13950f4862a", "6fe9b308c2d714a5", "a2847615fb9e3cd0", "0123456789abcdef", "ea489fd61c02b753",
].map((row) => [...row].map((digit) => 2 * Number.parseInt(digit, 16)));
const BLOCK = 128;
const utf8 = new TextEncoder();
const v = new Uint32Array(32);
const m = new Uint32Array(32);

function add(a, low, high) {
  const sum = v[a] + low;
  v[a + 1] = v[a + 1] + high + (sum > 0xffffffff ? 1 : 0);
  v[a] = sum;
}

function mix(a, b, c, d, x, y) {
  add(a, v[b], v[b + 1]);
  add(a, m[x], m[x + 1]);
  let low = v[d] ^ v[a];
  let high = v[d + 1] ^ v[a + 1];
  v[d] = high;
  v[d + 1] = low;
  add(c, v[d], v[d + 1]);
  low = v[b] ^ v[c];
  high = v[b + 1] ^ v[c + 1];
  v[b] = (low >>> 24) | (high << 8);
  v[b + 1] = (high >>> 24) | (low << 8);
  add(a, v[b], v[b + 1]);
  add(a, m[y], m[y + 1]);
  low = v[d] ^ v[a];
  high = v[d + 1] ^ v[a + 1];
  v[d] = (low >>> 16) | (high << 16);
  v[d + 1] = (high >>> 16) | (low << 16);
  add(c, v[d], v[d + 1]);
  low = v[b] ^ v[c];
  high = v[b + 1] ^ v[c + 1];
  v[b] = (high >>> 31) | (low << 1);
  v[b + 1] = (low >>> 31) | (high << 1);
}

const swapped = (word) => ((word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;

/** Where a key of at most 128 bytes stands, from 0 to 1: the first 53 of the 64 bits that the directors compare. */
export function placeOf(key) {
  const bytes = utf8.encode(key).subarray(0, BLOCK);
  m.fill(0);
  for (let i = 0; i < bytes.length; i++) m[i >> 2] |= bytes[i] << (8 * (i & 3));
  v.set(IV, 0);
  v.set(IV, 16);
  v[0] ^= 0x01010008; // no key, a digest of 8 bytes
  const [first, second] = [v[0], v[1]];
  v[24] ^= bytes.length;
  v[28] = ~v[28];
  v[29] = ~v[29];
  for (const s of SIGMA) {
    mix(0, 8, 16, 24, s[0], s[1]);
    mix(2, 10, 18, 26, s[2], s[3]);
    mix(4, 12, 20, 28, s[4], s[5]);
    mix(6, 14, 22, 30, s[6], s[7]);
    mix(0, 10, 20, 30, s[8], s[9]);
    mix(2, 12, 22, 24, s[10], s[11]);
    mix(4, 14, 16, 26, s[12], s[13]);
    mix(6, 8, 18, 28, s[14], s[15]);
  }
  const low = first ^ v[0] ^ v[16];
  const high = second ^ v[1] ^ v[17];
  return (swapped(low) * 2 ** 21 + (swapped(high) >>> 11)) / 2 ** 53;
}

/** The points of a set of nodes; those of each node are worked out once. */
export class RingPoints {
  #placesOf = new Map();

  /** Work out those of `nodes` that are not known yet, for about `ms`; whether all are known. */
  prepare(nodes, ms) {
    const until = performance.now() + ms;
    return nodes.every((node) => this.#placesOf.has(node) || (performance.now() < until && this.#places(node)));
  }

  /** All points in order: [{at, node}]. What lies between a point and the one before it belongs to its node. */
  of(nodes) {
    const points = nodes.flatMap((node) => this.#places(node).map((at) => ({ at, node })));
    return points.sort((a, b) => a.at - b.at);
  }

  #places(node) {
    if (!this.#placesOf.has(node)) {
      this.#placesOf.set(node, Array.from({ length: POINTS }, (_, number) => placeOf(`${node}-${number}`)));
    }
    return this.#placesOf.get(node);
  }
}

/** The nodes of `points` in the order in which a room prefers them. */
export function orderOf(room, points) {
  const at = placeOf(room);
  const start = points.findIndex((point) => point.at > at);
  const walk = start < 0 ? points : [...points.slice(start), ...points.slice(0, start)];
  return [...new Set(walk.map(({ node }) => node))];
}
