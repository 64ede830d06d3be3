/** Admin client: asks the director, in the session that its cookie stands for (protocol, section 2). */

const TIME_OUT_MS = 15_000;

/** Something that was refused, or not answered: `code` and the director's own `message`. */
export class Refused extends Error {
  constructor({ code, message }) {
    super(message);
    this.code = code;
  }
}

export class AdminClient {
  #onSignedOut;

  /** `onSignedOut` is called when the director no longer knows the session. */
  constructor({ onSignedOut }) {
    this.#onSignedOut = onSignedOut;
  }

  /** For how many milliseconds there is a session, 0 if there is none. Throws Refused. */
  async session() {
    return (await this.#ask("GET", "/admin/session")).expires_in_ms;
  }

  signIn = (token) => this.#ask("POST", "/admin/session", { token });
  signOut = () => this.#ask("DELETE", "/admin/session");

  explain = (room) => this.#ask("GET", `/admin/rooms/${part(room)}`);
  move = (room, to, { plan }) => this.#ask("POST", `/admin/rooms/${part(room)}/move`, { to, plan });
  pin = (room, node) => this.#ask("PUT", `/admin/rooms/${part(room)}/pin`, { node });
  unpin = (room) => this.#ask("DELETE", `/admin/rooms/${part(room)}/pin`);

  cordon = (node) => this.#ask("POST", `/admin/nodes/${part(node)}/cordon`);
  uncordon = (node) => this.#ask("POST", `/admin/nodes/${part(node)}/uncordon`);
  drain = (node, body) => this.#ask("POST", `/admin/nodes/${part(node)}/drain`, body);
  cancelDrain = (node) => this.#ask("DELETE", `/admin/nodes/${part(node)}/drain`);

  rebalance = (body) => this.#ask("POST", "/admin/rebalance", body);
  cancel = (operation) => this.#ask("DELETE", `/admin/operations/${part(operation)}`);

  async #ask(method, path, body) {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    const options = { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(TIME_OUT_MS) };
    let answer;
    try {
      const response = await fetch(path, options);
      answer = await response.json();
    } catch {
      throw new Refused({ code: "UNREACHABLE", message: "" });
    }
    if (answer?.ok) return answer;
    const refused = new Refused(answer?.error ?? { code: "UNREACHABLE", message: "" });
    if (refused.code === "UNAUTHENTICATED" && path !== "/admin/session") this.#onSignedOut();
    throw refused;
  }
}

const part = encodeURIComponent;
