/**
 * Outgoing: what the reader has sent that is not in the log yet, oldest first.
 *
 * It is written to `storage` as well, so that a reload in the middle of a send neither loses nor doubles it: the page
 * sends it again with the same cid.
 */
export class Outgoing {
  #storage;
  #key;
  requests = [];

  constructor(storage, key) {
    this.#storage = storage;
    this.#key = `lecturehall.outgoing.${key}`;
  }

  /** What a former life of the page had not finished: {text, kind, replyTo, cid} of each. */
  left() {
    try {
      const left = JSON.parse(this.#storage.getItem(this.#key) ?? "[]");
      return left.map(({ text, kind, reply_to: replyTo = null, cid }) => ({ text, kind, replyTo, cid }));
    } catch {
      return []; // no storage, or nothing that we wrote
    }
  }

  /** A request has changed its state. */
  note(request) {
    if (!this.requests.includes(request)) this.requests.push(request);
    this.#save();
  }

  /** Entries have come: what is among them is outgoing no more. */
  settle(entries, me) {
    if (this.requests.length === 0) return;
    const arrived = new Set(entries.filter((entry) => entry.by.id === me).map((entry) => entry.cid));
    this.requests = this.requests.filter((request) => !arrived.has(request.cid));
    this.#save();
  }

  discard(request) {
    this.requests = this.requests.filter((other) => other !== request);
    this.#save();
  }

  #save() {
    try {
      const unsent = this.requests.filter((request) => request.state !== "sent").map((request) => request.body);
      this.#storage.setItem(this.#key, JSON.stringify(unsent));
    } catch {
      // a full or forbidden storage costs only the survival of a reload
    }
  }
}
