/** Types of hall-client.js: a member's connection to one room of a lecturehall fleet (protocol hall/1). */

export type Role = "student" | "assistant" | "lecturer";
export type Mode = "open" | "staff" | "closed";
export type Kind = "message" | "question" | "delete" | "notice" | "mode";
export type Action = "retry" | "reroute" | "stay" | "fix" | "stop";

export interface Author {
  id: string;
  name: string;
  role: Role;
}

/** One numbered item of a room's log; fields that its kind does not have are left out. */
export interface Entry {
  seq: number;
  /** Unix milliseconds; never falls within a log. */
  at: number;
  kind: Kind;
  cid: string;
  by: Author;
  text?: string | null;
  reply_to?: number;
  target?: number;
  mode?: Mode;
  slow_ms?: number;
  deleted?: boolean;
}

/** The last entry applied and the highest epoch that has served it. */
export interface Position {
  log: string;
  epoch: number;
  seq: number;
}

/** The room's standing state; `notice` is null when none is up. */
export interface Standing {
  mode: Mode;
  slow_ms: number;
  notice: string | null;
  members: number;
}

export interface Limits {
  max_text_length: number;
  max_event_bytes: number;
  max_in_flight: number;
  max_page: number;
  max_tail: number;
}

export interface Joined {
  room: string;
  you: Author;
  pos: Position;
  recovered: boolean;
  reason: "too_far" | "new_log" | null;
  /** Those that are new to this client, in order. */
  entries: Entry[];
  snapshot: Standing;
  limits: Limits;
  reconnect_window_ms: number;
  /** Forget all former entries: what lies before these is there by `history`. */
  reset: boolean;
}

/** Entries from..to, next in the log's order. When `gap`, only those of staff are given; `history` has the rest. */
export interface Batch {
  from: number;
  to: number;
  entries: Entry[];
  gap: boolean;
}

export interface Changed {
  ok: true;
  seq: number;
  epoch: number;
  at: number;
  dup: boolean;
}

export interface HistoryPage {
  ok: true;
  entries: Entry[];
  more: boolean;
}

export interface Sanction {
  kind: string;
  until_at: number | null;
  reason: string | null;
}

/**
 * Something asked of the room. Its state goes from sending to sent or failed, and from failed back to sending by
 * `retry`, which makes a new `done`. A rejected `done` need not be caught by those who listen to `send`.
 */
export interface Request<Ack = Changed> {
  readonly event: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly cid: string | null;
  readonly state: "sending" | "sent" | "failed";
  readonly error: HallError | null;
  readonly ack?: Ack;
  readonly done: Promise<Ack>;
}

/**
 * idle, then routing (asking the director), connecting (to the node, until `joined`), live; waiting (for the next
 * try), moving (between two nodes, as told); stopped (for good, `error` says why; `start` tries anew).
 */
export type State = "idle" | "routing" | "connecting" | "live" | "waiting" | "moving" | "stopped";

export interface StateChange {
  state: State;
  /** Until the next try, when waiting; else 0. */
  inMs: number;
  error: HallError | null;
  node: string | null;
}

export interface HallEvents {
  state: StateChange;
  joined: Joined;
  entries: Batch;
  standing: Standing & { reactions: Record<string, number> };
  /** A request has changed its state. */
  send: Request;
  sanction: Sanction;
}

/** An error of the fleet (codes of protocol section 6) or of the way to it (UNREACHABLE, TIMED_OUT, CLOSED). */
export class HallError extends Error {
  readonly code: string;
  readonly action: Action;
  readonly temporary: boolean;
  readonly retryAfterMs: number;
  constructor(detail?: {
    code?: string;
    message?: string;
    action?: Action;
    temporary?: boolean;
    retry_after_ms?: number;
  });
  /** The error in an answer of the protocol's error shape, or null if there is none in it. */
  static of(answer: unknown): HallError | null;
}

/** What HallClient uses of a clock: monotonic milliseconds, and timers. */
export interface Clock {
  now(): number;
  setTimeout(fn: () => void, ms: number): unknown;
  clearTimeout(id: unknown): void;
}

export interface Options {
  /** socket.io-client's `io`, version 4. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  io: (url: string, options: any) => any;
  room: string;
  /** Origin of the director; by default the page's own. */
  director?: string;
  /** Who joins, where the fleet runs in demo mode. */
  identity?: { user: string; name: string; role: Role };
  /** The platform's token, asked for anew at every route; takes the place of `identity`. */
  token?: () => string | Promise<string>;
  /** A position to resume from. */
  since?: Position | null;
  /** How many entries to be given where there is nothing to resume (0 to 200). */
  tail?: number;
  /** How long a request is repeated before it fails. */
  sendWithinMs?: number;
  /** Further options of socket.io-client, such as `transports`. */
  socketOptions?: Record<string, unknown>;
  fetch?: typeof fetch;
  random?: () => number;
  clock?: Clock;
  newCid?: () => string;
}

/** 128 bits of chance in hexadecimal. */
export function newCid(): string;

/** Puts frames and gaps into the log's one order; used by HallClient. */
export class EntryOrder {
  position: Position | null;
  constructor(position?: Position | null);
  readonly hasHole: boolean;
  dropHeld(): void;
  begin(
    joined: Pick<Joined, "pos" | "recovered" | "entries">,
  ): { entries: Entry[]; reset: boolean; done: () => void; fault?: undefined } | { fault: string };
  take(batch: Batch & { log: string; epoch: number }): Generator<Batch, string | null, void>;
}

/**
 * Stays joined to one room until closed or told to stop. Entries come by `joined` and `entries`, in one order and each
 * once, or with an explicit `gap`; requests are repeated with one cid across connections until they are settled.
 */
export class HallClient {
  constructor(options: Options);
  readonly state: State;
  readonly error: HallError | null;
  readonly node: string | null;
  readonly position: Position | null;
  readonly you: Author | null;
  readonly standing: Standing | null;
  readonly limits: Limits | null;
  on<Type extends keyof HallEvents>(type: Type, listener: (detail: HallEvents[Type]) => void): () => void;
  start(): void;
  close(): void;
  /** Cut a waiting time short, never below what the fleet asked for. */
  hurry(): void;
  send(text: string, options?: { kind?: "message" | "question"; replyTo?: number | null; cid?: string }): Request;
  delete(target: number): Request;
  notice(text: string | null): Request;
  mode(mode: Mode, slowMs?: number): Request;
  history(range: { before?: number; after?: number; limit?: number }): Promise<HistoryPage>;
  retry(request: Request): void;
}
