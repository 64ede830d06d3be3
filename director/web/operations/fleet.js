/** Fleet: the newest picture of the director, looked up by node and by room. */

const MAX_LEASE_MS = 1_000;

export class Fleet {
  atMs = 0;
  members = 0;
  roomCount = 0;
  /** By name, in order of names; each is the director's answer and `areas`, its rooms, those that count for most first. */
  nodes = new Map();
  /** [room, node, members, load] by room. */
  rooms = new Map();
  /** What is asked to move, by room: {room, source, target, why, is_warm}. */
  moving = new Map();
  /** The most that any node has or may have: vessels of nodes are drawn to one scale. */
  fullest = 1;
  /** The longest lease seen. */
  leaseMs = MAX_LEASE_MS;

  get isKnown() {
    return this.atMs > 0;
  }

  /** Take a picture (`event: fleet`). */
  update(picture) {
    this.atMs = picture.at_ms;
    this.members = picture.members;
    this.roomCount = picture.room_count;
    this.moving = new Map(picture.moving.map((move) => [move.room, move]));
    this.nodes = new Map(picture.nodes.toSorted(byName).map((node) => [node.node, { ...node, areas: [] }]));
    this.rooms = new Map();
    for (const area of picture.rooms) {
      this.rooms.set(area[0], area);
      this.nodes.get(area[1])?.areas.push(area);
    }
    this.fullest = 1;
    for (const node of this.nodes.values()) {
      node.areas.sort(byLoad);
      this.fullest = Math.max(this.fullest, node.load, node.limit ?? 0);
      this.leaseMs = Math.max(this.leaseMs, node.lapses_in_ms);
    }
  }

  /** What an operator should look at: [{kind, node}], the worst first. */
  get concerns() {
    const found = [];
    for (const node of this.nodes.values()) for (const kind of concernsOf(node)) found.push({ kind, node: node.node });
    return found.sort((a, b) => CONCERNS.indexOf(a.kind) - CONCERNS.indexOf(b.kind));
  }

  /** Names of rooms that begin so, or else have it in them, `limit` at most. */
  roomsLike(text, limit) {
    const beginning = [];
    const within = [];
    for (const room of this.rooms.keys()) {
      const at = room.indexOf(text);
      if (at === 0 && beginning.push(room) >= limit) break;
      if (at > 0 && within.length < limit) within.push(room);
    }
    return [...beginning, ...within].slice(0, limit);
  }
}

const CONCERNS = ["lapsed", "store", "over"];

/** Its lease does not stand, its store fails, or it has more than its bound (one room alone may). */
export function concernsOf(node) {
  const isOver = node.limit !== null && node.load > node.limit && node.rooms > 1;
  return [node.has_lapsed && "lapsed", !node.store_ok && "store", isOver && "over"].filter(Boolean);
}

/** What a node is shown as: `lapsed`, else its state. */
export const standingOf = (node) => (node.has_lapsed ? "lapsed" : node.state);

const names = new Intl.Collator("en", { numeric: true });
const byName = (a, b) => names.compare(a.node, b.node);
const byLoad = (a, b) => b[3] - a[3] || (a[0] < b[0] ? -1 : 1);
