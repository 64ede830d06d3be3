/** Event stream: what the director tells as it happens, for as long as the page is open. Comes back by itself. */

// A picture comes every 5 s at least, changed or not; more than two that are missing say that nobody is there.
const SILENCE_MS = 12_000;
const FIRST_WAIT_MS = 500;
const MAX_WAIT_MS = 8_000;

/** `live` once something has come; `lost` from when nothing comes until something does again. */
export class EventStream {
  #url;
  #hears;
  #onState;
  #mayCome;
  #source = null;
  #timer;
  #tries = 0;
  #state = "connecting";

  /**
   * `hears` are {fleet, operation, note} to call with what was told; `opened` before the first of a connection, which
   * tells anew what was told before. `mayCome()` resolves to whether there is a session, and throws if nobody answers.
   */
  constructor({ url, hears, onState, mayCome }) {
    this.#url = url;
    this.#hears = hears;
    this.#onState = onState;
    this.#mayCome = mayCome;
  }

  get state() {
    return this.#state;
  }

  start() {
    this.stop();
    this.#tell("connecting");
    this.#open();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
    this.#tries = 0;
  }

  /** Try now, if it is lost. */
  hurry() {
    if (this.#state !== "lost") return;
    clearTimeout(this.#timer);
    this.#try();
  }

  #open() {
    const source = new EventSource(this.#url);
    this.#source?.close();
    this.#source = source;
    source.addEventListener("open", () => this.#hears.opened());
    source.addEventListener("error", () => this.#source === source && this.#lose());
    for (const kind of ["fleet", "operation", "note"]) {
      source.addEventListener(kind, ({ data }) => {
        if (this.#source !== source) return;
        this.#watch();
        this.#hears[kind](data);
        this.#tries = 0;
        this.#tell("live");
      });
    }
    this.#watch();
  }

  #watch() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lose(), SILENCE_MS);
  }

  #lose() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
    const wait = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#tries++);
    this.#timer = setTimeout(() => this.#try(), wait * (0.75 + Math.random() / 2));
    this.#tell("lost");
  }

  /** An EventSource does not say why it failed, so ask for the session first. */
  async #try() {
    try {
      if (await this.#mayCome()) this.#open();
    } catch {
      this.#lose();
    }
  }

  #tell(state) {
    if (state === this.#state && state !== "connecting") return;
    this.#state = state;
    this.#onState(state);
  }
}
