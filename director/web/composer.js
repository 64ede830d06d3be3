/** Composer: where the reader writes. Enter sends, Shift+Enter starts a new line, Escape drops a reply. */
import { excerpt } from "./line-view.js";

const WARN_BELOW = 200;
const $ = (id) => document.getElementById(id);

export class Composer {
  #words;
  #send;
  #replyTo = null;
  #isQuestion = false;
  #maxLength = 2000;
  #role;
  #standing = null;
  #stoppedBy = null;
  #nextAt = 0;
  #text = $("text");

  /** `send(text, {kind, replyTo})` is called with what is to be sent. */
  constructor({ words, role, send }) {
    this.#words = words;
    this.#role = role;
    this.#send = send;
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("keydown", (event) => this.#pressed(event));
    this.#text.addEventListener("input", () => this.draw());
    $("ask").addEventListener("click", () => this.#ask(!this.#isQuestion));
    $("reply-cancel").addEventListener("click", () => this.replyTo(null));
    words.onChange(() => this.draw());
    this.draw();
  }

  focus() {
    this.#text.focus({ preventScroll: true });
  }

  replyTo(entry) {
    this.#replyTo = entry;
    this.draw();
    this.focus();
  }

  set limits(limits) {
    this.#maxLength = limits.max_text_length;
    this.draw();
  }

  set standing(standing) {
    this.#standing = standing;
    this.draw();
  }

  /** The error that ended the connection for good, or null. */
  set stoppedBy(error) {
    this.#stoppedBy = error;
    this.draw();
  }

  /** An own message was accepted: in slow mode the next one must wait. */
  accepted() {
    const slowMs = this.#role === "student" ? (this.#standing?.slow_ms ?? 0) : 0;
    this.#nextAt = performance.now() + slowMs;
    this.draw();
  }

  #ask(isQuestion) {
    this.#isQuestion = isQuestion;
    $("ask").setAttribute("aria-pressed", String(isQuestion));
    this.focus();
  }

  #pressed(event) {
    if (event.key === "Escape" && this.#replyTo) this.replyTo(null);
    // 229: the key belongs to an input method that is composing a syllable
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#submit();
  }

  #submit() {
    const text = this.#text.value.trim();
    if (text === "" || this.draw() !== null) return;
    this.#send(text, { kind: this.#isQuestion ? "question" : "message", replyTo: this.#replyTo?.seq ?? null });
    this.#text.value = "";
    this.#replyTo = null;
    this.#ask(false);
    this.draw();
  }

  /** Draw everything; why nothing can be sent now, or null. */
  draw() {
    const why = this.#obstacle();
    const isShut = this.#isShut();
    this.#text.readOnly = isShut;
    $("composer").toggleAttribute("data-shut", isShut);
    $("send").disabled = why !== null;
    $("ask").disabled = isShut;
    const left = this.#maxLength - this.#length();
    const note = left < WARN_BELOW ? this.#words.say("composer.left", { n: left }) : this.#words.say("composer.keys");
    const hint = why ?? note;
    if ($("hint").textContent !== hint) $("hint").textContent = hint;
    $("hint").toggleAttribute("data-warns", why !== null);
    $("reply").hidden = this.#replyTo === null;
    if (this.#replyTo) {
      const { by, text } = this.#replyTo;
      $("reply-text").textContent = this.#words.say("composer.replying", { name: by.name, text: excerpt(text) });
    }
    this.#grow();
    return why;
  }

  #isShut() {
    const { mode = "open" } = this.#standing ?? {};
    return this.#stoppedBy !== null || mode === "closed" || (mode === "staff" && this.#role === "student");
  }

  #obstacle() {
    if (this.#stoppedBy) return this.#words.say("status.stopped", { why: this.#words.why(this.#stoppedBy) });
    if (this.#isShut()) return this.#words.mode(this.#standing);
    const over = this.#length() - this.#maxLength;
    if (over > 0) return this.#words.say("composer.tooLong", { n: over });
    const slowMs = this.#nextAt - performance.now();
    if (slowMs <= 0) return null;
    clearTimeout(this.#slowTimer);
    this.#slowTimer = setTimeout(() => this.draw(), (slowMs % 1000) + 10);
    return this.#words.say("composer.slow", { n: Math.ceil(slowMs / 1000) });
  }
  #slowTimer;

  /** In code points after NFC, as the server counts. */
  #length() {
    return [...this.#text.value.trim().normalize("NFC")].length;
  }

  #grow() {
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight}px`;
  }
}
