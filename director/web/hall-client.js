/**
 * A member's connection to one room of a lecturehall fleet (PROTOCOL.md, section 7: rules for clients).
 *
 *     import { io } from "/web/vendor/socket.io.esm.min.js";
 *     import { HallClient } from "/web/hall-client.js";
 *     const client = new HallClient({ io, room: "math-101", identity: { user: "u1", name: "Ada", role: "student" } });
 *     client.on("entries", ({ entries }) => entries.forEach(show));
 *     client.start();
 *     await client.send("Hello").done;
 *
 * One ES module that imports nothing: socket.io-client's `io` is handed in, and so are, for tests, the clock, chance and
 * `fetch`. All types stand in hall-client.d.ts. Three nouns: EntryOrder (what may be applied when), Request (something
 * asked of the room, repeated with one cid until it is settled) and HallClient (the way to a node, and back to one).
 */

const PROTOCOL_VERSION = 1;
const LONGEST_BACK_OFF_MS = 20_000;
const FIRST_BACK_OFF_MS = 500;
const ROUTE_TIMEOUT_MS = 10_000;
const JOINED_TIMEOUT_MS = 15_000;
const ACK_TIMEOUT_MS = 10_000;
const HOLE_TIMEOUT_MS = 1_000;
const BYE_TIMEOUT_MS = 2_500;
const STEADY_AFTER_MS = 10_000;
const MAX_TIMER_MS = 2 ** 31 - 1;
const MAX_IN_FLIGHT = 8;
const MAX_REQUESTS = 200;
const MAX_HELD_BATCHES = 256;

const SYSTEM_CLOCK = {
  now: () => performance.now(),
  setTimeout: (fn, ms) => setTimeout(fn, ms),
  clearTimeout: (id) => clearTimeout(id),
};

/** An error of the fleet, or of the way to it. `action` says what to do, also about a code that nobody knows. */
export class HallError extends Error {
  constructor({ code = "UNKNOWN", message = "", action = "stay", temporary = false, retry_after_ms = 0 } = {}) {
    super(message || code);
    this.name = "HallError";
    this.code = code;
    this.action = action;
    this.temporary = temporary;
    this.retryAfterMs = Number.isFinite(retry_after_ms) ? Math.max(0, retry_after_ms) : 0;
  }

  /** The error in an answer of the protocol's error shape, or null if there is none in it. */
  static of(answer) {
    const error = answer?.error;
    return typeof error?.code === "string" ? new HallError(error) : null;
  }
}

const unreachable = (message) => new HallError({ code: "UNREACHABLE", message, action: "reroute", temporary: true });

/** 128 bits of chance in hexadecimal: names something asked for, so that asking again is harmless. */
export function newCid() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Puts what a node sends into the log's one order: cuts what overlaps, holds what comes early, finds what contradicts.
 * `position` is what to join with: {log, epoch, seq} of the last entry applied, null before the first `joined`.
 */
export class EntryOrder {
  #held = [];
  position;

  constructor(position = null) {
    this.position = position;
  }

  /** Whether something is held because entries before it are missing. */
  get hasHole() {
    return this.#held.length > 0;
  }

  /** Forget what a former connection sent early. */
  dropHeld() {
    this.#held = [];
  }

  /** Begin with a `joined`: its entries that are new, and whether all former ones are to be forgotten. */
  begin({ pos, recovered, entries }) {
    const last = this.position;
    this.#held = [];
    const resumes = recovered && last !== null && last.log === pos.log;
    const fresh = resumes ? entries.filter((entry) => entry.seq > last.seq) : entries;
    if (resumes && fresh.length !== pos.seq - last.seq) {
      this.position = null; // not whole: the next join asks for the tail
      return { fault: "the resumed entries have a hole" };
    }
    return {
      entries: fresh,
      reset: !resumes,
      done: () => {
        this.position = { log: pos.log, epoch: resumes ? Math.max(last.epoch, pos.epoch) : pos.epoch, seq: pos.seq };
      },
    };
  }

