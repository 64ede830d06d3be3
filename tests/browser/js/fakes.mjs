// A clock that jumps, a director that answers what it is told, and sockets that record what was emitted on them.

export class FakeClock {
  #now = 0;
  #timers = new Map();
  #ids = 0;

  now = () => this.#now;

  setTimeout = (fn, ms) => {
    this.#ids += 1;
    this.#timers.set(this.#ids, { fn, at: this.#now + ms });
    return this.#ids;
  };

  clearTimeout = (id) => {
    this.#timers.delete(id);
  };

  /** Pass `ms`, running what falls due in its order; promises settle in between. */
  async pass(ms) {
    const end = this.#now + ms;
    await settled();
    for (let steps = 0; ; steps += 1) {
      if (steps > 1_000) throw new Error("time does not pass: something tries again and again");
      const [next] = [...this.#timers].sort(([, a], [, b]) => a.at - b.at);
      if (!next || next[1].at > end) break;
      this.#timers.delete(next[0]);
      this.#now = Math.max(this.#now, next[1].at);
      next[1].fn();
      await settled();
    }
    this.#now = end;
  }

  get waiting() {
    return this.#timers.size;
  }
}

/** Wait until promises that are due have settled (real macrotasks, no time). */
export const settled = async () => {
  for (let i = 0; i < 3; i += 1) await new Promise((resolve) => setImmediate(resolve));
};

export class FakeSocket {
  handlers = new Map();
  emitted = [];
  disconnected = false;
  connecting = false;

  constructor(url, options) {
    this.url = url;
    this.options = options;
  }

  on(event, fn) {
    if (this.connecting) throw new Error("a handler was registered after connecting");
    this.handlers.set(event, fn);
  }

  connect() {
    this.connecting = true;
  }

  disconnect() {
    this.disconnected = true;
  }

  emit(event, body, ack) {
    if (this.disconnected) throw new Error("emitted after disconnect");
    this.emitted.push({ event, body, ack });
  }

  /** What the node sends. */
  says(event, detail) {
    this.handlers.get(event)?.(detail);
  }

  get last() {
    return this.emitted.at(-1);
  }
}

export const entry = (seq, more = {}) => ({
  seq,
  at: 1_700_000_000_000 + seq,
  kind: "message",
  cid: `c${seq}`,
  by: { id: "bob", name: "Bob", role: "student" },
  text: `text ${seq}`,
  ...more,
});

export const entries = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => entry(from + i));

export const joined = (seq, more = {}) => ({
  room: "r",
  you: { id: "ada", name: "Ada", role: "student" },
  pos: { log: "L", epoch: 7, seq },
  recovered: false,
  reason: null,
  entries: entries(1, seq),
  snapshot: { mode: "open", slow_ms: 0, notice: null, members: 1 },
  limits: { max_text_length: 2000, max_in_flight: 8 },
  reconnect_window_ms: 400,
  ...more,
});

export const frame = (from, to, more = {}) => ({ log: "L", epoch: 7, from, to, entries: entries(from, to), ...more });

export const routeTo = (node, more = {}) => ({
  ok: true,
  room: "r",
  node,
  url: `http://${node}`,
  path: "/socket.io/",
  epoch: 7,
  ticket: `ticket-${node}`,
  ticket_expires_in_ms: 60_000,
  connect_after_ms: 0,
  ...more,
});

export const refusal = (code, action, retry_after_ms = 0) => ({
  ok: false,
  error: { code, message: code, action, temporary: action === "retry" || action === "reroute", retry_after_ms },
});

/** A client with everything around it faked. `answers` are the director's, the last one for ever. */
export async function clientOf(HallClient, { answers = [routeTo("node-1")], chance = 0, ...options } = {}) {
  const clock = new FakeClock();
  const sockets = [];
  const asked = [];
  const told = { entries: [], batches: [], states: [], joined: [], sends: [] };
  const queue = [...answers];
  const fetch = async (url) => {
    asked.push(new URL(url));
    const answer = queue.length > 1 ? queue.shift() : queue[0];
    if (answer instanceof Error) throw answer;
    return { status: answer.ok ? 200 : 503, json: async () => answer };
  };
  const io = (url, opts) => {
    sockets.push(new FakeSocket(url, opts));
    return sockets.at(-1);
  };
  const random = () => (typeof chance === "function" ? chance() : chance);
  const identity = { user: "ada", name: "Ada", role: "student" };
  const client = new HallClient({ io, fetch, random, clock, director: "http://d", room: "r", identity, ...options });
  client.on("joined", (j) => {
    if (j.reset) told.entries = [];
    told.entries.push(...j.entries.map((e) => e.seq));
    told.joined.push(j);
  });
  client.on("entries", (b) => {
    told.entries.push(...b.entries.map((e) => e.seq));
    told.batches.push(b);
  });
  client.on("state", (s) => told.states.push(s));
  client.on("send", (r) => told.sends.push(`${r.event} ${r.state}`));
  client.start();
  await clock.pass(0);
  return {
    client,
    clock,
    sockets,
    asked,
    told,
    answerNext: (...next) => queue.splice(0, queue.length, ...next),
    get socket() {
      return sockets.at(-1);
    },
  };
}
