/** Stage: the head of the hall. Room, connection, who is here, who may write, the notice on the board, the questions. */
import { excerpt, make } from "./line-view.js";

const MOST_QUESTIONS = 6;
const $ = (id) => document.getElementById(id);

export class Stage {
  #words;
  #connection = { state: "idle", inMs: 0, error: null };
  #tryAt = 0;
  #timer;
  #standing = null;
  #questions = [];
  #questionKeys = "";

  /** `hurry` and `restart` are called when the reader does not want to wait; `reveal(seq)` shows a question. */
  constructor({ words, room, hurry, restart, reveal }) {
    this.#words = words;
    $("room").textContent = room;
    $("try-now").addEventListener("click", () => (this.#connection.state === "stopped" ? restart() : hurry()));
    $("more").addEventListener("click", () => this.#open($("more").getAttribute("aria-expanded") !== "true"));
    $("questions").addEventListener("click", ({ target }) => {
      const seq = target.closest("[data-seq]")?.dataset.seq;
      if (!seq) return;
      this.#open(false);
      reveal(Number(seq));
    });
    $("drawer").addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.#open(false);
      $("more").focus();
    });
    words.onChange(() => this.#drawAll());
    this.#drawAll();
  }

  set connection(connection) {
    this.#connection = connection;
    this.#tryAt = performance.now() + connection.inMs;
    this.#drawConnection();
  }

  set standing(standing) {
    this.#standing = standing;
    this.#drawStanding();
  }

  /** The newest questions, newest first. */
  set questions(lines) {
    const keys = lines.map((line) => `${line.key}.${line.version}`).join(" ");
    if (keys === this.#questionKeys) return;
    this.#questionKeys = keys;
    this.#questions = lines;
    this.#drawQuestions();
  }

  static get mostQuestions() {
    return MOST_QUESTIONS;
  }

  #open(isOpen) {
    $("more").setAttribute("aria-expanded", String(isOpen));
    $("drawer").toggleAttribute("data-open", isOpen);
  }

  #drawAll() {
    this.#drawConnection();
    this.#drawStanding();
    this.#drawQuestions();
  }

  #drawConnection() {
    const { state, error } = this.#connection;
    const shown = ["idle", "routing", "connecting"].includes(state) ? "connecting" : state;
    $("status").dataset.state = shown;
    const text = this.#words.say(`status.${shown}`, { why: this.#words.why(error) });
    if ($("status-text").textContent !== text) $("status-text").textContent = text;
    const seconds = Math.ceil((this.#tryAt - performance.now()) / 1000);
    const counts = state === "waiting" && seconds > 0;
    $("status-count").textContent = counts ? this.#words.say("status.waitingFor", { n: seconds }) : "";
    $("status").title = state === "waiting" && error ? this.#words.why(error) : "";
    clearTimeout(this.#timer);
    if (counts) this.#timer = setTimeout(() => this.#drawConnection(), 250);
    const offers = state === "stopped" || (state === "waiting" && seconds > 1);
    $("try-now").hidden = !offers;
    $("try-now").textContent = this.#words.say(state === "stopped" ? "status.joinAgain" : "status.tryNow");
  }

  #drawStanding() {
    const standing = this.#standing;
    if (!standing) return;
    $("members").textContent = this.#words.say("members", { n: standing.members });
    $("mode").textContent = this.#words.mode(standing);
    $("mode").dataset.mode = standing.mode;
    $("notice").hidden = !standing.notice;
    if ($("notice-text").textContent !== (standing.notice ?? "")) $("notice-text").textContent = standing.notice ?? "";
  }

  #drawQuestions() {
    $("questions-none").hidden = this.#questions.length > 0;
    const items = this.#questions.map(({ seq, entry }) => {
      const text = make("span", { className: "question-text", dir: "auto" }, excerpt(entry.text));
      const name = make("span", { className: "question-name" }, entry.by.name);
      return make("li", {}, make("button", { type: "button", className: "question", data: { seq } }, text, name));
    });
    $("questions").replaceChildren(...items);
  }
}