  /**
   * Take a `frame` or a `gap`. Yields each batch that is due, in order; the position moves on when the consumer comes
   * back for the next one, that is after it has applied the batch. Returns what is wrong, or null.
   */
  *take(batch) {
    if (batch.log !== this.position.log) return "a frame of another log";
    if (batch.epoch < this.position.epoch) return "a frame of an older epoch";
    if (this.#held.length >= MAX_HELD_BATCHES) return "too much is held";
    this.#held.push(batch);
    for (;;) {
      const { log, epoch, seq } = this.position;
      const at = this.#held.findIndex(({ from }) => from <= seq + 1);
      if (at === -1) return null;
      const [due] = this.#held.splice(at, 1);
      if (due.to > seq) {
        const entries = due.entries.filter((entry) => entry.seq > seq);
        yield { from: seq + 1, to: due.to, entries, gap: due.gap };
      }
      this.position = { log, epoch: Math.max(epoch, due.epoch), seq: Math.max(seq, due.to) };
    }
  }
}

/** Something asked of the room. `state` is sending, sent or failed; `done` settles with the ack, or with a HallError. */
class Request {
  state = "sending";
  error = null;
  inFlight = false;
  tries = 0;

  constructor(event, body, withinMs) {
    this.event = event;
    this.body = body;
    this.withinMs = withinMs;
    this.renew();
  }

  get cid() {
    return this.body.cid ?? null;
  }

  renew() {
    this.state = "sending";
    this.error = null;
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.done.catch(() => {}); // whoever listens to `send` events instead need not catch
  }
}

/** See the top of this file, and hall-client.d.ts for options and events. */
export class HallClient {
  #options;
  #clock;
  #listeners = new Map();
  #timers = new Map();
  #order;
  #outbox = new Set();
  #early = []; // frames that came before `joined`
  #socket = null;
  #run = 0; // grows with every new attempt, so that late answers of a former one are known as such
  #tries = 0;
  #windowMs = FIRST_BACK_OFF_MS;
  #notBefore = 0;
  #afterWait = null;
  #pausedUntil = new Map(); // by event: not before then
  #place = null;
  #failed = null;
  #bye = null;
  #moved = null;

  state = "idle";
  error = null;
  you = null;
  standing = null;
  limits = null;

  constructor(options) {
    this.#options = {
      director: globalThis.location?.origin,
      fetch: (...args) => globalThis.fetch(...args),
      random: Math.random,
      clock: SYSTEM_CLOCK,
      newCid,
      tail: 50,
      since: null,
      sendWithinMs: 60_000,
      socketOptions: {},
      ...options,
    };
    this.#clock = this.#options.clock;
    this.#order = new EntryOrder(this.#options.since);
  }

  get position() {
    return this.#order.position;
  }

  get node() {
    return this.#place?.node ?? null;
  }

