/**
 * Transcript: the lines of a conversation that a page keeps. Pure: no DOM, no clock.
 *
 * `tail` is always the newest `max` lines. `lines` is what is to be shown: the tail itself while the reader follows it,
 * and a copy that stands still (and may grow at its beginning) while the reader looks at something older.
 * A line is {key, seq, entry, version} or, for a range that was skipped, {key, seq, to, gap: true, count, version}; its
 * version grows when it must be drawn anew.
 */

const isShown = (entry) => entry.kind !== "delete";
const lineOf = (entry) => ({ key: `e${entry.seq}`, seq: entry.seq, entry, version: 0 });
const bySeq = (a, b) => a.seq - b.seq;

export class Transcript {
  #max;
  #mostShown;
  tail = [];
  lines = this.tail;
  follows = true;
  unread = 0;
  hasEarlier = false;
  #earliest = 1; // the lowest number that the shown lines reach down to, entries that have no line counted

  constructor({ max = 500, mostShown = 3 * max } = {}) {
    this.#max = max;
    this.#mostShown = mostShown;
  }

  /** Begin anew with these entries; what lies before them is in the history. */
  reset(entries) {
    this.tail = [];
    this.lines = this.tail;
    this.follows = true;
    this.unread = 0;
    this.#reachDownTo(entries[0]?.seq ?? 1);
    this.append({ entries });
  }

  /** Add a batch at the end: its entries, and a line for what it skipped. */
  append({ entries, from, to, gap = false }) {
    const skipped = gap ? to - from + 1 - entries.length : 0;
    if (skipped > 0) this.#push({ key: `g${from}`, seq: from - 0.5, from, to, gap: true, count: skipped, version: 0 });
    for (const entry of entries) {
      if (entry.kind === "delete") this.#delete(entry.target);
      else this.#push(lineOf(entry));
    }
    const excess = this.tail.length - this.#max;
    if (excess > 0) {
      this.tail.splice(0, excess);
      if (this.follows) this.#reachDownTo(Math.ceil(this.tail[0].seq));
    }
  }

  #reachDownTo(seq) {
    this.#earliest = seq;
    this.hasEarlier = seq > 1;
  }

  #push(line) {
    this.tail.push(line);
    if (!this.follows) this.unread += line.gap ? line.count : 1;
  }

  #delete(target) {
    for (const line of new Set([...this.tail, ...this.lines])) {
      if (line.seq === target) {
        const { text: _, ...entry } = line.entry;
        line.entry = { ...entry, deleted: true };
        line.version += 1;
      } else if (line.entry?.reply_to === target) {
        line.version += 1; // it quotes what is gone
      }
    }
  }

  /** Let what is shown stand still. */
  pause() {
    if (!this.follows) return;
    this.follows = false;
    this.unread = 0;
    this.lines = [...this.tail];
  }

  /** Show the newest lines and go with them. */
  follow() {
    if (this.follows) return;
    this.follows = true;
    this.unread = 0;
    this.lines = this.tail;
    if (this.tail.length > 0 && this.tail[0].seq > this.#earliest) this.#reachDownTo(Math.ceil(this.tail[0].seq));
  }

  /** The number before which to ask the history, or null if all there is stands here. */
  get earlierThan() {
    return this.hasEarlier ? this.#earliest : null;
  }

  /** Put a page of the history before what is shown; the newest lines give way where that grows too long. */
  prepend(entries, { more }) {
    this.pause();
    const first = this.lines[0]?.seq ?? Infinity;
    const added = entries.filter((entry) => isShown(entry) && entry.seq < first).map(lineOf);
    const joinsTail = this.lines[0] === this.tail[0] && this.tail.length + added.length <= this.#max;
    this.lines.unshift(...added);
    if (joinsTail) this.tail.unshift(...added);
    this.lines.splice(this.#mostShown);
    if (entries.length > 0) this.#reachDownTo(entries[0].seq);
    this.hasEarlier = more;
  }

  /** Put entries of a skipped range in their place. */
  fill(gapLine, entries) {
    const { from, to } = gapLine;
    const found = entries.filter((entry) => entry.seq >= from && entry.seq <= to);
    const reached = found.length > 0 ? found[found.length - 1].seq : to;
    const fresh = found.filter(isShown).map(lineOf);
    for (const list of new Set([this.tail, this.lines])) {
      const at = list.indexOf(gapLine);
      if (at === -1) continue;
      list.splice(at, 1);
      const known = new Set(list.map((line) => line.seq));
      list.push(...fresh.filter((line) => !known.has(line.seq)));
      if (reached < to) list.push(this.#restOf(gapLine, reached, known));
      list.sort(bySeq);
    }
  }

  #restOf({ to }, reached, known) {
    const given = [...known].filter((seq) => seq > reached && seq <= to).length;
    const from = reached + 1;
    return { key: `g${from}`, seq: from - 0.5, from, to, gap: true, count: to - reached - given, version: 0 };
  }

  /** The line of an entry that is shown or in the tail. */
  lineOf(seq) {
    return this.lines.find((line) => line.seq === seq) ?? this.tail.find((line) => line.seq === seq) ?? null;
  }

  /** The newest questions that stand, newest first. */
  questions(most) {
    const found = this.tail.filter(({ entry }) => entry?.kind === "question" && !entry.deleted);
    return found.slice(-most).reverse();
  }
}