  /** Call `listener` with the detail of every `type` event; returns a function that ends it. */
  on(type, listener) {
    const all = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, all.add(listener));
    return () => all.delete(listener);
  }

  /** Join the room and stay joined. Without effect unless idle or stopped. */
  start() {
    if (this.state !== "idle" && this.state !== "stopped") return;
    this.#tries = 0;
    this.#route();
  }

  /** Leave the room for good; requests that are open fail. */
  close() {
    this.#stop(new HallError({ code: "CLOSED", message: "left the room", action: "stop" }));
  }

  /** Cut a waiting time short, as far as the fleet allows (its retry_after_ms). */
  hurry() {
    if (this.state === "waiting" && this.#timers.has("wait")) this.#wait(0, this.#afterWait);
  }

  /** Say something. Options: kind ("message" or "question"), replyTo (a seq), cid (of a former try). */
  send(text, { kind = "message", replyTo = null, cid } = {}) {
    const body = { cid: cid ?? this.#options.newCid(), text: text.normalize("NFC"), kind };
    if (replyTo !== null) body.reply_to = replyTo;
    return this.#ask("send", body);
  }

  /** Take an entry's text away. */
  delete(target) {
    return this.#ask("delete", { cid: this.#options.newCid(), target });
  }

  /** Put up a notice, or take it down (null). Staff only. */
  notice(text) {
    return this.#ask("notice", { cid: this.#options.newCid(), text: text?.normalize("NFC") ?? null });
  }

  /** Say who may send ("open", "staff", "closed"), and how often a student may. Staff only. */
  mode(mode, slowMs = 0) {
    return this.#ask("mode", { cid: this.#options.newCid(), mode, slow_ms: slowMs });
  }

  /** Entries before or after a number; settles with {entries, more}. Never moves the position. */
  history({ before, after, limit = 50 }) {
    return this.#ask("history", { ...(before === undefined ? { after } : { before }), limit }, ACK_TIMEOUT_MS * 1.5).done;
  }

  /** Try a failed request again, with the same cid. */
  retry(request) {
    if (request.state !== "failed") return;
    request.renew();
    this.#put(request);
  }

  // -- the way to a node ------------------------------------------------------------------------------------------

  async #route() {
    this.#drop();
    const run = ++this.#run;
    this.#enter("routing");
    const answer = await this.#askDirector();
    if (run !== this.#run) return;
    if (answer instanceof HallError) {
      this.#retreat(answer);
      return;
    }
    this.#failed = null;
    this.#place = { ...answer, validUntil: this.#clock.now() + answer.ticket_expires_in_ms };
    if (answer.connect_after_ms > 0) {
      this.#notBefore = this.#clock.now() + answer.connect_after_ms;
      this.#wait(0, () => this.#connect());
    } else {
      this.#connect();
    }
  }

  async #askDirector() {
    const { director, room, identity, token, fetch } = this.#options;
    const abort = new AbortController();
    const timer = this.#clock.setTimeout(() => abort.abort(), ROUTE_TIMEOUT_MS);
    try {
      const query = new URLSearchParams({ room, ...(token ? {} : identity) });
      if (this.#failed) query.set("failed", this.#failed);
      const headers = token ? { Authorization: `Bearer ${await token()}` } : {};
      const response = await fetch(`${director}/route?${query}`, { headers, cache: "no-store", signal: abort.signal });
      const answer = await response.json();
      return answer?.ok === true ? answer : (HallError.of(answer) ?? unreachable(`the director said ${response.status}`));
    } catch (error) {
      return unreachable(`the director cannot be reached: ${error?.message ?? error}`);
    } finally {
      this.#clock.clearTimeout(timer);
    }
  }

  #connect() {
    this.#drop();
    this.#run += 1;
    this.#enter("connecting");
    const { url, path, ticket } = this.#place;
    const { io, socketOptions, tail } = this.#options;
    const auth = { v: PROTOCOL_VERSION, ticket, since: this.position, tail };
    const fixed = { path, auth, forceNew: true, reconnection: false, autoConnect: false };
    const socket = io(url, { ...socketOptions, ...fixed });
    this.#socket = socket;
    const on = (event, listener) => socket.on(event, (detail) => this.#socket === socket && listener(detail));
    on("connect_error", (error) => this.#refused(error));
    on("disconnect", () => this.#lost());
    on("joined", (joined) => this.#begin(joined));
    on("frame", (frame) => this.#take({ ...frame, gap: false }));
    on("gap", (gap) => this.#take({ ...gap, gap: true }));
    on("ambient", (ambient) => this.#stand({ members: ambient.members }, ambient));
    on("sanction", (sanction) => this.#tell("sanction", sanction));
    on("moved", (moved) => this.#moveTo(moved));
    on("bye", (bye) => this.#partWith(bye));
    this.#timer("joined", JOINED_TIMEOUT_MS, () => this.#lost());
    socket.connect();
  }

  #refused(error) {
    const refusal = HallError.of(error?.data);
    if (refusal === null) {
      this.#lost(unreachable(`the node cannot be reached: ${error?.message ?? error}`));
      return;
    }
    this.#drop();
    const holds = refusal.action === "retry" && this.#clock.now() + refusal.retryAfterMs < this.#place.validUntil;
    this.#retreat(refusal, holds ? () => this.#connect() : undefined);
  }

  /** The connection is gone: after `moved` and `bye` as told, else with the hint that the node may have failed. */
  #lost(error = unreachable("the connection was lost")) {
    const bye = this.#bye;
    this.#drop();
    if (this.#moved) {
      this.#enter("moving");
      return;
    }
    if (!bye) this.#failed = this.node;
    this.#retreat(bye ?? error, undefined, { afterLoss: true });
  }

  #retreat(error, next, { afterLoss = false } = {}) {
    if (error.action !== "retry" && error.action !== "reroute") {
      this.#stop(error);
      return;
    }
    const backOff = Math.min(LONGEST_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** Math.max(0, this.#tries - 1));
    const window = this.#tries === 0 ? this.#windowMs : Math.max(backOff, afterLoss ? this.#windowMs : 0);
    this.#tries += 1;
    this.error = error;
    this.#notBefore = this.#clock.now() + error.retryAfterMs;
    this.#wait(error.retryAfterMs + this.#options.random() * window, next);
  }

  #wait(ms, next = () => this.#route()) {
    this.#afterWait = next;
    const inMs = Math.max(ms, this.#notBefore - this.#clock.now());
    this.#timer("wait", inMs, next);
    this.#enter("waiting", { inMs });
  }

  #partWith(bye) {
    if (this.#moved && bye.action !== "stop") return;
    this.#moved = null;
    this.#clear("move");
    this.#bye = new HallError(bye);
    this.#timer("bye", BYE_TIMEOUT_MS, () => this.#lost());
  }

  #moveTo(moved) {
    this.#moved = moved;
    this.#timer("move", moved.after_ms, () => {
      this.#moved = null;
      const { url, path, node, epoch, ticket } = moved;
      this.#place = { url, path, node, epoch, ticket, validUntil: this.#clock.now() + 30_000 };
      this.#connect();
    });
  }

  #stop(error) {
    this.#run += 1;
    this.#drop();
    for (const name of [...this.#timers.keys()]) this.#clear(name);
    this.#moved = null;
    this.error = error;
    for (const request of [...this.#outbox]) this.#fail(request, error);
    this.#enter("stopped");
  }

  /** Let go of the socket: nothing that it still says counts, and nothing that was asked on it is in flight. */
  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#bye = null;
    this.#early = [];
    this.#order.dropHeld();
    for (const name of ["joined", "hole", "steady", "bye", "flush", "wait"]) this.#clear(name);
    for (const request of this.#outbox) this.#land(request);
    socket?.disconnect();
  }

  // -- what the node sends ----------------------------------------------------------------------------------------

  #begin(joined) {
    if (this.state !== "connecting") return;
    this.#clear("joined");
    const { entries, reset, done, fault } = this.#order.begin(joined);
    if (fault) {
      this.#lost(unreachable(fault));
      return;
    }
    this.you = joined.you;
    this.limits = joined.limits;
    this.#windowMs = joined.reconnect_window_ms;
    this.error = null;
    this.#enter("live");
    this.#settleFrom(entries);
    this.#tell("joined", { ...joined, entries, reset });
    done();
    if (this.state !== "live") return; // a listener has closed the client
    this.#stand(joined.snapshot);
    this.#timer("steady", STEADY_AFTER_MS, () => (this.#tries = 0));
    for (const batch of this.#early.splice(0)) this.#take(batch);
    this.#flush();
  }

  #take(batch) {
    if (this.state !== "live") {
      if (this.#early.push(batch) > MAX_HELD_BATCHES) this.#lost(unreachable("frames came before joined"));
      return;
    }
    const steps = this.#order.take(batch);
    let step = steps.next();
    for (; !step.done; step = steps.next()) {
      const { entries } = step.value;
      this.#settleFrom(entries);
      this.#tell("entries", step.value);
      for (const entry of entries) {
        if (entry.kind === "notice") this.#stand({ notice: entry.text ?? null });
        if (entry.kind === "mode") this.#stand({ mode: entry.mode, slow_ms: entry.slow_ms });
      }
      if (this.state !== "live") return; // a listener has closed the client
    }
    if (step.value) this.#lost(unreachable(step.value));
    else if (!this.#order.hasHole) this.#clear("hole");
    else if (!this.#timers.has("hole")) this.#timer("hole", HOLE_TIMEOUT_MS, () => this.#lost(unreachable("a hole")));
  }

  /** The room's standing state has changed: mode, slow_ms, notice, members. */
  #stand(change, ambient = null) {
    this.standing = { ...this.standing, ...change };
    this.#tell("standing", { ...this.standing, reactions: ambient?.reactions ?? {} });
  }

  // -- what the member asks for -----------------------------------------------------------------------------------

  #ask(event, body, withinMs = this.#options.sendWithinMs) {
    const request = new Request(event, body, withinMs);
    this.#put(request);
    return request;
  }

  #put(request) {
    if (this.state === "stopped" || this.#outbox.size >= MAX_REQUESTS) {
      const full = new HallError({ code: "BUSY", message: "too much is waiting to be sent", action: "retry" });
      this.#fail(request, this.state === "stopped" ? (this.error ?? full) : full);
      return;
    }
    this.#outbox.add(request);
    request.deadline = this.#clock.now() + request.withinMs;
    request.timer = this.#clock.setTimeout(() => {
      const late = new HallError({ code: "TIMED_OUT", message: "no answer in time", action: "retry", temporary: true });
      this.#fail(request, request.error ?? late);
    }, request.withinMs);
    this.#tell("send", request);
    this.#flush();
  }

  /** Emit what waits, oldest first; only between `joined` and `disconnect`. */
  #flush() {
    if (this.state !== "live" || this.#bye) return;
    const now = this.#clock.now();
    let inFlight = [...this.#outbox].filter((request) => request.inFlight).length;
    let soonest = Infinity;
    const most = Math.min(MAX_IN_FLIGHT, this.limits?.max_in_flight ?? MAX_IN_FLIGHT);
    for (const request of this.#outbox) {
      if (inFlight >= most) break;
      if (request.inFlight) continue;
      const pauseMs = (this.#pausedUntil.get(request.event) ?? 0) - now;
      if (pauseMs > 0) {
        soonest = Math.min(soonest, pauseMs);
        continue;
      }
      this.#emit(request);
      inFlight += 1;
    }
    if (soonest < Infinity) this.#timer("flush", soonest, () => this.#flush());
  }

  #emit(request) {
    const socket = this.#socket;
    request.inFlight = true;
    request.tries += 1;
    request.ackTimer = this.#clock.setTimeout(() => {
      this.#land(request); // no answer means unknown: ask again with the same cid
      this.#flush();
    }, ACK_TIMEOUT_MS);
    socket.emit(request.event, request.body, (ack) => {
      if (this.#socket === socket && this.#outbox.has(request)) this.#answered(request, ack);
    });
  }

  #answered(request, ack) {
    this.#land(request);
    if (ack?.ok === true) {
      this.#settle(request, ack);
      this.#flush();
      return;
    }
    const error = HallError.of(ack) ?? new HallError({ message: "an answer that makes no sense" });
    request.error = error;
    if (error.action === "retry") {
      const backOff = Math.min(5_000, 100 * 2 ** request.tries);
      const pause = this.#clock.now() + error.retryAfterMs + this.#options.random() * backOff;
      if (pause >= request.deadline) this.#fail(request, error);
      else this.#pausedUntil.set(request.event, pause); // for all of its kind, so that they keep their order
    } else if (error.action !== "reroute") {
      this.#fail(request, error);
    } else if (!this.#moved && !this.#bye) {
      this.#drop();
      this.#retreat(error, undefined, { afterLoss: true });
      return;
    }
    this.#flush();
  }

  /** An own entry in the log is as good as its ack. */
  #settleFrom(entries) {
    if (this.#outbox.size === 0) return;
    const own = new Map([...this.#outbox].filter((request) => request.cid).map((request) => [request.cid, request]));
    for (const { cid, by, seq, at } of entries) {
      const request = by.id === this.you.id ? own.get(cid) : undefined;
      if (request) this.#settle(request, { ok: true, seq, at, epoch: this.#place.epoch, dup: true });
    }
  }

  #settle(request, ack) {
    this.#forget(request);
    request.state = "sent";
    request.ack = ack;
    request.resolve(ack);
    this.#tell("send", request);
  }

  #fail(request, error) {
    this.#forget(request);
    request.state = "failed";
    request.error = error;
    request.reject(error);
    this.#tell("send", request);
  }

  #forget(request) {
    this.#land(request);
    this.#clock.clearTimeout(request.timer);
    this.#outbox.delete(request);
  }

  #land(request) {
    this.#clock.clearTimeout(request.ackTimer);
    request.inFlight = false;
  }

  // -- small things -----------------------------------------------------------------------------------------------

  #enter(state, { inMs = 0 } = {}) {
    this.state = state;
    this.#tell("state", { state, inMs, error: this.error, node: this.node });
  }

  #tell(type, detail) {
    for (const listener of this.#listeners.get(type) ?? []) {
      try {
        listener(detail);
      } catch (error) {
        console.error(error); // a listener's fault must not cost the connection its order
      }
    }
  }

  #timer(name, ms, fn) {
    this.#clear(name);
    const id = this.#clock.setTimeout(() => {
      this.#timers.delete(name);
      fn();
    }, Math.min(ms, MAX_TIMER_MS));
    this.#timers.set(name, id);
  }

  #clear(name) {
    if (!this.#timers.has(name)) return;
    this.#clock.clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}
